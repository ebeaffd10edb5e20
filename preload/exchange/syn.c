// SPDX-License-Identifier: MIT
/* The SYN of an exchange, with the Convert message or before it. */
#include "exchange_int.h"

#include "converters.h"
#include "message.h"
#include "notes.h"
#include "sock.h"
#include "traces.h"

#include <string.h>

/* Not inlined: nothing of its room is needed when the message is sent. False: another thread has brought
 * another cookie meanwhile. */
__attribute__((noinline)) static bool write_request(struct exchange *u)
{
	uint8_t room[OPTIONS_MAX], *cookie;
	struct cvt_span options = { room, 0 };
	/* the converter has an IPv4 of its own, and no NAT64 but by chance */
	struct addr behind;
	const struct addr *to = addr_behind_nat64(&u->server, &behind);
	size_t cookie_len;

	cvt_begin(&u->request, u->dialect);
	u->sent = 0;
	u->has_options = false;
	u->sent_cookie = 0;
	if (exchange_asks_info(u)) {
		cvt_put_info(&u->request);
		return true;
	}
	cookie_len = cookies_len(u);
	if (cookie_len <= CONFIG_COOKIE_MAX - OPTIONS_MAX) /* else there is no room */
		options = options_for(u, room);
	cvt_put_connect(&u->request, to->ip, to->port, options);
	/* draft-02 has no Cookie TLV: 22 is something else there (PROTOCOL 1.3) */
	if (!cookie_len || u->dialect == CVT_DIALECT_DRAFT02 || u->omits_cookie)
		return true;
	cookie = cvt_put_cookie_room(&u->request, cookie_len);
	if (cookie && !cookies_copy(u, cookie, cookie_len))
		return false;
	if (cookie)
		u->sent_cookie = cookies_mark((struct cvt_span){ cookie, cookie_len });
	return true;
}

void exchange_request_taken(struct exchange *u)
{
	hs_start(&u->reply, u->dialect, converters_of(u)->dialect_is_auto);
	exchange_look_later(u);
	exchange_go_on(u, EXCHANGE_REPLY);
}

/* The first write may come at any time, or never. */
static int defer(struct exchange *u)
{
	u->deadline_ns = u->limit_ns = INT64_MAX / 2;
	u->deferred = true;
	exchange_go_on(u, EXCHANGE_DEFERRED);
	return 0;
}

/* The program's data that may ride behind the message. Not what would have to be sent in a special
 * way, or needs an answer of its own in the error queue. */
#define EARLY_PIECES 64

/* In a frame of its own, as it needs much room. */
__attribute__((noinline)) static long send_with_early(int fd, struct msghdr *msg, int flags,
						      const struct exchange_early *early)
{
	struct iovec iov[EARLY_PIECES];
	size_t n = libc_pieces(early->msg);

	if (n > EARLY_PIECES - 1)
		n = EARLY_PIECES - 1;
	iov[0] = msg->msg_iov[0];
	memcpy(iov + 1, early->msg->msg_iov, n * sizeof(*iov));
	msg->msg_iov = iov;
	msg->msg_iovlen = (libc_count)(1 + n);
	msg->msg_control = early->msg->msg_control;
	if (msg->msg_control)
		msg->msg_controllen = early->msg->msg_controllen;
	return sys_sendmsg(fd, msg, flags | early->flags);
}

/* What went along could not be sent to another converter any more, as this one may have passed it on. Where
 * it is lost, or its reply held back (LINUX-FACTS 2b.3), it would be for nothing. */
static bool may_go_along(const struct exchange *u)
{
	return !u->no_syn_data && !exchange_has_elsewhere(u);
}

static bool may_ride(const struct exchange *u, const struct exchange_early *early)
{
	return early->msg && may_go_along(u) && libc_pieces(early->msg) > 0 &&
	       !(early->msg->msg_control && libc_is_musl()) && /* musl cleans it */
	       !(early->flags & (MSG_OOB | MSG_ZEROCOPY));
}

/* MSG_DONTWAIT on blocking sockets too: then n bytes mean queued and EINPROGRESS means not queued,
 * and nothing is ambiguous (LINUX-FACTS 1.3, 1.4). */
