/* SPDX-License-Identifier: MIT */
/* known.h - for `status`: which mappings there are (map.h), as known_mappings.c says it. */
#ifndef CVT_KNOWN_H
#define CVT_KNOWN_H

#include "config.h"
#include "json.h"

void known_mappings_print(const struct config *config);
json_t *known_mappings_json(const struct config *config);

#endif
