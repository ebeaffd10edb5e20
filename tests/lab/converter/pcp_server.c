// SPDX-License-Identifier: MIT
#include "conn.h"

#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "pcp.h"

#define SHORT_ERROR_S  30 /* 7.4: what passes, and what does not */
#define LONG_ERROR_S   1800
#define ANNOUNCES      10 /* 14.1.2 */
#define ANNOUNCE_MS    250
#define REQUESTS_TURNS 64

static struct mapping {
	struct addr client; /* with the port that it has mapped; port 0: this one is free */
	uint8_t nonce[PCP_NONCE_LEN];
	struct incoming *open;
	struct loop_timer expiry;
} mappings[OPT_PCP_MAPPINGS];

static struct pcp_socket {
	struct loop_watch watch;
	struct loop_timer announce;
	struct addr own;
	unsigned int announced;
} sockets[OPT_LISTEN_MAX];
static size_t n_sockets;

static const struct options *opt;
static uint64_t started_ms;
static unsigned int to_drop;

static uint32_t epoch(void)
{
	return opt->pcp.epoch_s + (uint32_t)((loop_now_ms() - started_ms) / 1000);
}

/* ---------------------------------------------------------------------------- mappings */

static void end_mapping(struct mapping *m, const char *why)
{
	char client[ADDR_TEXT_MAX], external[ADDR_TEXT_MAX];

	addr_format(&m->client, client);
	addr_format(incoming_external(m->open), external);
	log_event("unmap", "client=%s external=%s why=%s", client, external, why);
	loop_disarm(&m->expiry);
	incoming_close(m->open);
	m->client.port = 0;
}

static void on_expiry(struct loop_timer *t)
{
	end_mapping(LOOP_OWNER(t, struct mapping, expiry), "expired");
}

static struct mapping *find(const struct addr *client)
{
	for (size_t i = 0; i < OPT_PCP_MAPPINGS; i++)
		if (mappings[i].client.port == client->port &&
		    addr_equal_ip(&mappings[i].client, client))
			return &mappings[i];
	return NULL;
}

static unsigned int count(const struct addr *client)
{
	unsigned int n = 0;

	for (size_t i = 0; i < OPT_PCP_MAPPINGS; i++)
		n += mappings[i].client.port && addr_equal_ip(&mappings[i].client, client);
	return n;
}

/* What is suggested if that can be had, and else any port (11.3). */
static enum pcp_result open_external(struct mapping *m, const struct pcp_request *q,
				     const struct addr *client)
{
	const struct addr *own = &opt->pcp.external[addr_is_v4(client) ? 0 : 1];
	struct addr wish = *own, any = pcp_any(own);
	bool is_ours = addr_equal_ip(&q->map.external, own) ||
		       addr_equal_ip(&q->map.external, &any);

	if (addr_equal_ip(own, &any))
		return PCP_NETWORK_FAILURE; /* it has no external address of this family */
	if (!is_ours && q->prefer_failure)
		return PCP_CANNOT_PROVIDE_EXTERNAL;
	wish.port = is_ours ? q->map.external.port : 0;
	m->open = incoming_open(&wish, client);
	if (m->open || !wish.port)
		return m->open ? PCP_SUCCESS : PCP_NO_RESOURCES;
	if (q->prefer_failure)
		return PCP_CANNOT_PROVIDE_EXTERNAL;
	wish.port = 0;
	m->open = incoming_open(&wish, client);
	return m->open ? PCP_SUCCESS : PCP_NO_RESOURCES;
}

static enum pcp_result make(const struct pcp_request *q, const struct addr *client)
{
	struct mapping *m = NULL;
	enum pcp_result result;

	for (size_t i = 0; i < OPT_PCP_MAPPINGS && !m; i++)
		m = mappings[i].client.port ? NULL : &mappings[i];
	if (count(client) >= opt->pcp.quota)
		return PCP_USER_EX_QUOTA;
	if (!m)
		return PCP_NO_RESOURCES;
	result = open_external(m, q, client);
	if (result)
		return result;
	m->client = *client;
	memcpy(m->nonce, q->map.nonce, sizeof(m->nonce));
	m->expiry = (struct loop_timer){ .fire = on_expiry };
	return PCP_SUCCESS;
}

/* Against a suggestion that cannot be followed any more (13.2). */
static bool is_other(const struct mapping *m, const struct addr *suggested)
{
	const struct addr *external = incoming_external(m->open);

	return suggested->port != external->port || !addr_equal_ip(suggested, external);
}

