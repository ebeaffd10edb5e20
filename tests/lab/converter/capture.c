// SPDX-License-Identifier: MIT
#include "converter.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#ifndef PACKET_IGNORE_OUTGOING
#define PACKET_IGNORE_OUTGOING 23
#endif

#define SETS   1024
#define WAYS   8 /* the ninth overwrites the first, whose header is then rebuilt */
#define BUFFER (4 * 1024 * 1024)
#define PACKET 256 /* bytes: IP and TCP headers with all options have at most 120 */

struct seen {
	struct addr own, server; /* own.port 0: empty */
	uint8_t opts[CVT_SYN_OPTS_MAX];
	size_t len;
};

static struct set {
	struct seen ways[WAYS];
	unsigned int oldest;
} table[SETS];

/* SYN+ACK over IPv4 (first fragment) or IPv6 (no extension headers). The jumps count from the
 * next instruction; the last two lines are "take" and "leave". */
static struct sock_filter program[] = {
	BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 0),
	BPF_STMT(BPF_ALU | BPF_AND | BPF_K, 0xf0),
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0x40, 0, 7),
	BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 9),
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, IPPROTO_TCP, 0, 12),
	BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 6),
	BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, 0x1fff, 10, 0),
	BPF_STMT(BPF_LDX | BPF_B | BPF_MSH, 0),
	BPF_STMT(BPF_LD | BPF_B | BPF_IND, 13),
	BPF_STMT(BPF_JMP | BPF_JA, 4),
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0x60, 0, 6),
	BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 6),
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, IPPROTO_TCP, 0, 4),
	BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 53),
	BPF_STMT(BPF_ALU | BPF_AND | BPF_K, SEGMENT_SYN | SEGMENT_ACK),
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SEGMENT_SYN | SEGMENT_ACK, 0, 1),
	BPF_STMT(BPF_RET | BPF_K, PACKET),
	BPF_STMT(BPF_RET | BPF_K, 0),
};

static struct set *set_of(const struct addr *own, const struct addr *server)
{
	uint32_t h = (uint32_t)own->port << 16 | server->port;

	for (size_t i = 12; i < 16; i++)
		h = (h ^ server->ip[i]) * 16777619u; /* FNV's prime: spreads, no more */
	return &table[(h ^ h >> 15) % SETS];
}

static struct seen *find(struct set *set, const struct addr *own, const struct addr *server)
{
	for (size_t i = 0; i < WAYS; i++) {
		struct seen *e = &set->ways[i];

		if (addr_equal(&e->own, own) && addr_equal(&e->server, server))
			return e;
	}
	return NULL;
}

static void remember(const struct segment *s)
{
	struct set *set = set_of(&s->to, &s->from);
	struct seen *e = find(set, &s->to, &s->from);

	if (!e)
		/* NOLINTNEXTLINE(clang-analyzer-core.NullDereference) a place in a table is somewhere */
		e = &set->ways[set->oldest++ % WAYS];
	e->own = s->to;
	e->server = s->from;
	e->len = s->opts.len;
	memcpy(e->opts, s->opts.p, e->len);
}

static void read_all(struct loop_watch *w)
{
	uint8_t packet[PACKET];
	struct segment s;
	ssize_t n;

	while ((n = recv(w->fd, packet, sizeof(packet), MSG_DONTWAIT)) > 0) {
		struct cvt_span span = { packet, (size_t)n };

		/* a TCP header's options never exceed 40 bytes, by its four-bit length */
		if (segment_parse(&s, span) && s.opts.len <= CVT_SYN_OPTS_MAX)
			remember(&s);
	}
}

static void on_packet(struct loop_watch *w, uint32_t events)
{
	(void)events;
	read_all(w);
}

static struct loop_watch watch = { .fd = -1, .ready = on_packet };

int capture_open(void)
{
	struct sock_fprog filter = { sizeof(program) / sizeof(program[0]), program };
	int err = 0;

	/* protocol 0: deaf until the filter is there */
	watch.fd = socket(AF_PACKET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (watch.fd < 0)
		return -errno;
	sockopt_set(watch.fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, 1);
	if (sockopt_set(watch.fd, SOL_SOCKET, SO_RCVBUFFORCE, BUFFER) < 0)
		sockopt_set(watch.fd, SOL_SOCKET, SO_RCVBUF, BUFFER);
	if (setsockopt(watch.fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof(filter)) < 0 ||
	    bind(watch.fd,
		 (struct sockaddr *)&(struct sockaddr_ll){ .sll_family = AF_PACKET,
							   .sll_protocol = htons(ETH_P_ALL) },
		 sizeof(struct sockaddr_ll)) < 0)
		err = -errno;
	if (!err)
		err = loop_watch(&watch, EPOLLIN);
	if (err)
		capture_close();
	return err;
}

void capture_close(void)
{
	if (watch.fd < 0)
		return;
	loop_unwatch(&watch);
	close(watch.fd);
	watch.fd = -1;
}

bool capture_find(const struct addr *own, const struct addr *server,
		  uint8_t opts[static CVT_SYN_OPTS_MAX], size_t *len)
{
	struct seen *e;

	if (watch.fd < 0)
		return false;
	read_all(&watch);
	e = find(set_of(own, server), own, server);
	if (!e)
		return false;
	*len = e->len;
	memcpy(opts, e->opts, e->len);
	memset(e, 0, sizeof(*e));
	return true;
}
