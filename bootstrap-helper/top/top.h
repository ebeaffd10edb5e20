/* SPDX-License-Identifier: MIT */
/* top.h - how `convert-bootstrap top` shows connections: in lines, or as JSON (top.schema.json). */
#ifndef CVT_TOP_H
#define CVT_TOP_H

#include "connections.h"

#include <stdio.h>

#define TOP_LINE 400

/* How wide the columns are that are not always the same. */
struct top_columns {
	int program, server, why;
	bool rate;
};

/* For a screen; or, with a width of 0, for all that there is to say. */
struct top_columns top_columns(const struct connections *c, int width);
void top_heading(char out[static TOP_LINE], struct top_columns t);
/* "3 converted, 1 bypassed, 12 direct" */
void top_summary(char out[static TOP_LINE], const struct connections *c);
/* What could not be found out, and how it could; "" if that is nothing. */
void top_limits(char out[static TOP_LINE], const struct connections *c);
void top_connection(char out[static TOP_LINE], struct top_columns t, const struct connection *k);
/* A connection has so many lines more, one for each subflow. */
size_t top_paths(const struct connection *k);
void top_path(char out[static TOP_LINE], struct top_columns t, const struct connections *c,
	      const struct diag_socket *path);
void top_json(const struct connections *c);
const char *top_way(enum connection_way way);
bool top_is_mptcp(const struct connection *k);

#endif
