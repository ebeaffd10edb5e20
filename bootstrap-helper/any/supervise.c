// SPDX-License-Identifier: MIT
#include "any_int.h"

#include "begin.h"
#include "record.h"
#include "shim.h"
#include "sock.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/wait.h>

#define CALLS_AT_ONCE 32

/* --------------------------------------------------------------------------------- connect() */

/* The address as the kernel would take it; 0: it shall say itself what is wrong with it. */
static socklen_t address_of(const struct caller *by, const struct call *call,
			    struct sockaddr_storage *sa)
{
	int len = (int)call->args[2];

	memset(sa, 0, sizeof(*sa));
	if (len < (int)sizeof(sa->ss_family) || len > (int)sizeof(*sa) ||
	    !target_read(by->thread, call->args[1], sa, (size_t)len))
		return 0;
	return (socklen_t)len;
}

/* The socket is being connected. */
static void connect_pending(struct job *j, struct caller *by, bool nonblocking)
{
	bool is_second = j->waiting && listener_waits(j->waiting); /* a second thread's */

	/* one that a signal has interrupted begins again, and may be the first that hears anything */
	if (is_second || (nonblocking && j->holds && !j->owes_begun))
		listener_answer(by->id, EALREADY);
	else if (nonblocking && j->holds)
		j->owes_begun = !listener_answer(by->id, EINPROGRESS);
	else
		job_wait(j, by, EALREADY);
}

/* So is the program's socket, and what the kernel says of it no signal takes away. */
static bool is_refused(const struct job *j)
{
	return j->state == JOB_FAILED && j->err == ECONNREFUSED;
}

/* The attempt has come to its end, and somebody may have heard of it. The kernel knows what to say of a socket
 * that is connected, too. */
static void connect_over(struct job *j, struct caller *by)
{
	int err = 0;

	if (j->state == JOB_UP)
		job_place(j, by);
	else if (is_refused(j))
		job_end(j);
	else
		err = nowhere_told(by->theirs) ? j->err : j->untold ? j->untold : ECONNABORTED;
	caller_let_go(by);
	if (!err)
		listener_natively(by->id);
	else if (listener_answer(by->id, err))
		job_end(j);
	else
		j->untold = err;
}

static bool is_ours(int fd)
{
	return sock_tcp_state(fd) == TCP_CLOSE && like_is_here(fd);
}

/* As the kernel will have it, or by a rule, or not at all (CONVERT_STRICT). */
static void connect_otherwise(struct caller *by, const struct sockaddr *sa, socklen_t len)
{
	int r = conn_natively(by->theirs, sa, len);

	if (r == CONN_NATIVELY)
		listener_natively(by->id);
	else
		listener_answer(by->id, -r);
}

static bool on_connect(struct caller *by, const struct sockaddr_storage *sa, socklen_t len)
{
	struct job *j = job_find(by->cookie);
	bool is_inet = len && (sa->ss_family == AF_INET || sa->ss_family == AF_INET6);
	bool nonblocking = is_inet && sock_is_nonblocking(by->theirs);
	bool is_none = len && sa->ss_family == AF_UNSPEC;

	if (is_none)
		job_forget_peer(by->cookie);
	/* the program has taken the connection back: by this call, or by shutdown(). Another thread of it, or a child,
	 * may wait for it, and is told what the kernel would tell it (LINUX-FACTS 11.12). */
	if (j && (is_none || (j->state == JOB_PENDING && j->holds && !nowhere_waits(by->theirs)))) {
		job_give_up(j, is_none ? EPIPE : ECONNRESET);
		j = NULL;
	}
	if (is_inet && j && j->state == JOB_PENDING)
		connect_pending(j, by, nonblocking);
	else if (is_inet && j)
		connect_over(j, by);
	else if (is_inet && is_ours(by->theirs))
		return job_start(by, (const struct sockaddr *)sa, len, nonblocking);
	else if (is_inet)
		connect_otherwise(by, (const struct sockaddr *)sa, len);
	else
		listener_natively(by->id);
	return true;
}

