// SPDX-License-Identifier: MIT
#include "map_keep.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "mappings_file.h"
#include "state.h"

#define END_MS 4000 /* a server is asked twice in it */

int map_keep_begin(struct mappings *m, struct watch *w)
{
	int err = mappings_keep(m);

	if (err == -EBUSY)
		return err;
	if (err < 0 && err != -ENOENT) {
		m->unwritten = err;
		fprintf(stderr, "%s.map: %s; mappings are known to this process alone\n",
			state_path(), strerror(-err));
	}
	w->also = m->ready;
	return 0;
}

void map_keep_end(struct mappings *m, struct watch *w)
{
	int64_t until_ms = mappings_now_ms() + END_MS;

	watch_again(w);
	mappings_end(m);
	do {
		int64_t left_ms = until_ms - mappings_now_ms(), ms = mappings_turn(m);

		if (mappings_are_settled(m) || left_ms <= 0)
			break;
		if (watch_wait(w, ms < left_ms ? ms : left_ms) == WATCH_STOP)
			break;
	} while (true);
	mappings_turn(m); /* writes what has come */
}
