// SPDX-License-Identifier: MIT
#include "upstream.h"

#include "converters.h"
#include "cookies.h"
#include "options.h"
#include "real.h"
#include "servers.h"
#include "twin.h"

#include <fcntl.h>
#include <stddef.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/ioctl.h>

static void set_phase(struct upstream *u, enum upstream_phase phase)
{
	atomic_store_explicit(&u->phase, phase, memory_order_release);
}

/* -------------------------------------------------------------------- the SYN */

static void write_request(struct upstream *u, struct cvt_span convert_cookie)
{
	uint8_t options[OPTIONS_MAX];

	cvt_begin(&u->request, u->dialect);
	cvt_put_connect(&u->request, u->server.ip, u->server.port, options_for(u, options));
	/* draft-02 has no Cookie TLV: 22 is something else there (PROTOCOL 1.3) */
	if (convert_cookie.len && u->dialect != CVT_DIALECT_DRAFT02)
		cvt_put_cookie(&u->request, convert_cookie);
	u->sent = 0;
}

/* The exchange is over: the program's own settings, then the new phase. */
static void end(struct upstream *u, int fd, enum upstream_phase phase)
{
	if (u->rcvlowat)
		sys_setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &u->rcvlowat, sizeof(u->rcvlowat));
	set_phase(u, phase);
}

/* From one pending phase to the next, unless the program has taken the connection back. */
static void go_on(struct upstream *u, enum upstream_phase phase)
{
	uint32_t now = atomic_load(&u->phase);

	while (now < UPSTREAM_CONNECTED && !atomic_compare_exchange_weak(&u->phase, &now, phase))
		;
}

/* All of the request is queued in the kernel. */
static void request_taken(struct upstream *u)
{
	hs_start(&u->reply, u->dialect, u->converter->dialect_is_auto);
	go_on(u, UPSTREAM_REPLY);
}

/* Fast Open is switched off in this kernel: a plain connect, and the message right behind it.
 * A blocking descriptor must not wait here: O_NONBLOCK would show in every process that shares
 * it, so for a moment its time limit is the shortest that there is (TRAPS 2.18). */
static int open_plainly(int fd, const struct sockaddr *via, socklen_t via_len, bool nonblocking)
{
	struct timeval shortest = { .tv_usec = 1 }, saved = { 0 };
	socklen_t len = sizeof(saved);
	int r;

	if (nonblocking)
		return sys_connect(fd, via, via_len);
	sys_getsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &saved, &len);
	sys_setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &shortest, sizeof(shortest));
	r = sys_connect(fd, via, via_len);
	sys_setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &saved, sizeof(saved));
	return r;
}

static int tcp_state(int fd)
{
	struct tcp_info info = { .tcpi_state = 0 };
	socklen_t len = offsetof(struct tcp_info, tcpi_ca_state);

	return sys_getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) < 0 ? 0 : info.tcpi_state;
}

/* The first write may come at any time, or never. */
static int defer(struct upstream *u)
{
	u->deadline_ns = INT64_MAX / 2;
	u->deferred = true;
	go_on(u, UPSTREAM_DEFERRED);
	return 0;
}

/* The program's data that may ride behind the message. Not what would have to be sent in a special
 * way, or needs an answer of its own in the error queue. */
#define EARLY_PIECES 64

static int add_early(struct msghdr *msg, const struct upstream_early *early)
{
	const struct msghdr *more = early ? early->msg : NULL;
	size_t n = more ? more->msg_iovlen : 0;

	if (n == 0 || early->flags & (MSG_OOB | MSG_ZEROCOPY))
		return 0;
	if (n > EARLY_PIECES - 1)
		n = EARLY_PIECES - 1;
	memcpy(msg->msg_iov + 1, more->msg_iov, n * sizeof(*more->msg_iov));
	msg->msg_iovlen += n;
	msg->msg_control = more->msg_control;
	msg->msg_controllen = more->msg_controllen;
	return early->flags;
}

/* MSG_DONTWAIT on blocking sockets too: then n bytes mean queued and EINPROGRESS means not queued,
 * and nothing is ambiguous (LINUX-FACTS 1.3, 1.4). */
static long send_syn(struct upstream *u, int fd, struct sockaddr_storage *via, socklen_t via_len,
		     struct upstream_early *early)
{
	struct iovec iov[EARLY_PIECES] = { { u->request.bytes, u->request.len } };
	struct msghdr msg = {
		.msg_name = via, .msg_namelen = via_len, .msg_iov = iov, .msg_iovlen = 1
	};
	int flags = MSG_FASTOPEN | MSG_DONTWAIT | MSG_NOSIGNAL | add_early(&msg, early);
	long n;