/* ------------------------------------------------------------- what is asked of a connection */

/* A value that the kernel would have written behind a pointer to its length, as far as there is room. Of a name it tells how
 * long it is, of an option (is_cut) how much it has written. False: it has not come to that, or nobody waits for it any more. */
static bool write_value(const struct caller *by, uint64_t to, uint64_t len_at, const void *value,
			socklen_t size, bool is_cut)
{
	int room = 0;
	bool is_there = target_read(by->thread, len_at, &room, sizeof(room));
	bool is_told = is_there && room >= 0;
	socklen_t fits = is_told && (socklen_t)room < size ? (socklen_t)room : size;
	const socklen_t *told = is_cut ? &fits : &size;

	if (is_told) /* into him, not whoever has his number by now */
		is_there = listener_waits(by->id) && target_write(by->thread, to, value, fits) &&
			   target_write(by->thread, len_at, told, sizeof(*told));
	return listener_answer(by->id, !is_there ? EFAULT : room < 0 ? EINVAL : 0) && is_told;
}

static void on_error(struct caller *by, const struct call *call)
{
	struct job *j = job_find(by->cookie);
	int err;

	if (j && j->state == JOB_UP)
		job_place(j, by);
	if (!j || j->state == JOB_UP || !j->holds || is_refused(j)) {
		caller_let_go(by);
		listener_natively(by->id);
		return;
	}
	/* by now, and not by the time that the kernel would look */
	err = sock_int(by->theirs, SOL_SOCKET, SO_ERROR, 0);
	if (err && j->state == JOB_FAILED) /* the kernel's is another, which is told once, too */
		err = j->err;
	if (!err)
		err = j->untold;
	caller_let_go(by);
	j->untold = write_value(by, call->args[3], call->args[4], &err, sizeof(err), true) ? 0 :
											     err;
}

static void write_name(const struct caller *by, const struct call *call, const struct addr *a,
		       int family)
{
	struct sockaddr_storage name;
	socklen_t len = addr_to_sockaddr(a, family, &name);

	write_value(by, call->args[1], call->args[2], &name, len, false);
}

static void on_peer(struct caller *by, const struct call *call)
{
	struct job *j = job_find(by->cookie);
	const struct job_peer *peer;
	struct addr a;
	bool is_connected = sock_addr(by->theirs, SYS_getpeername, &a);
	bool is_placed = j && j->state == JOB_UP && job_place(j, by);

	peer = job_peer(is_placed ? j->placed : by->cookie);
	caller_let_go(by);
	if (is_connected && peer && peer->server.port)
		write_name(by, call, &peer->server, peer->family);
	else
		listener_natively(by->id);
}

/* One of IPv6 where the program has one of IPv4: what that cannot express is 0.0.0.0. */
static void on_name(struct caller *by, const struct call *call)
{
	const struct job_peer *peer = job_peer(by->cookie);
	struct addr a;
	bool is_foreign = peer && peer->family == AF_INET &&
			  sock_int(by->theirs, SOL_SOCKET, SO_DOMAIN, AF_INET) == AF_INET6 &&
			  sock_addr(by->theirs, SYS_getsockname, &a);

	caller_let_go(by);
	if (!is_foreign) {
		listener_natively(by->id);
		return;
	}
	if (!addr_is_v4(&a))
		memcpy(a.ip, (uint8_t[16]){ [10] = 0xff, 0xff }, sizeof(a.ip));
	write_name(by, call, &a, AF_INET);
}

/* ------------------------------------------------------------------------------------ calls */

/* Nobody can say what the call is about. */
static void answer_unseen(uint64_t id, enum call_kind kind)
{
	if (shim_is_strict && kind == CALL_CONNECT)
		listener_answer(id, ENETUNREACH);
	else
		listener_natively(id);
}

