// SPDX-License-Identifier: MIT
#include "top.h"

#include <errno.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "policy.h"
#include "servers.h"

/* What was found out of a socket, which stays so as long as it is connected to the same address. */
struct note {
	bool is_known;
	struct addr remote;
	uint64_t bytes;
	struct connection found;
};

/* --------------------------------------------------------------------- the kernel's part */

struct taking {
	struct connections *c;
	bool *listens; /* for each port */
	bool no_memory;
};

static void take(const struct diag_socket *s, void *arg)
{
	struct taking *t = arg;
	struct connections *c = t->c;

	if (s->state == TCP_LISTEN)
		t->listens[s->local.port] = true;
	if (s->state == TCP_LISTEN || s->inode == 0)
		return;
	if (c->n_sockets == c->room) {
		size_t room = c->room ? 2 * c->room : 256;
		struct diag_socket *more = realloc(c->sockets, room * sizeof(*more));

		t->no_memory |= !more;
		if (!more)
			return;
		c->sockets = more;
		c->room = room;
	}
	c->sockets[c->n_sockets++] = *s;
}

/* Those of an inode side by side, MPTCP's first, its subflows by their addresses. */
static int by_inode(const void *a, const void *b)
{
	const struct diag_socket *x = a, *y = b;

	if (x->inode != y->inode)
		return x->inode < y->inode ? -1 : 1;
	if (x->is_mptcp != y->is_mptcp)
		return y->is_mptcp - x->is_mptcp;
	return memcmp(x->local.ip, y->local.ip, sizeof(x->local.ip));
}

static int take_sockets(struct connections *c)
{
	struct taking t = { .c = c, .listens = calloc(65536, sizeof(bool)) };
	size_t kept = 0;
	int r;

	if (!t.listens)
		return -ENOMEM;
	c->n_sockets = 0;
	r = diag_each(take, &t, &c->has_mptcp);
	for (size_t i = 0; i < c->n_sockets; i++)
		if (!t.listens[c->sockets[i].local.port])
			c->sockets[kept++] = c->sockets[i];
	c->n_sockets = kept;
	free(t.listens);
	if (kept)
		qsort(c->sockets, kept, sizeof(*c->sockets), by_inode);
	return t.no_memory ? -ENOMEM : r;
}

/* Without them, paths have no names. */
static void take_interfaces(struct connections *c)
{
	struct ifaddrs *all = NULL;
	struct interface *t;
	size_t n = 0;

	c->n_interfaces = 0;
	if (getifaddrs(&all) < 0)
		return;
	for (const struct ifaddrs *i = all; i; i = i->ifa_next)
		n++;
	t = realloc(c->interfaces, (n + 1) * sizeof(*t));
	c->interfaces = t ? t : c->interfaces;
	for (const struct ifaddrs *i = t ? all : NULL; i; i = i->ifa_next)
		if (i->ifa_addr && addr_from_sockaddr(&t->address, i->ifa_addr,
						      sizeof(struct sockaddr_in6)) == 0) {
			snprintf(t->name, sizeof(t->name), "%s", i->ifa_name);
			t++;
			c->n_interfaces++;
		}
	freeifaddrs(all);
}

const char *connections_interface(const struct connections *c, const struct diag_socket *path)
{
	for (size_t i = 0; i < c->n_interfaces; i++)
		if (addr_equal_ip(&c->interfaces[i].address, &path->local))
			return c->interfaces[i].name;
	return "";
}

/* --------------------------------------------------------------------------- which way */

static const struct config_converter *converter_at(const struct config *config,
						   const struct addr *a)
{
	for (size_t i = 0; i < config->n_converters; i++)
		for (size_t k = 0; k < config->converters[i].n_addrs; k++)
			if (addr_equal(&config->converters[i].addrs[k], a))
				return &config->converters[i];
	return NULL;
}

static void be(struct connection *k, enum connection_way way, const char *why)
{
	k->way = way;
	k->why = why;
}

