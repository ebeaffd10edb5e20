/* SPDX-License-Identifier: MIT */
/*
 * twin_options.h - the options in which MPTCP sockets differ from TCP's (LINUX-FACTS 4.2): the one
 * table that says which of them are hints.
 */
#ifndef CVT_TWIN_OPTIONS_H
#define CVT_TWIN_OPTIONS_H

#include "notes.h"

/* The program set it before connect(), and the twin has refused it. False: then there can be no
 * twin, and *name says which it was. */
bool twin_option_can_miss(int level, int name, const char **text);

/* Each family has options of its own for what its packets look like, and those of a twin that must be
 * are of the other one. False: o has nothing that means the same there. */
bool twin_option_across(const struct note_option *o, struct note_option *other);

#endif
