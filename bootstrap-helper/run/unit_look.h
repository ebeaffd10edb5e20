/* SPDX-License-Identifier: MIT */
/*
 * unit_look.h - what is there already of a service of systemd's, and where its LD_PRELOAD is set.
 *
 * Never: a file that a link of another system (--root) leads out of it to, one that is none, as a FIFO, or a
 * change of anything.
 */
#ifndef CVT_UNIT_LOOK_H
#define CVT_UNIT_LOOK_H

#include <limits.h>

#include "unit.h"

#define UNIT_SUFFIX  ".service"
#define UNIT_PLACE   "/etc/systemd/system"
#define UNIT_DROP_IN "convert.conf"
/* its first two lines, the second if its folder is ours, too */
#define UNIT_FIRST    "# Written by \"convert-run enable\", and taken away by \"convert-run disable\"."
#define UNIT_OWNS_DIR "# So is this folder."

struct unit_seen {
	bool exists;
	char preloads[PATH_MAX + 16]; /* "FILE:LINE" of another LD_PRELOAD; "": there is none */
	bool takes_it_away; /* that line does (UnsetEnvironment=, or an empty Environment=) */
};

/* path: from / on, in the unit's system. A descriptor, or -1 and errno. */
int unit_open(const struct unit *u, const char *path, int flags);
/* The drop-in in this folder. */
bool unit_is_ours(int folder, bool *owns_folder);
void unit_look(struct unit_seen *s, const struct unit *u);

#endif
