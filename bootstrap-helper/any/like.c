// SPDX-License-Identifier: MIT
#include "any_int.h"

#include "notes.h"
#include "record.h"
#include "sock.h"
#include "twin.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif
#ifndef IPV6_ADDR_PREFERENCES /* libc's headers have none */
#define IPV6_ADDR_PREFERENCES 72
#endif

enum kind {
	INT,
	HALF,	/* the kernel says twice of what was set */
	LINGER, /* of another size */
	TIMES,
	NAME,
	AFTERWARDS, /* an int that would keep us from seeing a short reply */
};

/* later: set after connect(), it is to be seen there; what the connection itself changes is not. */
static const struct row {
	int level, name;
	enum kind kind;
	bool later;
} rows[] = {
	{ SOL_SOCKET, SO_KEEPALIVE, INT, true },
	{ SOL_SOCKET, SO_REUSEADDR, INT, true },
	{ SOL_SOCKET, SO_REUSEPORT, INT, true },
	{ SOL_SOCKET, SO_SNDBUF, HALF, false },
	{ SOL_SOCKET, SO_RCVBUF, HALF, false },
	{ SOL_SOCKET, SO_OOBINLINE, INT, true },
	{ SOL_SOCKET, SO_PRIORITY, INT, true },
	{ SOL_SOCKET, SO_MARK, INT, true },
	{ SOL_SOCKET, SO_BINDTOIFINDEX, INT, false },
	{ SOL_SOCKET, SO_DONTROUTE, INT, true },
	{ SOL_SOCKET, SO_TIMESTAMP, INT, true },
	{ SOL_SOCKET, SO_TIMESTAMPNS, INT, true },
	{ SOL_SOCKET, SO_TIMESTAMPING, INT, true },
	{ SOL_SOCKET, SO_BUSY_POLL, INT, true },
	{ SOL_SOCKET, SO_ZEROCOPY, INT, true },
	{ SOL_SOCKET, SO_PEEK_OFF, INT, true },
	{ SOL_SOCKET, SO_MAX_PACING_RATE, INT, true },
	{ SOL_SOCKET, SO_RCVLOWAT, AFTERWARDS, true },
	{ SOL_SOCKET, SO_LINGER, LINGER, true },
	{ SOL_SOCKET, SO_RCVTIMEO, TIMES, true },
	{ SOL_SOCKET, SO_SNDTIMEO, TIMES, true },
	{ IPPROTO_TCP, TCP_NODELAY, INT, true },
	{ IPPROTO_TCP, TCP_MAXSEG, INT, false },
	{ IPPROTO_TCP, TCP_CORK, INT, true },
	{ IPPROTO_TCP, TCP_KEEPIDLE, INT, true },
	{ IPPROTO_TCP, TCP_KEEPINTVL, INT, true },
	{ IPPROTO_TCP, TCP_KEEPCNT, INT, true },
	{ IPPROTO_TCP, TCP_SYNCNT, INT, true },
	{ IPPROTO_TCP, TCP_USER_TIMEOUT, INT, true },
	{ IPPROTO_TCP, TCP_LINGER2, INT, true },
	{ IPPROTO_TCP, TCP_NOTSENT_LOWAT, INT, true },
	{ IPPROTO_TCP, TCP_WINDOW_CLAMP, INT, false },
	{ IPPROTO_TCP, TCP_CONGESTION, NAME, true },
	{ IPPROTO_TCP, TCP_INQ, INT, true },
	{ IPPROTO_IP, IP_TOS, INT, true },
	{ IPPROTO_IP, IP_TTL, INT, true },
	{ IPPROTO_IP, IP_MTU_DISCOVER, INT, true },
	{ IPPROTO_IP, IP_RECVERR, INT, true },
	{ IPPROTO_IP, IP_MINTTL, INT, true },
	{ IPPROTO_IP, IP_UNICAST_IF, INT, false },
	{ IPPROTO_IP, IP_FREEBIND, INT, false },
	{ IPPROTO_IP, IP_TRANSPARENT, INT, false },
	{ IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, INT, false },
	{ IPPROTO_IPV6, IPV6_V6ONLY, INT, false },
	{ IPPROTO_IPV6, IPV6_UNICAST_IF, INT, false },
	{ IPPROTO_IPV6, IPV6_ADDR_PREFERENCES, INT, false },
	{ IPPROTO_IPV6, IPV6_UNICAST_HOPS, INT, true },
	{ IPPROTO_IPV6, IPV6_TCLASS, INT, true },
	{ IPPROTO_IPV6, IPV6_MTU_DISCOVER, INT, true },
	{ IPPROTO_IPV6, IPV6_RECVERR, INT, true },
	{ IPPROTO_IPV6, IPV6_MINHOPCOUNT, INT, true },
};
#define ROWS (sizeof(rows) / sizeof(*rows))
_Static_assert(ROWS <= LIKE_OPTIONS, "struct like is too small");

struct value {
	uint8_t bytes[NOTE_VALUE_MAX];
	socklen_t len;
};

static bool get(int fd, const struct row *row, struct value *v)
{
	*v = (struct value){ .len = row->kind == LINGER || row->kind == TIMES || row->kind == NAME ?
					    NOTE_VALUE_MAX :
					    sizeof(int) };
	return sys_getsockopt(fd, row->level, row->name, v->bytes, &v->len) == 0;
}

static int as_int(const struct value *v)
{
	uint32_t sum = 0;
	int number;

	if (v->len == sizeof(number)) {
		memcpy(&number, v->bytes, sizeof(number));
		return number;
	}
	for (socklen_t i = 0; i < v->len; i++) /* one that only has to change with it */
		sum = sum * 31 + v->bytes[i];
	return (int)sum;
}

