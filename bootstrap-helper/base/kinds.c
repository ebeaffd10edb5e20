// SPDX-License-Identifier: MIT
#include "kinds.h"

#include <stdio.h>

int kinds_format(uint8_t kind, char text[static KINDS_TEXT_MAX])
{
	static const char *const names[256] = {
		[2] = "MSS",	       [3] = "window scale", [4] = "SACK",   [8] = "timestamps",
		[28] = "user timeout", [29] = "TCP-AO",	     [30] = "MPTCP", [34] = "Fast Open",
	};

	return names[kind] ? snprintf(text, KINDS_TEXT_MAX, "%u (%s)", kind, names[kind]) :
			     snprintf(text, KINDS_TEXT_MAX, "%u", kind);
}
