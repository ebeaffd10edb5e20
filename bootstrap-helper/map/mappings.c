// SPDX-License-Identifier: MIT
#include "map.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "paths.h"
#include "rules.h"
#include "state.h"

#define ANNOUNCED_MS 5000 /* so that not all of a server's clients ask at once (14.1.3) */
#define FOREVER_MS   (3600 * 1000)
#define UNWRITTEN_MS (60 * 1000) /* then it is tried again: there may be room by now */
#define READS_MAX    64		 /* in a turn */

static uint32_t chance(void)
{
	uint32_t n = 0;

	return getrandom(&n, sizeof(n), 0) == sizeof(n) ? n : UINT32_MAX / 2;
}

/* The first of its mappings, one for each port. */
static struct mapping *first(const struct mappings *m, const struct mappings_server *s)
{
	return &m->all[(size_t)(s - m->servers) * m->n_ports];
}

static void tell(struct mappings *m, const struct mappings_server *s, const struct mapping *p,
		 enum mapping_event event)
{
	m->has_news = true;
	if (m->tell)
		m->tell(s, p, event, m->arg);
}

/* ------------------------------------------------------------------------------ opening */

static int watch_fd(const struct mappings *m, int fd, uint32_t n)
{
	struct epoll_event e = { .events = EPOLLIN, .data.u32 = n };

	return epoll_ctl(m->ready, EPOLL_CTL_ADD, fd, &e) < 0 ? -errno : 0;
}

/* Of all programs that listen there each gets what comes by multicast. All hosts are of that group. */
static int open_announce(const struct mappings *m, int family, uint32_t n)
{
	struct addr any = { .port = PCP_CLIENT_PORT };
	int fd = socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), yes = 1;
	struct sockaddr_storage ss;
	socklen_t len;

	addr_parse(&any, family == AF_INET ? "0.0.0.0" : "::");
	len = addr_to_sockaddr(&any, family, &ss);
	if (fd < 0)
		return -1;
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes)) == 0 &&
	    (family == AF_INET ||
	     setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &yes, sizeof(yes)) == 0) &&
	    bind(fd, (struct sockaddr *)&ss, len) == 0 && watch_fd(m, fd, n) == 0)
		return fd;
	close(fd);
	return -1;
}

static void add_server(struct mappings *m, const struct addr *to,
		       const struct config_converter *converter)
{
	for (size_t i = 0; i < m->n_servers; i++)
		if (addr_equal_ip(&m->servers[i].to, to))
			return;
	m->servers[m->n_servers++] = (struct mappings_server){ .to = *to,
							       .converter = converter,
							       .fd = -1 };
}

static size_t count_addresses(const struct config *config)
{
	size_t n = 0;

	for (size_t i = 0; i < config->n_converters; i++)
		n += config->converters[i].n_addrs;
	return n;
}

static void find_servers(struct mappings *m, const struct config *config, const struct addr *named)
{
	if (!named && config->pcp.port)
		named = &config->pcp;
	if (named)
		add_server(m, named, NULL);
	for (size_t i = 0; !named && i < config->n_converters; i++)
		for (size_t k = 0; k < config->converters[i].n_addrs; k++) {
			struct addr to = config->converters[i].addrs[k];

			to.port = PCP_PORT;
			add_server(m, &to, &config->converters[i]);
		}
}

int mappings_open(struct mappings *m, const struct config *config, const struct mappings_wish *wish)
{
	size_t most = count_addresses(config) + 1;

	*m = (struct mappings){ .n_ports = wish->n_ports,
				.tell = wish->tell,
				.arg = wish->arg,
				.ready = epoll_create1(EPOLL_CLOEXEC),
				.announce = { -1, -1 },
				.lock = -1 };
	if (m->ready < 0)
		return -errno;
	m->servers = calloc(most, sizeof(*m->servers));
	if (!m->servers)
		return -ENOMEM;
	find_servers(m, config, wish->server);
	m->all = calloc(m->n_servers * m->n_ports + 1, sizeof(*m->all));
	if (!m->all)
		return -ENOMEM;
	for (size_t i = 0; i < m->n_servers * m->n_ports; i++) {
		struct mapping *p = &m->all[i];

		p->client.port = wish->ports[i % m->n_ports];
		p->lifetime_s = wish->lifetime_s;
		p->due_ms = INT64_MAX;
		if (getrandom(p->nonce, sizeof(p->nonce), 0) != sizeof(p->nonce))
			return -EIO;
	}
	m->announce[0] = open_announce(m, AF_INET, (uint32_t)m->n_servers);
	m->announce[1] = open_announce(m, AF_INET6, (uint32_t)m->n_servers + 1);
	return 0;
}

