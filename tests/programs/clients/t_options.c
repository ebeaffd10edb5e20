// SPDX-License-Identifier: MIT
/*
 * t_options - socket options: what is read before, while and after connecting, also when it was set
 * before or in between. Values that differ between two plain runs are left out.
 */
#include "say.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>

#ifndef TCP_FASTOPEN_NO_COOKIE
#define TCP_FASTOPEN_NO_COOKIE 34
#endif

static const struct option {
	const char *name;
	int level, number, value, other; /* value < 0: it is not set */
} options[] = {
	{ "SO_TYPE", SOL_SOCKET, SO_TYPE, -1, -1 },
	{ "SO_DOMAIN", SOL_SOCKET, SO_DOMAIN, -1, -1 },
	{ "SO_PROTOCOL", SOL_SOCKET, SO_PROTOCOL, -1, -1 },
	{ "SO_ACCEPTCONN", SOL_SOCKET, SO_ACCEPTCONN, -1, -1 },
	{ "SO_RCVLOWAT", SOL_SOCKET, SO_RCVLOWAT, 9, 5 },
	{ "SO_SNDLOWAT", SOL_SOCKET, SO_SNDLOWAT, 9, 5 },
	{ "SO_KEEPALIVE", SOL_SOCKET, SO_KEEPALIVE, 1, 0 },
	{ "SO_REUSEADDR", SOL_SOCKET, SO_REUSEADDR, 1, 0 },
	{ "SO_REUSEPORT", SOL_SOCKET, SO_REUSEPORT, 1, 0 },
	{ "SO_OOBINLINE", SOL_SOCKET, SO_OOBINLINE, 1, 0 },
	{ "SO_BROADCAST", SOL_SOCKET, SO_BROADCAST, 1, 0 },
	{ "SO_DONTROUTE", SOL_SOCKET, SO_DONTROUTE, 0, 0 },
	{ "SO_RCVBUF", SOL_SOCKET, SO_RCVBUF, 20000, 30000 },
	{ "SO_SNDBUF", SOL_SOCKET, SO_SNDBUF, 20000, 30000 },
	{ "SO_PRIORITY", SOL_SOCKET, SO_PRIORITY, 3, 4 },
	{ "SO_MARK", SOL_SOCKET, SO_MARK, -1, -1 },
	{ "SO_BUSY_POLL", SOL_SOCKET, SO_BUSY_POLL, -1, -1 },
	{ "SO_TIMESTAMP", SOL_SOCKET, SO_TIMESTAMP, 1, 0 },
	{ "SO_ZEROCOPY", SOL_SOCKET, SO_ZEROCOPY, 1, 0 },
	{ "SO_PEEK_OFF", SOL_SOCKET, SO_PEEK_OFF, 0, 3 },
	{ "SO_PEEK_OFF 3", SOL_SOCKET, SO_PEEK_OFF, 3, 0 },
	{ "TCP_NODELAY", IPPROTO_TCP, TCP_NODELAY, 1, 0 },
	{ "TCP_CORK", IPPROTO_TCP, TCP_CORK, 1, 0 },
	{ "TCP_KEEPIDLE", IPPROTO_TCP, TCP_KEEPIDLE, 77, 88 },
	{ "TCP_KEEPINTVL", IPPROTO_TCP, TCP_KEEPINTVL, 7, 8 },
	{ "TCP_KEEPCNT", IPPROTO_TCP, TCP_KEEPCNT, 7, 8 },
	{ "TCP_SYNCNT", IPPROTO_TCP, TCP_SYNCNT, 3, 4 },
	{ "TCP_LINGER2", IPPROTO_TCP, TCP_LINGER2, 7, 8 },
	{ "TCP_DEFER_ACCEPT", IPPROTO_TCP, TCP_DEFER_ACCEPT, 3, 7 },
	{ "TCP_USER_TIMEOUT", IPPROTO_TCP, TCP_USER_TIMEOUT, 9999, 8888 },
	{ "TCP_NOTSENT_LOWAT", IPPROTO_TCP, TCP_NOTSENT_LOWAT, 999, 888 },
	{ "TCP_WINDOW_CLAMP", IPPROTO_TCP, TCP_WINDOW_CLAMP, 9999, 8888 },
	{ "TCP_FASTOPEN", IPPROTO_TCP, TCP_FASTOPEN, -1, -1 },
	{ "TCP_FASTOPEN_CONNECT", IPPROTO_TCP, TCP_FASTOPEN_CONNECT, -1, 1 },
	{ "TCP_FASTOPEN_NO_COOKIE", IPPROTO_TCP, TCP_FASTOPEN_NO_COOKIE, 1, 1 },
	{ "TCP_INQ", IPPROTO_TCP, TCP_INQ, 1, 0 },
	{ "IP_TTL", IPPROTO_IP, IP_TTL, 77, 88 },
	{ "IP_TOS", IPPROTO_IP, IP_TOS, 8, 16 },
	{ "IP_MTU_DISCOVER", IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DONT, IP_PMTUDISC_WANT },
	{ "IP_FREEBIND", IPPROTO_IP, IP_FREEBIND, 1, 0 },
	{ "IP_RECVERR", IPPROTO_IP, IP_RECVERR, 1, 0 },
	{ "bad level", 77, 1, 1, 1 },
	{ "bad SOL_SOCKET", SOL_SOCKET, 999, 1, 1 },
	{ "bad IPPROTO_TCP", IPPROTO_TCP, 999, 1, 1 },
};

