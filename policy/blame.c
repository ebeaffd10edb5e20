// SPDX-License-Identifier: MIT
#include "blame.h"

enum blame blame(const struct blame_facts *f)
{
	if (f->has_begun) /* whoever begins to answer knows what to say */
		return BLAME_CONVERTER;
	if (f->has_syn_ack && !f->has_sent)
		return BLAME_NOBODY;
	if (!f->has_sent || (f->has_syn_ack && !f->has_ack))
		return f->is_alive ? BLAME_NOBODY : BLAME_PATH;
	if (f->is_alive) /* without a SYN+ACK, too: it may be holding it */
		return BLAME_SERVER;
	if (!f->was_asked)
		return BLAME_UNCLEAR;
	return f->has_syn_ack ? BLAME_CONVERTER : BLAME_PATH;
}

bool blame_counts(enum blame b)
{
	return b != BLAME_SERVER && b != BLAME_NOBODY;
}

const char *blame_text(enum blame b)
{
	static const char *const texts[] = {
		[BLAME_NOBODY] = "no reply in time",
		[BLAME_SERVER] = "no reply in time, by the server's silence",
		[BLAME_CONVERTER] = "no reply in time",
		[BLAME_PATH] = "no reply in time, and nothing else from there",
		[BLAME_UNCLEAR] = "no reply in time",
	};

	return texts[b];
}
