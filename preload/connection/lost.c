// SPDX-License-Identifier: MIT
/*
 * A number that is pending, but whose exchange's slot has been used for another one: after a fork, or
 * by whoever was away for longer than it may take. Only the socket still knows what became of it: whom
 * it is connected to, and whether somebody has read what came first.
 */
#include "advance.h"
#include "sock.h"

#define SHORTEST_REPLY 4	   /* bytes; a FIN counts as one that is received */
#define UNTOLD_NS      60000000000 /* how long the errno waits for somebody who asks */

enum became {
	KERNELS, /* on its way to the server itself, or we may not ask */
	CONNECTED,
	NOTHING, /* disconnected by another process, or not further than to the converter */
};

static bool has_been_read(int fd)
{
	int unread = 0;

	return sys_result(syscall(SYS_ioctl, fd, FIONREAD, &unread)) == 0 &&
	       sock_tcp(fd).received >= (uint64_t)unread + SHORTEST_REPLY;
}

/* Unlike getpeername() it tells whom the socket is just connecting to, too. */
static int peer_name(int fd, struct sockaddr_storage *name, socklen_t len)
{
	int err = sys_getsockopt(fd, SOL_SOCKET, SO_PEERNAME, name, &len);

	return err < 0 ? err : (int)len;
}

static enum became what_became(int fd, const struct conn *c)
{
	struct sockaddr_storage name;
	struct addr peer;
	int len = peer_name(fd, &name, sizeof(struct sockaddr_in6));

	if (len == -EINVAL) /* more than there is */
		len = peer_name(fd, &name, sizeof(struct sockaddr_in));
	if (len < 0)
		return len == -ENOTCONN ? NOTHING : KERNELS;
	if (addr_from_sockaddr(&peer, (struct sockaddr *)&name, (socklen_t)len) < 0 ||
	    addr_equal(&peer, &c->server))
		return KERNELS;
	return has_been_read(fd) ? CONNECTED : NOTHING;
}

/* As one that has not been answered in time. The errno waits in a slot again; NULL: there is none. */
static struct exchange *fail(int fd, struct conn *c)
{
	struct exchange *u = exchange_new(c->sock_cookie);

	if (!u) {
		end_disconnected(fd, c);
		return NULL;
	}
	u->no_cookie = c->no_cookie;
	u->deadline_ns = u->limit_ns = now_ns() + UNTOLD_NS;
	atomic_store(&c->exchange, exchange_index(u));
	end_refused(fd, c, u, ETIMEDOUT);
	return u;
}

/* Nobody else may take the number for another socket meanwhile. */
static enum mark claim_and_fail(int fd, struct conn *c, uint16_t word)
{
	struct exchange *u = NULL;

	exchange_enter();
	if (mark_change_seen(fd, word, MARK_OPENING)) {
		u = fail(fd, c);
		mark_change(fd, MARK_OPENING, u ? MARK_PENDING : MARK_TCP_COPIED);
	}
	exchange_leave();
	return u ? conn_settle(fd, u) : mark_get(fd);
}

enum mark conn_settle_lost(int fd)
{
	uint16_t word = mark_look(fd);
	struct conn *c = mark_in(word) == MARK_PENDING ? conn_peek(fd) : NULL;

	if (!c || conn_exchange(c)) /* or made anew, by another thread */
		return mark_get(fd);
	if (!conn_is_of(fd, c)) {
		if (conn_is_owner()) /* a vfork child's numbers are not its parent's */
			mark_change_seen(fd, word, MARK_UNKNOWN);
		return MARK_UNKNOWN;
	}
	switch (what_became(fd, c)) {
	case CONNECTED:
		conn_settle_number(fd, MARK_UP, NULL);
		break;
	case NOTHING:
		return claim_and_fail(fd, c, word);
	case KERNELS:
		conn_settle_number(fd, MARK_TCP_COPIED, NULL);
		break;
	}
	return mark_get(fd);
}
