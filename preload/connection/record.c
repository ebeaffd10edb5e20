// SPDX-License-Identifier: MIT
#include "record.h"
#include "due.h"
#include "legend.h"
#include "memory.h"
#include "notes.h"
#include "sock.h"
#include "epsets.h"
#include "report.h"
#include "shim.h"
#include "twin.h"
#include "wait.h"

#include <linux/kcmp.h>
#include <stddef.h>
#include <string.h>

#define CONN_PAGE 256

static struct conn first_page[CONN_PAGE];	    /* most processes need no other */
static _Atomic(void *) pages[MARK_MAX / CONN_PAGE]; /* [0] is first_page */
/* For somebody outside: nobody here reads it. */
__attribute__((used, retain)) static const struct legend legend = {
	.magic = LEGEND_MAGIC,
	.marks = mark_words,
	.pages = pages,
	.first = first_page,
	.n_marks = MARK_MAX,
	.page = CONN_PAGE,
	.record = sizeof(struct conn),
	.cookie = offsetof(struct conn, sock_cookie),
	.new_cookie = offsetof(struct conn, new_cookie),
	.server = offsetof(struct conn, server),
	.bypass = MARK_BYPASS,
	.pending = MARK_PENDING,
	.up = MARK_UP,
	.program = shim_program,
};
/* The process that marks and records belong to, 0 before it has a TCP socket that may be converted; a vfork child runs in our
 * memory with another id. */
static _Atomic int owner_pid;
static void (*in_copy)(void) WRITTEN; /* conn_adopt_by() */
static uint8_t generation;	      /* of processes, since the program was started */
static _Atomic bool forked;
static _Atomic int highest; /* number that was ever pending, or is a copy */

void conn_raise_highest(int fd)
{
	int top = atomic_load(&highest);

	while (fd > top && !atomic_compare_exchange_weak(&highest, &top, fd))
		;
}

int conn_highest(void)
{
	return atomic_load(&highest);
}

/* -------------------------------------------------------------------- records */

struct conn *conn_at(int fd, bool make)
{
	_Atomic(void *) *at = &pages[fd / CONN_PAGE];
	struct conn *page = fd < CONN_PAGE ? first_page :
					     atomic_load_explicit(at, memory_order_acquire);

	if (!page && make)
		page = memory_place(at, CONN_PAGE * sizeof(*page), MAP_PRIVATE);
	return page ? &page[fd % CONN_PAGE] : NULL;
}

struct conn *conn_peek(int fd)
{
	return mark_has_record(mark_get(fd)) ? conn_at(fd, false) : NULL;
}

struct conn *conn_pending(int fd)
{
	return mark_get(fd) == MARK_PENDING ? conn_at(fd, false) : NULL;
}

/* This process is a child without its handler of fork()'s (glibc's _Fork(), a clone() by system call): what that would
 * have done, and its parent before. Whoever interrupts it here finds the memory to be his process's. */
static void adopt(int pid)
{
	int saved_errno = errno;

	atomic_store(&owner_pid, pid);
	if (!memory_adopt())
		return;
	conn_before_fork();
	if (in_copy)
		in_copy();
	else
		conn_in_child();
	errno = saved_errno;
}

/* Is it one? The vfork child of one that has adopted nothing yet is in its parent's memory. Our own parent may have ended:
 * the next one may be init, about which hardly anybody may ask. 0: it is outside of our PID namespace, in which we may have
 * the owner's number. */
static bool is_in_copy(int pid, int owner)
{
	int parent = (int)syscall(SYS_getppid), saved_errno = errno;
	long different;

	if (parent == owner || parent == 0)
		return true;
	different = syscall(SYS_kcmp, pid, parent, KCMP_VM, 0, 0);
	errno = saved_errno;
	return different < 0 ? parent == 1 : different > 0;
}

static bool claim_memory(void)
{
	int pid = (int)syscall(SYS_getpid), owner = atomic_load(&owner_pid);

	if (owner && !memory_is_own() && is_in_copy(pid, owner)) {
		adopt(pid);
		return true;
	}
	if (!owner) { /* in that order, as others look at both */
		memory_own();
		atomic_compare_exchange_strong(&owner_pid, &owner, pid);
	}
	return atomic_load(&owner_pid) == pid;
}