/* The kernel tunes buffers by itself as soon as a connection is up, and one to a converter was,
 * even if the server then refuses. */
static bool is_tuned(const struct option *o, bool was_set)
{
	return !was_set && (o->number == SO_SNDBUF || o->number == SO_RCVBUF) &&
	       o->level == SOL_SOCKET;
}

static void get(int fd, const struct option *o)
{
	int value = -77;
	socklen_t len = sizeof(value);
	int r = getsockopt(fd, o->level, o->number, &value, &len);

	if (r < 0)
		say("%s: %s", o->name, say_errno(errno));
	else
		say("%s: %d length %u", o->name, value, len);
}

static void set(int fd, const struct option *o, int value)
{
	say_result(o->name, setsockopt(fd, o->level, o->number, &value, sizeof(value)));
}

/* stage: in which the option is set: 0 before connect(), 1 while pending, 2 afterwards */
static void option_case(int param)
{
	const struct option *o = &options[param / 3];
	int stage = param % 3, fd = new_socket(SOCK_NONBLOCK);

	get(fd, o);
	if (stage == 0 && o->value >= 0)
		set(fd, o, o->value);
	get(fd, o);
	do_connect(fd);
	get(fd, o);
	if (stage == 1 && o->other >= 0)
		set(fd, o, o->other);
	get(fd, o);
	do_poll(fd, POLLOUT, 1500);
	if (!is_tuned(o, stage < 2))
		get(fd, o);
	do_error(fd);
	if (stage == 2 && o->other >= 0)
		set(fd, o, o->other);
	get(fd, o);
	do_names(fd);
	do_send(fd, "hello, hello");
	do_poll(fd, POLLIN, 700);
	do_recv(fd);
}

static void time_limits(int stage)
{
	struct timeval limit = { 3, 250000 }, got;
	socklen_t len = sizeof(got);
	int fd = new_socket(SOCK_NONBLOCK);

	for (int i = 0; i < 3; i++) {
		if (i == stage) {
			setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
			setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
		}
		getsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &got, &len);
		say("SO_SNDTIMEO: %ld.%06ld", (long)got.tv_sec, (long)got.tv_usec);
		getsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &got, &len);
		say("SO_RCVTIMEO: %ld.%06ld", (long)got.tv_sec, (long)got.tv_usec);
		if (i == 0)
			do_connect(fd);
		else
			do_poll(fd, POLLOUT, 1500);
	}
}

static void peer_option(int param) /* another way to ask for the peer */
{
	struct sockaddr_storage a = { 0 };
	socklen_t len = sizeof(struct sockaddr_in);
	int fd = start();

	(void)param;
	say_result("SO_PEERNAME", getsockopt(fd, SOL_SOCKET, SO_PEERNAME, &a, &len));
	say("length %u, the target's: %s", len,
	    memcmp(&a, &target.sa, target.len) == 0 ? "yes" : "no");
	do_poll(fd, POLLOUT, 1500);
	len = sizeof(struct sockaddr_in);
	say_result("SO_PEERNAME", getsockopt(fd, SOL_SOCKET, SO_PEERNAME, &a, &len));
	say("length %u, the target's: %s", len,
	    memcmp(&a, &target.sa, target.len) == 0 ? "yes" : "no");
}

