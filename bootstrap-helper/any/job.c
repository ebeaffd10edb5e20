// SPDX-License-Identifier: MIT
#include "any_int.h"

#include "advance.h"
#include "begin.h"
#include "sock.h"
#include "wait.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define BUCKETS	   4096
#define PEERS	   65536
#define PEER_TRIES 8	      /* places that a peer may be written down at */
#define LOOK_NS	   500000000  /* so often whoever waits is looked after */
#define LOOKS	   64	      /* at a time; meanwhile programs stand still */
#define UNASKED_NS 1000000000 /* then whoever has not asked gets its bytes relayed */
#define UNTOLD_NS  10000000000
#define SPARE	   32 /* descriptors, for ourselves and for what is held for a moment */

static struct job *jobs[BUCKETS];
static struct job *named[BUCKETS]; /* those whose program's socket connects to nowhere */
static struct job_peer peers[PEERS];
static int epoll = -1;
static int64_t next_ns = INT64_MAX;
static size_t looked_at = BUCKETS; /* as far as that is */
static struct job *over;
static rlim_t in_use; /* descriptors that they have, or will need */

/* ------------------------------------------------------------------------------- descriptors */

static rlim_t limit(void)
{
	struct rlimit files;

	return getrlimit(RLIMIT_NOFILE, &files) < 0 ? RLIM_INFINITY : files.rlim_cur;
}

/* How many they may have; an eighth is for places (nowhere.c). */
static rlim_t most(void)
{
	rlim_t all = limit();

	return all - all / 8 > SPARE ? all - all / 8 - SPARE : 0;
}

static bool has_room(void)
{
	return in_use < most() || in_use == 0;
}

/* Those whose program does not wait may stay for as long as it likes. They leave as much to those that do not, each
 * of which comes to its end by itself. */
static bool may_stay(void)
{
	return in_use + 2 <= most() / 2;
}

static void needs(struct job *j, unsigned int n)
{
	in_use += n;
	in_use -= j->needs;
	j->needs = n;
}

/* ------------------------------------------------------------------------------- all of them */

void job_begin_all(int epfd)
{
	epoll = epfd;
}

struct job *job_find(uint64_t cookie)
{
	struct job *j = cookie ? jobs[cookie % BUCKETS] : NULL;

	while (j && j->cookie != cookie)
		j = j->next;
	return j;
}

static struct job_peer *find_peer(uint64_t cookie)
{
	for (uint64_t i = 0; cookie && i < PEER_TRIES; i++)
		if (peers[(cookie + i) % PEERS].cookie == cookie)
			return &peers[(cookie + i) % PEERS];
	return NULL;
}

/* Nobody says when a connection has ended, so it is looked for; but not where it may have gone. */
static bool is_held(const struct job_peer *p)
{
	return job_find(p->cookie) || target_has(p->process, p->number, p->ino);
}

/* The next one whose connection is over; or the oldest. */
static struct job_peer *room_for_peer(uint64_t cookie)
{
	struct job_peer *p = find_peer(cookie), *oldest = &peers[cookie % PEERS];

	for (uint64_t i = 0; !p && i < PEER_TRIES; i++) {
		struct job_peer *each = &peers[(cookie + i) % PEERS];

		if (!each->cookie || !is_held(each))
			p = each;
		else if (each->cookie < oldest->cookie)
			oldest = each;
	}
	return p ? p : oldest;
}

/* ino: of the socket that process has under that number. */
static void remember_peer(const struct job *j, uint64_t cookie, int process, int number, ino_t ino)
{
	*room_for_peer(cookie) = (struct job_peer){
		cookie, j->server, j->like.family, process, number, ino,
	};
}

const struct job_peer *job_peer(uint64_t cookie)
{
	return find_peer(cookie);
}

void job_forget_peer(uint64_t cookie)
{
	struct job_peer *p = find_peer(cookie);

	if (p)
		p->server = (struct addr){ .port = 0 };
}

