// SPDX-License-Identifier: MIT
#include "conn.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define BACKLOG	 1024
#define PAUSE_MS 50

struct incoming {
	struct loop_watch watch;
	struct loop_timer pause; /* nothing is accepted meanwhile: there are no descriptors */
	struct addr external, client;
	struct incoming *next;
	bool closed; /* memory only, until the batch of events is over */
};

static struct incoming *all;

/* ------------------------------------------------------------------ to the client */

static void write_message(struct conn *c, const struct addr *remote)
{
	struct cvt_writer w;
	int len;

	cvt_begin(&w, conn_options()->dialect);
	cvt_put_connect(&w, remote->ip, remote->port, (struct cvt_span){ NULL, 0 });
	len = cvt_finish(&w);
	memcpy(c->reply, w.bytes, (size_t)len);
	c->reply_len = (size_t)len;
}

/* From where the client knows us; a wildcard leaves it to the route. */
static void bind_like_listener(int fd, int family)
{
	const struct options *o = conn_options();

	for (size_t i = 0; i < o->listens; i++) {
		struct addr own = o->listen[i];
		struct sockaddr_storage ss;

		if ((addr_is_v4(&own) ? AF_INET : AF_INET6) != family)
			continue;
		own.port = 0;
		if (bind(fd, (struct sockaddr *)&ss, addr_to_sockaddr(&own, family, &ss)) < 0)
			log_detail("note", "what=\"no bind() to a --listen\"");
		return;
	}
}

/* 0, or -errno. What of the message the SYN cannot take is sent later. */
static int call_client(struct conn *c, int family)
{
	const struct options *o = conn_options();
	struct sockaddr_storage ss;
	socklen_t len = addr_to_sockaddr(&c->client, family, &ss);
	ssize_t n = -1;

	if (o->fast_open == FAST_OPEN_NO_COOKIE)
		sockopt_set(c->up.fd, IPPROTO_TCP, TCP_FASTOPEN_NO_COOKIE, 1);
	errno = EOPNOTSUPP;
	if (o->fast_open != FAST_OPEN_OFF)
		n = sendto(c->up.fd, c->reply, c->reply_len,
			   MSG_FASTOPEN | MSG_DONTWAIT | MSG_NOSIGNAL, (struct sockaddr *)&ss, len);
	if (n < 0 && errno == EOPNOTSUPP)
		n = connect(c->up.fd, (struct sockaddr *)&ss, len);
	if (n < 0 && errno != EINPROGRESS)
		return -errno;
	c->reply_sent = n > 0 ? (size_t)n : 0;
	return 0;
}

static void log_call(const struct conn *c, const struct addr *remote)
{
	char client[ADDR_TEXT_MAX], from[ADDR_TEXT_MAX], external[ADDR_TEXT_MAX];

	addr_format(&c->client, client);
	addr_format(&c->local, external);
	addr_format(remote, from);
	log_event("incoming", "conn=%lu remote=%s external=%s client=%s in_syn=%zu mptcp=%s", c->id,
		  from, external, client, c->reply_sent, c->up_mptcp ? "yes" : "no");
}

static void call(struct conn *c, const struct addr *remote)
{
	const struct options *o = conn_options();
	int family = addr_is_v4(&c->client) ? AF_INET : AF_INET6, err = -1;

	c->state = CONN_CALLING;
	c->up_mptcp = o->mptcp;
	c->up.fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC,
			  o->mptcp ? IPPROTO_MPTCP : IPPROTO_TCP);
	if (c->up.fd >= 0) {
		sockopt_set(c->up.fd, IPPROTO_TCP, TCP_NODELAY, 1);
		bind_like_listener(c->up.fd, family);
		write_message(c, remote);
		err = call_client(c, family);
	}
	log_call(c, remote);
	if (err < 0 || !conn_count_served(c) || loop_watch(&c->down, 0) < 0 ||
	    loop_watch(&c->up, c->reply_sent == c->reply_len ? EPOLLIN : EPOLLOUT) < 0)
		conn_drop(c, "local", true);
	else /* a server that is busy has the time that it has without us */
		loop_arm(&c->timer, (uint64_t)o->idle_timeout_s * 1000);
}

static void send_rest(struct conn *c)
{
	ssize_t n = send(c->up.fd, c->reply + c->reply_sent, c->reply_len - c->reply_sent,
			 MSG_DONTWAIT | MSG_NOSIGNAL);

	if (n < 0 && errno != EAGAIN) {
		conn_drop(c, "client-reset", true);
		return;
	}
	c->reply_sent += n > 0 ? (size_t)n : 0;
	if (c->reply_sent == c->reply_len)
		loop_watch(&c->up, EPOLLIN);
}

/* The fixed header, and whatever TLVs the client has to say; not one byte more. */
static void read_answer(struct conn *c)
{
	struct request *r = &c->request;
	enum cvt_dialect dialect = conn_options()->dialect;

	while (c->state == CONN_CALLING) {
		ssize_t n = recv(c->up.fd, r->bytes + r->have, r->need - r->have, MSG_DONTWAIT);

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n <= 0) {
			conn_drop(c, "client-reset", true);
			return;
		}
		r->have += (size_t)n;
		if (r->have < r->need)
			continue;
		if (r->need == CVT_HEADER_LEN && r->bytes[1] > 1) {
			r->need = (size_t)r->bytes[1] * 4;
			continue;
		}
		if (cvt_parse(&r->msg, (struct cvt_span){ r->bytes, r->have }, dialect,
			      CVT_TO_CONVERTER) != CVT_OK ||
		    r->msg.has_error) {
			conn_drop(c, "no-answer", true);
			return;
		}
		log_event("answer", "conn=%lu bytes=%zu", c->id, r->have);
		conn_start_relay(c);
	}
}