void conn_own(void)
{
	if (!memory_is_own())
		claim_memory();
}

AT_START void conn_adopt_by(void (*child)(void))
{
	in_copy = child;
}

/* Asked only where a record is at stake: it is a system call. */
bool conn_is_owner(void)
{
	return !mark_is_apart && claim_memory();
}

/* A vfork child, which has descriptors of its own anyway, would say it of the thread that waits for it. */
void conn_stand_apart(void)
{
	if (!atomic_load(&owner_pid) || conn_is_owner())
		mark_is_apart = true;
}

bool conn_stands_apart(void)
{
	return mark_is_apart;
}

/* Where a filter does not let us ask any more, the mark has to do: without its record the program
 * would read the converter's reply. */
bool conn_is_of(int fd, const struct conn *c)
{
	uint64_t cookie = 0;
	int err = sock_ask_cookie(fd, &cookie);

	if (err < 0)
		return err != -EBADF && err != -ENOTSOCK;
	return cookie && (cookie == c->sock_cookie || cookie == atomic_load(&c->new_cookie));
}

struct conn *conn_find(int fd)
{
	uint16_t word = mark_look(fd);
	struct conn *c = conn_peek(fd);

	conn_own();
	if (c && conn_is_of(fd, c))
		return c;
	/* A vfork child's numbers are not its parent's. And one that is another socket's by now, which somebody
	 * is just connecting, is left to him. */
	if (mark_has_record(mark_in(word)) && conn_is_owner())
		mark_change_seen(fd, word, MARK_UNKNOWN);
	return NULL;
}

struct exchange *conn_exchange(const struct conn *c)
{
	struct exchange *u = c ? exchange_at(c->exchange) : NULL;

	return u && atomic_load(&u->sock_cookie) == c->sock_cookie ? u : NULL;
}

/* What all processes see, as long as it is there. */
_Atomic int *conn_untold(struct conn *c)
{
	struct exchange *u = conn_exchange(c);

	return u ? &u->err : &c->err;
}

/* A TCP socket that shall not be converted. */
static bool is_ruled_out(int fd, enum mark mark)
{
	const struct note *n = mark == MARK_OTHER ? note_at(fd) : NULL;

	return n && n->family;
}

/* Would a process miss what is known of the number, whose vfork child closes it in the same memory? Not
 * the peer of a converted connection, which only a child would take away that makes new sockets; nor
 * that it may be converted, once the kernel was told to connect it: a close that is nobody's but the
 * program's costs no system call then. */
static bool is_missed(int fd, enum mark mark)
{
	return mark_has_record(mark) ? mark != MARK_UP :
				       (shim_is_active() || shim_is_listening()) &&
					       (mark_is_fresh(mark) || is_ruled_out(fd, mark)) &&
					       mark != MARK_FELL_BACK && !note_is_connected(fd);
}

/* Another thread may be at a step of its connection, or about to end it: either that one sees what has been
 * stored about the number, or this one sees that it is at it, and waits until the number is left alone. A signal
 * handler does not wait for its own frame. */
static void await_step(const struct exchange *u)
{
	struct patience patience = { 0 };

	atomic_thread_fence(memory_order_seq_cst);
	/* the lock first: who has it may go on without it when he has put it in that phase */
	while ((atomic_load(&u->lock) || exchange_phase(u) == EXCHANGE_OPENING) &&
	       !exchange_is_interrupted())
		if (!wait_patiently(&patience))
			return;
}

/* The number is nobody's any more, and may be another connection's at once. The frame that we have interrupted is
 * told. */
static void await_end(int fd, const struct exchange *u)
{
	await_step(u);
	if (exchange_is_interrupted() && exchange_phase(u) == EXCHANGE_OPENING)
		twin_was_closed(fd);
}

