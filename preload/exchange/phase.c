// SPDX-License-Identifier: MIT
/* From phase to phase, and what is to be put back on the socket on the way; and the bytes of the request and the
 * reply. */
#include "exchange_int.h"

#include "notes.h"
#include "sock.h"
#include "traces.h"

bool exchange_go_on(struct exchange *u, enum exchange_phase phase)
{
	uint32_t now = atomic_load(&u->watch.state);

	while (now < EXCHANGE_CONNECTED)
		if (atomic_compare_exchange_weak(&u->watch.state, &now, phase))
			return true;
	return false;
}

/* However late whoever holds it is. */
void exchange_hold(struct exchange *u)
{
	int64_t now = now_ns();

	if (atomic_load(&u->deadline_ns) < now)
		atomic_store(&u->deadline_ns, now);
	exchange_go_on(u, EXCHANGE_OPENING);
}

/* Not before the program's own settings are back. */
void exchange_end(struct exchange *u, int fd, enum exchange_phase phase)
{
	if (u->rcvlowat)
		sock_set_int(fd, SOL_SOCKET, SO_RCVLOWAT, u->rcvlowat);
	if (phase == EXCHANGE_CONNECTED && !u->incoming)
		traces_peek_anew(fd);
	exchange_go_on(u, phase);
}

/* Only an unconnected socket lets us. */
void exchange_undo_no_cookie(struct exchange *u, int fd)
{
	if (u->no_cookie)
		sock_set_int(fd, IPPROTO_TCP, TCP_FASTOPEN_NO_COOKIE, 0);
}

void exchange_take_back(struct exchange *u, int fd)
{
	note_disconnect(fd, note_at(fd));
	traces_forget_errors(fd);
	exchange_undo_no_cookie(u, fd);
}

/* Which processes have it is not known: a forked one may be less trusted by now, and write what it likes.
 * So what says where in our own memory something is, is looked at once, and by that it goes. */
#define ONCE(member) (*(const volatile __typeof__(member) *)&(member))

/* Behind a FIN a reset is EPIPE to the kernel (LINUX-FACTS 2.5); to us it is one that comes before the reply. */
static long as_reset(long n)
{
	return n == -EPIPE ? -ECONNRESET : n;
}

long exchange_recv(struct exchange *u, int fd)
{
	size_t got = ONCE(u->reply.got), whole = ONCE(u->reply.whole);

	if (got > whole || whole > sizeof(u->reply.buf))
		return -EPROTO;
	return as_reset(sys_recv(fd, u->reply.buf + got, whole - got, MSG_DONTWAIT));
}

long exchange_send(const struct exchange *u, int fd)
{
	size_t sent = ONCE(u->sent), len = ONCE(u->request.len);

	if (sent > len || len > sizeof(u->request.bytes))
		return -EPROTO;
	return as_reset(
		sys_send(fd, u->request.bytes + sent, len - sent, MSG_DONTWAIT | MSG_NOSIGNAL));
}