/* 11.3; an end is 15.1. Fills in what is granted. */
static enum pcp_result map(const struct pcp_request *q, const struct addr *client,
			   struct pcp_response *r)
{
	struct mapping *m = find(client);
	enum pcp_result result = PCP_SUCCESS;
	uint32_t s = q->lifetime_s;

	r->map = q->map;
	if (m && memcmp(m->nonce, q->map.nonce, sizeof(m->nonce)) != 0)
		return PCP_NOT_AUTHORIZED;
	if (!s) {
		if (m)
			end_mapping(m, "deleted");
		return PCP_SUCCESS;
	}
	if (!m)
		result = make(q, client);
	else if (q->prefer_failure && is_other(m, &q->map.external))
		result = PCP_CANNOT_PROVIDE_EXTERNAL;
	if (result)
		return result;
	m = find(client);
	s = s < opt->pcp.least_s ? opt->pcp.least_s : s > opt->pcp.most_s ? opt->pcp.most_s : s;
	loop_arm(&m->expiry, (uint64_t)s * 1000);
	r->lifetime_s = s;
	r->map.external = *incoming_external(m->open);
	return PCP_SUCCESS;
}

/* ---------------------------------------------------------------------------- requests */

static enum pcp_result serve(const struct pcp_request *q, const struct addr *source,
			     struct pcp_response *r)
{
	struct addr client = *source;

	client.port = q->map.internal_port;
	if (!addr_equal_ip(&q->client, source))
		return PCP_ADDRESS_MISMATCH;
	if (!request_is_client(source, opt))
		return PCP_NOT_AUTHORIZED;
	if (q->opcode == PCP_ANNOUNCE)
		return PCP_SUCCESS;
	if (opt->pcp.result)
		return (enum pcp_result)opt->pcp.result;
	if (q->map.protocol != PCP_TCP || !client.port)
		return PCP_UNSUPP_PROTOCOL; /* all protocols, or all ports, are too many */
	return map(q, &client, r);
}

static uint32_t error_lifetime(uint8_t result)
{
	bool passes = result == PCP_NETWORK_FAILURE || result == PCP_NO_RESOURCES ||
		      result == PCP_USER_EX_QUOTA || result == PCP_CANNOT_PROVIDE_EXTERNAL;

	return opt->pcp.error_s ? opt->pcp.error_s : passes ? SHORT_ERROR_S : LONG_ERROR_S;
}

static void log_request(const struct pcp_request *q, const struct addr *source,
			const struct pcp_response *r)
{
	char client[ADDR_TEXT_MAX], external[ADDR_TEXT_MAX];
	const char *name = pcp_result_name(r->result);

	addr_format(source, client);
	addr_format(&r->map.external, external);
	log_event("pcp", "opcode=%u client=%s port=%u asked=%u result=%s lifetime=%u external=%s",
		  q->opcode, client, q->map.internal_port, q->lifetime_s, name ? name : "unknown",
		  r->lifetime_s, r->result || q->opcode != PCP_MAP ? "-" : external);
}

static void answer(int fd, const uint8_t *bytes, size_t len, const struct sockaddr_storage *from,
		   socklen_t from_len)
{
	struct pcp_response r = { .version = (uint8_t)opt->pcp.version, .epoch_s = epoch() };
	uint8_t out[PCP_MESSAGE_MAX];
	struct pcp_request q;
	struct addr source;
	int result = pcp_read_request(&q, bytes, len);

	if (result < 0 || addr_from_sockaddr(&source, (const struct sockaddr *)from, from_len) < 0)
		return;
	if (to_drop) {
		to_drop--;
		log_event("pcp", "opcode=%u result=none", q.opcode);
		return;
	}
	if (r.version != PCP_VERSION)
		result = PCP_UNSUPP_VERSION;
	r.result = (uint8_t)(result ? result : (int)serve(&q, &source, &r));
	if (r.result)
		r.lifetime_s = error_lifetime(r.result);
	log_request(&q, &source, &r);
	len = pcp_write_response(out, &r, bytes, len, q.prefer_failure);
	if (sendto(fd, out, len, MSG_DONTWAIT, (const struct sockaddr *)from, from_len) < 0)
		log_detail("note", "what=\"a PCP answer could not be sent\"");
}

static void on_request(struct loop_watch *w, uint32_t events)
{
	uint8_t bytes[PCP_MESSAGE_MAX + 1];

	(void)events;
	for (int i = 0; i < REQUESTS_TURNS; i++) {
		struct sockaddr_storage from;
		socklen_t from_len = sizeof(from);
		ssize_t n = recvfrom(w->fd, bytes, sizeof(bytes), MSG_DONTWAIT,
				     (struct sockaddr *)&from, &from_len);

		if (n < 0)
			return; /* one that could not be answered is told here, too */
		answer(w->fd, bytes, (size_t)n, &from, from_len);
	}
}

