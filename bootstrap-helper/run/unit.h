/* SPDX-License-Identifier: MIT */
/*
 * unit.h - convert-run enable and disable: a drop-in of ours for a service of systemd's.
 *
 * Promises: writes ROOT/etc/systemd/system/UNIT.d/convert.conf, as a whole, and the folder it is in, if
 * that is not there; takes away exactly that. Never: a file that is not ours, or anything else of
 * systemd's.
 */
#ifndef CVT_UNIT_H
#define CVT_UNIT_H

#include <stdbool.h>

struct unit {
	const char *root; /* "", or where the system's files are that it is for */
	char name[256];	  /* with its suffix */
};

/* Says what is wrong with the word, and returns false. */
bool unit_init(struct unit *u, const char *root, const char *word);
/* library: as the unit's programs will see it. What the environment says of the converter is written, too.
 * Both return an exit status, 0 or 1, and have said why. */
int unit_enable(const struct unit *u, const char *library);
int unit_disable(const struct unit *u);

#endif