static void due_at(int64_t at_ns)
{
	if (at_ns < next_ns)
		next_ns = at_ns;
}

int64_t job_next(void)
{
	return looked_at < BUCKETS ? 0 : next_ns;
}

/* Once; then it has to be asked for anew. */
static void watch(struct job *j, int fd, uint32_t events)
{
	struct epoll_event e = { .events = events, .data.ptr = j };

	if (epoll_ctl(epoll, EPOLL_CTL_MOD, fd, &e) < 0)
		epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &e);
}

/* Others have the socket too, so its end is not the end of that. */
static void unwatch(int fd)
{
	epoll_ctl(epoll, EPOLL_CTL_DEL, fd, NULL);
}

static void close_ours(struct job *j)
{
	if (j->ours < 0)
		return;
	unwatch(j->ours);
	like_close(j->ours);
	j->ours = -1;
}

/* By the port, which is at the same place in names of both families. */
static struct job **named_as(const struct job *j)
{
	return &named[((const struct sockaddr_in *)&j->nowhere.name)->sin_port % BUCKETS];
}

void job_end(struct job *j)
{
	struct job **at = &jobs[j->cookie % BUCKETS];

	if (j->is_over)
		return;
	while (*at != j)
		at = &(*at)->next;
	*at = j->next;
	for (at = named_as(j); *at && *at != j;)
		at = &(*at)->next_named;
	if (*at)
		*at = j->next_named;
	close_ours(j);
	if (j->far >= 0 && !j->relay) /* leaves nothing behind in TIME_WAIT */
		relay_reset(j->far);
	if (j->far >= 0)
		close(j->far);
	free(j->relay);
	needs(j, 0);
	j->is_over = true;
	j->next = over;
	over = j;
}

void job_give_up(struct job *j, int err)
{
	if (j->waiting)
		listener_answer(j->waiting, err);
	j->waiting = 0;
	job_end(j);
}

void caller_let_go(struct caller *by)
{
	if (by->theirs >= 0)
		close(by->theirs);
	by->theirs = -1;
}

/* ------------------------------------------------------------------------------------ relayed */

static void relay_on(struct job *j)
{
	uint32_t far, ours;

	if (!j->relay) {
		j->relay = relay_begin(j->far, j->ours, j->placed);
		j->is_relayed = !j->placed;
		j->until_ns = INT64_MAX;
		remember_peer(j, j->cookie, 0, -1, 0); /* the kernel's is nowhere */
	}
	if (!j->relay || !relay_go_on(j->relay)) {
		job_end(j);
		return;
	}
	relay_wants(j->relay, &far, &ours);
	if (far)
		watch(j, j->far, far | EPOLLONESHOT);
	if (ours)
		watch(j, j->ours, ours | EPOLLONESHOT);
}

/* ------------------------------------------------------------------------- under their number */

/* The number may be the last that there is, so there may be none above it. */
static int other_than(int number, int fd)
{
	return fd == number ? sys_fcntl(fd, F_DUPFD, 0) : fd;
}

/* An epoll set knows a file by its number too, and so it has to be the program's. What the set holds of the socket
 * before is taken away, as that may live on somewhere. */
static void register_as(int number, int ours, int theirs, int set, const struct target_epoll *e)
{
	struct epoll_event event = { .events = e->events, .data.u64 = e->data };

	syscall(SYS_dup3, theirs, number, 0);
	syscall(SYS_epoll_ctl, set, EPOLL_CTL_DEL, number, NULL);
	syscall(SYS_dup3, ours, number, 0);
	syscall(SYS_epoll_ctl, set, EPOLL_CTL_ADD, number, &event);
}

/* In a process with numbers of its own; the memory is still the parent's. */
__attribute__((noreturn)) static void register_there(int ours, int theirs, int number, int set,
						     const struct target_epoll *e)
{
	register_as(number, other_than(number, ours), other_than(number, theirs),
		    other_than(number, set), e);
	syscall(SYS_exit_group, 0);
	__builtin_unreachable();
}

