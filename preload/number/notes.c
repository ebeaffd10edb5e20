// SPDX-License-Identifier: MIT
#include "notes.h"

#include "addr.h"
#include "marks.h"
#include "memory.h"
#include "sock.h"

#include <string.h>

#ifndef TCP_MD5SIG_EXT
#define TCP_MD5SIG_EXT 32
#endif
#ifndef TCP_AO_ADD_KEY
#define TCP_AO_ADD_KEY 38
#endif

#define NOTE_PAGE NOTE_FIRST
#define SOON_S	  60 /* what net.mptcp.close_timeout adds */

/* bytes: level, name (two each), length of the value, the value; with the level VOID there is none, but
 * room for one of that length */
#define HEAD 5
#define VOID 0xffff

struct note note_first[NOTE_FIRST];
static _Atomic(void *) pages[MARK_MAX / NOTE_PAGE]; /* but the first */
static _Atomic uint32_t generation;
/* A bit for each number: most of what a server accepts nobody ever asks anything. */
_Atomic(void *) note_accepted_bits;

struct note *note_beyond(int fd)
{
	struct note *page;

	if (fd < 0 || fd >= MARK_MAX)
		return NULL;
	page = atomic_load_explicit(&pages[fd / NOTE_PAGE], memory_order_acquire);
	return page ? &page[fd % NOTE_PAGE] : NULL;
}

/* Of a thread with a table of its own: it may have the same twin there. */
SLOW static bool is_of(const struct note *n, int fd)
{
	int saved_errno = errno;
	bool is_same = note_twin(n) && note_twin(n) == sock_cookie(fd);

	errno = saved_errno;
	return is_same;
}

/* ... that this thread may write. */
static struct note *noted(int fd)
{
	struct note *n = note_at(fd);

	return n && mark_is_apart && !is_of(n, fd) ? NULL : n;
}

static struct note *make(int fd)
{
	int saved_errno = errno;

	if (fd >= NOTE_FIRST && fd < MARK_MAX)
		memory_place(&pages[fd / NOTE_PAGE], NOTE_PAGE * sizeof(struct note), MAP_PRIVATE);
	errno = saved_errno;
	return note_at(fd);
}

static _Atomic uint32_t *accepted_word(int fd)
{
	_Atomic uint32_t *words = atomic_load(&note_accepted_bits);

	return &words[fd / 32];
}

static uint32_t accepted_bit(int fd)
{
	return UINT32_C(1) << fd % 32;
}

void note_will_accept(void)
{
	memory_place(&note_accepted_bits, MARK_MAX / 8, MAP_PRIVATE);
}

void note_accepted(int fd)
{
	struct note *n = noted(fd);

	if (atomic_load(&note_accepted_bits))
		atomic_fetch_or(accepted_word(fd), accepted_bit(fd));
	if (n)
		atomic_store(&n->shut, 0);
}

void note_not_accepted(int fd)
{
	if (note_is_accepted(fd))
		atomic_fetch_and(accepted_word(fd), ~accepted_bit(fd));
}

bool note_was_accepted(int fd)
{
	return fd >= 0 && fd < MARK_MAX && atomic_load(accepted_word(fd)) & accepted_bit(fd);
}

void note_begin(int fd, int family, int type, bool is_mptcp)
{
	struct note *n = make(fd);

	if (!n)
		return;
	note_set_twin(n, 0);
	n->generation = atomic_load(&generation);
	n->family = (uint8_t)family;
	n->is_mptcp = is_mptcp;
	n->only_v6 = false;
	n->used = 0;
	FILL(n->flags, type & (SOCK_NONBLOCK | SOCK_CLOEXEC));
	FILL(n->bound, false);
	FILL(n->named, false);
	FILL(n->copied, false);
	FILL(n->connected, false);
	FILL(n->ruled, false);
	FILL(n->checked, false);
	FILL(n->special, false);
	FILL(n->stuck, false);
	FILL(n->spoiled, is_mptcp ? "the program's own MPTCP socket" : NULL);
	atomic_flag_clear_explicit(&n->busy, memory_order_release);
}

void note_end(int fd)
{
	struct note *n = note_at(fd);

	note_not_accepted(fd);
	if (!n)
		return;
	note_set_twin(n, 0);
	n->family = 0;
	n->used = 0;
	atomic_store(&n->named, false);
}

bool note_has_twin(int fd)
{
	const struct note *n = note_at(fd);

	return n && note_twin(n);
}

void note_spoil(int fd, const char *reason)
{
	struct note *n = noted(fd);

	if (n)
		atomic_store(&n->spoiled, reason);
}

