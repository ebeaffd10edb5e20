/* SPDX-License-Identifier: MIT */
/*
 * note.h - what is noted of a descriptor number (notes.h).
 */
#ifndef CVT_NOTE_H
#define CVT_NOTE_H

#include "real.h"

#include <netinet/tcp.h>
#include <stdatomic.h>

/* Options that libc's headers do not have: musl's of another time_t, those of newer kernels. */
#ifndef SO_RCVTIMEO_OLD
#define SO_RCVTIMEO_OLD SO_RCVTIMEO
#define SO_RCVTIMEO_NEW 66
#endif
#ifndef TCP_RTO_MIN_US
#define TCP_RTO_MIN_US 45
#endif
#ifndef TCP_DELACK_MAX_US
#define TCP_DELACK_MAX_US 46
#endif

#define NOTE_VALUE_MAX 16
#define NOTE_BYTES     280 /* about thirty options that are an int */

/* Why a socket has to stay as it is; NULL: it need not. */
typedef const char *_Atomic note_reason;

struct note {
	_Atomic uint64_t twin_cookie; /* SO_COOKIE of the twin that has the number, 0: none has */
	note_reason spoiled;
	uint32_t generation; /* of forks, when it was made */
	atomic_flag busy;
	uint8_t family; /* AF_INET, AF_INET6: as the program made it */
	uint8_t twin_family;
	bool twin_is_mptcp;
	bool is_mptcp;		/* the program itself wanted MPTCP */
	bool only_v6;		/* the program takes it to be IPv6 alone (IPV6_V6ONLY) */
	_Atomic int flags;	/* SOCK_NONBLOCK and SOCK_CLOEXEC, as they are by now */
	_Atomic bool bound;	/* bind() was called */
	_Atomic bool named;	/* ... with an address of this host, and not for the port alone */
	_Atomic bool copied;	/* the number was duplicated */
	_Atomic bool connected; /* connect() was called, and left to the kernel */
	_Atomic bool ruled;	/* a rule leaves this attempt to the kernel: that is told */
	_Atomic bool checked;	/* of a twin that bypasses: is it MPTCP? That is known */
	_Atomic bool special;	/* an option was set that note_is_on() knows */
	_Atomic bool stuck;	/* of a twin that has been on its way by IPv4: note_stick() */
	_Atomic uint8_t shut;	/* of a twin, for what: bit SHUT_RD and bit SHUT_WR */
	uint16_t used;
	uint8_t bytes[NOTE_BYTES]; /* the options, in the order they were set */
};

/* One option as the program has set it. */
struct note_option {
	uint16_t level, name;
	uint8_t len;
	uint8_t value[NOTE_VALUE_MAX];
};

/* Was an option set that note_is_on() knows? Few sockets have one. */
static inline bool note_is_special(const struct note *n)
{
	return atomic_load_explicit(&n->special, memory_order_relaxed);
}

/* Other threads may ask whether there is a twin while the number becomes another socket's. What else is noted of the
 * twin is there before its cookie. */
static inline uint64_t note_twin(const struct note *n)
{
	return atomic_load_explicit(&n->twin_cookie, memory_order_acquire);
}

static inline void note_set_twin(struct note *n, uint64_t cookie)
{
	atomic_store_explicit(&n->twin_cookie, cookie, memory_order_release);
}

#endif