/* Mostly the number is free with us (aside()), and no process is needed. */
static void register_alike(int ours, const struct caller *by, const struct target_epoll *e)
{
	int set = target_fd(by->thread, e->epfd);
	pid_t child;

	if (set < 0)
		return;
	if (sys_fcntl(by->number, F_GETFD, 0) == -EBADF) {
		register_as(by->number, ours, by->theirs, set, e);
		close(by->number);
	} else {
		child = vfork();
		if (child == 0)
			register_there(ours, by->theirs, by->number, set, e);
		if (child > 0)
			waitpid(child, NULL, 0);
	}
	close(set);
}

/* The connection is kept for whoever else has the program's socket. If nobody has, that ends here, and so does
 * this: before the program goes on, as in its epoll sets the connection is registered for as long as we have it. */
static void leave_to(struct job *j, struct caller *by)
{
	caller_let_go(by);
	if (j->far >= 0 && sock_tcp_state(j->far) == TCP_CLOSE_WAIT)
		job_end(j);
}

/* Has another thread given the number away since? Whatever has it then would be closed. (In between that and
 * SECCOMP_ADDFD_FLAG_SETFD, which does not ask, one still can: convert-run(1).) */
static bool is_still_there(const struct job *j, const struct caller *by)
{
	int theirs = target_fd(by->thread, by->number);
	bool is = theirs >= 0 && sock_cookie(theirs) == j->cookie;

	if (theirs >= 0)
		close(theirs);
	return is;
}

