/* SPDX-License-Identifier: MIT */
/*
 * end.h - how a connection ends that is not to be converted after all: refused, directly, or taken back.
 */
#ifndef CVT_END_H
#define CVT_END_H

#include "conn.h"

/* What exchange_advance() has said of fd, in EXCHANGE_OPENING: carries it out, and ends the exchange. */
void end_by(int fd, struct exchange *u, enum exchange_event event, int err);
/* Makes the kernel show what a refused connect shows, and ends the exchange; err is to be told. */
void end_refused(int fd, struct exchange *u, int err);
/* Nothing was sent: the program's own socket again, as it was before its connect(). */
void end_withdrawn(int fd);
/* Disconnected, and what has the number is no twin any more. */
void end_disconnected(int fd);

#endif
