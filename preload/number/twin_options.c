// SPDX-License-Identifier: MIT
#include "twin_int.h"

#include "sock.h"

#include <string.h>

#ifndef IP_LOCAL_PORT_RANGE
#define IP_LOCAL_PORT_RANGE 51
#endif
#ifndef SO_TXREHASH
#define SO_TXREHASH 74
#endif
#ifndef SO_BUF_LOCK
#define SO_BUF_LOCK 72
#endif
#ifndef TCP_RTO_MAX_MS
#define TCP_RTO_MAX_MS 44
#endif

struct row {
	int level, name;
	/* A hint: without it the connection is as good. What is no hint a program may rely on. */
	bool hint_before, hint_after; /* connect() */
	char text[26];
};

#define ROW(level, name, before, after)           \
	{                                         \
		level, name, before, after, #name \
	}

/* Which hint is one before connect() only or after it only is where the value would take effect. */
static const struct row rows[] = {
	ROW(IPPROTO_TCP, TCP_QUICKACK, true, true),
	ROW(IPPROTO_TCP, TCP_THIN_LINEAR_TIMEOUTS, true, true),
	ROW(IPPROTO_TCP, TCP_THIN_DUPACK, true, true),
	ROW(IPPROTO_TCP, TCP_LINGER2, true, true),
	ROW(IPPROTO_TCP, TCP_DELACK_MAX_US, true, true),
	ROW(IPPROTO_TCP, TCP_SAVE_SYN, true, true), /* a listener's */
	ROW(IPPROTO_TCP, TCP_SYNCNT, false, true),
	ROW(IPPROTO_TCP, TCP_USER_TIMEOUT, false, false),
	ROW(IPPROTO_TCP, TCP_WINDOW_CLAMP, false, false),
	ROW(IPPROTO_TCP, TCP_TX_DELAY, false, false),
	ROW(IPPROTO_TCP, TCP_REPAIR, false, false),
	ROW(IPPROTO_TCP, TCP_RTO_MIN_US, false, false),
	ROW(IPPROTO_TCP, TCP_RTO_MAX_MS, false, false),
	ROW(IPPROTO_TCP, TCP_ULP, false, false),
	ROW(IPPROTO_IP, IP_PKTINFO, true, true),
	ROW(IPPROTO_IP, IP_RECVTOS, true, true),
	ROW(IPPROTO_IP, IP_RECVTTL, true, true),
	ROW(IPPROTO_IP, IP_TTL, false, false),
	ROW(IPPROTO_IP, IP_MINTTL, false, false),
	ROW(IPPROTO_IP, IP_MTU_DISCOVER, false, false),
	ROW(IPPROTO_IP, IP_RECVERR, false, false),
	ROW(IPPROTO_IP, IP_OPTIONS, false, false),
	ROW(IPPROTO_IP, IP_UNICAST_IF, false, false),
	/* refused on a connected socket, where they have nothing left to do */
	ROW(IPPROTO_IP, IP_TRANSPARENT, false, true),
	ROW(IPPROTO_IP, IP_FREEBIND, false, true),
	ROW(IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, false, true),
	ROW(IPPROTO_IP, IP_LOCAL_PORT_RANGE, false, true),
	ROW(SOL_SOCKET, SO_REUSEADDR, false, true),
	ROW(SOL_SOCKET, SO_REUSEPORT, false, true),
	/* urgent data comes in band on MPTCP, which is what it asks for */
	ROW(SOL_SOCKET, SO_OOBINLINE, true, true),
	ROW(SOL_SOCKET, SO_TXREHASH, true, true),
	ROW(SOL_SOCKET, SO_CNX_ADVICE, true, true),
	ROW(SOL_SOCKET, SO_ZEROCOPY, false, false),
	ROW(SOL_SOCKET, SO_PEEK_OFF, false, false),
	ROW(SOL_SOCKET, SO_MAX_PACING_RATE, false, false),
	ROW(SOL_SOCKET, SO_TXTIME, false, false),
	ROW(SOL_SOCKET, SO_BUF_LOCK, false, false),
	ROW(SOL_SOCKET, SO_LOCK_FILTER, false, false),
	ROW(IPPROTO_IPV6, IPV6_TCLASS, true, true),
	ROW(IPPROTO_IPV6, IPV6_RECVTCLASS, true, true),
	ROW(IPPROTO_IPV6, IPV6_RECVPKTINFO, true, true),
	ROW(IPPROTO_IPV6, IPV6_AUTOFLOWLABEL, true, true),
	ROW(IPPROTO_IPV6, IPV6_ADDR_PREFERENCES, false, true),
	ROW(IPPROTO_IPV6, IPV6_UNICAST_HOPS, false, false),
	ROW(IPPROTO_IPV6, IPV6_MTU_DISCOVER, false, false),
	ROW(IPPROTO_IPV6, IPV6_DONTFRAG, false, false),
};