bool job_place(struct job *j, struct caller *by)
{
	struct target_epoll *e;
	size_t n = target_epolls(by->thread, by->number, by->theirs, &e);
	int flags = sys_fcntl(by->theirs, F_GETFL, 0), process;
	struct stat is;
	bool cloexec;
	char byte;

	if (flags < 0 || j->is_relayed)
		return false;
	if (j->far >= 0 &&
	    ((n && (rlim_t)by->number >= limit()) || /* we may not have that number */
	     sys_recv(j->far, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0)) {
		relay_on(j);
		return false;
	}
	process = target_process(by->thread);
	like_again(by->theirs, process, &j->like, j->ours);
	sys_fcntl(j->ours, F_SETFL, flags);
	unwatch(j->ours);
	cloexec = target_is_cloexec(by->thread, by->number);
	if (!is_still_there(j, by) || !listener_put(by->id, j->ours, by->number, cloexec))
		return false;
	for (size_t i = 0; i < n; i++)
		register_alike(j->ours, by, &e[i]);
	j->placed = sock_cookie(j->ours);
	if (j->converted && fstat(j->ours, &is) == 0)
		remember_peer(j, j->placed, process, by->number, is.st_ino);
	leave_to(j, by);
	return true;
}

/* --------------------------------------------------------------------------------- the outcome */

/* The socket has left the number that it was begun under, and there is no descriptor of it to be had: whoever has it
 * hears of the end by a reset. */
static void refuse_elsewhere(struct job *j)
{
	j->far = nowhere_complete(&j->nowhere);
	job_end(j);
}

/* Where it was begun: by a thread that may have ended, in a process whose first one may have. -1: it is not there. */
static int theirs_of(const struct job *j)
{
	const int those[] = { j->thread, j->process };

	for (int i = 0; i < 2; i++) {
		int theirs = target_fd(those[i], j->number);

		if (sock_cookie(theirs) == j->cookie)
			return theirs;
		close(theirs);
	}
	return -1;
}

/* Who does not wait is shown that it failed. */
static void refuse(struct job *j)
{
	int theirs = theirs_of(j);

	close_ours(j);
	needs(j, 0);
	if (theirs < 0) {
		refuse_elsewhere(j);
		return;
	}
	nowhere_refuse(theirs, j->like.bound);
	close(theirs);
	j->until_ns = now_ns() + UNTOLD_NS;
	due_at(j->until_ns);
}

/* The program may have reset its socket. */
static void end_as_far(struct job *j, int err)
{
	if (err == ECONNRESET && !j->placed)
		relay_reset(j->ours);
	job_end(j);
}

/* Whoever does not wait, and whoever else has the program's socket. */
static void complete(struct job *j)
{
	target_look_ahead(j->thread);
	j->far = nowhere_complete(&j->nowhere);
	if (j->far < 0 || sock_tcp_state(j->far) == TCP_CLOSE) { /* nobody has it any more */
		end_as_far(j, sock_int(j->far, SOL_SOCKET, SO_ERROR, 0));
		return;
	}
	watch(j, j->far, EPOLLIN | EPOLLRDHUP | EPOLLONESHOT);
	j->until_ns = j->placed ? INT64_MAX : now_ns() + UNASKED_NS;
	due_at(j->until_ns);
}

/* The connect() that waits, if it still does. A signal may take it away in the last moment, unseen; then all is
 * as if there had been no answer. So that is the kernel's own, if it can be: of the socket that is connected,
 * or refused, by then. */
static bool waiter(struct job *j, struct caller *by)
{
	*by = (struct caller){
		.id = j->waiting, .thread = j->thread, .number = j->number, .theirs = -1
	};
	j->waiting = 0;
	if (!by->id || !listener_waits(by->id))
		return false;
	by->theirs = target_fd(by->thread, by->number);
	if (by->theirs >= 0 && sock_cookie(by->theirs) != j->cookie) /* closed, and made anew */
		caller_let_go(by);
	return true;
}

static bool answer(struct caller *by, int err)
{
	caller_let_go(by);
	return err ? listener_answer(by->id, err) : listener_natively(by->id);
}

static void succeed(struct job *j)
{
	struct caller by;
	bool waits = waiter(j, &by);
	int err = by.theirs < 0 ? EBADF : job_place(j, &by) ? 0 : ECONNABORTED;

	if (j->holds)
		complete(j);
	else
		job_end(j);
	if (waits)
		answer(&by, err);
}

static void fail(struct job *j)
{
	struct caller by;
	bool told = waiter(j, &by), is_there = by.theirs >= 0;
	int err = j->err;

	if (!is_there)
		err = EBADF;
	else if (j->holds && err == ECONNREFUSED && nowhere_refuse(by.theirs, j->like.bound))
		err = 0;
	else if (j->holds)
		nowhere_withdraw(by.theirs);
	told = told && answer(&by, err); /* or it has not been seen */
	if (!j->holds || (told && is_there))
		job_end(j);
	else if (told)
		refuse_elsewhere(j);
	else
		refuse(j);
}

/* It is over, by err or not. */
static void finish(struct job *j, int err, bool converted)
{
	j->state = err ? JOB_FAILED : JOB_UP;
	j->err = err;
	j->converted = converted;
	unwatch(j->ours);
	if (err)
		fail(j);
	else
		succeed(j);
}

/* Direct, after a converter has failed or because the server speaks MPTCP itself. */
static void look_at_direct(struct job *j)
{
	struct pollfd p = { .fd = j->ours, .events = POLLOUT };
	int err;

	if (poll(&p, 1, 0) == 0) {
		j->until_ns = INT64_MAX;
		watch(j, j->ours, EPOLLOUT | EPOLLONESHOT);
		return;
	}
	err = sock_int(j->ours, SOL_SOCKET, SO_ERROR, 0);
	if (!err && p.revents & POLLHUP)
		err = ECONNABORTED;
	if (mark_is_watched(mark_get(j->ours)))
		conn_check_direct(j->ours);
	finish(j, err, false);
}

static void look(struct job *j, bool broken)
{
	struct conn *c = mark_has_record(mark_get(j->ours)) ? conn_find(j->ours) : NULL;
	enum mark mark = c ? conn_advance_after(j->ours, c, broken) : mark_get(j->ours);
	int err;

	if (mark == MARK_PENDING && conn_exchange(c)) {
		watch(j, j->ours, (uint32_t)exchange_wants(conn_exchange(c)) | EPOLLONESHOT);
		j->until_ns = exchange_due_ns(conn_exchange(c));
		due_at(j->until_ns);
	} else if (mark == MARK_UP) {
		finish(j, 0, true);
	} else if (mark_has_failed(mark)) {
		err = conn_take_error(j->ours, c);
		finish(j, err ? err : ECONNABORTED, false);
	} else {
		look_at_direct(j);
	}
}

/* --------------------------------------------------------------------------------------- events */

/* Something comes from the program, which has not asked, or the end of it; or from the server, for a program that has
 * had time enough to ask. */
static void look_at_far(struct job *j)
{
	char byte;
	long n = sys_recv(j->far, &byte, 1, MSG_PEEK | MSG_DONTWAIT);

	if (n == -EAGAIN && (j->placed || j->until_ns != INT64_MAX)) {
		watch(j, j->far, EPOLLIN | EPOLLRDHUP | EPOLLONESHOT);
	} else if (n > 0 || (!j->placed && (n == 0 || n == -EAGAIN))) {
		relay_on(j);
	} else {
		end_as_far(j, (int)-n);
	}
}

void job_event(struct job *j, uint32_t events)
{
	if (j->is_over)
		return;
	if (j->state == JOB_PENDING)
		look(j, events & (EPOLLERR | EPOLLHUP));
	else if (j->relay)
		relay_on(j);
	else if (j->far >= 0)
		look_at_far(j);
}

bool job_owes(void)
{
	for (size_t i = 0; i < BUCKETS; i++)
		for (const struct job *j = jobs[i]; j; j = j->next)
			if (j->far >= 0 && (!j->relay || relay_owes(j->relay)))
				return true;
	return false;
}

/* ------------------------------------------------------------------------------------ in time */

/* Another thread may have shut the socket down. */
static bool is_shut(const struct job *j)
{
	int theirs = target_fd(j->thread, j->number);
	bool shut = theirs >= 0 && sock_cookie(theirs) == j->cookie && !nowhere_waits(theirs);

	close(theirs);
	return shut;
}

static void look_after_waiting(struct job *j, int64_t now)
{
	int err = now >= j->limit_ns ? j->on_limit : j->holds && is_shut(j) ? ECONNRESET : 0;

	if (err) {
		listener_answer(j->waiting, err);
		j->waiting = 0;
	}
	if (err == ECONNRESET)
		job_end(j);
	else if (!err)
		due_at(now + LOOK_NS < j->limit_ns ? now + LOOK_NS : j->limit_ns);
}

/* Its step may have been taken already, unseen and on another socket, as each new connection looks after all that
 * are due (conn_sweep()). */
static void look_after_pending(struct job *j, int64_t now)
{
	if (j->waiting)
		look_after_waiting(j, now);
	if (j->is_over)
		return;
	if (now < j->until_ns)
		due_at(j->until_ns);
	else
		look(j, false);
}

static void look_after(struct job *j, int64_t now)
{
	if (j->state == JOB_PENDING) {
		look_after_pending(j, now);
	} else if (now < j->until_ns) {
		due_at(j->until_ns);
	} else if (j->state == JOB_FAILED) {
		job_end(j);
	} else if (!j->placed) {
		j->until_ns = INT64_MAX;
		watch(j, j->ours, EPOLLIN | EPOLLRDHUP | EPOLLONESHOT);
	}
}

void job_look_after_some(void)
{
	int64_t now = now_ns();
	struct job *j, *next;
	int looks = 0;

	if (looked_at == BUCKETS && now >= next_ns) {
		next_ns = INT64_MAX;
		looked_at = 0;
	}
	for (; looked_at < BUCKETS && looks < LOOKS; looked_at++)
		for (j = jobs[looked_at]; j; j = next, looks++) {
			next = j->next;
			look_after(j, now);
		}
	for (; over; over = next) {
		next = over->next;
		free(over);
	}
}

/* -------------------------------------------------------------------------------------- begun */

static struct job *new_job(const struct caller *by, int *err)
{
	struct job *j = calloc(1, sizeof(*j));

	*err = -ENOMEM;
	if (!j)
		return NULL;
	j->cookie = by->cookie;
	j->far = -1;
	j->thread = by->thread;
	j->process = target_process(by->thread);
	j->number = by->number;
	j->limit_ns = j->until_ns = INT64_MAX;
	j->ours = *err = like_open(by->theirs, &j->like);
	if (j->ours >= 0)
		return j;
	free(j);
	return NULL;
}

static void enter(struct job *j)
{
	struct job **bucket = &jobs[j->cookie % BUCKETS];

	j->next = *bucket;
	*bucket = j;
}

void job_wait(struct job *j, struct caller *by, int on_limit)
{
	j->waiting = by->id;
	j->thread = by->thread;
	j->number = by->number;
	/* one that does not block is here as it cannot be helped, and would not be told by the socket how it went on */
	j->limit_ns = sock_is_nonblocking(by->theirs) ? WAIT_FOREVER :
							sock_time_limit(by->theirs, SO_SNDTIMEO);
	j->on_limit = on_limit;
	due_at(j->limit_ns);
	due_at(now_ns() + LOOK_NS);
	caller_let_go(by);
}

/* Another one that waits under the same name was given up, closed mostly, or this one could not have it; its reply
 * would complete this one. */
static void enter_name(struct job *j)
{
	struct job **bucket = named_as(j), *other = *bucket;

	while (other &&
	       (other->state != JOB_PENDING || !nowhere_is_same(&other->nowhere, &j->nowhere)))
		other = other->next_named;
	if (other)
		job_give_up(other, EBADF);
	j->next_named = *bucket;
	*bucket = j;
}

static void begun(struct job *j, struct caller *by, bool nonblocking)
{
	/* should we be killed in the midst of it, or behind it */
	listener_otherwise(by->id, ECONNABORTED);
	/* an MPTCP socket of the program's own cannot be completed so: its connect() waits, as it does where too many
	 * would stay */
	j->holds = j->like.protocol == IPPROTO_TCP && may_stay() &&
		   nowhere_begin(by->theirs, j->ours, &j->nowhere);
	needs(j, j->holds ? 2 : 1);
	listener_otherwise(by->id, nonblocking && j->holds ? EINPROGRESS : 0);
	enter(j);
	if (j->holds)
		enter_name(j);
	if (nonblocking && j->holds) {
		caller_let_go(by);
		j->owes_begun = !listener_answer(by->id, EINPROGRESS);
	} else {
		job_wait(j, by, EINPROGRESS);
	}
	look(j, false);
}

bool job_start(struct caller *by, const struct sockaddr *sa, socklen_t len, bool nonblocking)
{
	struct job *j;
	int r;

	if (!has_room())
		return false;
	job_forget_peer(by->cookie);
	j = new_job(by, &r);
	if (!j && (r == -EMFILE || r == -ENFILE))
		return false;
	r = j ? conn_connect(j->ours, sa, len, NULL) : conn_natively(by->theirs, sa, len);
	if (j)
		like_bound(by->theirs, &j->like);
	if (j && (r == 0 || r == -EINPROGRESS)) {
		addr_from_sockaddr(&j->server, sa, len);
		begun(j, by, nonblocking);
		return true;
	}
	if (j) {
		like_close(j->ours);
		free(j);
	}
	caller_let_go(by);
	if (r == CONN_NATIVELY)
		listener_natively(by->id);
	else
		listener_answer(by->id, -r);
	return true;
}
