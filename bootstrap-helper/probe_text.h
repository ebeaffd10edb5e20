/* SPDX-License-Identifier: MIT */
/* probe_text.h - a probe in words. Never: a cookie. */
#ifndef CVT_PROBE_TEXT_H
#define CVT_PROBE_TEXT_H

#include "probe.h"

#define PROBE_TEXT_MAX 200

/* "rfc8803, 12.3 ms, 0-RTT, MPTCP", or what is wrong. */
void probe_summary(const struct probe *p, char out[static PROBE_TEXT_MAX]);
/* What is wrong, alone. */
/* What a connection over MPTCP costs more than one over TCP, as its reply is held back; 0: it is not. */
uint32_t probe_held_us(const struct probe *p);
void probe_failure(const struct probe *p, char out[static PROBE_TEXT_MAX]);
const char *probe_dialect_text(enum cvt_dialect dialect);
/* Some lines, each with four spaces before it, to standard output. */
void probe_print_details(const struct probe *p);

#endif
