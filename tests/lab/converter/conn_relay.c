// SPDX-License-Identifier: MIT
/* The bytes after the reply, and the ways in which a connection ends. */
#include "conn.h"

#include <errno.h>
#include <linux/sockios.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>

#define LINGER_MS      2000
#define INFO_LINGER_MS 10000 /* the client closes after a reply without Connect */
#define BROKEN_MS      1000  /* for what a failed side had sent, if the other takes none of it */
#define RESET_POLL_MS  5
#define RESET_POLLS    200 /* one second for the last bytes before the RST */

/* linux/mptcp.h's; the offsets are in the struct tcp_info of linux/tcp.h, which is not libc's */
#define SOL_MPTCP     284
#define MPTCP_TCPINFO 2
#define TCPI_LAST_ACK 56
#define TCPI_SND_WND  228
#define TCPI_END      232
#define SUBFLOWS      8

#define FIRST_ROOM (1 << 16) /* bytes; until the client has said something */
#define MOST_ROOM  (1 << 24) /* more is that mistake again: subflows get it, too */
#define FRAGMENT   (1 << 15)
#define OF_TCP	   (1 << 20) /* a send buffer that keeps nobody waiting here */
#define NO_MISTAKE UINT32_MAX
#define DEAD_MS	   1000 /* a subflow whose last ACK is as old says what was so then */

static uint32_t at(const uint8_t *info, size_t offset)
{
	uint32_t value;

	memcpy(&value, info + offset, sizeof(value));
	return value;
}

/* Bytes that the client has room for: every ACK says it for all of the connection, on whichever subflow. 0: unknown;
 * NO_MISTAKE: it has fallen back to TCP, which keeps to it by itself. */
static uint32_t client_window(int fd)
{
	struct {
		uint32_t size, n, size_kernel, size_user;
		uint8_t infos[SUBFLOWS][TCPI_END];
	} all = { .size = 16, .size_user = TCPI_END };
	socklen_t size = sizeof(all);
	uint32_t least = MOST_ROOM;

	if (getsockopt(fd, SOL_MPTCP, MPTCP_TCPINFO, &all, &size) < 0)
		return errno == EOPNOTSUPP || errno == ENOPROTOOPT ? NO_MISTAKE : 0;
	for (uint32_t i = 0; i < all.n && i < SUBFLOWS; i++) {
		uint32_t room = at(all.infos[i], TCPI_SND_WND);

		if (at(all.infos[i], TCPI_LAST_ACK) < DEAD_MS && room < least)
			least = room;
	}
	return least < MOST_ROOM ? least : 0;
}

/* Linux (6.18) takes the window of a SYN with data for a scaled one when it makes the MPTCP
 * socket: up to 64 MB are then sent past the client's real window, and what its MPTCP has no room
 * for is dropped after its TCP has acknowledged it (MPTcpExtNoDSSInWindow), to be sent again by
 * MPTCP's slow timer. So the send buffer has to be what is behind the window for once: a page
 * fragment less than the window, as that much may be put behind a buffer that is not full. */
static void bound_send_buffer(struct conn *c, uint32_t room)
{
	int size;

	if (!room || room == c->send_buffer)
		return;
	c->send_buffer = room == NO_MISTAKE ? 0 : room;
	size = (int)(room == NO_MISTAKE	 ? OF_TCP :
		     room > 2 * FRAGMENT ? room - FRAGMENT :
					   room / 2);
	size /= 2; /* the kernel doubles it */
	if (sockopt_set(c->up.fd, SOL_SOCKET, SO_SNDBUFFORCE, size) < 0)
		sockopt_set(c->up.fd, SOL_SOCKET, SO_SNDBUF, size);
}

void conn_bound_send_buffer(struct conn *c)
{
	if (c->up_mptcp && sockopt_had_syn_data(c->up.fd))
		bound_send_buffer(c, FIRST_ROOM);
}

