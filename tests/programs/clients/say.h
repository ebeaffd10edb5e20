/* SPDX-License-Identifier: MIT */
/*
 * say.h - a program's calls as lines, and a table of cases as a program.
 *
 * A client prints one line for each call that it makes; the tests compare the lines of a run
 * without the shim with those of a converted one. So nothing is printed that differs between two
 * plain runs: no port numbers, no exact times.
 *
 * Usage of every client: NAME list
 *                        NAME [-j JOBS] [-l SECONDS] PATTERN TARGET PORT GOOD PORT
 * PATTERN is a shell pattern of case names. Each case runs in a process of its own, JOBS at a time,
 * for SECONDS at most, and its lines follow the line "== CASE". Clean exit: 0.
 */
#ifndef TEST_SAY_H
#define TEST_SAY_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#define LONG 6000 /* ms: longer than any outcome in these tests takes */

struct target {
	struct sockaddr_storage sa;
	socklen_t len;
};

/* Where the case connects to (who may refuse or stay mute), and a server that accepts. */
extern struct target target, good;

struct test_case {
	char name[64];
	void (*run)(int param);
	int param;
};

int say_main(int argc, char **argv, const struct test_case *cases, size_t n);

/* "CALL: VALUE" or "CALL: ERRNO"; errno as the call has left it. Returns r. */
long say_result(const char *call, long r);
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* In one of a few static buffers, so that two fit into one line. */
const char *say_events(unsigned int events); /* poll's and epoll's bits are the same */
const char *say_errno(int err);

/* The calls that most cases make, each with its line. */
int new_socket(int flags); /* of the target's family; exits if it cannot */
int do_connect(int fd);	   /* to the target */
int start(void);	   /* a non-blocking socket, connecting */
void do_poll(int fd, short events, int timeout_ms);
void do_error(int fd); /* SO_ERROR */
void do_names(int fd); /* getpeername, getsockname */
void do_send(int fd, const char *text);
void do_recv(int fd); /* up to 64 bytes, MSG_DONTWAIT */
void do_close(int fd);

void sleep_ms(int ms);
int64_t now_ms(void);

#endif
