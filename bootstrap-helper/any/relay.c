// SPDX-License-Identifier: MIT
#include "any_int.h"

#include "sock.h"

#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>

#define PIECE  65536
#define ROUNDS 4 /* then others have their turn */

struct end {
	int fd;
	bool has_ended; /* nothing comes from it any more */
	bool is_broken; /* ... nor does it take anything */
	bool is_full;
};

struct relay {
	struct end a, b;
	bool only_from_a;
};

struct relay *relay_begin(int a, int b, bool only_from_a)
{
	struct relay *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	*r = (struct relay){ { .fd = a }, { .fd = b, .has_ended = only_from_a }, only_from_a };
	/* It takes what it can send, so that we see when all of it is there; and if it was closed behind a shutdown(),
	 * it is gone a minute later, and says so when it is asked. */
	sock_set_int(a, IPPROTO_TCP, TCP_NOTSENT_LOWAT, 1);
	sock_set_int(a, IPPROTO_TCP, TCP_KEEPIDLE, 30);
	sock_set_int(a, IPPROTO_TCP, TCP_KEEPINTVL, 30);
	sock_set_int(a, SOL_SOCKET, SO_KEEPALIVE, 1);
	if (!only_from_a)
		sock_set_int(b, SOL_SOCKET, SO_PEEK_OFF, -1);
	return r;
}

/* What one has said is left where it is until the other has taken it. Returns whether anything has changed. */
static bool step(struct end *from, struct end *to, bool only)
{
	static char room[PIECE];
	long n, taken;

	if (from->has_ended || to->is_broken)
		return false;
	n = sys_recv(from->fd, room, sizeof(room), MSG_PEEK | MSG_DONTWAIT);
	if (n == -EAGAIN)
		return false;
	if (n > 0) {
		taken = sys_send(to->fd, room, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL);
		to->is_full = taken < n;
		to->is_broken = taken < 0 && taken != -EAGAIN;
		return taken > 0 && sys_recv(from->fd, room, (size_t)taken, MSG_DONTWAIT) > 0;
	}
	from->has_ended = true;
	from->is_broken |= n < 0;
	if (!from->is_broken &&
	    !only) /* others may have that one, and one that is closed ends alike */
		sys_shutdown(to->fd, SHUT_WR);
	return true;
}

/* It has come to its end, and may be reset since. */
static void look_again(struct end *e)
{
	if (e->has_ended && !e->is_broken)
		e->is_broken = sock_int(e->fd, SOL_SOCKET, SO_ERROR, 0) != 0;
}

void relay_reset(int fd)
{
	static const struct linger at_once = { .l_onoff = 1 };

	sys_setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
}

/* Behind all that was said before. False: that is still on its way. */
static bool reset(struct end *e)
{
	int unsent = 0;

	ioctl(e->fd, SIOCOUTQNSD, &unsent);
	e->is_full = unsent > 0;
	if (!e->is_full)
		relay_reset(e->fd);
	return !e->is_full;
}

bool relay_go_on(struct relay *r)
{
	bool moved = true;

	look_again(&r->a);
	if (!r->only_from_a)
		look_again(&r->b);
	for (int i = 0; i < ROUNDS && moved; i++) {
		moved = step(&r->a, &r->b, r->only_from_a);
		moved |= step(&r->b, &r->a, false);
	}
	if ((!r->a.has_ended && !r->b.is_broken) || (!r->b.has_ended && !r->a.is_broken))
		return true;
	if (r->b.is_broken && !r->a.is_broken)
		return !reset(&r->a);
	if (r->a.is_broken && !r->b.is_broken && !r->only_from_a)
		reset(&r->b);
	return false;
}

static uint32_t wants(const struct end *e, const struct end *other)
{
	bool reads = !e->has_ended && !other->is_broken && !other->is_full;

	if (e->is_broken)
		return 0;
	return EPOLLERR | (reads ? EPOLLIN : 0U) | (e->is_full ? EPOLLOUT : 0U);
}

void relay_wants(const struct relay *r, uint32_t *a, uint32_t *b)
{
	*a = wants(&r->a, &r->b);
	*b = wants(&r->b, &r->a);
	if (r->only_from_a && !r->b.is_full)
		*b = 0;
}

bool relay_owes(const struct relay *r)
{
	return !r->a.has_ended && !r->b.is_broken;
}