static const struct row *find(int level, int name)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (rows[i].level == level && rows[i].name == name)
			return &rows[i];
	return NULL;
}

bool twin_option_can_miss(int level, int name, const char **text)
{
	const struct row *row = find(level, name);

	if (row && row->hint_before)
		return true;
	*text = row ? row->text : "an option that another socket refuses";
	return false;
}

bool twin_option_across(const struct note_option *o, struct note_option *other)
{
	static const struct {
		uint16_t v4, v6;
	} pairs[] = {
		{ IP_TOS, IPV6_TCLASS },
		{ IP_TTL, IPV6_UNICAST_HOPS },
		{ IP_MTU_DISCOVER, IPV6_MTU_DISCOVER },
		{ IP_RECVERR, IPV6_RECVERR },
		{ IP_MINTTL, IPV6_MINHOPCOUNT },
	};
	bool v4 = o->level == IPPROTO_IP;
	int number = o->value[0]; /* all that IPv4 needs */

	if (!v4 && o->level != IPPROTO_IPV6)
		return false;
	if (o->len >= sizeof(number))
		memcpy(&number, o->value, sizeof(number));
	if (!v4 && o->name == IPV6_TCLASS && number == -1) /* none of its own */
		number = 0;
	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++)
		if (o->name == (v4 ? pairs[i].v4 : pairs[i].v6)) {
			other->level = v4 ? IPPROTO_IPV6 : IPPROTO_IP;
			other->name = v4 ? pairs[i].v6 : pairs[i].v4;
			other->len = sizeof(number);
			memcpy(other->value, &number, sizeof(number));
			return true;
		}
	return false;
}

static void answer(void *value, socklen_t *len, const void *bytes, socklen_t size)
{
	if (*len > size)
		*len = size;
	memcpy(value, bytes, *len);
}

static int answer_int(void *value, socklen_t *len, int number)
{
	answer(value, len, &number, sizeof(number));
	return 0;
}

/* The path MTU, which TCP tells on its first subflow. */
static int get_mtu(int fd, void *value, socklen_t *len)
{
	int mtu = (int)sock_tcp(fd).info.tcpi_pmtu;

	return mtu ? answer_int(value, len, mtu) : -ENOTCONN;
}

/* What the program's own socket would say. 0 or a negative errno. */
static int get_plain(const struct note *n, int level, int name, void *value, socklen_t *len)
{
	struct note_option option;
	int type = SOCK_STREAM | SOCK_CLOEXEC, r;
	int fd = (int)sys_result(syscall(SYS_socket, (int)n->family, type, IPPROTO_TCP));

	if (fd < 0)
		return fd;
	if (note_find(n, level, name, &option))
		sys_setsockopt(fd, level, name, option.value, option.len);
	r = sys_getsockopt(fd, level, name, value, len);
	syscall(SYS_close, fd);
	return r;
}

bool twin_own_is_only_v6(int fd)
{
	int on = 0;
	socklen_t len = sizeof(on);

	if (!note_has_twin(fd))
		return sock_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0);
	return twin_getsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, &len) == 0 && on;
}

/* An IPv4 socket knows no option of this level, whatever has its number. */
static bool is_of_other_family(int fd, int level)
{
	if (level != IPPROTO_IPV6 || (note_has_twin(fd) && note_at(fd)->family != AF_INET))
		return false;
	return twin_is(fd) && note_at(fd)->family == AF_INET;
}

/* MPTCP has refused what TCP knows. 0 or a negative errno. */
static int get_refused(int fd, int level, int name, void *value, socklen_t *len)
{
	if (level == IPPROTO_IP && name == IP_MTU)
		return get_mtu(fd, value, len);
	if (level == IPPROTO_TCP && name == TCP_WINDOW_CLAMP) /* a matter of the connection */
		return -EOPNOTSUPP;
	return get_plain(note_at(fd), level, name, value, len);
}

/* What an MPTCP socket takes, and says nothing of it later. */
static bool is_forgotten(int level, int name)
{
	return level == SOL_SOCKET &&
	       (name == SO_BROADCAST || name == SO_RXQ_OVFL || name == SO_WIFI_STATUS);
}

