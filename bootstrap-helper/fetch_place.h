/* SPDX-License-Identifier: MIT */
/*
 * fetch_place.h - the file that is replaced, and what lies beside it: for /etc/convert.conf
 *
 *     convert.conf.old      the generation before, for --rollback
 *     convert.conf.fetched  what the server said of it; locked as long as somebody is at work
 *     convert.conf.new, convert.conf.old.new   only while somebody is, or was killed
 *
 * Promises: whoever opens the file, and whatever happens, finds the old or the new one, whole. What
 * a killed one has left is brought to its end or taken away by the next.
 */
#ifndef CVT_FETCH_PLACE_H
#define CVT_FETCH_PLACE_H

#include "file.h"

#define FETCH_FILE_MAX (4U << 20) /* what programs read */

struct fetch_place {
	char *live, *dir;
	char *old, *record, *new, *old_new;
	int lock; /* the record's descriptor, or -1 */
};

/* All but fetch_place_close() say on standard error what is wrong, and return 0 or -errno. */

/* A symbolic link is followed: what it leads to is replaced. fetch_place_close() in any case. */
int fetch_place_find(struct fetch_place *p, const char *file);
/* For whoever will write. Fails at once if another one is at work; ends what was left undone. */
int fetch_place_lock(struct fetch_place *p);
void fetch_place_close(struct fetch_place *p);

/* The file at path, live or old. One that is not there is no error: its bytes are NULL then. */
int fetch_place_read(const char *path, struct file_bytes *f);
/* len bytes take the place of live, whose mode and owner they get; what it was goes to old.
 * was: what fetch_place_read() has found there. */
int fetch_place_replace(const struct fetch_place *p, const char *bytes, size_t len,
			const struct file_bytes *was);

#endif
