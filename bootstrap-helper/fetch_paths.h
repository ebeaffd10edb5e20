/* SPDX-License-Identifier: MIT */
/*
 * fetch_paths.h - the files that a configuration makes programs read (cookie) and write (state,
 * log). Whoever may name those has more power than one who only says where connections go: the
 * programs are root's, too.
 */
#ifndef CVT_FETCH_PATHS_H
#define CVT_FETCH_PATHS_H

#include <stddef.h>

struct fetch_path {
	unsigned int line; /* 0: there is none */
	char text[256];	   /* "file = /var/log/convert.log" */
};

/* The first path in new that old does not have at the same key; what the parser would take for one. */
struct fetch_path fetch_new_path(const char *old, size_t old_len, const char *new, size_t new_len);

#endif
