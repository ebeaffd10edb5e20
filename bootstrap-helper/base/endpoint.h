/* SPDX-License-Identifier: MIT */
/* endpoint.h - an address and a port as people write them. */
#ifndef CVT_ENDPOINT_H
#define CVT_ENDPOINT_H

#include "addr.h"

/* "192.0.2.1:443" or "[2001:db8::1]:443"; with a port that is not 0 also "192.0.2.1", "[2001:db8::1]" and
 * "2001:db8::1", which then have that. False: it is none of these; *a may have changed. */
bool endpoint_parse(struct addr *a, const char *text, uint16_t port);
/* Digits, 1 to 65535; 0: it is none. */
uint16_t endpoint_port(const char *text);

#endif