void note_bound(int fd, const struct sockaddr *sa, socklen_t len)
{
	struct note *n = noted(fd);
	struct addr a;

	if (!n)
		return;
	atomic_store(&n->bound, true);
	atomic_store(&n->named,
		     addr_from_sockaddr(&a, sa, len) == 0 && addr_classify(&a) != ADDR_UNSPECIFIED);
}

void note_connected(int fd)
{
	struct note *n = noted(fd);

	if (n)
		atomic_store_explicit(&n->connected, true, memory_order_relaxed);
}

bool note_ruled(int fd)
{
	struct note *n = mark_is_fresh(mark_get(fd)) ? noted(fd) : NULL;

	return !n || !n->family || !atomic_exchange(&n->ruled, true);
}

void note_attempt_over(int fd)
{
	struct note *n = noted(fd);

	if (n && atomic_load_explicit(&n->ruled, memory_order_relaxed))
		atomic_store(&n->ruled, false);
}

void note_stick(int fd)
{
	struct note *n = note_has_twin(fd) ? noted(fd) : NULL;

	if (n)
		atomic_store(&n->stuck, true);
}

bool note_is_stuck(int fd)
{
	const struct note *n = note_at(fd);

	return n && note_twin(n) && atomic_load_explicit(&n->stuck, memory_order_relaxed);
}

void note_shut(int fd, int how)
{
	bool is_accepted = note_is_accepted(fd) && !mark_is_apart;
	struct note *n = note_has_twin(fd) ? noted(fd) : is_accepted ? make(fd) : NULL;

	if (n)
		atomic_fetch_or(&n->shut, (uint8_t)(how == SHUT_RDWR ? 3 : 1 << how));
}

bool note_is_connected(int fd)
{
	struct note *n = note_at(fd);

	return n && atomic_load_explicit(&n->connected, memory_order_relaxed);
}

void note_duplicated(int fd)
{
	struct note *n = noted(fd);

	if (n)
		atomic_store(&n->copied, true);
}

void note_copy(int fd, int newfd)
{
	struct note *from = note_at(fd), *to;

	note_end(newfd);
	if (note_is_accepted(fd)) {
		note_accepted(newfd);
		if (from && atomic_load(&from->shut) && make(newfd))
			atomic_store(&note_at(newfd)->shut, atomic_load(&from->shut));
	}
	note_duplicated(fd);
	if (!from || !note_twin(from) || !(to = make(newfd)))
		return;
	note_begin(newfd, from->family, 0, from->is_mptcp);
	atomic_store(&to->copied, true);
	if (atomic_flag_test_and_set(&from->busy))
		return;
	atomic_store(&to->special, atomic_load(&from->special));
	memcpy(to->bytes, from->bytes, from->used);
	to->used = from->used;
	to->twin_family = from->twin_family;
	to->twin_is_mptcp = from->twin_is_mptcp;
	atomic_store(&to->shut, atomic_load(&from->shut));
	atomic_store(&to->stuck, atomic_load(&from->stuck));
	to->only_v6 = from->only_v6;
	note_set_twin(to, note_twin(from));
	atomic_flag_clear(&from->busy);
}

/* ---------------------------------------------------------------------- flags */

#define ASK_CLOEXEC 1 /* beside SOCK_NONBLOCK and SOCK_CLOEXEC */

static _Atomic bool cloexec_by_range;

void note_nonblocking(int fd, bool on)
{
	struct note *n = noted(fd);

	if (n && on)
		atomic_fetch_or(&n->flags, SOCK_NONBLOCK);
	else if (n)
		atomic_fetch_and(&n->flags, ~SOCK_NONBLOCK);
}

/* A vfork child that does it means its own number, and notes it here: so only what socket() has said is
 * believed. */
void note_cloexec(int fd)
{
	struct note *n = noted(fd);

	if (n)
		atomic_fetch_or(&n->flags, ASK_CLOEXEC);
	else if (fd < 0)
		atomic_store(&cloexec_by_range, true);
}

/* Another process may have set what belongs to the open file, and so may who has another number for it; of
 * one that was connected before, not all was seen. */
static bool knows_flags(const struct note *n, enum mark mark)
{
	return (mark == MARK_TCP || mark == MARK_TCP_SET) && !note_obstacle(n);
}

int note_flags(int fd, enum mark mark)
{
	const struct note *n = note_at(fd);
	int flags;

	if (knows_flags(n, mark))
		return atomic_load(&n->flags) & SOCK_NONBLOCK ? O_NONBLOCK : 0;
	flags = sys_fcntl(fd, F_GETFL, 0);
	if (flags >= 0 && flags & O_ASYNC)
		note_spoil(fd, "its owner for signals");
	return flags < 0 ? flags : flags & (O_NONBLOCK | O_ASYNC);
}

