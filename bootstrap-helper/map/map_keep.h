/* SPDX-License-Identifier: MIT */
/* map_keep.h - mappings and what is waited for, as `map` and `run --watch` need them. */
#ifndef CVT_MAP_KEEP_H
#define CVT_MAP_KEEP_H

#include "base.h"
#include "mappings.h"

/* Of the mappings that were opened; watch_open() comes first. -EBUSY: another process keeps this user's. */
int map_keep_begin(struct mappings *m, struct watch *w);
/* Takes as long as the servers need to say that the mappings have ended, or nobody is there to; some
 * seconds at most. A further signal ends that, too. */
void map_keep_end(struct mappings *m, struct watch *w);

#endif
