/* SPDX-License-Identifier: MIT */
/* map_text.h - what the answers of a PCP server mean, for people. */
#ifndef CVT_MAP_TEXT_H
#define CVT_MAP_TEXT_H

#include <stdint.h>

#define MAP_TEXT_MAX 160

/* "NOT_AUTHORIZED: it does not serve this host, or another process has mapped the port" */
void map_text_result(int result, char text[static MAP_TEXT_MAX]);
/* In place of an answer: an errno, 0 for silence. */
void map_text_no_answer(int err, char text[static MAP_TEXT_MAX]);
/* What mends it. */
const char *map_text_mend(int result);

#endif