size_t mappings_ports(const struct config *config, uint16_t ports[static MAPPINGS_PORTS_MAX])
{
	struct config_rule_match rule;
	size_t n = 0;

	for (unsigned int port = 1; config->incoming && port <= UINT16_MAX; port++) {
		const struct addr at = { .port = (uint16_t)port };

		if (!config_rules_find(config->incoming, &at, &rule))
			continue;
		if (n < MAPPINGS_PORTS_MAX)
			ports[n] = at.port;
		n++;
	}
	return n;
}

void mappings_close(struct mappings *m)
{
	for (size_t i = 0; i < m->n_servers; i++)
		if (m->servers[i].fd >= 0)
			close(m->servers[i].fd);
	for (size_t i = 0; i < 2; i++)
		if (m->announce[i] >= 0)
			close(m->announce[i]);
	if (m->ready >= 0)
		close(m->ready);
	if (m->lock >= 0)
		close(m->lock);
	free(m->servers);
	free(m->all);
	free(m->left);
	*m = (struct mappings)MAPPINGS_NONE;
}

/* ------------------------------------------------------------------------------ the file */

static bool is_same(const struct addr *a, const struct addr *b)
{
	return a->port == b->port && addr_equal_ip(a, b);
}

/* NULL: it is of another server, or another port. */
static struct mapping *find(const struct mappings *m, const struct mapping_record *r)
{
	for (size_t i = 0; i < m->n_servers * m->n_ports; i++)
		if (is_same(&r->server, &m->servers[i / m->n_ports].to) &&
		    r->client.port == m->all[i].client.port)
			return &m->all[i];
	return NULL;
}

static void take(struct mapping *p, const struct mapping_record *r, bool are_anothers)
{
	int64_t left_ms = r->until_ms - mappings_now_ms();

	memcpy(p->nonce, r->nonce, sizeof(p->nonce));
	p->external = r->external;
	p->is_anothers = are_anothers && !r->is_left;
	if (p->is_anothers && left_ms > 0)
		p->lifetime_s = (uint32_t)((left_ms + 999) / 1000);
}

/* Once. What is not ours stays in the file for as long as it is there. */
static void recall(struct mappings *m, bool are_anothers)
{
	size_t n;

	m->left = mappings_file_read(&n);
	for (size_t i = 0; i < n; i++) {
		struct mapping *p = find(m, &m->left[i]);

		if (p) {
			take(p, &m->left[i], are_anothers);
		} else {
			m->left[m->n_left] = m->left[i];
			m->left[m->n_left++].is_left = true;
		}
	}
}

void mappings_borrow(struct mappings *m)
{
	recall(m, mappings_file_is_locked());
}

int mappings_keep(struct mappings *m)
{
	m->lock = mappings_file_lock();
	if (m->lock < 0)
		return m->lock;
	recall(m, false);
	return 0;
}

/* What is the same as last time is said once. */
static void note_written(struct mappings *m, int err)
{
	if (err && err != m->unwritten)
		fprintf(stderr,
			"%s.mappings: cannot be written: %s; mappings are known to this process "
			"alone\n",
			state_path(), strerror(-err));
	m->unwritten = err;
}

static void write_file(struct mappings *m, int64_t now_ms)
{
	size_t most = m->n_servers * m->n_ports, n = 0;
	struct mapping_record *all = calloc(most + m->n_left + 1, sizeof(*all));

	for (size_t i = 0; all && i < most; i++) {
		const struct mappings_server *s = &m->servers[i / m->n_ports];
		const struct mapping *p = &m->all[i];
		struct mapping_record *r = &all[n];

		/* of one that cannot be told the server has heard no end */
		if (p->has_ended && s->fd >= 0)
			continue;
		*r = (struct mapping_record){ .server = s->to,
					      .client = p->client,
					      .external = p->external,
					      .until_ms = p->until_ms,
					      .result = p->result,
					      .err = s->err };
		memcpy(r->nonce, p->nonce, sizeof(r->nonce));
		n++;
	}
	for (size_t i = 0; all && i < m->n_left; i++)
		if (m->left[i].until_ms > now_ms)
			all[n++] = m->left[i];
	note_written(m, all ? mappings_file_write(all, n) : -ENOMEM);
	m->again_ms = m->unwritten ? now_ms + UNWRITTEN_MS : INT64_MAX;
	free(all);
}

