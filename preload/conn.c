// SPDX-License-Identifier: MIT
#include "conn.h"

#include "real.h"
#include "regs.h"
#include "wait.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/single_threaded.h>

#define PAGE_CONNS 256

static _Atomic(struct conn *) pages[FDT_MAX / PAGE_CONNS];
/* The process that the records belong to, 0 before it has any; a vfork child runs in our memory
 * with another id. */
static _Atomic int owner_pid;
static _Atomic bool forked;
static _Atomic int64_t next_check = INT64_MAX;
static _Atomic int highest; /* number that was ever pending, or copied before it could be */

static void raise_highest(int fd)
{
	int top = atomic_load(&highest);

	while (fd > top && !atomic_compare_exchange_weak(&highest, &top, fd))
		;
}

/* -------------------------------------------------------------------- records */

static struct conn *page_of(int fd, bool make)
{
	_Atomic(struct conn *) *at = &pages[fd / PAGE_CONNS];
	struct conn *page = atomic_load_explicit(at, memory_order_acquire);
	size_t size = PAGE_CONNS * sizeof(struct conn);
	struct conn *mine;

	if (page || !make)
		return page;
	mine = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (mine == MAP_FAILED)
		return NULL;
	if (atomic_compare_exchange_strong(at, &page, mine))
		return mine;
	munmap(mine, size);
	return page;
}

struct conn *conn_peek(int fd)
{
	struct conn *page;

	if (!fdt_has_record(fdt_get(fd)))
		return NULL;
	page = page_of(fd, false);
	return page ? &page[fd % PAGE_CONNS] : NULL;
}

static uint64_t sock_cookie(int fd)
{
	uint64_t cookie = 0;
	socklen_t len = sizeof(cookie);

	return sys_getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &len) < 0 ? 0 : cookie;
}

struct conn *conn_find(int fd)
{
	struct conn *c = conn_peek(fd);

	if (c && c->sock_cookie == sock_cookie(fd))
		return c;
	fdt_set(fd, FDT_UNKNOWN);
	return NULL;
}

struct upstream *conn_exchange(const struct conn *c)
{
	struct upstream *u = upstream_at(c->exchange);

	return atomic_load(&u->sock_cookie) == c->sock_cookie ? u : NULL;
}

/* Asked only where a record is at stake: it is a system call. */
static bool is_owner(void)
{
	int pid = (int)syscall(SYS_getpid), nobody = 0;

	return atomic_compare_exchange_strong(&owner_pid, &nobody, pid) || nobody == pid;
}

bool conn_forget(int fd)
{
	enum fdt_mark mark = fdt_get(fd);
	struct upstream *u;
	struct conn *c;

	if (mark == FDT_UNKNOWN)
		return true;
	if (mark == FDT_PENDING && !is_owner())
		return false;
	regs_forget(fd);
	c = mark == FDT_PENDING ? conn_peek(fd) : NULL;
	/* nobody else can be interested: the slot is free for the next one */
	if (c && (u = conn_exchange(c)) && !conn_is_shared())
		u->deadline_ns = 0;
	fdt_set(fd, FDT_UNKNOWN);
	return true;
}

/* newfd gets the record of fd, which has mark. */
static void copy_record(int fd, int newfd, enum fdt_mark mark)
{
	struct conn *from = conn_peek(fd), *to = page_of(newfd, true);
	struct upstream *u = from ? conn_exchange(from) : NULL;

	if (!from || !to)
		return;
	to[newfd % PAGE_CONNS] = *from;
	if (mark == FDT_PENDING) {
		if (u)
			atomic_store(&u->copied, true);
		raise_highest(newfd);
	}
	fdt_set(newfd, mark);
}

void conn_copy(int fd, int newfd)
{
	enum fdt_mark mark = fdt_get(fd);

	if ((fdt_has_record(fdt_get(newfd)) && !is_owner()) || !conn_forget(newfd) || newfd < 0 ||
	    newfd >= FDT_MAX)
		return;
	if (fdt_has_record(mark)) {
		if (is_owner())
			copy_record(fd, newfd, mark);
		return;
	}
	if (mark == FDT_TCP || mark == FDT_TCP_SET || mark == FDT_TCP_COPIED) {
		mark = FDT_TCP_COPIED;
		raise_highest(fd > newfd ? fd : newfd);
		fdt_set(fd, mark);
	}
	fdt_set(newfd, mark);
}