static void set(int fd, const struct row *row, struct value *v)
{
	int number = as_int(v) / 2;

	if (row->kind == HALF)
		memcpy(v->bytes, &number, sizeof(number));
	if (sys_setsockopt(fd, row->level, row->name, v->bytes, v->len) == 0)
		note_option(fd, row->level, row->name, v->bytes, v->len);
}

/* IPv4's options are an IPv6 socket's too, but not all of them mean anything there. */
static bool is_of(const struct row *row, const struct like *is)
{
	return row->level != IPPROTO_IPV6 || is->family == AF_INET6;
}

/* What a new one says: asked once, of the first one of its kind. */
static const int *of_new(int ours, const struct like *is)
{
	static struct {
		bool is_known;
		int values[LIKE_OPTIONS];
	} kinds[4], *kind;
	struct value value;

	kind = &kinds[(is->family == AF_INET6) * 2 + (is->protocol == IPPROTO_MPTCP)];
	for (size_t i = 0; !kind->is_known && i < ROWS; i++)
		if (is_of(&rows[i], is) && get(ours, &rows[i], &value))
			kind->values[i] = as_int(&value);
	kind->is_known = true;
	return kind->values;
}

static void carry_options(int theirs, struct like *is, int ours)
{
	const int *new = of_new(ours, is);
	struct value value;

	for (size_t i = 0; i < ROWS; i++) {
		is->values[i] = 0;
		if (!is_of(&rows[i], is) || !get(theirs, &rows[i], &value))
			continue;
		is->values[i] = rows[i].kind == AFTERWARDS ? new[i] : as_int(&value);
		if (is->values[i] != new[i])
			set(ours, &rows[i], &value);
	}
}

/* Who is sent the signals for it, urgent data's too, and which; only if that is the process itself. To another one they
 * would come with our rights, which may be more than the program has. */
static void carry_owner(int theirs, int process, int ours)
{
	struct f_owner_ex owner = { .pid = 0 };
	int number;

	if (sys_fcntl(theirs, F_GETOWN_EX, (long)&owner) < 0 || owner.type == F_OWNER_PGRP ||
	    owner.pid == 0 || target_process(owner.pid) != process)
		return;
	sys_fcntl(ours, F_SETOWN_EX, (long)&owner);
	number = sys_fcntl(theirs, F_GETSIG, 0);
	if (number > 0)
		sys_fcntl(ours, F_SETSIG, number);
}

void like_again(int theirs, int process, const struct like *is, int ours)
{
	struct value value;

	carry_owner(theirs, process, ours);
	for (size_t i = 0; i < ROWS; i++)
		if (rows[i].later && is_of(&rows[i], is) && get(theirs, &rows[i], &value) &&
		    as_int(&value) != is->values[i])
			set(ours, &rows[i], &value);
}

/* A port that theirs holds is lent. */
static bool bind_like(int theirs, struct like *is, int ours)
{
	int wanted = sock_int(ours, SOL_SOCKET, SO_REUSEADDR, 0);
	struct sockaddr_storage name;
	socklen_t len = sizeof(name);
	struct addr a;
	int r;

	is->bound = is->lends = false;
	if (sys_getsockname(theirs, (struct sockaddr *)&name, &len) < 0 ||
	    addr_from_sockaddr(&a, (struct sockaddr *)&name, len) < 0)
		return false;
	if (a.port == 0 && addr_classify(&a) == ADDR_UNSPECIFIED)
		return true;
	is->bound = a.port != 0;
	is->lends = !wanted;
	sock_set_int(theirs, SOL_SOCKET, SO_REUSEADDR, 1);
	sock_set_int(ours, SOL_SOCKET, SO_REUSEADDR, 1);
	r = (int)sys_result(syscall(SYS_bind, ours, &name, len));
	sock_set_int(ours, SOL_SOCKET, SO_REUSEADDR, wanted);
	note_bound(ours, (struct sockaddr *)&name, len);
	return r == 0;
}

void like_bound(int theirs, const struct like *is)
{
	if (is->lends)
		sock_set_int(theirs, SOL_SOCKET, SO_REUSEADDR, 0);
}

int like_open(int theirs, struct like *is)
{
	const int type = SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC;
	int ours;

	is->family = sock_int(theirs, SOL_SOCKET, SO_DOMAIN, 0);
	is->protocol = sock_int(theirs, SOL_SOCKET, SO_PROTOCOL, 0);
	ours = aside((int)sys_result(syscall(SYS_socket, is->family, type, is->protocol)));
	if (ours < 0)
		return ours;
	conn_own();
	conn_forget(ours);
	mark_set(ours, MARK_TCP);
	note_begin(ours, is->family, type, is->protocol == IPPROTO_MPTCP);
	carry_options(theirs, is, ours);
	if (bind_like(theirs, is, ours))
		return ours;
	like_bound(theirs, is);
	like_close(ours);
	return -EADDRINUSE;
}

void like_close(int ours)
{
	conn_forget(ours);
	note_end(ours);
	close(ours);
}

static uint64_t network_of(int fd)
{
	uint64_t cookie = 0;
	socklen_t len = sizeof(cookie);

	return sys_getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &len) < 0 ? 0 : cookie;
}

bool like_is_here(int theirs)
{
	static uint64_t here;
	int own;

	if (!here) {
		own = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
		here = network_of(own);
		close(own);
	}
	return here && network_of(theirs) == here;
}