	if (u->deferred) { /* here MPTCP refuses the flag */
		flags &= ~MSG_FASTOPEN;
		msg.msg_name = NULL;
		msg.msg_namelen = 0;
	}
	u->deferred = false;
	n = sys_sendmsg(fd, &msg, flags);
	if (n <= (long)u->request.len)
		return n;
	early->taken = (size_t)n - u->request.len;
	u->early = true;
	u->fall_back = false;
	return (long)u->request.len;
}

/* Only an unconnected socket lets us. */
static void undo_no_cookie(struct upstream *u, int fd)
{
	int off = 0;

	if (u->no_cookie)
		sys_setsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN_NO_COOKIE, &off, sizeof(off));
}

int upstream_open(struct upstream *u, int fd, bool nonblocking, struct upstream_early *early)
{
	struct sockaddr_storage via;
	socklen_t via_len = addr_to_sockaddr(&u->via, u->family, &via);
	bool may_defer = u->may_defer && !early;
	int len, on = 1;
	long n;

	u->syn_data = false;
	write_request(u, cookies_for(u->converter));
	len = cvt_finish(&u->request);
	if (len < 0)
		return len;
	if (u->converter->fast_open == CONFIG_FO_NO_COOKIE)
		sys_setsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN_NO_COOKIE, &on, sizeof(on));
	u->may_defer = false;
	if (may_defer) { /* the kernel does, if it holds X's Fast Open cookie */
		n = open_plainly(fd, (struct sockaddr *)&via, via_len, nonblocking);
		if (n == 0 && tcp_state(fd) == TCP_SYN_SENT)
			return defer(u);
	} else if (u->no_syn_data && !early) {
		n = open_plainly(fd, (struct sockaddr *)&via, via_len, nonblocking);
	} else {
		n = send_syn(u, fd, &via, via_len, early);
	}
	if (n == len) {
		u->syn_data = true;
		request_taken(u);
		return 0;
	}
	if (n >= 0) /* the path's MTU is smaller than the message (PROTOCOL L10) */
		u->sent = (uint16_t)n;
	else if (n == -EINPROGRESS) /* no Fast Open cookie yet: this SYN asks for one (1.1) */
		n = 0;
	else if (n == -EOPNOTSUPP && !early)
		n = open_plainly(fd, (struct sockaddr *)&via, via_len, nonblocking);
	if (!upstream_is_pending(u))
		return 0;
	if (n < 0 && n != -EINPROGRESS && n != -EINTR) {
		undo_no_cookie(u, fd);
		end(u, fd, UPSTREAM_DIRECT);
		return (int)n;
	}
	go_on(u, UPSTREAM_OWED);
	return n == -EINTR ? -EINTR : 0;
}

/* ------------------------------------------------------------------- the ends */

void upstream_disconnect(int fd)
{
	struct sockaddr none = { .sa_family = AF_UNSPEC };

	sys_connect(fd, &none, sizeof(none));
}

/* upstream_disconnect(), but the program's own settings stay: the kernel forgets one of them. */
static void take_back(struct upstream *u, int fd)
{
	const struct noted *n = noted_at(fd);
	struct noted_option clamp;

	upstream_disconnect(fd);
	if (n && noted_find(n, IPPROTO_TCP, TCP_WINDOW_CLAMP, &clamp))
		sys_setsockopt(fd, IPPROTO_TCP, TCP_WINDOW_CLAMP, clamp.value, clamp.len);
	undo_no_cookie(u, fd);
}

/* Makes the kernel show what a refused connect shows: TCP's readiness, errors once, no peer
 * (D5; TRAPS 2.1: shutdown() says ENOTCONN and takes effect). */
static void refuse(struct upstream *u, int fd, int err)
{
	struct sockaddr_storage local = { 0 };
	socklen_t len = sizeof(local);

	/* disconnecting forgets it, a refused connect keeps it */
	if (sys_getsockname(fd, (struct sockaddr *)&local, &len) < 0 ||
	    addr_from_sockaddr(&u->local, (struct sockaddr *)&local, len) < 0)
		u->local = (struct addr){ .port = 0 };
	take_back(u, fd);
	twin_give_back(fd);
	sys_shutdown(fd, SHUT_RDWR);
	atomic_store(&u->err, err);
	end(u, fd, UPSTREAM_REFUSED);
}