static void name_converter(struct connection *k, const struct config *config)
{
	const struct config_converter *converter = converter_at(config, &k->socket->remote);

	if (converter)
		memcpy(k->converter, converter->name, sizeof(k->converter));
}

/* The program's own connect() reached the server. Why was that? */
static void judge_native(struct connection *k)
{
	const struct config *config = &k->program->config;
	struct pol_verdict verdict;

	if (!k->program->has_config) {
		be(k, CONNECTION_DIRECT, "configuration not readable");
		return;
	}
	verdict = pol_rule(config, &k->server);
	if (verdict.action == POL_DIRECT) {
		be(k, CONNECTION_DIRECT, pol_reason_text(verdict.reason));
		k->line = verdict.rule_line;
	} else if (config->bypass && servers_lookup(&k->server, state_now_ms()) == SERVERS_MPTCP) {
		be(k, CONNECTION_BYPASSED, "speaks MPTCP, which gains nothing here");
	} else {
		be(k, CONNECTION_DIRECT, "see its log");
	}
}

/* The addresses are all that there is to go by. */
static void judge_by_address(struct connection *k, const struct config *config, const char *unknown)
{
	if (converter_at(config, &k->socket->remote)) {
		name_converter(k, config);
		k->has_server = false;
		be(k, CONNECTION_CONVERTED, unknown);
	} else {
		be(k, CONNECTION_UNKNOWN, unknown);
	}
}

static void judge_loaded(struct connection *k, int fd)
{
	const struct program *p = k->program;
	const struct config *config = &p->config;
	bool has_server, is_proven;
	struct addr server;
	enum program_number number = program_ask(p, fd, k->socket->cookie, &server, &has_server,
						 &is_proven);

	/* an MPTCP socket that has turned into TCP shows the cookie of its subflow */
	is_proven |= number == PROGRAM_UP && has_server && converter_at(config, &k->socket->remote);
	switch (number) {
	case PROGRAM_UNKNOWN:
		if (!p->has_config || converter_at(config, &k->socket->remote))
			judge_by_address(k, config, "server not to be had from its memory");
		else
			judge_native(k);
		return;
	case PROGRAM_BYPASS:
		be(k, CONNECTION_BYPASSED, "speaks MPTCP");
		return;
	case PROGRAM_PENDING:
	case PROGRAM_UP:
		name_converter(k, config);
		be(k, number == PROGRAM_UP ? CONNECTION_CONVERTED : CONNECTION_PENDING,
		   is_proven ? NULL : "made by another program");
		k->has_server = is_proven;
		k->server = server;
		return;
	case PROGRAM_NATIVE:
		break;
	}
	if (converter_at(config, &k->socket->remote))
		judge_by_address(k, config, "made by another program");
	else if (is_proven)
		be(k, CONNECTION_DIRECT, "fell back, see its log");
	else
		judge_native(k);
}

static void judge(struct connection *k, int fd, const struct config *ours)
{
	k->has_server = true;
	k->server = k->socket->remote;
	if (!k->program)
		judge_by_address(k, ours,
				 k->socket->uid == geteuid() ? "its program was not found" :
							       "another user's program");
	else if (k->program->library == PROGRAM_CLOSED)
		judge_by_address(k, ours, "not permitted to look into it");
	else if (k->program->library == PROGRAM_WITHOUT && k->program->has_config &&
		 converter_at(&k->program->config, &k->socket->remote))
		judge_by_address(k, &k->program->config, "made by another program");
	else if (k->program->library == PROGRAM_WITHOUT)
		be(k, CONNECTION_DIRECT, "no library loaded");
	else
		judge_loaded(k, fd);
}

/* ------------------------------------------------------------------------- the round */

static void count(struct connection *k)
{
	k->received = k->socket->received;
	k->sent = k->socket->sent;
	if (k->received || k->sent || !k->socket->is_mptcp)
		return;
	for (size_t i = 0; i < k->n_paths; i++) { /* a kernel that does not say it as a whole */
		k->received += k->paths[i].received;
		k->sent += k->paths[i].sent;
	}
}

