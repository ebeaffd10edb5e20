// SPDX-License-Identifier: MIT
#include "conn.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define BACKLOG	       4096
#define FAST_OPEN_QLEN 4096 /* connections whose third ACK is outstanding (LINUX-FACTS 1.14) */
#define ACCEPT_TURNS   64
#define PAUSE_MS       50

static struct listener {
	struct loop_watch watch;
	struct loop_timer pause;
} listeners[OPT_LISTEN_MAX];
static size_t n_listeners;

static void accept_one(int fd, const struct sockaddr_storage *peer, socklen_t len)
{
	struct sockaddr_storage own;
	socklen_t own_len = sizeof(own);
	struct addr client, local;

	if (getsockname(fd, (struct sockaddr *)&own, &own_len) < 0 ||
	    addr_from_sockaddr(&client, (const struct sockaddr *)peer, len) < 0 ||
	    addr_from_sockaddr(&local, (const struct sockaddr *)&own, own_len) < 0) {
		close(fd);
		return;
	}
	conn_accept(fd, &client, &local);
}

static void on_client(struct loop_watch *w, uint32_t events)
{
	struct listener *l = LOOP_OWNER(w, struct listener, watch);

	(void)events;
	for (int i = 0; i < ACCEPT_TURNS; i++) {
		struct sockaddr_storage peer;
		socklen_t len = sizeof(peer);
		int fd = accept4(w->fd, (struct sockaddr *)&peer, &len,
				 SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd >= 0) {
			accept_one(fd, &peer, len);
			continue;
		}
		if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
			loop_unwatch(w);
			loop_arm(&l->pause, PAUSE_MS);
		}
		if (errno != ECONNABORTED && errno != EINTR)
			return;
	}
}

static void on_pause_over(struct loop_timer *t)
{
	struct listener *l = LOOP_OWNER(t, struct listener, pause);

	if (loop_watch(&l->watch, EPOLLIN) < 0)
		loop_arm(t, PAUSE_MS);
}

/* Linux before 6.2 has none for a listener of Multipath TCP: then everything works but slower. */
static int allow_fast_open(int fd, const struct options *o)
{
	int err;

	if (o->fast_open == FAST_OPEN_OFF)
		return 0;
	if (sockopt_set(fd, IPPROTO_TCP, TCP_FASTOPEN, FAST_OPEN_QLEN) == 0 &&
	    (o->fast_open != FAST_OPEN_NO_COOKIE ||
	     sockopt_set(fd, IPPROTO_TCP, TCP_FASTOPEN_NO_COOKIE, 1) == 0))
		return 0;
	err = errno;
	if (!o->mptcp || (err != ENOPROTOOPT && err != EOPNOTSUPP))
		return -err;
	log_event("note", "what=\"no Fast Open over MPTCP in this kernel: no SYN data is taken\"");
	return 0;
}

static int set_up(int fd, const struct addr *a, const struct options *o)
{
	int family = addr_is_v4(a) ? AF_INET : AF_INET6;
	struct sockaddr_storage ss;
	socklen_t len = addr_to_sockaddr(a, family, &ss);
	int err;

	sockopt_set(fd, SOL_SOCKET, SO_REUSEADDR, 1);
	if (family == AF_INET6 && sockopt_set(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1) < 0)
		return -errno;
	if (bind(fd, (struct sockaddr *)&ss, len) < 0)
		return -errno;
	err = allow_fast_open(fd, o);
	if (err)
		return err;
	return listen(fd, BACKLOG) < 0 ? -errno : 0;
}

static int open_one(const struct addr *a, const struct options *o)
{
	struct listener *l = &listeners[n_listeners];
	int fd = socket(addr_is_v4(a) ? AF_INET : AF_INET6,
			SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC,
			o->mptcp ? IPPROTO_MPTCP : IPPROTO_TCP);
	int err;

	if (fd < 0)
		return -errno;
	l->watch = (struct loop_watch){ .fd = fd, .ready = on_client };
	l->pause = (struct loop_timer){ .fire = on_pause_over };
	n_listeners++;
	err = set_up(fd, a, o);
	return err ? err : loop_watch(&l->watch, EPOLLIN);
}

int listener_open_all(const struct options *o)
{
	for (size_t i = 0; i < o->listens; i++) {
		int err = open_one(&o->listen[i], o);
		char text[ADDR_TEXT_MAX];

		if (!err)
			continue;
		addr_format(&o->listen[i], text);
		fprintf(stderr, "lab-converter: --listen %s%s: %s\n", text,
			o->mptcp ? " (MPTCP)" : "", strerror(-err));
		return err;
	}
	return 0;
}

void listener_close_all(void)
{
	while (n_listeners) {
		struct listener *l = &listeners[--n_listeners];

		loop_unwatch(&l->watch);
		loop_disarm(&l->pause);
		close(l->watch.fd);
	}
}
