/* SPDX-License-Identifier: MIT */
/*
 * twin_options.h - the options in which MPTCP sockets differ from TCP's (LINUX-FACTS 4.2): the one
 * table that says which of them are hints.
 */
#ifndef CVT_TWIN_OPTIONS_H
#define CVT_TWIN_OPTIONS_H

#include <stdbool.h>

/* The program set it before connect(), and the twin has refused it. False: then there can be no
 * twin, and *name says which it was. */
bool twin_option_can_miss(int level, int name, const char **text);

#endif