static void sizes(int number) /* SO_ERROR, TCP_INFO with buffers of all sizes */
{
	int level = number == SO_ERROR ? SOL_SOCKET : IPPROTO_TCP, fd = start();
	static const socklen_t some[] = { 0, 1, 2, 3, 4, 5, 8, 104, 400 };

	for (int stage = 0; stage < 2; stage++) {
		for (size_t i = 0; i < sizeof(some) / sizeof(some[0]); i++) {
			unsigned char buffer[400];
			socklen_t len = some[i];
			int r;

			memset(buffer, 0xee, sizeof(buffer));
			r = getsockopt(fd, level, number, buffer, &len);
			say("%d size %u: %d length %u, first byte %d, behind %d", stage, some[i], r,
			    len,
			    number == SO_ERROR ? buffer[0] :
			    some[i]	       ? buffer[0] :
						 -1,
			    len < sizeof(buffer) ? buffer[len] : -1);
		}
		do_poll(fd, POLLOUT, 1500);
	}
}

static void state_is(int fd)
{
	struct tcp_info info;
	socklen_t len = sizeof(info);
	int r = getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len);

	say("TCP_INFO: %d state %d", r, r == 0 ? info.tcpi_state : -1);
}

static void tcp_info(int param)
{
	int fd = new_socket(SOCK_NONBLOCK);

	(void)param;
	state_is(fd);
	do_connect(fd);
	state_is(fd);
	do_poll(fd, POLLOUT, 1500);
	state_is(fd);
	do_error(fd);
	state_is(fd);
	shutdown(fd, SHUT_WR);
	sleep_ms(300);
	state_is(fd);
}

/* Lengths that no option has, of those that are answered for the kernel. stage: as above */
static void bad_lengths(int stage)
{
	static const struct {
		int level, name;
	} some[] = {
		{ SOL_SOCKET, SO_RCVLOWAT },  { SOL_SOCKET, SO_REUSEADDR },
		{ SOL_SOCKET, SO_ERROR },     { IPPROTO_TCP, TCP_QUICKACK },
		{ IPPROTO_TCP, TCP_SYNCNT },  { IPPROTO_TCP, TCP_INFO },
		{ IPPROTO_TCP, TCP_LINGER2 }, { IPPROTO_TCP, TCP_ZEROCOPY_RECEIVE },
		{ SOL_SOCKET, SO_PEERNAME },  { IPPROTO_TCP, TCP_FASTOPEN_NO_COOKIE },
	};
	static const int lengths[] = { -1, INT32_MIN, 0, 3 };
	int fd = new_socket(SOCK_NONBLOCK);

	if (stage > 0)
		do_connect(fd);
	if (stage > 1)
		do_poll(fd, POLLOUT, 1500);
	for (size_t i = 0; i < sizeof(some) / sizeof(some[0]); i++)
		for (size_t k = 0; k < sizeof(lengths) / sizeof(lengths[0]); k++) {
			int value[16] = { 1 };
			socklen_t len = (socklen_t)lengths[k];

			say("option %d of %d, length %d", some[i].name, some[i].level, lengths[k]);
			say_result("setsockopt",
				   setsockopt(fd, some[i].level, some[i].name, value, len));
			if (lengths[k] < 0)
				say_result("getsockopt", getsockopt(fd, some[i].level, some[i].name,
								    value, &len));
		}
	do_error(fd);
}

static struct test_case cases[256];

int main(int argc, char **argv)
{
	static const char *const stages[] = { "before", "pending", "after" };
	size_t n = 0;

	for (int i = 0; i < (int)(sizeof(options) / sizeof(options[0])) * 3; i++, n++) {
		snprintf(cases[n].name, sizeof(cases[n].name), "%s-%s", options[i / 3].name,
			 stages[i % 3]);
		cases[n].run = option_case;
		cases[n].param = i;
	}
	for (int i = 0; i < 3; i++, n++) {
		snprintf(cases[n].name, sizeof(cases[n].name), "time_limits-%s", stages[i]);
		cases[n].run = time_limits;
		cases[n].param = i;
	}
	for (int i = 0; i < 3; i++, n++) {
		snprintf(cases[n].name, sizeof(cases[n].name), "bad_lengths-%s", stages[i]);
		cases[n].run = bad_lengths;
		cases[n].param = i;
	}
	cases[n++] = (struct test_case){ "peer_option", peer_option, 0 };
	cases[n++] = (struct test_case){ "sizes-SO_ERROR", sizes, SO_ERROR };
	cases[n++] = (struct test_case){ "sizes-TCP_INFO", sizes, TCP_INFO };
	cases[n++] = (struct test_case){ "tcp_info", tcp_info, 0 };
	return say_main(argc, argv, cases, n);
}
