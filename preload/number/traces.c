// SPDX-License-Identifier: MIT
#include "traces.h"

#include "notes.h"
#include "sock.h"

#include <linux/net_tstamp.h>
#include <string.h>

static const int stamps[] = { SO_TIMESTAMPING_OLD, SO_TIMESTAMPING_NEW };
#define STAMPS	    (sizeof(stamps) / sizeof(stamps[0]))
#define STAMPS_MOST 64 /* a message has four at most */

/* NULL: nothing was set that leaves any. */
static const struct note *special(int fd)
{
	const struct note *n = note_at(fd);

	return n && note_is_special(n) ? n : NULL;
}

/* False: time stamps of this kind are not asked for. */
static bool flags_of(const struct note *n, int name, struct note_option *o, unsigned int *flags)
{
	if (!note_is_on(n, SOL_SOCKET, name) || !note_find(n, SOL_SOCKET, name, o) ||
	    o->len < sizeof(*flags))
		return false;
	memcpy(flags, o->value, sizeof(*flags));
	return true;
}

int traces_option(const struct note *n)
{
	struct note_option o;
	unsigned int flags;

	for (size_t i = 0; note_is_special(n) && i < STAMPS; i++)
		if (flags_of(n, stamps[i], &o, &flags) && flags & SOF_TIMESTAMPING_TX_RECORD_MASK)
			return stamps[i];
	return 0;
}

/* What is received is stamped meanwhile as ever. */
long traces_send(int fd, int option, const void *p, size_t n, int flags)
{
	unsigned int were[2] = { 0 }, others[2]; /* flags, and a clock */
	socklen_t len = sizeof(were);
	bool has = option && sys_getsockopt(fd, SOL_SOCKET, option, were, &len) == 0;
	long r;

	others[0] = were[0] & ~(unsigned int)SOF_TIMESTAMPING_TX_RECORD_MASK;
	others[1] = were[1];
	if (has)
		sys_setsockopt(fd, SOL_SOCKET, option, others, len);
	r = sys_send(fd, p, n, flags);
	if (has)
		sys_setsockopt(fd, SOL_SOCKET, option, were, len);
	return r;
}

bool traces_is_corked(const struct note *n)
{
	return n && note_is_on(n, IPPROTO_TCP, TCP_CORK);
}

/* What the kernel holds counts: of TCP's own sockets an MPTCP listener's have nothing of what it was set. */
void traces_push(int fd)
{
	if (!sock_int(fd, IPPROTO_TCP, TCP_CORK, 0))
		return;
	sock_set_int(fd, IPPROTO_TCP, TCP_CORK, 0);
	sock_set_int(fd, IPPROTO_TCP, TCP_CORK, 1);
}

/* The disconnect has given it back to the host, and goes on showing it (LINUX-FACTS 3.8). One that the program
 * had chosen the socket still has, so that the kernel refuses. */
void traces_bind_again(int fd)
{
	const struct note *n = note_at(fd);
	struct sockaddr_storage name;
	socklen_t len = sizeof(name);

	if (n && atomic_load(&n->bound) && !note_is_on(n, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT) &&
	    sys_getsockname(fd, (struct sockaddr *)&name, &len) == 0)
		syscall(SYS_bind, fd, &name, len);
}

/* Reading one of ICMP's would take the socket's error, too; setting the option does not, but leaves the stamps. */
void traces_forget_errors(int fd)
{
	const struct note *n = special(fd);
	bool received, any;

	if (!n)
		return;
	received = note_is_on(n, IPPROTO_IP, IP_RECVERR);
	any = received || note_is_on(n, IPPROTO_IPV6, IPV6_RECVERR);
	for (size_t i = 0; i < STAMPS; i++)
		any |= note_is_on(n, SOL_SOCKET, stamps[i]);
	if (!any)
		return;
	sock_set_int(fd, IPPROTO_IP, IP_RECVERR, 0); /* for both families */
	if (received)
		sock_set_int(fd, IPPROTO_IP, IP_RECVERR, 1);
	for (int i = 0; i < STAMPS_MOST && sys_recv(fd, NULL, 0, MSG_ERRQUEUE | MSG_DONTWAIT) >= 0;
	     i++)
		;
}

void traces_number_anew(int fd)
{
	const struct note *n = special(fd);
	struct note_option o;
	unsigned int flags;

	for (size_t i = 0; n && i < STAMPS; i++) {
		if (!flags_of(n, stamps[i], &o, &flags) || !(flags & SOF_TIMESTAMPING_OPT_ID) ||
		    sock_tcp_state(fd) == TCP_CLOSE)
			continue; /* where it could not be set again */
		sock_set_int(fd, SOL_SOCKET, stamps[i], 0);
		sys_setsockopt(fd, SOL_SOCKET, stamps[i], o.value, o.len);
	}
}

void traces_peek_anew(int fd)
{
	const struct note *n = special(fd);
	struct note_option o;

	if (n && note_find(n, SOL_SOCKET, SO_PEEK_OFF, &o))
		sys_setsockopt(fd, SOL_SOCKET, SO_PEEK_OFF, o.value, o.len);
}