/* The other numbers of a socket that was duplicated before its connect(). */
static void copy_to_twins(int fd, const struct conn *c)
{
	for (int other = 0; other <= atomic_load(&highest); other++)
		if (other != fd && fdt_get(other) == FDT_TCP_COPIED &&
		    sock_cookie(other) == c->sock_cookie) {
			copy_record(fd, other, FDT_PENDING);
			regs_exchange(other, conn_exchange(c));
		}
}

/* ------------------------------------------------------------------- beginning */

/* A bare MSG_FASTOPEN on a connected socket is a plain send, which would put the Connect TLV
 * into somebody's stream (TRAPS 2.3); the same question fails on everything that is not TCP. */
static bool is_unconnected_tcp(int fd)
{
	struct tcp_info info;
	socklen_t len = offsetof(struct tcp_info, tcpi_options);

	info.tcpi_state = 0;
	return sys_getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) == 0 &&
	       info.tcpi_state == TCP_CLOSE;
}

bool conn_is_nonblocking(int fd)
{
	int flags = sys_fcntl(fd, F_GETFL, 0);

	return flags >= 0 && flags & O_NONBLOCK;
}

int64_t conn_send_limit(int fd)
{
	struct timeval limit = { 0 };
	socklen_t len = sizeof(limit);

	if (sys_getsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, &len) < 0 ||
	    (limit.tv_sec == 0 && limit.tv_usec == 0))
		return INT64_MAX;
	return now_ns() + (int64_t)limit.tv_sec * 1000000000 + (int64_t)limit.tv_usec * 1000;
}

/* A reply shorter than SO_RCVLOWAT would never make the socket readable. Returns what to set
 * again when the exchange is over, 0 for nothing. */
static int lower_rcvlowat(int fd)
{
	int wanted = 1, one = 1;
	socklen_t len = sizeof(wanted);

	if (sys_getsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &wanted, &len) < 0 || wanted <= 1)
		return 0;
	sys_setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &one, sizeof(one));
	return wanted;
}

static struct upstream *new_exchange(struct conn *c, const struct conn_request *request,
				     int64_t now)
{
	struct upstream *u = upstream_new(c->sock_cookie);

	if (!u)
		return NULL;
	u->started_ns = now;
	u->deadline_ns = now + (int64_t)request->config->timeout_ms * 1000000;
	u->server = request->server;
	u->family = request->family;
	u->converter = request->verdict->converter;
	u->via = request->verdict->via;
	u->fall_back = request->config->fallback == CONFIG_FALLBACK_DIRECT;
	u->cookie_tried = false;
	u->rcvlowat = 0;
	return u;
}

static void lower_next_check(int64_t at)
{
	int64_t now = atomic_load(&next_check);

	while (at < now && !atomic_compare_exchange_weak(&next_check, &now, at))
		;
}

/* From here on everybody sees the connection as pending; then the SYN goes out (TRAPS 2.11). */
static int go(int fd, struct upstream *u, enum fdt_mark mark, bool nonblocking)
{
	int r;

	raise_highest(fd);
	fdt_set(fd, FDT_PENDING);
	lower_next_check(u->deadline_ns);
	regs_exchange(fd, u);
	if (mark == FDT_TCP_COPIED)
		copy_to_twins(fd, conn_peek(fd));
	r = upstream_open(u, fd, nonblocking);
	if (upstream_is_pending(u))
		regs_exchange(fd, u);
	return r;
}

static bool prepare(int fd, struct conn_request *request, enum fdt_mark mark, int64_t now)
{
	struct conn *page = page_of(fd, true), *c;
	struct upstream *u;
	int flags;

	request->err = ENOBUFS;
	if (!page)
		return false;
	c = &page[fd % PAGE_CONNS];
	*c = (struct conn){ .sock_cookie = sock_cookie(fd),
			    .server = request->server,
			    .family = (uint8_t)request->family };
	u = c->sock_cookie ? new_exchange(c, request, now) : NULL;
	flags = sys_fcntl(fd, F_GETFL, 0);
	if (!u || flags < 0)
		return false;
	c->exchange = upstream_index(u);
	request->exchange = u;
	request->nonblocking = flags & O_NONBLOCK;
	request->until_ns = INT64_MAX;
	if (mark != FDT_TCP) { /* somebody may have set what matters to us */
		u->rcvlowat = lower_rcvlowat(fd);
		if (!request->nonblocking)
			request->until_ns = conn_send_limit(fd);
	}
	if (!request->nonblocking)
		atomic_store(&u->driver, upstream_thread());
	return true;
}