int note_descriptor_flags(int fd, enum mark mark)
{
	const struct note *n = note_at(fd);

	if (knows_flags(n, mark) && !(atomic_load(&n->flags) & ASK_CLOEXEC) &&
	    !atomic_load(&cloexec_by_range))
		return atomic_load(&n->flags) & SOCK_CLOEXEC ? FD_CLOEXEC : 0;
	return sys_fcntl(fd, F_GETFD, 0);
}

void note_shared(void)
{
	atomic_fetch_add(&generation, 1);
}

const char *note_obstacle(const struct note *n)
{
	if (!n || !n->family)
		return "its making was not seen";
	if (n->generation != atomic_load(&generation)) /* another process has it, too */
		return "made before a fork or exec";
	return atomic_load(&n->spoiled);
}

/* -------------------------------------------------------------------- options */

static struct note_option option_at(const struct note *n, uint16_t at)
{
	struct note_option o = { .len = n->bytes[at + 4] };

	if (o.len > NOTE_VALUE_MAX) /* seen while another thread writes */
		o.len = 0;
	memcpy(&o.level, n->bytes + at, 2);
	memcpy(&o.name, n->bytes + at + 2, 2);
	memcpy(o.value, n->bytes + at + HEAD, o.len);
	return o;
}

static bool next(const struct note *n, uint16_t *at, struct note_option *option)
{
	if (*at >= n->used || *at > NOTE_BYTES - HEAD - NOTE_VALUE_MAX)
		return false;
	*option = option_at(n, *at);
	*at = (uint16_t)(*at + HEAD + option->len);
	return true;
}

bool note_next(const struct note *n, uint16_t *at, struct note_option *option)
{
	while (next(n, at, option))
		if (option->level != VOID)
			return true;
	return false;
}

bool note_find(const struct note *n, int level, int name, struct note_option *option)
{
	for (uint16_t at = 0; note_next(n, &at, option);)
		if (option->level == level && option->name == name)
			return true;
	return false;
}

/* What each connection asks for, and few have set. */
static bool is_special(int level, int name)
{
	switch (level) {
	case SOL_SOCKET:
		return name == SO_BINDTODEVICE || name == SO_BINDTOIFINDEX || name == SO_MARK ||
		       name == SO_DONTROUTE || name == SO_PEEK_OFF || name == SO_TIMESTAMPING_OLD ||
		       name == SO_TIMESTAMPING_NEW;
	case IPPROTO_IP:
		return name == IP_UNICAST_IF || name == IP_RECVERR || name == IP_TTL ||
		       name == IP_MINTTL || name == IP_BIND_ADDRESS_NO_PORT;
	case IPPROTO_IPV6:
		return name == IPV6_UNICAST_IF || name == IPV6_RECVERR ||
		       name == IPV6_UNICAST_HOPS || name == IPV6_MINHOPCOUNT;
	case IPPROTO_TCP:
		return name == TCP_CORK;
	default:
		return false;
	}
}

bool note_is_on(const struct note *n, int level, int name)
{
	static const uint8_t none[NOTE_VALUE_MAX];
	struct note_option o;

	return note_is_special(n) && note_find(n, level, name, &o) &&
	       memcmp(o.value, none, o.len) != 0;
}

struct option_name {
	int level, name;
};

static bool has_any(const struct note *n, const struct option_name *options, size_t count)
{
	for (size_t i = 0; note_is_special(n) && i < count; i++)
		if (note_is_on(n, options[i].level, options[i].name))
			return true;
	return false;
}

bool note_names_network(const struct note *n)
{
	static const struct option_name options[] = {
		{ SOL_SOCKET, SO_BINDTODEVICE },   { SOL_SOCKET, SO_BINDTOIFINDEX },
		{ SOL_SOCKET, SO_MARK },	   { IPPROTO_IP, IP_UNICAST_IF },
		{ IPPROTO_IPV6, IPV6_UNICAST_IF },
	};

	return n && (has_any(n, options, sizeof(options) / sizeof(options[0])) ||
		     atomic_load(&n->named));
}

bool note_limits_hops(const struct note *n)
{
	static const struct option_name options[] = {
		{ IPPROTO_IP, IP_TTL },
		{ IPPROTO_IP, IP_MINTTL },
		{ IPPROTO_IPV6, IPV6_UNICAST_HOPS },
		{ IPPROTO_IPV6, IPV6_MINHOPCOUNT },
	};

	return n && has_any(n, options, sizeof(options) / sizeof(options[0]));
}