static void log_end(const struct upstream *u, const char *what, const char *why, const char *joint,
		    const char *more)
{
	char server[ADDR_TEXT_MAX], via[ADDR_TEXT_MAX];

	if (!log_is_on(LOG_LEVEL_INFO))
		return;
	addr_format(&u->server, server);
	addr_format(&u->via, via);
	log_line(LOG_LEVEL_INFO, "%s %s via %s (%s) after %d ms: %s%s%s", what, server, via,
		 u->converter->name, (int)((now_ns() - u->started_ns) / 1000000), why,
		 more ? joint : "", more ? more : "");
}

static void log_failed(const struct upstream *u, const char *what, const char *why, int err)
{
	log_end(u, what, why, ", ", err ? strerrorname_np(err) : NULL);
}

static void log_connected(const struct upstream *u, int fd)
{
	int is_mptcp = 0;
	socklen_t len = sizeof(is_mptcp);

	if (!log_is_on(LOG_LEVEL_INFO))
		return;
	sys_getsockopt(fd, IPPROTO_TCP, TCP_IS_MPTCP, &is_mptcp, &len);
	log_end(u, "converted", is_mptcp ? "connected, MPTCP" : "connected, TCP", ": ",
		is_mptcp ? NULL : u->no_twin);
}

/* The exchange has failed. */
/* result: the converter's reply, or NULL if there is none. */
static void give_up(struct upstream *u, int fd, enum hs_verdict verdict, int err, const char *why,
		    const struct hs_result *result)
{
	struct sockaddr_storage server;
	socklen_t len;
	int r;

	if (verdict == HS_CONVERTER)
		converters_failed(u, result, err);
	if (verdict != HS_CONVERTER || !u->fall_back) {
		log_failed(u, "failed", why, err);
		refuse(u, fd, err);
		return;
	}
	log_failed(u, "falling back from", why, err);
	take_back(u, fd);
	if (twin_give_back(fd))
		u->family = noted_at(fd)->family;
	if (atomic_load(&u->driver)) { /* the blocking connect() goes on by itself */
		end(u, fd, UPSTREAM_DIRECT);
		return;
	}
	/* A blocking descriptor here means that its connect() was interrupted by a signal: a
	 * connect that waits cannot be made under the lock. */
	r = sys_fcntl(fd, F_GETFL, 0);
	if (r < 0 || !(r & O_NONBLOCK)) {
		refuse(u, fd, err);
		return;
	}
	len = addr_to_sockaddr(&u->server, u->family, &server);
	r = sys_connect(fd, (struct sockaddr *)&server, len);
	if (r < 0 && r != -EINPROGRESS)
		refuse(u, fd, -r);
	else
		end(u, fd, UPSTREAM_DIRECT);
}

/* ------------------------------------------------------------------- advancing */

static void retry(struct upstream *u, int fd)
{
	int r;

	take_back(u, fd);
	go_on(u, UPSTREAM_OPENING);
	r = sys_fcntl(fd, F_GETFL, 0);
	r = upstream_open(u, fd, r >= 0 && r & O_NONBLOCK, NULL);
	if (r < 0 && r != -EINTR)
		give_up(u, fd, HS_CONVERTER, -r, "once more", NULL);
}

/* Missing Cookie: reset, remember the cookie, once more (P-27). */
static void retry_with_cookie(struct upstream *u, int fd, const struct hs_result *result)
{
	struct cvt_span cookie = { result->msg.error.value.p + 1, result->msg.error.value.len - 1 };
	bool spent = u->cookie_tried || u->early;

	u->cookie_tried = true;
	if (!cookies_learn(u->converter, cookie) || spent)
		give_up(u, fd, HS_CONVERTER, EACCES, "Missing Cookie", result);
	else
		retry(u, fd);
}

/* Unsupported TCP Option: reset, remember the kinds, once more without them. */
static bool retry_without_options(struct upstream *u, int fd, const struct hs_result *result)
{
	bool spent = u->options_tried || u->early;

	if (!result->msg.has_error || result->msg.error.code != CVT_ERR_TCP_OPTION)
		return false;
	u->options_tried = true;
	if (!options_refused(u->converter, result->msg.error.value) || spent)
		return false;
	u->asks_mptcp = u->asks_mptcp && !options_is_refused(u->converter, CVT_OPT_MPTCP);
	retry(u, fd);
	return true;
}