static enum conn_begin begin_claimed(int fd, struct conn_request *request, enum fdt_mark mark)
{
	int64_t now = now_ns();
	int r;

	if (!is_unconnected_tcp(fd)) {
		fdt_set(fd, mark);
		return CONN_NOT_OURS;
	}
	if (regs_is_lost(fd) || !prepare(fd, request, mark, now)) {
		fdt_set(fd, mark);
		return CONN_UNREACHABLE;
	}
	r = go(fd, request->exchange, mark, request->nonblocking);
	request->interrupted = r == -EINTR;
	if (r == 0 || r == -EINTR)
		return CONN_BEGUN;
	request->err = -r;
	atomic_store(&request->exchange->phase, UPSTREAM_DIRECT);
	regs_put_back(fd, request->exchange);
	fdt_set(fd, mark);
	return CONN_UNREACHABLE;
}

/* Only one connect() at a time may find the socket unconnected and send: another thread's, or one
 * in a signal handler, would have its Connect TLV end up in the stream of the first. */
enum conn_begin conn_begin(int fd, struct conn_request *request)
{
	enum fdt_mark mark = fdt_get(fd);
	enum conn_begin r;

	if (fd < 0 || fd >= FDT_MAX || mark == FDT_OTHER)
		return CONN_NOT_OURS;
	if (!atomic_load(&owner_pid))
		is_owner();
	if (now_ns() >= atomic_load(&next_check))
		conn_sweep();
	upstream_enter();
	if (fdt_has_record(mark) || mark == FDT_OPENING || !fdt_change(fd, mark, FDT_OPENING))
		r = CONN_BUSY;
	else
		r = begin_claimed(fd, request, mark);
	upstream_leave();
	return r;
}

/* -------------------------------------------------------------------- advancing */

static void settle_number(int fd, enum fdt_mark mark, struct upstream *u)
{
	if (!fdt_change(fd, FDT_PENDING, mark))
		return;
	regs_put_back(fd, u);
	if (mark == FDT_UP) /* all others may be connected again */
		regs_forget(fd);
}

/* The exchange is over: what the program may now see of it. */
static enum fdt_mark settle(int fd, struct upstream *u)
{
	enum fdt_mark mark = FDT_TCP_COPIED; /* the mark that takes nothing for granted */

	switch (u ? upstream_phase(u) : UPSTREAM_DIRECT) {
	case UPSTREAM_CONNECTED:
		mark = FDT_UP;
		break;
	case UPSTREAM_REFUSED:
		mark = FDT_FAILED;
		break;
	default:
		break;
	}
	settle_number(fd, mark, u);
	if (u && atomic_load(&u->copied))
		for (int other = 0; other <= atomic_load(&highest); other++) {
			struct conn *c = fdt_get(other) == FDT_PENDING ? conn_peek(other) : NULL;

			if (c && conn_exchange(c) == u)
				settle_number(other, mark, u);
		}
	return fdt_get(fd);
}

static enum fdt_mark advance(int fd, struct conn *c, bool broken)
{
	struct upstream *u = conn_exchange(c);
	uint32_t driver = u ? atomic_load(&u->driver) : 0;

	if (!u || !upstream_is_pending(u))
		return settle(fd, u);
	if (now_ns() >= u->deadline_ns)
		upstream_expire(u, fd);
	else if (!driver || driver == upstream_thread())
		upstream_advance(u, fd, broken);
	if (!upstream_is_pending(u))
		return settle(fd, u);
	regs_exchange(fd, u);
	return FDT_PENDING;
}