/* ------------------------------------------------------------------------ the announce */

/* To all hosts of the link, ten times, twice as long apart each time (14.1.2). */
static void on_announce(struct loop_timer *t)
{
	struct pcp_socket *s = LOOP_OWNER(t, struct pcp_socket, announce);
	bool v4 = addr_is_v4(&s->own);
	struct addr all = { .port = PCP_CLIENT_PORT };
	struct sockaddr_storage ss;
	uint8_t out[PCP_HEADER_LEN];
	socklen_t len;

	addr_parse(&all, v4 ? "224.0.0.1" : "ff02::1");
	len = addr_to_sockaddr(&all, v4 ? AF_INET : AF_INET6, &ss);
	if (sendto(s->watch.fd, out, pcp_write_announce(out, epoch()), MSG_DONTWAIT,
		   (struct sockaddr *)&ss, len) < 0)
		log_detail("note", "what=\"no multicast: %s\"", strerror(errno));
	if (++s->announced < ANNOUNCES)
		loop_arm(t, (uint64_t)ANNOUNCE_MS << (s->announced - 1));
}

/* The interface that has the address; 0: none, as with a wildcard. */
static unsigned int interface_of(const struct addr *own)
{
	struct ifaddrs *all;
	unsigned int index = 0;

	if (getifaddrs(&all) < 0)
		return 0;
	for (const struct ifaddrs *i = all; i && !index; i = i->ifa_next) {
		struct addr a;
		socklen_t len = i->ifa_addr && i->ifa_addr->sa_family == AF_INET6 ?
					sizeof(struct sockaddr_in6) :
					sizeof(struct sockaddr_in);

		if (i->ifa_addr && addr_from_sockaddr(&a, i->ifa_addr, len) == 0 &&
		    addr_equal_ip(&a, own))
			index = if_nametoindex(i->ifa_name);
	}
	freeifaddrs(all);
	return index;
}

static void begin_announcing(struct pcp_socket *s)
{
	unsigned int index = interface_of(&s->own);
	struct ip_mreqn by = { .imr_ifindex = (int)index };

	if (!index || opt->pcp.quiet)
		return;
	if (addr_is_v4(&s->own))
		setsockopt(s->watch.fd, IPPROTO_IP, IP_MULTICAST_IF, &by, sizeof(by));
	else
		sockopt_set(s->watch.fd, IPPROTO_IPV6, IPV6_MULTICAST_IF, (int)index);
	on_announce(&s->announce);
}

/* --------------------------------------------------------------------- opening, closing */

static int open_one(const struct addr *listen)
{
	struct pcp_socket *s = &sockets[n_sockets];
	int family = addr_is_v4(listen) ? AF_INET : AF_INET6;
	struct sockaddr_storage ss;
	socklen_t len;

	s->own = *listen;
	s->own.port = (uint16_t)opt->pcp.port;
	s->announce = (struct loop_timer){ .fire = on_announce };
	s->watch = (struct loop_watch){ .fd = socket(family,
						     SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0),
					.ready = on_request };
	if (s->watch.fd < 0)
		return -errno;
	n_sockets++;
	len = addr_to_sockaddr(&s->own, family, &ss);
	if (family == AF_INET6 && sockopt_set(s->watch.fd, IPPROTO_IPV6, IPV6_V6ONLY, 1) < 0)
		return -errno;
	if (bind(s->watch.fd, (struct sockaddr *)&ss, len) < 0)
		return -errno;
	begin_announcing(s);
	return loop_watch(&s->watch, EPOLLIN);
}

int pcp_server_open(const struct options *o)
{
	opt = o;
	started_ms = loop_now_ms();
	to_drop = o->pcp.drop;
	for (size_t i = 0; o->pcp.on && i < o->listens; i++) {
		int err = open_one(&o->listen[i]);
		char text[ADDR_TEXT_MAX];

		if (!err)
			continue;
		addr_format(&sockets[i].own, text);
		fprintf(stderr, "lab-converter: --pcp %s: %s\n", text, strerror(-err));
		return err;
	}
	return 0;
}

void pcp_server_close(void)
{
	for (size_t i = 0; i < OPT_PCP_MAPPINGS; i++)
		if (mappings[i].client.port)
			end_mapping(&mappings[i], "stop");
	while (n_sockets) {
		struct pcp_socket *s = &sockets[--n_sockets];

		loop_unwatch(&s->watch);
		loop_disarm(&s->announce);
		close(s->watch.fd);
	}
}
