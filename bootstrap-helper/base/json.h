/* SPDX-License-Identifier: MIT */
/*
 * json.h - what convert-bootstrap says to programs. jansson builds the values and writes them; what
 * it leaves to its caller is here: text that is not UTF-8 (file names, a line of somebody's file),
 * and no memory, which ends the program with a message.
 *
 * Never: a cookie. Nobody gives us one; see the tests.
 */
#ifndef CVT_JSON_H
#define CVT_JSON_H

#include <jansson.h>

/* A string; each byte that belongs to no character becomes U+FFFD. null for NULL. */
json_t *json_text(const char *text);
/* These take value over. */
void json_put(json_t *object, const char *key, json_t *value);
void json_add(json_t *array, json_t *value);
/* Writes it to standard output, members in the order in which they were put, and lets it go. */
void json_print(json_t *value);
/* The same on one line. */
void json_print_line(json_t *value);

#endif