static long send_message(struct exchange *u, int fd, struct sockaddr_storage *via,
			 socklen_t via_len, struct exchange_early *early)
{
	struct iovec piece = { u->request.bytes, u->request.len };
	struct msghdr msg = {
		.msg_name = via, .msg_namelen = via_len, .msg_iov = &piece, .msg_iovlen = 1
	};
	int flags = MSG_FASTOPEN | MSG_DONTWAIT | MSG_NOSIGNAL;
	long n;

	if (u->deferred) { /* here MPTCP refuses the flag */
		flags &= ~MSG_FASTOPEN;
		msg.msg_name = NULL;
		msg.msg_namelen = 0;
	}
	u->deferred = false;
	if (u->no_syn_data) /* a SYN alone: connect() would put it off (TCP_FASTOPEN_CONNECT) */
		piece.iov_len = 0;
	n = early && may_ride(u, early) ? send_with_early(fd, &msg, flags, early) :
					  sys_sendmsg(fd, &msg, flags);
	if (!early || n <= (long)u->request.len) /* nothing follows the message, or not yet */
		return n;
	early->taken = (size_t)n - u->request.len;
	u->early = true;
	u->fall_back = false;
	return (long)u->request.len;
}

static int connect_to(struct exchange_turn *t, const struct sockaddr_storage *via,
		      socklen_t via_len, bool nonblocking)
{
	int r = sock_connect(t->fd, (const struct sockaddr *)via, via_len, nonblocking);

	t->u->is_complete = r == 0;
	return r;
}

static int send_syn(struct exchange_turn *t, bool nonblocking, struct exchange_early *early)
{
	struct exchange *u = t->u;
	struct sockaddr_storage via;
	socklen_t via_len = addr_to_sockaddr(&u->via, u->family, &via);
	bool may_defer = u->may_defer && !early && may_go_along(u);
	int len;
	long n;

	u->syn_data = u->is_complete = false;
	atomic_store(&u->look_ns, INT64_MAX);
	while (!write_request(u))
		;
	len = cvt_finish(&u->request);
	if (len < 0)
		return len;
	if (u->bare && u->no_cookie) /* else it is on, or nobody would put it off again */
		sock_set_int(t->fd, IPPROTO_TCP, TCP_FASTOPEN_NO_COOKIE, 1);
	u->may_defer = false;
	if (may_defer) { /* the kernel does, if it holds X's Fast Open cookie */
		n = connect_to(t, &via, via_len, nonblocking);
		if (n == 0 && sock_tcp_state(t->fd) == TCP_SYN_SENT)
			return defer(u);
	} else if (u->no_syn_data && !u->fast_open) {
		n = connect_to(t, &via, via_len, nonblocking);
	} else {
		n = send_message(u, t->fd, &via, via_len, early);
	}
	if (n == len) {
		u->syn_data = true;
		report_sent(&t->report, u);
		exchange_request_taken(u);
		return 0;
	}
	if (n >= 0) /* the path's MTU is smaller than the message (PROTOCOL L10) */
		u->sent = (uint16_t)n;
	else if (n == -EINPROGRESS) /* no Fast Open cookie yet: this SYN asks for one (1.1) */
		n = 0;
	else if (n == -EOPNOTSUPP && !early) /* Fast Open is switched off: the message follows */
		n = connect_to(t, &via, via_len, nonblocking);
	if (!exchange_is_pending(u))
		return 0;
	if (n < 0 && n != -EINPROGRESS && n != -EINTR)
		return (int)n;
	report_sent(&t->report, u);
	exchange_go_on(u, EXCHANGE_OWED);
	return n == -EINTR ? -EINTR : 0;
}

int exchange_send_syn(struct exchange_turn *t, bool nonblocking, struct exchange_early *early)
{
	const struct exchange *u = t->u;
	int r = send_syn(t, nonblocking, early);

	if (u->family == AF_INET6 && addr_is_v4(&u->via) && (r >= 0 || r == -EINTR))
		note_stick(t->fd);
	return r;
}

int exchange_send_syn_again(struct exchange_turn *t)
{
	int r;

	exchange_take_back(t->u, t->fd);
	traces_bind_again(t->fd);
	exchange_go_on(t->u, EXCHANGE_OPENING);
	r = exchange_send_syn(t, sock_is_nonblocking(t->fd), NULL);
	return r == -EINTR ? 0 : r;
}