/* *word: what is there then. */
static bool await_opening(int fd, uint16_t *word)
{
	struct patience patience = { 0 };

	/* it sends its SYN without waiting; only the frame that we have interrupted does not go on, and
	 * one that a signal handler has left by siglongjmp() */
	while (mark_in(*word = mark_look(fd)) == MARK_OPENING) {
		if (exchange_is_interrupted())
			return false;
		if (!wait_patiently(&patience))
			mark_change_seen(fd, *word, MARK_TCP_COPIED);
	}
	return true;
}

bool conn_await_opening(int fd)
{
	uint16_t word;

	return await_opening(fd, &word);
}

/* Either connect() is first, and has put its twin there, or we are, and it has nothing to put there. */
static bool forget_fresh(int fd)
{
	uint16_t word;

	do {
		await_opening(fd, &word);
		if (!mark_is_fresh(mark_in(word)))
			return false;
	} while (!mark_change_seen(fd, word, MARK_UNKNOWN));
	return true;
}

static void forget(int fd, enum mark mark)
{
	struct exchange *u;
	struct conn *c;
	int64_t end_ns;

	epset_forget(fd);
	if (mark_is_fresh(mark) && forget_fresh(fd))
		return;
	c = conn_pending(fd);
	u = conn_exchange(c);
	/* Nobody else can be interested, but another thread that is waiting, which has a second to
	 * notice: the slot is free for the next one. Those that are deferred may be many. */
	if (u && conn_is_ours(c) && !c->copied)
		exchange_given_up(u, fd);
	if (u && conn_is_ours(c) && !atomic_load(&c->inherited) && !atomic_load(&u->copied)) {
		end_ns = conn_is_shared() && !exchange_is_deferred(u) ? now_ns() : 0;
		atomic_store(&u->deadline_ns, end_ns);
		atomic_store(&u->limit_ns, end_ns);
		report_abandoned(u);
	}
	mark_set(fd, MARK_UNKNOWN);
	if (u)
		await_end(fd, u);
}

bool conn_forget(int fd)
{
	int saved_errno = errno;
	uint16_t word;
	enum mark mark;

	if (mark_is_apart)
		return false;
	await_opening(fd, &word);
	mark = mark_in(word);
	if (mark == MARK_UNKNOWN)
		return true;
	if (is_missed(fd, mark) && !conn_is_owner())
		return false;
	forget(fd, mark);
	errno = saved_errno;
	return true;
}

bool conn_begin_number(int fd, enum mark mark)
{
	if (mark_is_apart || (!(mark == MARK_OTHER && mark_get(fd) == mark) && !conn_forget(fd)))
		return false;
	mark_set(fd, mark);
	note_end(fd);
	return true;
}

void conn_fill(struct conn *c, uint64_t sock_cookie, const struct addr *server, uint8_t family)
{
	FILL(c->sock_cookie, sock_cookie);
	FILL(c->new_cookie, 0);
	c->server = *server;
	c->family = family;
	FILL(c->told, false);
	FILL(c->exchange, 0);
	FILL(c->copied, false);
	FILL(c->inherited, false);
	c->no_cookie = false;
	c->accepted = false;
	c->generation = generation;
}

/* By whoever settles the number, and that may be two at once. */
void conn_keep_local(struct conn *c, const struct addr *local)
{
	uint64_t ip[2];

	memcpy(ip, local->ip, sizeof(ip));
	FILL(c->local_ip[0], ip[0]);
	FILL(c->local_ip[1], ip[1]);
	FILL(c->local_port, local->port);
}

struct addr conn_local(const struct conn *c)
{
	const uint64_t ip[2] = { atomic_load(&c->local_ip[0]), atomic_load(&c->local_ip[1]) };
	struct addr local = { .port = atomic_load(&c->local_port) };

	memcpy(local.ip, ip, sizeof(ip));
	return local;
}

bool conn_is_ours(const struct conn *c)
{
	return c->generation == generation;
}