bool note_watches_path(int fd)
{
	const struct note *n = note_at(fd);
	struct note_option o;
	int count;

	if (!n || !note_find(n, SOL_SOCKET, SO_KEEPALIVE, &o) ||
	    !sock_int(fd, SOL_SOCKET, SO_KEEPALIVE, 0))
		return false;
	count = sock_int(fd, IPPROTO_TCP, TCP_KEEPCNT, SOON_S);
	return sock_int(fd, IPPROTO_TCP, TCP_KEEPIDLE, SOON_S) +
		       count * sock_int(fd, IPPROTO_TCP, TCP_KEEPINTVL, SOON_S) <=
	       SOON_S;
}

/* Where the same option stands already, with a value of the same length, or nothing of that length; else
 * the end. A value of another length does not count any more. */
static uint16_t place_of(struct note *n, const struct note_option *o)
{
	static const uint16_t none = VOID;
	struct note_option each;
	uint16_t at = 0, here = 0, place = n->used;

	for (; next(n, &at, &each); here = at) {
		bool same = each.level == o->level && each.name == o->name;

		if (each.len == o->len && (same || (each.level == VOID && place == n->used)))
			place = here;
		else if (same)
			memcpy(n->bytes + here, &none, sizeof(none));
	}
	return place;
}

/* False: there is no room. */
static bool put(struct note *n, const struct note_option *o)
{
	uint16_t at = place_of(n, o), end = (uint16_t)(at + HEAD + o->len);

	if (at > NOTE_BYTES - HEAD - NOTE_VALUE_MAX)
		return false;
	memcpy(n->bytes + at, &o->level, 2);
	memcpy(n->bytes + at + 2, &o->name, 2);
	n->bytes[at + 4] = o->len;
	memcpy(n->bytes + at + HEAD, o->value, o->len);
	if (end > n->used)
		n->used = end;
	return true;
}

/* Their value is a pointer, or a descriptor number, to what will be something else by then. */
static bool is_filter(int name)
{
	return name == SO_ATTACH_FILTER || name == SO_ATTACH_BPF ||
	       name == SO_ATTACH_REUSEPORT_CBPF || name == SO_ATTACH_REUSEPORT_EBPF;
}

/* Keys and policies for the segments to an address, which is the server's; those to a converter would go without. */
static bool is_for_address(int level, int name)
{
	switch (level) {
	case IPPROTO_TCP:
		return name == TCP_MD5SIG || name == TCP_MD5SIG_EXT || name == TCP_AO_ADD_KEY;
	case IPPROTO_IP:
		return name == IP_XFRM_POLICY || name == IP_IPSEC_POLICY;
	case IPPROTO_IPV6:
		return name == IPV6_XFRM_POLICY || name == IPV6_IPSEC_POLICY;
	default:
		return false;
	}
}

/* Its connect() is to send no packet (CRIU). */
static bool is_in_repair(int level, int name, const void *value, socklen_t len)
{
	int on = 0;

	if (level == IPPROTO_TCP && name == TCP_REPAIR && len >= sizeof(on))
		memcpy(&on, value, sizeof(on));
	return on == 1;
}

void note_option(int fd, int level, int name, const void *value, socklen_t len)
{
	struct note_option o = { .level = (uint16_t)level, .name = (uint16_t)name };
	struct note *n = noted(fd);

	if (is_for_address(level, name) || is_in_repair(level, name, value, len))
		mark_rule_out(fd);
	if (!n)
		return;
	if (level == SOL_SOCKET && is_filter(name)) {
		note_spoil(fd, "a packet filter");
		return;
	}
	if (level != o.level || name != o.name || !value || len > NOTE_VALUE_MAX) {
		note_spoil(fd, "an option of an unusual size was set");
		return;
	}
	if (atomic_flag_test_and_set(
		    &n->busy)) { /* another thread, or the frame that we interrupt */
		note_spoil(fd, "options were set at the same time");
		return;
	}
	o.len = (uint8_t)len;
	memcpy(o.value, value, len);
	if (is_special(level, name))
		atomic_store(&n->special, true);
	if (!put(n, &o))
		note_spoil(fd, "more options were set than are noted");
	atomic_flag_clear(&n->busy);
}

bool note_disconnect(int fd, const struct note *n)
{
	static const struct option_name forgotten[] = {
		{ IPPROTO_TCP, TCP_WINDOW_CLAMP }, { IPPROTO_TCP, TCP_MAXSEG },
		{ IPPROTO_TCP, TCP_RTO_MIN_US },   { IPPROTO_TCP, TCP_DELACK_MAX_US },
		{ SOL_SOCKET, SO_PEEK_OFF },
	};
	bool done = sock_disconnect(fd);
	struct note_option o;

	for (size_t i = 0; n && i < sizeof(forgotten) / sizeof(forgotten[0]); i++)
		if (note_find(n, forgotten[i].level, forgotten[i].name, &o))
			sys_setsockopt(fd, o.level, o.name, o.value, o.len);
	return done;
}