void incoming_up(struct conn *c, uint32_t events)
{
	if (c->reply_sent < c->reply_len && !(events & (EPOLLERR | EPOLLHUP)))
		send_rest(c);
	else
		read_answer(c);
}

/* --------------------------------------------------------------- from remote hosts */

static void on_remote(struct loop_watch *w, uint32_t events)
{
	struct incoming *in = LOOP_OWNER(w, struct incoming, watch);
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);
	struct addr remote;
	struct conn *c;
	int fd;

	(void)events;
	if (in->closed)
		return;
	fd = accept4(w->fd, (struct sockaddr *)&ss, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd < 0) { /* level-triggered: if somebody is there still, it comes again */
		if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
			loop_unwatch(w);
			loop_arm(&in->pause, PAUSE_MS);
		}
		return;
	}
	c = addr_from_sockaddr(&remote, (struct sockaddr *)&ss, len) < 0 ?
		    NULL :
		    conn_new(&in->client, &in->external);
	if (!c) {
		sockopt_linger_rst(fd);
		close(fd);
		return;
	}
	sockopt_set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
	c->down.fd = fd;
	call(c, &remote);
}

static void on_pause_over(struct loop_timer *t)
{
	struct incoming *in = LOOP_OWNER(t, struct incoming, pause);

	if (loop_watch(&in->watch, EPOLLIN) < 0)
		loop_arm(t, PAUSE_MS);
}

static int set_up(int fd, struct incoming *in)
{
	int family = addr_is_v4(&in->external) ? AF_INET : AF_INET6;
	struct sockaddr_storage ss;
	socklen_t len = addr_to_sockaddr(&in->external, family, &ss);

	sockopt_set(fd, SOL_SOCKET, SO_REUSEADDR, 1);
	if (family == AF_INET6)
		sockopt_set(fd, IPPROTO_IPV6, IPV6_V6ONLY,
			    addr_classify(&in->external) != ADDR_UNSPECIFIED);
	if (bind(fd, (struct sockaddr *)&ss, len) < 0 || listen(fd, BACKLOG) < 0 ||
	    getsockname(fd, (struct sockaddr *)&ss, &len) < 0)
		return -errno;
	return addr_from_sockaddr(&in->external, (struct sockaddr *)&ss, len);
}

/* A kernel may have no IPv6: then all addresses of both families are those of IPv4. */
static int open_socket(struct addr *external)
{
	int type = SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC;
	int fd = socket(addr_is_v4(external) ? AF_INET : AF_INET6, type, IPPROTO_TCP);

	if (fd < 0 && errno == EAFNOSUPPORT && addr_classify(external) == ADDR_UNSPECIFIED) {
		addr_parse(external, "0.0.0.0");
		fd = socket(AF_INET, type, IPPROTO_TCP);
	}
	return fd;
}

struct incoming *incoming_open(const struct addr *external, const struct addr *client)
{
	struct incoming *in = calloc(1, sizeof(*in));
	int err, fd;

	if (!in)
		return NULL;
	in->external = *external;
	in->client = *client;
	fd = open_socket(&in->external);
	in->watch = (struct loop_watch){ .fd = fd, .ready = on_remote };
	in->pause = (struct loop_timer){ .fire = on_pause_over };
	err = fd < 0 ? -errno : set_up(fd, in);
	if (!err)
		err = loop_watch(&in->watch, EPOLLIN);
	if (err) {
		if (fd >= 0)
			close(fd);
		free(in);
		errno = -err;
		return NULL;
	}
	in->next = all;
	all = in;
	return in;
}

const struct addr *incoming_external(const struct incoming *in)
{
	return &in->external;
}

void incoming_close(struct incoming *in)
{
	if (!in || in->closed)
		return;
	loop_unwatch(&in->watch);
	loop_disarm(&in->pause);
	close(in->watch.fd);
	in->closed = true;
}

void incoming_free_closed(void)
{
	for (struct incoming **at = &all; *at;) {
		struct incoming *in = *at;

		if (!in->closed) {
			at = &in->next;
			continue;
		}
		*at = in->next;
		free(in);
	}
}

int incoming_open_all(const struct options *o)
{
	for (size_t i = 0; i < o->n_incoming; i++) {
		char external[ADDR_TEXT_MAX];
		int err;

		if (incoming_open(&o->incoming[i].external, &o->incoming[i].client))
			continue;
		err = errno;
		addr_format(&o->incoming[i].external, external);
		fprintf(stderr, "lab-converter: --incoming %s: %s\n", external, strerror(err));
		return -err;
	}
	return 0;
}

void incoming_close_all(void)
{
	for (struct incoming *in = all; in; in = in->next)
		incoming_close(in);
	incoming_free_closed();
}
