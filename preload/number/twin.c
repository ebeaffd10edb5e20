// SPDX-License-Identifier: MIT
#include "twin_int.h"

#include "epsets.h"
#include "traces.h"
#include "sock.h"

#include <string.h>

/* The kernel has no MPTCP, or it is switched off or forbidden: asked once per process. */
static _Atomic bool no_mptcp;

bool twin_has_mptcp(void)
{
	return !atomic_load_explicit(&no_mptcp, memory_order_relaxed);
}

static int fail(struct twin_wish *wish, const char *obstacle)
{
	wish->obstacle = obstacle;
	return -1;
}

/* --------------------------------------------------------------- a number for a moment */

/* A socket that is about to take another one's place has a number of its own until then. A child that another thread
 * forks meanwhile would have it for ever, and the connection would not end when the program closes it. Its cookie
 * is looked at, too, as programs close numbers that they do not know. */
static struct moment {
	_Atomic int number; /* and one more; 0: none */
	_Atomic uintptr_t thread;
	_Atomic uint64_t cookie;
} moments[8];
#define MOMENTS (sizeof(moments) / sizeof(moments[0]))
static __thread char mine
	__attribute__((tls_model("initial-exec"))); /* whose address no other thread has */

static void moment_begin(int fd, uint64_t cookie)
{
	for (struct moment *m = moments; m < moments + MOMENTS; m++) {
		int none = 0;

		if (!atomic_compare_exchange_strong(&m->number, &none, fd + 1))
			continue;
		atomic_store(&m->thread, (uintptr_t)&mine);
		atomic_store(&m->cookie, cookie);
		return;
	}
}

static void moment_forget(struct moment *m)
{
	atomic_store(&m->cookie, 0);
	atomic_store(&m->number, 0);
}

static struct moment *moment_of(int fd)
{
	for (struct moment *m = moments; m < moments + MOMENTS; m++)
		if (atomic_load(&m->number) == fd + 1 &&
		    atomic_load(&m->thread) == (uintptr_t)&mine)
			return m;
	return NULL;
}

/* It is forgotten first: what has the number after that is not ours to close. */
static void moment_end(int fd)
{
	struct moment *m = moment_of(fd);

	if (m)
		moment_forget(m);
	syscall(SYS_close, fd);
}

/* A spare's cookie is asked for when it becomes a twin. */
static bool is_ours(int fd, uint64_t cookie)
{
	return cookie ? sock_cookie(fd) == cookie :
			sock_int(fd, SOL_SOCKET, SO_PROTOCOL, 0) == IPPROTO_MPTCP;
}

void twin_in_child(void)
{
	for (size_t i = 0; i < MOMENTS; i++) {
		int fd = atomic_load(&moments[i].number) - 1;
		uint64_t cookie = atomic_load(&moments[i].cookie);

		/* by a signal handler, whose frame goes on here */
		if (fd < 0 || atomic_load(&moments[i].thread) == (uintptr_t)&mine)
			continue;
		if (is_ours(fd, cookie))
			syscall(SYS_close, fd);
		moment_forget(&moments[i]);
	}
}

/* --------------------------------------------------------------------- making */

static int open_socket(const struct twin_wish *wish, bool mptcp)
{
	int type = SOCK_STREAM | SOCK_CLOEXEC | (wish->nonblocking ? SOCK_NONBLOCK : 0);

	return (int)sys_result(
		syscall(SYS_socket, wish->family, type, mptcp ? IPPROTO_MPTCP : IPPROTO_TCP));
}

int twin_open_spare(void *wish)
{
	struct twin_wish *w = wish;
	int fd = open_socket(w, true);

	w->spare = fd < 0 ? 0 : fd + 1;
	if (fd >= 0)
		moment_begin(fd, 0);
	return fd;
}

void twin_close_spare(struct twin_wish *wish)
{
	if (wish->spare)
		moment_end(wish->spare - 1);
	wish->spare = 0;
}

static int take_spare(struct twin_wish *wish)
{
	int fd = wish->spare - 1;
	struct moment *m = moment_of(fd);

	wish->spare = 0;
	wish->cookie = sock_cookie(fd);
	if (m)
		atomic_store(&m->cookie, wish->cookie);
	return fd;
}

static int make(struct twin_wish *wish, bool mptcp)
{
	int fd;

	if (mptcp && wish->spare)
		return take_spare(wish);
	fd = open_socket(wish, mptcp);
	if (fd >= 0) {
		wish->cookie = sock_cookie(fd);
		moment_begin(fd, wish->cookie);
	}
	return fd;
}

#define NO_MPTCP "the kernel has no MPTCP for this process"

/* The numbers are all taken, or no memory: another time it may work. */
static bool is_shortage(int err)
{
	return err == EMFILE || err == ENFILE || err == ENOMEM || err == ENOBUFS;
}