int conn_wait(int fd, struct conn *c, int64_t limit_ns)
{
	struct upstream *u;
	int64_t slice_ns = 0;

	if (upstream_is_interrupted())
		return -EDEADLK;
	while ((u = conn_exchange(c)) && upstream_is_pending(u)) {
		int64_t until = limit_ns < u->deadline_ns ? limit_ns : u->deadline_ns;
		int r;

		/* who drives reads the reply; others may miss that it was read */
		if (conn_is_shared() && atomic_load(&u->driver) != upstream_thread())
			until = wait_slice(until, &slice_ns);
		r = wait_one(fd, upstream_wants(u), until);
		/* another thread may have closed the number, and a third made it anew */
		if (r > 0 && conn_is_shared() && upstream_is_pending(u) && conn_find(fd) != c)
			return -EBADF;
		if (r < 0 && (limit_ns != WAIT_FOREVER || !wait_restarts_all()))
			return r;
		if (r > 0 || now_ns() >= u->deadline_ns)
			conn_advance(fd, c);
		if (upstream_is_pending(u) && now_ns() >= limit_ns)
			return -ETIMEDOUT;
	}
	return 0;
}

int64_t conn_next_check(void)
{
	return fdt_any_unsettled() ? atomic_load(&next_check) : INT64_MAX;
}

void conn_look(void)
{
	for (int fd = 0; fd <= atomic_load(&highest); fd++) {
		struct conn *c = fdt_get(fd) == FDT_PENDING ? conn_peek(fd) : NULL;
		struct upstream *u = c ? conn_exchange(c) : NULL;

		if (c && (!u || !upstream_is_pending(u)))
			settle(fd, u);
	}
}

void conn_sweep(void)
{
	int64_t soonest = now_ns() + 10000000;

	atomic_store(&next_check, INT64_MAX);
	for (int fd = 0; fd <= atomic_load(&highest); fd++) {
		struct conn *c = fdt_get(fd) == FDT_PENDING ? conn_find(fd) : NULL;
		struct upstream *u = c ? conn_exchange(c) : NULL;

		if (!c)
			continue;
		if (u && now_ns() < u->deadline_ns)
			lower_next_check(u->deadline_ns);
		else if (conn_advance(fd, c) == FDT_PENDING) /* somebody is at it */
			lower_next_check(soonest);
	}
}

enum fdt_mark conn_advance(int fd, struct conn *c)
{
	return advance(fd, c, false);
}

enum fdt_mark conn_advance_broken(int fd, struct conn *c)
{
	return advance(fd, c, true);
}

int conn_take_error(int fd, struct conn *c)
{
	struct upstream *u = conn_exchange(c);
	int err = 0, native;
	socklen_t len = sizeof(native);

	if (u)
		err = atomic_exchange(&u->err, 0);
	if (fdt_change(fd, FDT_FAILED, FDT_FAILED_TOLD) && err)
		/* our disconnect left an error of its own, which would be a second one */
		sys_getsockopt(fd, SOL_SOCKET, SO_ERROR, &native, &len);
	return err;
}

bool conn_is_untold(int fd)
{
	struct conn *c = conn_peek(fd);
	struct upstream *u = c ? conn_exchange(c) : NULL;

	return u && atomic_load(&u->err);
}

bool conn_is_driven(const struct conn *c)
{
	struct upstream *u = conn_exchange(c);

	return u && atomic_load(&u->driver);
}

void conn_abandon(int fd, struct conn *c)
{
	struct upstream *u = conn_exchange(c);

	if (u && upstream_is_pending(u))
		atomic_store(&u->phase, UPSTREAM_ABANDONED);
	settle(fd, u);
}

void conn_reset(int fd)
{
	upstream_disconnect(fd);
	fdt_set(fd, FDT_TCP_COPIED);
}

/* -------------------------------------------------------------- processes, threads */

bool conn_is_forked(void)
{
	return atomic_load_explicit(&forked, memory_order_relaxed);
}

bool conn_is_shared(void)
{
	return !__libc_single_threaded || conn_is_forked();
}

static void before_fork(void)
{
	atomic_store(&forked, true);
}

static void in_child(void)
{
	atomic_store(&owner_pid, fdt_any_unsettled() ? (int)syscall(SYS_getpid) : 0);
	upstream_in_child();
	regs_in_child();
}

void conn_init(void)
{
	pthread_atfork(before_fork, NULL, in_child);
}