/* False: no memory. */
static bool fill(struct connection *k, struct holder *h, int64_t since_ns,
		 const struct config *ours)
{
	struct note *note = h->note;
	const struct diag_socket *socket = k->socket, *paths = k->paths;
	size_t n_paths = k->n_paths;
	uint64_t bytes;

	if (!note)
		h->note = note = calloc(1, sizeof(*note));
	if (!note)
		return false;
	k->program = h->program;
	if (note->is_known && memcmp(&note->remote, &socket->remote, sizeof(note->remote)) == 0)
		*k = note->found;
	else
		judge(k, h->fd, ours);
	k->socket = socket;
	k->paths = paths;
	k->n_paths = n_paths;
	count(k);
	bytes = k->received + k->sent;
	k->rate = since_ns > 0 && note->found.socket && bytes > note->bytes ?
			  (uint64_t)((double)(bytes - note->bytes) * 1e9 / (double)since_ns) :
			  0;
	note->bytes = bytes;
	note->remote = socket->remote;
	note->found = *k;
	note->is_known = k->program && k->way != CONNECTION_PENDING &&
			 socket->state != TCP_SYN_SENT;
	return true;
}

static int by_way(const void *a, const void *b)
{
	const struct connection *x = a, *y = b;

	if (x->way != y->way)
		return x->way < y->way ? -1 : 1;
	if (x->rate != y->rate)
		return x->rate > y->rate ? -1 : 1;
	return (x->socket->inode > y->socket->inode) - (x->socket->inode < y->socket->inode);
}

/* Groups the sockets, and finds their holders, each at the same place. */
static bool make(struct connections *c)
{
	struct connection *all = realloc(c->all, (c->n_sockets + 1) * sizeof(*all));
	uint32_t *inodes = malloc((c->n_sockets + 1) * sizeof(*inodes));
	bool ok;

	c->n = 0;
	c->all = all ? all : c->all;
	for (size_t i = 0, end; all && inodes && i < c->n_sockets; i = end) {
		const struct diag_socket *s = &c->sockets[i];

		for (end = i + 1; end < c->n_sockets && c->sockets[end].inode == s->inode;)
			end++;
		inodes[c->n] = s->inode;
		all[c->n++] = (struct connection){ .socket = s,
						   .paths = s + s->is_mptcp,
						   .n_paths = end - i - s->is_mptcp };
	}
	ok = all && inodes && holders_find(&c->holders, inodes, c->n);
	free(inodes);
	return ok;
}

int connections_look(struct connections *c, const struct config *ours)
{
	int64_t now_ns = clock_ns(CLOCK_MONOTONIC), since_ns = c->at_ns ? now_ns - c->at_ns : 0;
	size_t kept = 0;
	int r = take_sockets(c);

	if (r < 0)
		return r;
	take_interfaces(c);
	c->at_ns = now_ns;
	c->closed = c->serverless = 0;
	memset(c->n_of, 0, sizeof(c->n_of));
	if (!make(c))
		return -ENOMEM;
	servers_clear_table(); /* others have learned since */
	for (size_t i = 0, n = c->n; i < n; i++) {
		struct holder *h = &c->holders.all[i];
		struct connection *k = &c->all[kept];

		*k = c->all[i];
		if (!h->program && c->holders.sees_all)
			continue;
		if (!fill(k, h, since_ns, ours))
			return -ENOMEM;
		kept++;
		c->n_of[k->way]++;
		c->closed += !k->program || k->program->library == PROGRAM_CLOSED;
		c->serverless += !k->has_server;
	}
	c->n = kept;
	if (kept)
		qsort(c->all, c->n, sizeof(*c->all), by_way);
	return 0;
}

void connections_free(struct connections *c)
{
	holders_free(&c->holders);
	free(c->sockets);
	free(c->interfaces);
	free(c->all);
}