static int open_twin(struct twin_wish *wish)
{
	int fd;

	if (wish->mptcp && !twin_has_mptcp())
		return fail(wish, NO_MPTCP);
	fd = make(wish, wish->mptcp);
	if (fd >= 0)
		return fd;
	if (is_shortage(-fd))
		return fail(wish, "no descriptor or memory for another socket");
	if (!wish->mptcp || fd == -EAFNOSUPPORT)
		return fail(wish, "the kernel has no IPv6 for this process");
	atomic_store(&no_mptcp, true);
	return fail(wish, NO_MPTCP);
}

/* -------------------------------------------------------------------- carrying over */

static bool carry_option(int twin, const struct note_option *o, struct twin_wish *wish)
{
	int r = sys_setsockopt(twin, o->level, o->name, o->value, o->len);

	if (r >= 0 || twin_option_can_miss(o->level, o->name, &wish->obstacle))
		return true;
	if (r == -EPERM) /* set before the program has dropped it */
		wish->obstacle = "an option that takes a privilege";
	return false;
}

static bool carry_options(int twin, const struct note *n, struct twin_wish *wish)
{
	struct note_option o, other;

	/* which MPTCP takes, and gives none (LINUX-FACTS 4.19) */
	if (wish->mptcp && traces_option(n)) {
		wish->obstacle = "SO_TIMESTAMPING";
		return false;
	}
	if (wish->must) /* whatever net.ipv6.bindv6only says */
		sock_set_int(twin, IPPROTO_IPV6, IPV6_V6ONLY, 0);
	for (uint16_t at = 0; note_next(n, &at, &o);) {
		if (o.level == IPPROTO_IPV6 && o.name == IPV6_V6ONLY && wish->must)
			continue;
		if (!carry_option(twin, &o, wish))
			return false;
		if (wish->must && twin_option_across(&o, &other) &&
		    !carry_option(twin, &other, wish))
			return false;
	}
	return true;
}

/* A socket that is as the program has set up its own; -1: there is none. */
static int open_alike(const struct note *n, struct twin_wish *wish)
{
	int fd = open_twin(wish);

	if (fd < 0 || carry_options(fd, n, wish))
		return fd;
	moment_end(fd);
	return -1;
}

/* Is one of TCP, too, better than none? */
static bool is_needed(const struct twin_wish *wish)
{
	return wish->must || wish->one_way;
}

/* ... over TCP where it is needed and MPTCP is not to be had, or refuses something. */
static int open_any(const struct note *n, struct twin_wish *wish)
{
	int fd = open_alike(n, wish);

	if (fd >= 0 || !wish->mptcp || !is_needed(wish))
		return fd;
	wish->mptcp = false;
	return open_alike(n, wish);
}

/* The address that the program has bound, in the shape that the other socket's family has. MPTCP says the one that it was
 * connected from where the program has bound the port alone. */
static bool carry_name(struct sockaddr_storage *name, socklen_t *len, int family, bool named)
{
	struct addr a;
	int err = addr_from_sockaddr(&a, (struct sockaddr *)name, *len);

	if (err < 0)
		return false;
	if (named || (name->ss_family == family && addr_classify(&a) == ADDR_UNSPECIFIED))
		return name->ss_family == family;
	memset(a.ip, 0, sizeof(a.ip));
	*len = addr_to_sockaddr(&a, family, name);
	return true;
}

/* The old socket holds the port, so both need SO_REUSEADDR for the moment (TRAPS 2.13). */
static int bind_beside(int fd, int twin, const struct sockaddr_storage *name, socklen_t len)
{
	int wanted = sock_int(fd, SOL_SOCKET, SO_REUSEADDR, 0), err;

	sock_set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1);
	sock_set_int(twin, SOL_SOCKET, SO_REUSEADDR, 1);
	err = (int)sys_result(syscall(SYS_bind, twin, name, len));
	sock_set_int(twin, SOL_SOCKET, SO_REUSEADDR, wanted);
	sock_set_int(fd, SOL_SOCKET, SO_REUSEADDR, wanted);
	return err;
}

static bool carry_bound(int fd, int twin, struct twin_wish *wish)
{
	bool named = atomic_load(&note_at(fd)->named);
	struct sockaddr_storage name;
	socklen_t len = sizeof(name);

	if (sys_getsockname(fd, (struct sockaddr *)&name, &len) < 0 ||
	    !carry_name(&name, &len, wish->family, named) ||
	    bind_beside(fd, twin, &name, len) < 0) {
		fail(wish, TWIN_BOUND);
		return false;
	}
	return true;
}

/* ------------------------------------------------------------------- taking the place */

