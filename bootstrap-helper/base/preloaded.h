/* SPDX-License-Identifier: MIT */
/*
 * preloaded.h - what /etc/ld.so.preload, which the loader reads for every program, says of the library.
 */
#ifndef CVT_PRELOADED_H
#define CVT_PRELOADED_H

#include <stdbool.h>
#include <stddef.h>

/* False: it is not named there; else as it is written, if that fits. */
bool preloaded_name(char *name, size_t size);
/* 0, or the errno of what the loader will have met. */
int preloaded_error(const char *name);

#endif
