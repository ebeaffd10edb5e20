/* SPDX-License-Identifier: MIT */
/* kinds.h - TCP options by the names that people know them by: "30 (MPTCP)", or "77". */
#ifndef CVT_KINDS_H
#define CVT_KINDS_H

#include <stdint.h>

#define KINDS_TEXT_MAX 24

/* Returns the text's length. */
int kinds_format(uint8_t kind, char text[static KINDS_TEXT_MAX]);

#endif