/* The twin is connected before it can be seen, so that no epoll set reports it unconnected. */
static int connect_hidden(int twin, struct twin_wish *wish)
{
	int r = wish->to ? sys_connect(twin, wish->to, wish->to_len) : 0;

	wish->at_once = r == 0;
	return r == -EINPROGRESS ? 0 : r;
}

/* By a signal handler that has interrupted this thread. */
static __thread volatile int closed __attribute__((tls_model("initial-exec"))) = -1;

void twin_was_closed(int fd)
{
	closed = fd;
}

/* While it is being connected or ended nobody takes the number away but a signal handler, perhaps at any
 * moment; other threads, whatever they close it with, wait (conn_await_opening(), conn_forget()). */
static bool is_gone(int fd, uint16_t word)
{
	enum mark now = mark_get(fd);

	if (mark_in(word) == MARK_PENDING)
		return now != MARK_PENDING && !mark_has_record(now) && !mark_may_have_copies(now);
	return mark_in(word) == MARK_OPENING && mark_look(fd) != word;
}

/* The handler may have put something else there, which is not ours to close. */
static void take_off(int fd, int other)
{
	uint64_t cookie = sock_cookie(other);

	if (cookie && sock_cookie(fd) == cookie)
		syscall(SYS_close, fd);
}

static bool put(int fd, int other, int descriptor_flags, uint16_t word)
{
	int flags = descriptor_flags & FD_CLOEXEC ? O_CLOEXEC : 0;

	closed = -1;
	if (is_gone(fd, word) || sys_result(syscall(SYS_dup3, other, fd, flags)) < 0)
		return false;
	if (mark_in(word) == MARK_OPENING ? !is_gone(fd, word) : closed != fd)
		return true;
	take_off(fd, other);
	return false;
}

/* Everything that may fail comes first. */
static int place(int fd, int twin, int descriptor_flags, struct twin_wish *wish)
{
	if (!epset_lift(fd, false))
		return fail(wish, "an epoll registration");
	if (connect_hidden(twin, wish) >= 0 && put(fd, twin, descriptor_flags, wish->word))
		return 0;
	epset_settle(fd);
	return fail(wish, "it cannot be put in its place, or was closed");
}

static const char *obstacle(const struct note *n, const struct twin_wish *wish)
{
	const char *why = note_obstacle(n);

	/* the mark of one that was connected before says no more than that */
	if (!why && wish->mark == MARK_TCP_COPIED && (!is_needed(wish) || atomic_load(&n->copied)))
		return "it may have other numbers";
	/* which MPTCP takes, and does not tell its subflows (LINUX-FACTS 4.18) */
	return why || !note_is_on(n, SOL_SOCKET, SO_DONTROUTE) ? why : "SO_DONTROUTE";
}

static int take_place(int fd, struct twin_wish *wish)
{
	struct note *n = note_at(fd);
	int descriptor_flags, twin, r = -1;
	bool only_v6;

	wish->obstacle = obstacle(n, wish);
	if (wish->obstacle)
		return -1;
	descriptor_flags = note_descriptor_flags(fd, wish->mark);
	if (descriptor_flags < 0)
		return fail(wish, "its flags");
	twin = open_any(n, wish);
	if (twin < 0)
		return -1;
	/* bind() may have changed what was set, and on an MPTCP socket it shows nothing of it */
	only_v6 = n->family == AF_INET6 &&
		  (wish->must || (atomic_load(&n->bound) && twin_own_is_only_v6(fd)));
	if (!wish->cookie) /* by which it is known later */
		fail(wish, "its socket cookie");
	else if (!atomic_load(&n->bound) || carry_bound(fd, twin, wish))
		r = place(fd, twin, descriptor_flags, wish);
	if (r == 0) {
		n->twin_family = (uint8_t)wish->family;
		n->twin_is_mptcp = wish->mptcp;
		atomic_store(&n->shut, 0);
		atomic_store(&n->stuck, false);
		n->only_v6 = only_v6;
		note_set_twin(n, wish->cookie);
	}
	moment_end(twin);
	return r;
}

int twin_take_place(int fd, struct twin_wish *wish)
{
	int r = take_place(fd, wish);

	twin_close_spare(wish);
	return r;
}

