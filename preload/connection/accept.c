// SPDX-License-Identifier: MIT
#include "accept.h"

#include "advance.h"
#include "begin.h"
#include "due.h"
#include "epsets.h"
#include "passed.h"
#include "paths.h"
#include "shim.h"
#include "sock.h"
#include "traces.h"
#include "twin.h"

/* Bytes, which the kernel doubles: what is behind any window (LINUX-FACTS 2b.6). */
#define SEND_BUFFER    (1 << 15)
#define SYN_DATA_QUEUE 256 /* connections whose third ACK is outstanding (LINUX-FACTS 1.14) */

static bool is_mptcp(int fd)
{
	return sock_int(fd, SOL_SOCKET, SO_PROTOCOL, 0) == IPPROTO_MPTCP;
}

/* Without a cookie data is taken from whoever writes the converter's address on a packet: only where
 * that is said to be right. */
static bool is_without_cookie(const struct config *config)
{
	for (size_t i = 0; i < config->n_converters; i++)
		if (config->converters[i].fast_open == CONFIG_FO_NO_COOKIE)
			return true;
	return false;
}

/* An MPTCP socket of a SYN with data sends beyond the other side's window (LINUX-FACTS 2b.6), so there it is
 * taken only from a converter that insists; one that asks for a cookie sends its message behind the SYN,
 * and stays MPTCP. */
static void take_syn_data(int fd, const struct config *config, bool mptcp)
{
	struct note_option o;
	const struct note *n = note_at(fd);
	bool without = is_without_cookie(config);

	if ((mptcp && !without) ||
	    (n && note_find(n, IPPROTO_TCP, TCP_FASTOPEN, &o))) /* the program's own */
		return;
	sock_set_int(fd, IPPROTO_TCP, TCP_FASTOPEN, SYN_DATA_QUEUE);
	if (without)
		sock_set_int(fd, IPPROTO_TCP, TCP_FASTOPEN_NO_COOKIE, 1);
}

void accept_listen(int fd)
{
	const struct config *config = shim_config();
	struct conn_request request = { .family = 0 };
	const struct note *n = note_at(fd); /* NULL: there was no memory for it */
	struct addr local;

	if (mark_has_record(mark_get(fd)) || !sock_addr(fd, SYS_getsockname, &local) ||
	    !pol_listens(config, &local) || conn_claim(fd, &request) != CONN_CLAIMED)
		return;
	if (mark_is_fresh(request.mark) && n && !note_twin(n) && !n->is_mptcp &&
	    config->mptcp != CONFIG_MPTCP_OFF && !epset_is_lost(fd)) {
		struct twin_wish wish = { .family = n->family,
					  .mptcp = true,
					  .mark = request.mark,
					  .nonblocking = request.nonblocking,
					  .word = request.word };

		if (twin_take_place(fd, &wish) == 0) {
			note_will_accept();
			epset_settle(fd);
		}
	}
	take_syn_data(fd, config, is_mptcp(fd));
	conn_unclaim(fd, &request);
}

bool accept_begin(int listener, int fd, const struct addr *peer, int family)
{
	const struct config_converter *converter = NULL;
	struct conn *c;
	struct exchange *u;
	struct pol_binding by;
	/* the note of a number that was closed may be of another one */
	enum mark mark = mark_get(listener);
	bool of_twin = (mark_is_fresh(mark) || mark == MARK_BYPASS) && note_has_twin(listener),
	     mptcp;

	if (fd >= MARK_MAX)
		return false;
	if (of_twin) { /* whoever has made the connection */
		twin_inherit(fd, note_at(listener));
		note_will_accept(); /* it may have been one before its listen() */
		note_accepted(fd);
	}
	if (!pol_is_converter(shim_config(), peer))
		return false;
	bound_ask(fd, &by);
	if (by.source.port)
		converter = pol_accept(shim_config(), peer, &by, route_lookup);
	c = converter ? conn_at(fd, true) : NULL;
	if (!c)
		return false;
	conn_own();
	conn_fill(c, sock_cookie(fd), &(struct addr){ .port = 0 }, (uint8_t)family);
	c->began_ns = now_ns();
	mptcp = is_mptcp(fd);
	if (mptcp && sock_has_syn_data(fd))
		sock_set_int(fd, SOL_SOCKET, SO_SNDBUF, SEND_BUFFER);
	if (mptcp && of_twin)
		twin_accepted(fd, c->sock_cookie, family);
	u = c->sock_cookie ? exchange_incoming(c->sock_cookie, converter, peer, family, mptcp) :
			     NULL;
	if (!u)
		return false;
	u->rcvlowat = conn_lower_rcvlowat(fd); /* the listener's */
	if (note_at(listener)) {
		u->stamps = traces_option(note_at(listener));
		u->corked = traces_is_corked(note_at(listener));
	}
	c->exchange = exchange_index(u);
	c->accepted = true;
	atomic_store(&passed_any, true);
	conn_raise_highest(fd);
	mark_set(fd, MARK_PENDING);
	due_at(fd, u->deadline_ns);
	conn_advance(fd, c);
	return true;
}

enum accept_name accept_name(int fd, struct addr *peer)
{
	struct conn *c = conn_peek(fd);
	struct exchange *u = conn_exchange(c);

	if (mark_get(fd) == MARK_FAILED)
		return ACCEPT_GONE;
	if (!c)
		return ACCEPT_KNOWN;
	*peer = u && u->server.port ? u->server : c->server;
	return peer->port ? ACCEPT_KNOWN : ACCEPT_UNKNOWN;
}