/* ------------------------------------------------------------------------------- the way */

static int open_socket(const struct mappings *m, const struct mappings_server *s, struct addr *own)
{
	int family = addr_is_v4(&s->to) ? AF_INET : AF_INET6;
	int fd = socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct sockaddr_storage ss;
	socklen_t len = addr_to_sockaddr(&s->to, family, &ss), own_len = sizeof(ss);

	if (fd < 0)
		return -1;
	if (connect(fd, (struct sockaddr *)&ss, len) == 0 &&
	    getsockname(fd, (struct sockaddr *)&ss, &own_len) == 0 &&
	    addr_from_sockaddr(own, (struct sockaddr *)&ss, own_len) == 0 &&
	    watch_fd(m, fd, (uint32_t)(s - m->servers)) == 0)
		return fd;
	close(fd);
	return -1;
}

static void go_another_way(struct mappings *m, struct mappings_server *s)
{
	struct addr own = { .port = 0 };

	if (s->fd >= 0)
		close(s->fd);
	s->fd = s->at_home ? open_socket(m, s, &own) : -1;
	s->epoch.is_known = false;
	s->err = s->fd < 0 ? ENETUNREACH : 0;
	m->has_news = true;
	for (struct mapping *p = first(m, s); p < first(m, s) + m->n_ports; p++) {
		own.port = p->client.port;
		if (s->fd >= 0)
			mapping_begin(p, &own, mappings_now_ms());
		else
			mapping_pause(p);
		if (s->fd < 0)
			tell(m, s, p, MAPPING_NOTHING);
	}
}

void mappings_look(struct mappings *m)
{
	for (size_t i = 0; i < m->n_servers && !m->ends; i++) {
		struct mappings_server *s = &m->servers[i];
		struct addr before = s->route.source;
		bool was = s->at_home, is_first = !s->err && s->fd < 0;

		s->has_route = route_lookup(&s->to, NULL, &s->route);
		s->at_home = s->has_route &&
			     (!s->converter || pol_is_at_home(s->converter, &s->route));
		if (is_first || was != s->at_home ||
		    (s->at_home && !addr_equal_ip(&before, &s->route.source)))
			go_another_way(m, s);
	}
}

/* ---------------------------------------------------------------------- what has come in */

/* but: has just been answered, and so is there */
static void hurry_all(struct mappings *m, struct mappings_server *s, const struct mapping *but,
		      int64_t delay_ms)
{
	for (size_t i = 0; i < m->n_ports; i++)
		if (&first(m, s)[i] != but)
			mapping_hurry(&first(m, s)[i], mappings_now_ms(), delay_ms);
}

static void take_answer(struct mappings *m, struct mappings_server *s, const uint8_t *bytes,
			size_t len)
{
	struct mapping *answered = NULL;
	struct pcp_response r;

	if (!pcp_read_response(&r, bytes, len))
		return;
	s->err = 0;
	for (struct mapping *p = first(m, s); p < first(m, s) + m->n_ports; p++) {
		enum mapping_event event = mapping_answer(p, &r, mappings_now_ms(), chance());

		if (event == MAPPING_NOTHING)
			continue;
		answered = p;
		tell(m, s, p, event);
	}
	if (r.version != PCP_VERSION || (!answered && r.opcode != PCP_ANNOUNCE))
		return;
	if (!pcp_epoch_fits(&s->epoch, r.epoch_s, mappings_now_ms() / 1000))
		hurry_all(m, s, answered, 0);
	pcp_epoch_set(&s->epoch, r.epoch_s, mappings_now_ms() / 1000);
}

/* An ICMP message's; it is asked on all the same. */
static void note_error(struct mappings *m, struct mappings_server *s, int err)
{
	bool is_news = s->err != err;

	s->err = err;
	for (struct mapping *p = first(m, s); p < first(m, s) + m->n_ports; p++)
		if (is_news && p->unanswered)
			tell(m, s, p, MAPPING_NOTHING);
}

static void read_answer(struct mappings *m, struct mappings_server *s)
{
	uint8_t bytes[PCP_MESSAGE_MAX + 1];
	ssize_t n = recv(s->fd, bytes, sizeof(bytes), MSG_DONTWAIT);

	if (n >= 0)
		take_answer(m, s, bytes, (size_t)n);
	else if (errno != EAGAIN && errno != EINTR)
		note_error(m, s, errno);
}