/* newfd gets the record of fd, which has mark. */
void conn_copy_record(int fd, int newfd, enum mark mark)
{
	struct conn *from = conn_peek(fd), *to = conn_at(newfd, true);
	struct exchange *u = conn_exchange(from);
	struct addr local;

	if (!from || !to)
		return;
	local = conn_local(from);
	conn_fill(to, from->sock_cookie, &from->server, from->family);
	to->told = atomic_load(&from->told);
	to->copied = from->copied = true;
	to->inherited = atomic_load(&from->inherited);
	to->generation = from->generation;
	to->began_ns = from->began_ns;
	to->no_cookie = from->no_cookie;
	to->accepted = from->accepted;
	to->new_cookie = atomic_load(&from->new_cookie);
	to->exchange = atomic_load(&from->exchange);
	to->err = atomic_load(&from->err);
	conn_keep_local(to, &local);
	if (mark == MARK_PENDING && u)
		atomic_store(&u->copied, true);
	conn_raise_highest(newfd);
	mark_set(newfd, mark);
	if (mark == MARK_PENDING) /* when it is due indeed is seen then */
		due_at(newfd, 0);
}

void conn_each_number(int fd, struct exchange *u, void (*each)(int fd, struct exchange *u))
{
	each(fd, u);
	for (int other = 0; atomic_load(&u->copied) && other <= conn_highest(); other++)
		if (other != fd && conn_exchange(conn_pending(other)) == u)
			each(other, u);
}

/* Before whoever ends it puts another socket there. */
static void share_pending(int fd)
{
	struct conn *c = conn_peek(fd);
	struct exchange *u = conn_exchange(c);

	if (!u || !conn_is_owner())
		return;
	c->copied = true;
	atomic_store(&u->copied, true);
	await_step(u);
}

enum mark conn_share(int fd)
{
	uint16_t word;

	if (mark_is_apart)
		return MARK_UNKNOWN;
	do {
		await_opening(fd, &word);
		note_duplicated(fd);
		if (mark_in(word) == MARK_PENDING)
			share_pending(fd);
		if (!mark_is_fresh(mark_in(word)) || mark_in(word) == MARK_TCP_COPIED)
			return mark_in(word);
	} while (!mark_change_seen(fd, word, MARK_TCP_COPIED));
	return MARK_TCP_COPIED;
}

bool conn_copy(int fd, int newfd)
{
	enum mark mark = conn_share(fd);

	if (newfd < 0 || newfd >= MARK_MAX)
		return false;
	if (((mark_has_record(mark_get(newfd)) || twin_may_be(newfd)) && !conn_is_owner()) ||
	    !conn_forget(newfd))
		return false;
	if (mark_has_record(mark)) {
		if (!conn_is_owner())
			return false;
		conn_copy_record(fd, newfd, mark);
		return true;
	}
	if (mark == MARK_OPENING) /* by the frame that we have interrupted */
		mark = MARK_TCP_COPIED;
	if (mark == MARK_TCP_COPIED)
		conn_raise_highest(fd > newfd ? fd : newfd);
	mark_set(newfd, mark);
	return true;
}

/* -------------------------------------------------------------- processes, threads */

bool conn_is_forked(void)
{
	return atomic_load_explicit(&forked, memory_order_relaxed);
}

bool conn_is_shared(void)
{
	return !libc_is_single_threaded() || conn_is_forked();
}

void conn_share_pending(void)
{
	for (int fd = 0; mark_any_unsettled() && fd <= conn_highest(); fd++) {
		struct conn *c = conn_pending(fd);

		if (!c)
			continue;
		c->inherited = true;
		due_at(fd, 0);
	}
}

void conn_before_fork(void)
{
	atomic_store(&forked, true);
	conn_share_pending(); /* another thread may close one meanwhile */
	note_shared();
	epset_before_fork();
	exchange_before_fork();
}

void conn_in_child(void)
{
	/* the threads that were just deciding about these numbers do not exist in the child */
	for (int fd = 0; fd <= conn_highest(); fd++)
		mark_change(fd, MARK_OPENING, MARK_TCP_COPIED);
	conn_share_pending();
	mark_is_apart = false;
	generation++;
	if (atomic_load(&owner_pid)) {
		atomic_store(&owner_pid, (int)syscall(SYS_getpid));
		memory_adopt();
	}
	exchange_in_child();
	epset_in_child();
}