/* False: it shall be tried again. */
static bool dispatch(struct caller *by, const struct call *call)
{
	struct sockaddr_storage sa;
	socklen_t len = call->kind == CALL_CONNECT ? address_of(by, call, &sa) : 0;

	/* What we have seen is another's if he is gone, and has left his number to it. */
	if (!listener_waits(by->id))
		return true;
	if (call->kind == CALL_CONNECT)
		return on_connect(by, &sa, len);
	if (call->kind == CALL_ERROR)
		on_error(by, call);
	else if (call->kind == CALL_NAME)
		on_name(by, call);
	else
		on_peer(by, call);
	return true;
}

static bool handle(const struct seccomp_notif *req)
{
	struct caller by = { .id = req->id, .thread = (int)req->pid, .theirs = -1 };
	struct call call;
	bool is_done = true;

	if (!filter_decode(req, &call)) {
		answer_unseen(by.id, call.kind);
		return true;
	}
	if (call.kind == CALL_SET)
		target_epoll_made(by.thread);
	if (call.kind == CALL_SET || call.kind == CALL_OTHER) {
		listener_natively(by.id);
		return true;
	}
	by.number = call.fd;
	by.theirs = target_fd(by.thread, by.number);
	if (by.theirs == -EMFILE || by.theirs == -ENFILE)
		return false;
	by.cookie = by.theirs < 0 ? 0 : sock_cookie(by.theirs);
	if (by.cookie)
		is_done = dispatch(&by, &call);
	else if (by.theirs < 0 && by.theirs != -EBADF)
		answer_unseen(by.id, call.kind);
	else
		listener_natively(by.id);
	caller_let_go(&by);
	return is_done;
}

/* Calls for which we had no descriptors: they wait until connections have ended. */
#define LATER_NS 30000000000
#define SOON_NS	 100000000 /* the longest until they are tried again */

static struct later {
	struct later *next;
	struct seccomp_notif req;
	int64_t until_ns;
} * first_later, **last_later = &first_later;

static void postpone(const struct seccomp_notif *req)
{
	struct later *l = malloc(sizeof(*l));

	if (!l) {
		listener_answer(req->id, ENOBUFS);
		return;
	}
	*l = (struct later){ .req = *req, .until_ns = now_ns() + LATER_NS };
	*last_later = l;
	last_later = &l->next;
}

static void try_again(void)
{
	struct later *l;

	while ((l = first_later)) {
		if (now_ns() > l->until_ns)
			listener_answer(l->req.id, ENOBUFS);
		else if (listener_waits(l->req.id) && !handle(&l->req))
			return;
		first_later = l->next;
		if (!first_later)
			last_later = &first_later;
		free(l);
	}
}

/* Before anything else: a program waits. But one that calls without end is not to be all. Who has its answer then
 * runs where we do (listener.c), and is not to wait until we have done what else there is. */
static void handle_all(int listener, bool is_all)
{
	struct pollfd p = { .fd = listener, .events = POLLIN };
	struct seccomp_notif req;
	int i;

	try_again();
	for (i = 0; i < CALLS_AT_ONCE && poll(&p, 1, 0) > 0 && p.revents & POLLIN; i++)
		if (listener_receive(&req) && !handle(&req))
			postpone(&req);
	target_done();
	if (!is_all)
		sched_yield();
}

/* ------------------------------------------------------------------------------------- all */

enum { AT_LISTENER, AT_CHILDREN, AT_OUTSIDE, NOT_A_JOB };

struct state {
	const struct supervise *s;
	int epoll, children;
	bool has_ended, is_alone;
};

static void add(struct state *t, int fd, uint64_t what)
{
	struct epoll_event e = { .events = EPOLLIN, .data.u64 = what };

	epoll_ctl(t->epoll, EPOLL_CTL_ADD, fd, &e);
}