/* What an MPTCP socket answers, but not as TCP would: what to say instead. 1: nothing. */
static int get_otherwise(int fd, int level, int name, void *value, socklen_t *len)
{
	const struct row *row = find(level, name);
	const struct note *n = note_at(fd);
	struct note_option option;

	if (level == IPPROTO_TCP && name == TCP_ULP) {
		*len = 0; /* "mptcp" */
		return 0;
	}
	if (level == IPPROTO_TCP && name == TCP_INFO)
		twin_tcp_info(fd, value, *len);
	if (level == IPPROTO_IPV6 && name == IPV6_V6ONLY)
		return n->only_v6 ? answer_int(value, len, 1) : 1;
	if (row && row->hint_after && note_find(n, level, name, &option))
		return get_plain(n, level, name, value, len); /* refused, or taken earlier */
	if (level != SOL_SOCKET)
		return 1;
	switch (name) {
	case SO_PROTOCOL:
		return answer_int(value, len, IPPROTO_TCP);
	case SO_ERROR:
		twin_told(fd);
		return 0;
	case SO_DOMAIN:
		return answer_int(value, len, n->family);
	default:
		return is_forgotten(level, name) && note_find(n, level, name, &option) ?
			       get_plain(n, level, name, value, len) :
			       1;
	}
}

/* No error is none of either: what every connect() that does not wait ends with. */
static bool is_no_error(int level, int name, const void *value, socklen_t len)
{
	static const uint8_t none[sizeof(int)];

	return level == SOL_SOCKET && name == SO_ERROR && memcmp(value, none, len) == 0;
}

int twin_getsockopt(int fd, int level, int name, void *value, socklen_t *len)
{
	int saved_errno = errno, r;

	if (is_of_other_family(fd, level))
		return libc_result(-EOPNOTSUPP, saved_errno);
	r = REAL(getsockopt)(fd, level, name, value, len);
	if ((r < 0 && errno != EOPNOTSUPP && errno != ENOPROTOOPT) || (int)*len < 0 ||
	    (r == 0 && is_no_error(level, name, value, *len)) || !twin_is(fd))
		return r;
	r = r < 0 ? get_refused(fd, level, name, value, len) :
		    get_otherwise(fd, level, name, value, len);
	return libc_result(r < 0 ? r : 0, saved_errno);
}

/* ... if fd sends to the other family. */
static void set_across(int fd, int level, int name)
{
	const struct note *n = note_at(fd);
	struct note_option o, other;

	if ((n->twin_family != n->family || n->only_v6) && note_find(n, level, name, &o) &&
	    twin_option_across(&o, &other))
		sys_setsockopt(fd, other.level, other.name, other.value, other.len);
}

int twin_setsockopt(int fd, int level, int name, const void *value, socklen_t len)
{
	const struct row *row = find(level, name);
	int saved_errno = errno, r, err;

	if (is_of_other_family(fd, level))
		return libc_result(-ENOPROTOOPT, saved_errno);
	r = REAL(setsockopt)(fd, level, name, value, len);
	err = errno;
	if (r == 0 && note_is_accepted(fd) && !note_has_twin(fd) && !is_forgotten(level, name))
		return 0; /* if it is one, it says so itself */
	if ((r < 0 && err != EOPNOTSUPP && err != ENOPROTOOPT && err != EINVAL) || !twin_is(fd))
		return r;
	if (r < 0 && (!row || !row->hint_after || !value || (int)len < (int)sizeof(int))) {
		errno = err;
		return r;
	}
	if (level == IPPROTO_IPV6 && name == IPV6_V6ONLY)
		note_at(fd)->only_v6 = false; /* the twin says what the program has set */
	note_option(fd, level, name, value, len);
	set_across(fd, level, name);
	errno = saved_errno;
	return 0;
}

int twin_ioctl(int fd, unsigned long request, void *arg, int r)
{
	int saved_errno = errno;

	switch (request) {
	case FIONBIO:
		if (r == 0)
			note_nonblocking(fd, *(int *)arg);
		break;
	case FIOCLEX:
	case FIONCLEX:
		note_cloexec(fd);
		break;
	case FIOASYNC:
	case FIOSETOWN:
	case SIOCSPGRP:
		if (r == 0)
			note_spoil(fd, "its owner for signals");
		break;
	case FIONREAD:
		if (r == 0 && *(int *)arg > 0 &&
		    !(note_has_twin(fd) && !note_at(fd)->twin_is_mptcp) && twin_is(fd))
			*(int *)arg = twin_unread(fd, *(int *)arg);
		break;
	case SIOCATMARK: /* MPTCP has no urgent data to be at */
		if (r < 0 && saved_errno == ENOTTY && arg && twin_is(fd)) {
			*(int *)arg = 0;
			r = 0;
		}
		break;
	default:
		break;
	}
	errno = saved_errno;
	return r;
}
