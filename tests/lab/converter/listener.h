/* SPDX-License-Identifier: MIT */
/*
 * listener.h - the sockets that clients connect to.
 *
 * Promises: they stay open for the whole life of the process, which MP_JOIN needs
 * (LINUX-FACTS 5.4); running out of descriptors pauses them and never spins.
 */
#ifndef LAB_LISTENER_H
#define LAB_LISTENER_H

#include "options.h"

/* -errno, after a line on stderr that says which address. */
int listener_open_all(const struct options *o);
void listener_close_all(void);

#endif
