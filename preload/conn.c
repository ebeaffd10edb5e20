// SPDX-License-Identifier: MIT
#include "conn.h"

#include "real.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/single_threaded.h>

#define PAGE_CONNS 256

static _Atomic(struct conn *) pages[FDT_MAX / PAGE_CONNS];
/* The process that the records belong to; a vfork child runs in our memory with another id. */
static _Atomic int owner_pid;
static _Atomic bool forked;

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

static bool is_owner(void)
{
	return atomic_load(&owner_pid) == (int)syscall(SYS_getpid);
}

void conn_forget(int fd)
{
	enum fdt_mark mark = fdt_get(fd);
	struct upstream *u;
	struct conn *c;

	if (mark == FDT_UNKNOWN || (mark == FDT_PENDING && !is_owner()))
		return;
	c = mark == FDT_PENDING ? conn_peek(fd) : NULL;
	/* nobody else can be interested: the slot is free for the next one */
	if (c && (u = conn_exchange(c)) && !conn_is_shared())
		u->deadline_ns = 0;
	fdt_set(fd, FDT_UNKNOWN);
}

void conn_copy(int fd, int newfd)
{
	enum fdt_mark mark = fdt_get(fd);
	struct conn *from = conn_peek(fd), *to;

	conn_forget(newfd);
	if (newfd < 0 || newfd >= FDT_MAX)
		return;
	if (fdt_has_record(mark)) {
		if (!from || !is_owner() || !(to = page_of(newfd, true)))
			return;
		to[newfd % PAGE_CONNS] = *from;
	}
	fdt_set(newfd, mark);
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

/* SO_SNDTIMEO as a moment; connect() obeys it (socket(7)). */
static int64_t send_limit(int fd, enum fdt_mark mark, int64_t now)
{
	struct timeval limit = { 0 };
	socklen_t len = sizeof(limit);

	if (mark == FDT_TCP || sys_getsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, &len) < 0 ||
	    (limit.tv_sec == 0 && limit.tv_usec == 0))
		return INT64_MAX;
	return now + (int64_t)limit.tv_sec * 1000000000 + (int64_t)limit.tv_usec * 1000;
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
	return u;
}

enum conn_begin conn_begin(int fd, struct conn_request *request)
{
	enum fdt_mark mark = fdt_get(fd);
	int64_t now = now_ns(), until = 0;
	struct conn *page, *c;
	struct upstream *u;
	int flags;

	if (fd < 0 || fd >= FDT_MAX || mark == FDT_OTHER || !is_unconnected_tcp(fd))
		return CONN_NOT_OURS;
	page = page_of(fd, true);
	request->err = ENOBUFS;
	if (!page)
		return CONN_UNREACHABLE;
	c = &page[fd % PAGE_CONNS];
	*c = (struct conn){ .sock_cookie = sock_cookie(fd),
			    .server = request->server,
			    .family = (uint8_t)request->family };
	u = c->sock_cookie ? new_exchange(c, request, now) : NULL;
	flags = sys_fcntl(fd, F_GETFL, 0);
	if (!u || flags < 0)
		return CONN_UNREACHABLE;
	c->exchange = upstream_index(u);
	request->exchange = u;
	request->nonblocking = flags & O_NONBLOCK;
	if (!request->nonblocking) {
		request->until_ns = send_limit(fd, mark, now);
		until = request->until_ns < u->deadline_ns ? request->until_ns : u->deadline_ns;
		atomic_store(&u->driver, upstream_thread());
	}
	fdt_set(fd, FDT_PENDING); /* before the SYN: another thread may be waiting already */
	flags = upstream_open(u, fd, until);
	if (flags == 0)
		return CONN_BEGUN;
	request->err = -flags;
	atomic_store(&u->phase, UPSTREAM_DIRECT);
	fdt_set(fd, mark);
	return CONN_UNREACHABLE;
}

/* -------------------------------------------------------------------- advancing */

/* The exchange is over: what the program may now see of it. */
static enum fdt_mark settle(int fd, const struct upstream *u)
{
	enum fdt_mark mark = FDT_UNKNOWN;

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
	fdt_change(fd, FDT_PENDING, mark);
	return fdt_get(fd);
}

enum fdt_mark conn_advance(int fd, struct conn *c)
{
	struct upstream *u = conn_exchange(c);
	uint32_t driver = u ? atomic_load(&u->driver) : 0;

	if (!u || !upstream_is_pending(u))
		return settle(fd, u);
	if (now_ns() >= u->deadline_ns)
		upstream_expire(u, fd);
	else if (!driver || driver == upstream_thread())
		upstream_advance(u, fd);
	return upstream_is_pending(u) ? FDT_PENDING : settle(fd, u);
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

/* -------------------------------------------------------------- processes, threads */

bool conn_is_shared(void)
{
	return !__libc_single_threaded || atomic_load_explicit(&forked, memory_order_relaxed);
}

static void before_fork(void)
{
	atomic_store(&forked, true);
}

static void in_child(void)
{
	atomic_store(&owner_pid, (int)syscall(SYS_getpid));
	upstream_in_child();
}

void conn_init(void)
{
	atomic_store(&owner_pid, (int)syscall(SYS_getpid));
	pthread_atfork(before_fork, NULL, in_child);
}