/* The Extended TCP Header tells what the server answered to MP_CAPABLE, if that was asked. */
static void learn(const struct upstream *u, struct cvt_span options)
{
	struct cvt_span tfo_cookie = { NULL, 0 };
	struct cvt_opt option;
	size_t at = 0;

	if (!u->asks_mptcp || !options.p)
		return;
	while (cvt_next_opt(options, &at, &option))
		if (option.kind == CVT_OPT_FAST_OPEN)
			tfo_cookie = option.value;
	servers_learn(&u->server, cvt_has_mp_capable(options), tfo_cookie, state_now_ms());
}

static void finish(struct upstream *u, int fd, const struct hs_result *result)
{
	converters_replied(u, result);
	switch (result->verdict) {
	case HS_MORE:
		break;
	case HS_CONNECTED:
		converters_connected(u, fd);
		learn(u, result->msg.ext_tcp_header);
		end(u, fd, UPSTREAM_CONNECTED);
		log_connected(u, fd);
		break;
	case HS_COOKIE:
		retry_with_cookie(u, fd, result);
		break;
	case HS_SERVER:
	case HS_CONVERTER:
		if (retry_without_options(u, fd, result))
			break;
		give_up(u, fd, result->verdict, result->err,
			result->parse != CVT_OK ? cvt_verdict_name(result->parse) :
						  cvt_err_name(result->msg.error.code),
			result);
		break;
	}
}

static void read_reply(struct upstream *u, int fd)
{
	struct hs_result result;

	while (upstream_phase(u) == UPSTREAM_REPLY) {
		long n = sys_recv(fd, hs_room(&u->reply), hs_want(&u->reply), MSG_DONTWAIT);

		if (n == -EAGAIN || n == -EINTR || !upstream_is_pending(u))
			return;
		if (n <= 0) {
			give_up(u, fd, HS_CONVERTER, n ? (int)-n : ECONNRESET,
				n ? "no reply" : "closed before the reply was whole", NULL);
			return;
		}
		if (hs_took(&u->reply, (size_t)n, addr_is_v4(&u->server), &result) != HS_MORE)
			finish(u, fd, &result);
	}
}

static void send_owed(struct upstream *u, int fd)
{
	size_t left = u->request.len - u->sent;
	long n = sys_sendto(fd, u->request.bytes + u->sent, left, MSG_DONTWAIT | MSG_NOSIGNAL, NULL,
			    0);

	if (n == -EAGAIN || n == -EINTR || !upstream_is_pending(u))
		return;
	if (n < 0) {
		give_up(u, fd, HS_CONVERTER, (int)-n, "no connection to the converter", NULL);
		return;
	}
	u->sent = (uint16_t)(u->sent + n);
	if (u->sent == u->request.len)
		request_taken(u);
}

/* Has the connection to the converter failed with nothing left to read, and is that failure what
 * the program shall see? Then the kernel shows it better than we could: reading the error would
 * use it up, and epoll would not report it (EPOLLERR). */
static bool leave_to_kernel(const struct upstream *u, int fd)
{
	int unread = 1;

	return !u->fall_back && !u->mptcp && tcp_state(fd) == TCP_CLOSE &&
	       sys_result(syscall(SYS_ioctl, fd, FIONREAD, &unread)) == 0 && unread == 0;
}

void upstream_advance(struct upstream *u, int fd, bool broken)
{
	if (!upstream_try_lock(u))
		return;
	if (broken && upstream_is_pending(u) && leave_to_kernel(u, fd)) {
		log_failed(u, "failed", "no connection to the converter", 0);
		converters_failed(u, NULL, 0);
		undo_no_cookie(u, fd);
		end(u, fd, UPSTREAM_DIRECT);
	}
	if (upstream_phase(u) == UPSTREAM_OWED)
		send_owed(u, fd);
	else if (upstream_phase(u) == UPSTREAM_REPLY)
		read_reply(u, fd);
	upstream_unlock(u);
}

void upstream_expire(struct upstream *u, int fd)
{
	if (!upstream_try_lock(u))
		return;
	if (upstream_is_pending(u))
		give_up(u, fd, HS_CONVERTER, ETIMEDOUT, "no reply in time", NULL);
	upstream_unlock(u);
}

short upstream_wants(const struct upstream *u)
{
	return upstream_phase(u) == UPSTREAM_OWED ? POLLOUT : POLLIN;
}
