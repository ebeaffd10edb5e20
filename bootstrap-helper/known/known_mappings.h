/* SPDX-License-Identifier: MIT */
/* known_mappings.h - for `status`: which mappings there are (map.h). */
#ifndef CVT_KNOWN_MAPPINGS_H
#define CVT_KNOWN_MAPPINGS_H

#include "config.h"
#include "json.h"

void known_mappings_print(const struct config *config);
json_t *known_mappings_json(const struct config *config);

#endif
