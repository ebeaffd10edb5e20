/* SPDX-License-Identifier: MIT */
/*
 * passed.h - whose an accepted connection is, across exec: sshd starts itself anew for each, inetd a server.
 * The name goes along in the environment, by the socket's cookie; with a descriptor that is sent to another
 * process it does not.
 */
#ifndef CVT_PASSED_H
#define CVT_PASSED_H

#include "marks.h"

#define PASSED_NAME "CONVERT_PEERS="
#define PASSED_MOST 16
#define PASSED_HEX  52 /* of one: socket cookie, address, port */
#define PASSED_ROOM (sizeof(PASSED_NAME) + PASSED_MOST * PASSED_HEX)

/* How many have come with this program whose number nobody has asked about yet; and has it ever accepted one
 * itself? */
extern _Atomic int passed_left INTERNAL;
extern _Atomic bool passed_any INTERNAL;

/* Once, at the start. */
void passed_keep_environment(void);
/* fd, of which nothing is known: does it get its record now? */
bool passed_adopt(int fd);
static inline bool passed_is(int fd)
{
	return __builtin_expect(atomic_load_explicit(&passed_left, memory_order_relaxed) > 0, 0) &&
	       mark_get(fd) == MARK_UNKNOWN && passed_adopt(fd);
}

/* The variable for a program that is about to be started; all: the numbers are not those that it will inherit
 * them under. False: there is nothing to say. */
bool passed_is_variable(const char *text);
bool passed_write(char text[static PASSED_ROOM], bool all);

#endif