/* Anybody may have sent it: it is looked at, and what it says is not remembered (14.1.3). */
static void read_announcement(struct mappings *m, int fd)
{
	uint8_t bytes[PCP_MESSAGE_MAX + 1];
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);
	struct pcp_response r;
	struct addr from;
	ssize_t n = recvfrom(fd, bytes, sizeof(bytes), MSG_DONTWAIT, (struct sockaddr *)&ss, &len);

	if (n < 0 || addr_from_sockaddr(&from, (struct sockaddr *)&ss, len) < 0 ||
	    !pcp_read_response(&r, bytes, (size_t)n) || r.opcode != PCP_ANNOUNCE || r.result)
		return;
	for (size_t i = 0; i < m->n_servers; i++) {
		struct mappings_server *s = &m->servers[i];

		if (is_same(&from, &s->to) &&
		    !pcp_epoch_fits(&s->epoch, r.epoch_s, mappings_now_ms() / 1000))
			hurry_all(m, s, NULL, (int64_t)chance() * ANNOUNCED_MS >> 32);
	}
}

/* Whoever sends them faster than they are read keeps us from nothing else. */
static void read_some(struct mappings *m)
{
	struct epoll_event e;

	for (int i = 0; i < READS_MAX && epoll_wait(m->ready, &e, 1, 0) == 1; i++)
		if (e.data.u32 < m->n_servers)
			read_answer(m, &m->servers[e.data.u32]);
		else
			read_announcement(m, m->announce[e.data.u32 - m->n_servers]);
}

/* ------------------------------------------------------------------------- what goes out */

static void ask(struct mappings *m, struct mappings_server *s, struct mapping *p)
{
	uint8_t out[PCP_MAP_LEN + PCP_OPTION_LEN];
	size_t len = mapping_ask(p, mappings_now_ms(), chance(), out);
	ssize_t n;

	/* what an earlier one has come back with is told here, and this one not sent */
	n = send(s->fd, out, len, MSG_DONTWAIT);
	if (n < 0)
		n = send(s->fd, out, len, MSG_DONTWAIT);
	if (n < 0)
		note_error(m, s, errno);
	else if (p->unanswered == 2 && !s->err)
		tell(m, s, p, MAPPING_NOTHING);
}

/* Before a server is asked, too: without its nonce a mapping belongs to nobody, should we be killed. */
static void write_news(struct mappings *m)
{
	int64_t now_ms = mappings_now_ms();

	if (m->lock >= 0 && (m->has_news || (m->unwritten && now_ms >= m->again_ms)))
		write_file(m, now_ms);
	m->has_news = false;
}

int64_t mappings_turn(struct mappings *m)
{
	size_t n = m->n_servers * m->n_ports;
	int64_t now, next = mappings_now_ms() + FOREVER_MS;

	read_some(m);
	now = mappings_now_ms();
	for (size_t i = 0; i < n; i++) {
		enum mapping_event event = mapping_expire(&m->all[i], now);

		if (event != MAPPING_NOTHING)
			tell(m, &m->servers[i / m->n_ports], &m->all[i], event);
	}
	write_news(m);
	for (size_t i = 0; i < n; i++) {
		struct mappings_server *s = &m->servers[i / m->n_ports];

		if (m->all[i].due_ms <= now && s->fd >= 0)
			ask(m, s, &m->all[i]);
		if (mapping_next_ms(&m->all[i]) < next)
			next = mapping_next_ms(&m->all[i]);
	}
	write_news(m);
	now = mappings_now_ms();
	if (m->unwritten && m->lock >= 0 && m->again_ms < next)
		next = m->again_ms;
	return next > now ? next - now : 0;
}

bool mappings_are_settled(const struct mappings *m)
{
	for (size_t i = 0; i < m->n_servers * m->n_ports; i++) {
		const struct mapping *p = &m->all[i];
		bool is_done = m->ends ? p->has_ended : p->result != MAPPING_NO_ANSWER;

		if (!is_done && m->servers[i / m->n_ports].err == 0)
			return false;
	}
	return true;
}

void mappings_end(struct mappings *m)
{
	m->ends = m->has_news = true;
	for (size_t i = 0; i < m->n_servers * m->n_ports; i++)
		mapping_end(&m->all[i], mappings_now_ms());
}
