// SPDX-License-Identifier: MIT
/* How an exchange ends, and what is left of it on the socket. */
#include "exchange_int.h"

#include "real.h"
#include "twin.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>

/* Not before the program's own settings are back. */
void exchange_end(struct exchange *u, int fd, enum exchange_phase phase)
{
	if (u->rcvlowat)
		sys_setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &u->rcvlowat, sizeof(u->rcvlowat));
	atomic_store_explicit(&u->phase, phase, memory_order_release);
}

/* Only an unconnected socket lets us. */
void exchange_undo_no_cookie(struct exchange *u, int fd)
{
	int off = 0;

	if (u->no_cookie)
		sys_setsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN_NO_COOKIE, &off, sizeof(off));
}

void exchange_disconnect(int fd)
{
	struct sockaddr none = { .sa_family = AF_UNSPEC };

	sys_connect(fd, &none, sizeof(none));
}

void exchange_disconnect_noted(int fd, const struct note *n)
{
	static const int forgotten[] = { TCP_WINDOW_CLAMP, TCP_MAXSEG };
	struct note_option o;

	exchange_disconnect(fd);
	for (size_t i = 0; n && i < sizeof(forgotten) / sizeof(forgotten[0]); i++)
		if (note_find(n, IPPROTO_TCP, forgotten[i], &o))
			sys_setsockopt(fd, IPPROTO_TCP, forgotten[i], o.value, o.len);
}

void exchange_take_back(struct exchange *u, int fd)
{
	exchange_disconnect_noted(fd, note_at(fd));
	exchange_undo_no_cookie(u, fd);
}

/* Makes the kernel show what a refused connect shows: TCP's readiness, errors once, no peer
 * (D5; TRAPS 2.1: shutdown() says ENOTCONN and takes effect). */
void exchange_refuse(struct exchange *u, int fd, int err)
{
	struct sockaddr_storage local = { 0 };
	socklen_t len = sizeof(local);

	/* disconnecting forgets it, a refused connect keeps it */
	if (sys_getsockname(fd, (struct sockaddr *)&local, &len) < 0 ||
	    addr_from_sockaddr(&u->local, (struct sockaddr *)&local, len) < 0)
		u->local = (struct addr){ .port = 0 };
	exchange_take_back(u, fd);
	twin_give_back(fd, &u->local);
	sys_shutdown(fd, SHUT_RDWR);
	atomic_store(&u->err, err);
	exchange_end(u, fd, EXCHANGE_REFUSED);
}

static void go_direct(struct exchange *u, int fd)
{
	struct sockaddr_storage server;
	socklen_t len;
	int r;

	exchange_take_back(u, fd);
	if (twin_give_back(fd, NULL))
		u->family = note_at(fd)->family;
	if (atomic_load(&u->driver)) { /* the blocking connect() goes on by itself */
		exchange_end(u, fd, EXCHANGE_DIRECT);
		return;
	}
	len = addr_to_sockaddr(&u->server, u->family, &server);
	/* a blocking descriptor here is one whose connect() was interrupted by a signal */
	r = sys_fcntl(fd, F_GETFL, 0);
	r = exchange_connect(fd, (struct sockaddr *)&server, len, r >= 0 && r & O_NONBLOCK);
	if (r < 0 && r != -EINPROGRESS && r != -EINTR)
		exchange_refuse(u, fd, -r);
	else
		exchange_end(u, fd, EXCHANGE_DIRECT);
}

void exchange_give_up_for_good(struct exchange_turn *t)
{
	struct exchange *u = t->u;
	struct exchange_failure *f = &t->failure;
	bool refused = f->is_servers || !u->fall_back;

	if (!f->is_servers && u->first_err) { /* what it has said to the whole message */
		f->err = u->first_err;
		f->why = u->first_why;
	}
	report_nothing(&t->report, u);
	report_line(&t->report, LOG_LEVEL_INFO, refused ? "failed" : "falling back from", f->why,
		    f->err);
	if (refused)
		exchange_refuse(u, t->fd, f->err);
	else
		go_direct(u, t->fd);
}

enum exchange_step exchange_give_up(struct exchange_turn *t, struct exchange_failure failure)
{
	t->failure = failure;
	if (!failure.is_servers && exchange_has_elsewhere(t->u)) {
		t->before = EXCHANGE_OPENING;
		exchange_go_on(t->u, EXCHANGE_OPENING);
		return STEP_ELSEWHERE;
	}
	exchange_give_up_for_good(t);
	return STEP_DONE;
}