/* What TCP's connections of an MPTCP listener do not have of it (LINUX-FACTS 4.20). */
static bool is_not_inherited(const struct note_option *o)
{
	static const uint16_t names[][2] = {
		{ SOL_SOCKET, SO_RCVLOWAT },
		{ SOL_SOCKET, SO_RCVTIMEO_OLD },
		{ SOL_SOCKET, SO_RCVTIMEO_NEW },
		{ SOL_SOCKET, SO_SNDTIMEO_OLD },
		{ SOL_SOCKET, SO_SNDTIMEO_NEW },
		{ SOL_SOCKET, SO_BUSY_POLL },
		{ SOL_SOCKET, SO_PREFER_BUSY_POLL },
		{ IPPROTO_TCP, TCP_NOTSENT_LOWAT },
		{ IPPROTO_TCP, TCP_INQ },
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (o->level == names[i][0] && o->name == names[i][1])
			return true;
	return false;
}

void twin_inherit(int fd, const struct note *listener)
{
	struct note_option o;

	for (uint16_t at = 0; note_next(listener, &at, &o);)
		if (is_not_inherited(&o))
			sys_setsockopt(fd, o.level, o.name, o.value, o.len);
}

/* ---------------------------------------------------------------- giving it back */

/* To the socket's own address, or wherever else this host is: at port 0, where nobody can listen. */
static void connect_to_itself(int fd, int family, const struct addr *own)
{
	const struct addr any4 = { .ip = { [10] = 0xff, 0xff } }, any6 = { .port = 0 };
	const struct addr *places[] = { own, &any6, &any4 };
	struct sockaddr_storage self = { 0 };
	struct addr place;
	socklen_t len;
	int r = -EADDRNOTAVAIL;

	for (size_t i = 0; i < 3 && r < 0 && r != -EINPROGRESS; i++) {
		/* IPv4 last: an IPv6 socket that was connected there cannot go to IPv6 any more */
		if (!places[i] ||
		    (places[i] != &any4 && addr_is_v4(places[i]) != (family == AF_INET)))
			continue;
		place = *places[i];
		place.port = 0;
		len = addr_to_sockaddr(&place, family, &self);
		r = sys_connect(fd, (struct sockaddr *)&self, len);
	}
}

static void set_as_noted(int fd, const struct note *n, int level, int name)
{
	struct note_option o;

	if (note_find(n, level, name, &o))
		sys_setsockopt(fd, level, name, o.value, o.len);
	else
		sock_set_int(fd, level, name, 0);
}

/* TCP that is disconnected while it connects keeps an error, a port, and no peer, which poll() and
 * getsockname() show, and MPTCP does not (LINUX-FACTS 3.4). So this one does the same: with a SYN that
 * is put off until there are data for it or, where Fast Open is switched off, one whose answer is
 * dropped, as none of this host's has 255 hops left. (A filter would drop it too, but takes
 * CAP_NET_ADMIN on newer kernels.) */
static bool look_disconnected(int fd, const struct note *n, const struct addr *own)
{
	bool put_off = sock_set_int(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 1) == 0, done;
	int level = n->family == AF_INET ? IPPROTO_IP : IPPROTO_IPV6;
	int hops = n->family == AF_INET ? IP_MINTTL : IPV6_MINHOPCOUNT;

	if (put_off)
		sock_set_int(fd, IPPROTO_TCP, TCP_FASTOPEN_NO_COOKIE, 1);
	else
		sock_set_int(fd, level, hops, 255);
	connect_to_itself(fd, n->family, own);
	done = note_disconnect(fd, n);
	if (put_off) {
		set_as_noted(fd, n, IPPROTO_TCP, TCP_FASTOPEN_CONNECT);
		set_as_noted(fd, n, IPPROTO_TCP, TCP_FASTOPEN_NO_COOKIE);
	} else {
		set_as_noted(fd, n, level, hops);
	}
	return done;
}

/* Under the number from now on; whoever compares socket cookies believes both meanwhile. */
static bool place_plain(int fd, int plain, uint64_t cookie, _Atomic uint64_t *new_cookie)
{
	uint16_t word = mark_look(fd);
	int flags = sys_fcntl(fd, F_GETFL, 0), descriptor_flags = sys_fcntl(fd, F_GETFD, 0);

	if (flags < 0 || descriptor_flags < 0 || flags & O_ASYNC || !cookie ||
	    sys_fcntl(plain, F_SETFL, flags) < 0 || !epset_lift(fd, true))
		return false;
	if (new_cookie)
		atomic_store(new_cookie, cookie);
	return put(fd, plain, descriptor_flags, word);
}

bool twin_give_back(int fd, struct twin_record record, bool disconnected, const struct addr *own)
{
	struct note *n = note_at(fd);
	struct twin_wish wish = { .nonblocking = true };
	bool done = false;
	int plain;

	if (!n || !note_twin(n) || note_obstacle(n) || record.copied || atomic_load(&n->copied) ||
	    !twin_is(fd))
		return false;
	wish.family = n->family;
	plain = make(&wish, false);
	if (plain < 0)
		return false;
	if (carry_options(plain, n, &wish) &&
	    (!atomic_load(&n->bound) || carry_bound(fd, plain, &wish))) {
		done = (!disconnected || look_disconnected(plain, n, own)) &&
		       place_plain(fd, plain, wish.cookie, record.new_cookie);
		epset_settle(fd);
	}
	if (done) {
		note_set_twin(n, 0);
		n->only_v6 = false;
	}
	moment_end(plain);
	return done;
}
