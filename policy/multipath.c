// SPDX-License-Identifier: MIT
#include "multipath.h"

#include <stddef.h>

enum multipath multipath(const struct multipath_facts *f)
{
	static const enum multipath by_paths[] = {
		[PATHS_UNASKED] = MULTIPATH_UNCLEAR,
		[PATHS_ONE] = MULTIPATH_ONE,
		[PATHS_SEVERAL] = MULTIPATH_GAINS,
		[PATHS_AROUND] = MULTIPATH_AROUND,
	};

	if (f->is_own)
		return MULTIPATH_OWN;
	if (f->setting == CONFIG_MPTCP_OFF)
		return MULTIPATH_OFF;
	if (f->setting == CONFIG_MPTCP_ON)
		return f->is_bound ? MULTIPATH_ON_BOUND : MULTIPATH_ON;
	if (f->is_bound)
		return MULTIPATH_BOUND;
	if (f->is_watched)
		return MULTIPATH_WATCHED;
	if (f->is_lost)
		return MULTIPATH_LOST;
	return by_paths[f->paths];
}

const char *multipath_text(enum multipath m)
{
	static const char *const texts[] = {
		[MULTIPATH_ON_BOUND] = "mptcp = on, although the program has bound it to a network",
		[MULTIPATH_BOUND] = "the program has bound it to a network",
		[MULTIPATH_WATCHED] = "the program's keepalive shall find a dead path soon",
		[MULTIPATH_LOST] = "the converter, or the network, has no MPTCP",
		[MULTIPATH_ONE] = "there is one path",
		[MULTIPATH_AROUND] = "another path would go around the tunnel",
		[MULTIPATH_UNCLEAR] = NULL,
	};

	return texts[m];
}
