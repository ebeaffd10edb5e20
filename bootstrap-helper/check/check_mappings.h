/* SPDX-License-Identifier: MIT */
/* check_mappings.h - for `check`: can the ports that [incoming] names be reached from outside? */
#ifndef CVT_CHECK_MAPPINGS_H
#define CVT_CHECK_MAPPINGS_H

#include "config.h"
#include "finding.h"

/* Of a mapping that another process keeps the server is asked whether it is there; one that nobody keeps is made,
 * and ended again. Some seconds at most. The state must be set up. */
void check_mappings(struct findings *f, const struct config *config);

#endif
