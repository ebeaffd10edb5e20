// SPDX-License-Identifier: MIT
#include "any_int.h"

#include "sock.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/resource.h>

/* One for each address that connections have come from, as long as we live, the loopback's own for all that
 * is beyond that number. (A filter that drops the answers would do as well, but takes CAP_NET_ADMIN on newer
 * kernels.) */
#define PLACES 64
static struct nowhere_place {
	struct addr addr; /* its port when it is there */
	int family;
} places[PLACES];
static size_t n_places;

static struct sockaddr_storage name_of(const struct nowhere_place *p, socklen_t *len)
{
	struct sockaddr_storage name;

	*len = addr_to_sockaddr(&p->addr, p->family, &name);
	return name;
}

/* None of these calls is libc's: the library may stand before that in ourselves, too, and would convert it. */
static int new_socket(int family)
{
	const int type = SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC;

	return aside((int)sys_result(syscall(SYS_socket, family, type, 0)));
}

static int bound_to(const struct nowhere_place *p)
{
	int fd = new_socket(p->family);
	socklen_t len;
	struct sockaddr_storage name = name_of(p, &len);

	if (fd < 0)
		return fd;
	sock_set_int(fd, SOL_SOCKET, SO_REUSEPORT, 1);
	if (syscall(SYS_bind, fd, &name, len) == 0)
		return fd;
	close(fd);
	return -1;
}

static bool begins(int fd, const struct sockaddr_storage *to, socklen_t len)
{
	int r = sys_connect(fd, (const struct sockaddr *)to, len);

	return r == 0 || r == -EINPROGRESS;
}

/* The descriptors stay open: it is they that are nowhere. */
static bool make(struct nowhere_place *p)
{
	int listener = bound_to(p), first = new_socket(p->family);
	struct sockaddr_storage name;
	socklen_t len = sizeof(name);

	if (listener >= 0 && first >= 0 && syscall(SYS_listen, listener, 0) == 0 &&
	    sys_getsockname(listener, (struct sockaddr *)&name, &len) == 0 &&
	    addr_from_sockaddr(&p->addr, (struct sockaddr *)&name, len) == 0 &&
	    begins(first, &name, len)) {
		/* nor is it an affair of the network's: what has passed a router is not looked at */
		sock_set_int(listener, p->family == AF_INET ? IPPROTO_IP : IPPROTO_IPV6,
			     p->family == AF_INET ? IP_MINTTL : IPV6_MINHOPCOUNT, 255);
		return true;
	}
	close(listener);
	close(first);
	return false;
}

/* ... and no more than an eighth of our descriptors. */
static size_t most_places(void)
{
	struct rlimit files;

	return getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur / 16 < PLACES ?
		       (size_t)files.rlim_cur / 16 :
		       PLACES;
}

static struct nowhere_place *place_at(const struct addr *at, int family)
{
	struct nowhere_place *p = places;

	for (; p < places + n_places; p++)
		if (p->family == family && addr_equal_ip(&p->addr, at))
			return p;
	if (n_places >= most_places())
		return NULL;
	*p = (struct nowhere_place){ .addr = *at, .family = family };
	p->addr.port = 0;
	if (!make(p))
		return NULL;
	n_places++;
	return p;
}

static const struct nowhere_place *place_for(int theirs, int ours)
{
	static const struct addr loopback4 = { .ip = { [10] = 0xff, 0xff, 127, [15] = 1 } },
				 loopback6 = { .ip = { [15] = 1 } };
	int family = sock_int(theirs, SOL_SOCKET, SO_DOMAIN, 0);
	const struct nowhere_place *p = NULL;
	struct sockaddr_storage name;
	socklen_t len = sizeof(name);
	struct addr own;

	if (sys_getsockname(ours, (struct sockaddr *)&name, &len) == 0 &&
	    addr_from_sockaddr(&own, (struct sockaddr *)&name, len) == 0 &&
	    addr_classify(&own) == ADDR_GLOBAL && (family == AF_INET6 || addr_is_v4(&own)))
		p = place_at(&own, family);
	return p ? p : place_at(family == AF_INET ? &loopback4 : &loopback6, family);
}

/* A blocking connect() would wait here, and however short that is made (SO_SNDTIMEO), it is a tick that all others
 * stand still for. So it does not block for a moment, in which its thread is in our hands. Its flags, for
 * as_it_was(). */
static int unblock(int theirs)
{
	int flags = sys_fcntl(theirs, F_GETFL, 0);

	if (!(flags & O_NONBLOCK))
		sys_fcntl(theirs, F_SETFL, flags | O_NONBLOCK);
	return flags;
}

static void as_it_was(int theirs, int flags)
{
	if (!(flags & O_NONBLOCK))
		sys_fcntl(theirs, F_SETFL, flags);
}

bool nowhere_begin(int theirs, int ours, struct nowhere *n)
{
	struct sockaddr_storage to;
	socklen_t len;
	int flags, r;

	n->place = place_for(theirs, ours);
	if (!n->place)
		return false;
	if (sock_int(theirs, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 0))
		sock_set_int(theirs, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 0);
	to = name_of(n->place, &len);
	flags = unblock(theirs);
	r = sys_connect(theirs, (struct sockaddr *)&to, len);
	as_it_was(theirs, flags);
	n->len = sizeof(n->name);
	if (r == -EINPROGRESS && sys_getsockname(theirs, (struct sockaddr *)&n->name, &n->len) == 0)
		return true;
	nowhere_withdraw(theirs);
	return false;
}

bool nowhere_waits(int theirs)
{
	return sock_tcp_state(theirs) == TCP_SYN_SENT;
}

bool nowhere_is_same(const struct nowhere *a, const struct nowhere *b)
{
	return a->place == b->place && a->len == b->len && memcmp(&a->name, &b->name, a->len) == 0;
}

int nowhere_complete(const struct nowhere *n)
{
	int far = bound_to(n->place);

	if (far < 0)
		return -ECONNABORTED;
	if (begins(far, &n->name, n->len))
		return far;
	close(far);
	return -ECONNABORTED;
}

void nowhere_withdraw(int theirs)
{
	sock_disconnect(theirs);
	sock_int(theirs, SOL_SOCKET, SO_ERROR, 0); /* which that leaves */
}

bool nowhere_refuse(int theirs, bool bound)
{
	struct sockaddr_storage name, any = { 0 };
	struct sockaddr_in *to =
		(struct sockaddr_in *)&name; /* the port is at the same place in both */
	socklen_t len = sizeof(name);
	int flags = unblock(theirs), r;

	sys_getsockname(theirs, (struct sockaddr *)&name, &len);
	any.ss_family = name.ss_family;
	((struct sockaddr_in *)&any)->sin_port = to->sin_port;
	to->sin_port = 0; /* where nobody can listen */
	/* There is no other way to an error without a packet's coming in, and between these two calls, or three, it is
	 * seen disconnected by who is quick. */
	sock_disconnect(theirs);
	if (bound)
		syscall(SYS_bind, theirs, &any, len);
	r = sys_connect(theirs, (struct sockaddr *)&name, len);
	as_it_was(theirs, flags);
	if (r == -EINPROGRESS)
		return true;
	nowhere_withdraw(theirs);
	return false;
}

bool nowhere_told(int theirs)
{
	struct sockaddr any = { .sa_family = AF_INET };

	return sys_connect(theirs, &any, sizeof(any)) != -ECONNABORTED;
}