/* What only the program's own end would close shall not be held open by us (a shell waits for the end of
 * the pipe that it reads). */
static void let_go_of_output(void)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	for (int i = 0; null >= 0 && i < 3; i++)
		dup2(null, i);
	close(null);
}

static void reap(struct state *t)
{
	struct signalfd_siginfo info;
	int status;
	pid_t pid;

	if (read(t->children, &info, sizeof(info)) < 0)
		return;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		if (pid == t->s->program) {
			t->has_ended = true;
			t->s->ended(t->s->outside, status);
			let_go_of_output();
		}
}

static void event(struct state *t, const struct epoll_event *e)
{
	switch (e->data.u64) {
	case AT_LISTENER:
		if (!(e->events & (EPOLLHUP | EPOLLERR)))
			break;
		t->is_alone = true;
		epoll_ctl(t->epoll, EPOLL_CTL_DEL, t->s->listener, NULL);
		break;
	case AT_CHILDREN:
		reap(t);
		break;
	case AT_OUTSIDE:
		epoll_ctl(t->epoll, EPOLL_CTL_DEL, t->s->outside, NULL);
		if (!t->has_ended)
			kill(t->s->program, SIGKILL);
		break;
	default:
		job_event(e->data.ptr, e->events);
	}
}

static int timeout_ms(void)
{
	int64_t next = job_next(), now = now_ns();

	if (first_later && next > now + SOON_NS)
		next = now + SOON_NS;
	if (next == INT64_MAX)
		return -1;
	return next <= now ? 0 :
			     (int)((next - now) / 1000000 + 1 < 60000 ? (next - now) / 1000000 + 1 :
									60000);
}

bool supervise_configure(const char *name, bool *foreign)
{
	const struct config *config;

	program_invocation_short_name = strdup(name);
	real_init();
	mark_started();
	shim_keep_environment();
	config = shim_config();
	*foreign = false;
	for (size_t i = 0; i < config->n_converters; i++)
		for (size_t k = 0; k < config->converters[i].n_addrs; k++)
			*foreign |= !addr_is_v4(&config->converters[i].addrs[k]);
	return shim_is_active() || shim_is_strict;
}

/* We work for a moment only each time, and somebody waits for it: a short slice is an early turn (Linux 6.12). */
static void be_quick(void)
{
	struct { /* sched_attr, of which libc does not know */
		uint32_t size, policy;
		uint64_t flags;
		int32_t nice;
		uint32_t priority;
		uint64_t runtime_ns, deadline, period;
	} attr = { .size = sizeof(attr) };

	if (syscall(SYS_sched_getattr, 0, &attr, sizeof(attr), 0) < 0 || attr.policy != SCHED_OTHER)
		return;
	attr.runtime_ns = 100000;
	syscall(SYS_sched_setattr, 0, &attr, 0);
}

static void prepare(struct state *t)
{
	sigset_t children;

	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&children);
	sigaddset(&children, SIGCHLD);
	t->children = aside(signalfd(-1, &children, SFD_CLOEXEC | SFD_NONBLOCK));
	t->epoll = aside(epoll_create1(EPOLL_CLOEXEC));
	be_quick();
	job_begin_all(t->epoll);
	add(t, t->s->listener, AT_LISTENER);
	add(t, t->children, AT_CHILDREN);
	add(t, t->s->outside, AT_OUTSIDE);
}

void supervise(const struct supervise *s)
{
	struct state t = { .s = s };
	struct epoll_event events[64];
	int n;

	prepare(&t);
	while (!t.is_alone || !t.has_ended || job_owes()) {
		n = epoll_wait(t.epoll, events, 64, timeout_ms());
		handle_all(s->listener, n <= 0);
		for (int i = 0; i < n; i++) {
			event(&t, &events[i]);
			handle_all(s->listener, i == n - 1);
		}
		job_look_after_some();
	}
}
