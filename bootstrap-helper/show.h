/* SPDX-License-Identifier: MIT */
/* show.h - what a configuration means, for people. A cookie is only said to be given. */
#ifndef CVT_SHOW_H
#define CVT_SHOW_H

#include "config.h"

void show_config(const struct config *config);

#endif