void conn_reset_after_drain(struct conn *c)
{
	int survivor = c->relay.failed == RELAY_UP ? c->down.fd : c->up.fd;
	int left = 0;

	/* RST throws away what is still queued, so give it a moment (LINUX-FACTS 2.4) */
	if (ioctl(survivor, SIOCOUTQ, &left) == 0 && left > 0 && c->waits++ < RESET_POLLS)
		loop_arm(&c->timer, RESET_POLL_MS);
	else
		conn_drop(c, "reset", true);
}

static const char *outcome_of(enum relay_side failed)
{
	return failed == RELAY_UP ? "client-reset" : "server-reset";
}

void conn_relay_step(struct conn *c, enum relay_side side, uint32_t events)
{
	bool was_broken = relay_is_broken(&c->relay);
	uint64_t before = relay_moved(&c->relay);
	enum relay_state state;

	if (c->send_buffer)
		bound_send_buffer(c, client_window(c->up.fd));
	state = relay_ready(&c->relay, side, events);
	if (!was_broken || relay_moved(&c->relay) != before)
		c->active_ms = loop_now_ms();
	switch (state) {
	case RELAY_GOING:
		if (!was_broken && relay_is_broken(&c->relay))
			conn_idle_check(c); /* it may be over in a second now */
		return;
	case RELAY_DONE:
		conn_drop(c, "ok", false);
		return;
	case RELAY_FAILED:
		break;
	}
	if (c->relay.error == ECONNABORTED)
		c->outcome = "fault";
	else if (c->relay.error == EMFILE || c->relay.error == ENFILE || c->relay.error == ENOMEM)
		c->outcome = "local";
	else
		c->outcome = outcome_of(c->relay.failed);
	loop_unwatch(&c->up);
	loop_unwatch(&c->down);
	c->state = CONN_RESETTING;
	c->waits = 0;
	conn_reset_after_drain(c);
}

void conn_start_relay(struct conn *c)
{
	c->state = CONN_RELAY;
	relay_start(&c->relay, &c->up, &c->down);
	c->relay.limit_down = c->fault.drop_after;
	loop_arm(&c->timer, (uint64_t)conn_options()->idle_timeout_s * 1000);
	conn_relay_step(c, RELAY_UP, 0);
}

void conn_drain_linger(struct conn *c)
{
	char scrap[4096];
	ssize_t n;

	for (int i = 0; i < 16; i++) {
		n = recv(c->up.fd, scrap, sizeof(scrap), MSG_DONTWAIT);
		if (n < 0 && errno == EAGAIN)
			return;
		if (n <= 0) {
			conn_drop(c, "client-gone", false);
			return;
		}
	}
}

void conn_linger(struct conn *c, bool send_fin)
{
	c->state = CONN_LINGER;
	if (send_fin)
		shutdown(c->up.fd, SHUT_WR);
	if (loop_watch(&c->up, EPOLLIN) < 0) {
		conn_drop(c, "local", true);
		return;
	}
	loop_arm(&c->timer, send_fin ? LINGER_MS : INFO_LINGER_MS);
	conn_drain_linger(c);
}

/* Has the side that is left taken something since this was asked last? EPOLLOUT tells of it late,
 * when a third of that socket's buffer is free. */
static bool takes_more(struct conn *c)
{
	int before = c->left;

	c->left = 0;
	ioctl(c->relay.broken[RELAY_UP] ? c->down.fd : c->up.fd, SIOCOUTQ, &c->left);
	return c->left != before;
}

void conn_idle_check(struct conn *c)
{
	uint64_t limit = (uint64_t)conn_options()->idle_timeout_s * 1000;
	const char *outcome = "idle";
	uint64_t idle;

	if (relay_is_broken(&c->relay)) {
		limit = BROKEN_MS;
		outcome = outcome_of(c->relay.broken[RELAY_UP] ? RELAY_UP : RELAY_DOWN);
		if (takes_more(c))
			c->active_ms = loop_now_ms();
	}
	idle = loop_now_ms() - c->active_ms;
	if (idle >= limit)
		conn_drop(c, outcome, true);
	else
		loop_arm(&c->timer, limit - idle);
}
