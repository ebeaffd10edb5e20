/* SPDX-License-Identifier: MIT */
/* map_show.h - what becomes of mappings, a line each, for people or as JSON (map.schema.json). */
#ifndef CVT_MAP_SHOW_H
#define CVT_MAP_SHOW_H

#include "mappings.h"

struct map_show {
	bool as_json;
	bool verbose; /* renewals, too */
	bool is_lost; /* there is no writing it, which has been said */
};

/* A mappings_tell_fn; arg is the struct map_show. */
void map_show(const struct mappings_server *s, const struct mapping *m, enum mapping_event event,
	      void *arg);

#endif
