// SPDX-License-Identifier: MIT
/*
 * middlebox - a wire, and perhaps somebody on it who does not like what is new:
 *
 *     middlebox [--delay MS] [--port N] IF1 IF2 [RULE...]
 *
 * It hands every frame of one interface to the other, and the other way round, some milliseconds later: so
 * without a rule it is the delay of a link, for kernels without netem. Frames pass with their virtio
 * header, so large unsegmented ones and those whose checksum is still to be computed come out as they went
 * in. SIGUSR1 cuts the wire, so that neither end knows; SIGUSR2 mends it. A failure ends the program with
 * a message.
 *
 * The rules are applied to the TCP segments, IPv4 and IPv6, in both directions:
 *
 *     strip-tfo          the Fast Open option of a SYN or SYN+ACK becomes NOPs, as kind 34 and in its
 *                        experimental form, which Linux tries when 34 is not answered
 *     strip-tfo-34       only the former
 *     strip-mptcp        the MPTCP option (30) of any segment becomes NOPs
 *     strip-syn-data     a SYN loses its data
 *     drop-mptcp         a SYN with the MPTCP option is lost
 *     drop-syn-data      a SYN with data is lost
 *     drop-syn-ack-data  a SYN+ACK with data is lost
 *
 * in this order, whatever that of the command line. --port N: only those from or to that port. Lengths
 * and checksums are set right, and a checksum that the virtio header leaves to the interface stays
 * left to it. Prints "ready", and for everything that it did a line "RULE FROM > TO".
 */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <linux/if_packet.h>
#include <linux/virtio_net.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>

/* ------------------------------------------------------------------- the wire */

/* A frame, its virtio header first. It may change it, and make it shorter. False: it is lost. */
typedef bool touch_fn(uint8_t *frame, size_t *len);

#define FRAME_MAX   (1 << 17) /* a GSO frame, its headers, and the virtio header */
#define BUFFER_SIZE (64 << 20)

struct frame {
	struct frame *next;
	int64_t due_ns;
	size_t len;
	uint8_t bytes[];
};

struct direction {
	int from, to;
	struct frame *first, **last;
};

static volatile sig_atomic_t is_cut;

static void on_signal(int number)
{
	is_cut = number == SIGUSR1;
}

static int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void set(int fd, int level, int name, int value)
{
	if (setsockopt(fd, level, name, &value, sizeof(value)) < 0) {
		perror("middlebox: setsockopt");
		exit(1);
	}
}

static int open_end(const char *interface)
{
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK, 0);
	struct packet_mreq promiscuous = { .mr_ifindex = (int)if_nametoindex(interface),
					   .mr_type = PACKET_MR_PROMISC };
	struct sockaddr_ll address = { .sll_family = AF_PACKET,
				       .sll_protocol = htons(ETH_P_ALL),
				       .sll_ifindex = promiscuous.mr_ifindex };
	int size = BUFFER_SIZE;

	if (fd < 0) {
		perror("middlebox: socket");
		exit(1);
	}
	set(fd, SOL_PACKET, PACKET_VNET_HDR, 1);
	set(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, 1);
	/* beyond the limits where we may, else up to them */
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) < 0)
		set(fd, SOL_SOCKET, SO_RCVBUF, size);
	if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)) < 0)
		set(fd, SOL_SOCKET, SO_SNDBUF, size);
	if (setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &promiscuous, sizeof(promiscuous)) <
		    0 ||
	    bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
		perror(interface);
		exit(1);
	}
	return fd;
}

static void take(struct direction *d, int64_t delay_ns, touch_fn *touch)
{
	static uint8_t bytes[FRAME_MAX];
	ssize_t n;

	while ((n = recv(d->from, bytes, sizeof(bytes), 0)) > 0) {
		size_t len = (size_t)n;
		struct frame *f;

		if (is_cut || (touch && !touch(bytes, &len)))
			continue;
		f = malloc(sizeof(*f) + len);
		if (!f)
			exit(1);
		f->next = NULL;
		f->due_ns = now_ns() + delay_ns;
		f->len = len;
		memcpy(f->bytes, bytes, len);
		*d->last = f;
		d->last = &f->next;
	}
}

/* Sends what is due; returns when the next one is, or INT64_MAX. */
static int64_t give(struct direction *d)
{
	struct frame *f;

	while ((f = d->first) && f->due_ns <= now_ns()) {
		/* a full queue loses frames, as a real one does */
		if (send(d->to, f->bytes, f->len, 0) < 0 && errno != ENOBUFS && errno != EAGAIN)
			perror("middlebox: send");
		d->first = f->next;
		if (!d->first)
			d->last = &d->first;
		free(f);
	}
	return f ? f->due_ns : INT64_MAX;
}

/* Prints "ready" when it works. touch: NULL for a plain wire. */
static _Noreturn void wire_run(const char *interface1, const char *interface2, int64_t delay_ns,
			       touch_fn *touch)
{
	struct direction there = { .from = open_end(interface1), .last = &there.first };
	struct direction back = { .from = open_end(interface2), .last = &back.first };

	there.to = back.from;
	back.to = there.from;
	signal(SIGUSR1, on_signal);
	signal(SIGUSR2, on_signal);
	prctl(PR_SET_TIMERSLACK, 1);
	printf("ready\n");
	fflush(stdout);
	for (;;) {
		struct pollfd ends[] = { { there.from, POLLIN, 0 }, { back.from, POLLIN, 0 } };
		int64_t next1 = give(&there), next2 = give(&back);
		int64_t due = next1 < next2 ? next1 : next2, left = due - now_ns();
		struct timespec timeout = { left / 1000000000, left % 1000000000 };

		if (left <= 0)
			continue;
		ppoll(ends, 2, due == INT64_MAX ? NULL : &timeout, NULL);
		take(&there, delay_ns, touch);
		take(&back, delay_ns, touch);
	}
}

/* ---------------------------------------------------------------- the segments */

/*
 * A TCP segment inside a frame that has its virtio header (PACKET_VNET_HDR) before it:
 * found, changed, and its lengths and checksums set right again. IPv4 and IPv6, without fragments,
 * VLAN tags and IPv6 extension headers. Pure.
 */
enum {
	SEGMENT_FAST_OPEN = 34, /* kinds of TCP options */
	SEGMENT_MPTCP = 30,
	SEGMENT_FAST_OPEN_EXPERIMENT = 0xf989, /* RFC 7413, 4.1.1: in kind 253 or 254 */
};

struct segment {
	uint8_t *frame;
	size_t ip, tcp, data, end; /* where they begin in it; end: behind the data */
	bool is_v6;
};

#define SEGMENT_TEXT_MAX 112
#define VIRTIO		 sizeof(struct virtio_net_hdr)

enum { IPV4_HEADER = 20, IPV6_HEADER = 40, TCP_HEADER = 20, TCP_CHECKSUM = 16 };
enum { END, NOP };
enum { FIN = 1, SYN = 2, RST = 4, ACK = 16 };

static uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static void put16(uint8_t *p, size_t value)
{
	p[0] = (uint8_t)(value >> 8);
	p[1] = (uint8_t)value;
}

/* Where the segment begins, by the IP header; 0: none. */
static size_t find_ipv4(struct segment *s, size_t len)
{
	const uint8_t *ip = s->frame + s->ip;
	size_t header;

	if (s->ip + IPV4_HEADER > len)
		return 0;
	header = 4U * (ip[0] & 15);
	s->end = s->ip + get16(ip + 2);
	if (ip[0] >> 4 != 4 || header < IPV4_HEADER || ip[9] != IPPROTO_TCP ||
	    (get16(ip + 6) & 0x3fff) != 0)
		return 0;
	return s->ip + header;
}

static size_t find_ipv6(struct segment *s, size_t len)
{
	const uint8_t *ip = s->frame + s->ip;

	if (s->ip + IPV6_HEADER > len || ip[0] >> 4 != 6 || ip[6] != IPPROTO_TCP)
		return 0;
	s->end = s->ip + IPV6_HEADER + get16(ip + 4);
	return s->ip + IPV6_HEADER;
}

/* False: there is no whole TCP segment in it. */
static bool segment_find(struct segment *s, uint8_t *frame, size_t len)
{
	size_t type = VIRTIO + ETH_HLEN - 2;

	*s = (struct segment){ .frame = frame, .ip = VIRTIO + ETH_HLEN };
	if (len < s->ip)
		return false;
	s->is_v6 = get16(frame + type) == ETH_P_IPV6;
	if (!s->is_v6 && get16(frame + type) != ETH_P_IP)
		return false;
	s->tcp = s->is_v6 ? find_ipv6(s, len) : find_ipv4(s, len);
	if (s->tcp == 0 || s->end > len || s->tcp + TCP_HEADER > s->end)
		return false;
	s->data = s->tcp + 4U * (frame[s->tcp + 12] >> 4);
	return s->data >= s->tcp + TCP_HEADER && s->data <= s->end;
}

static unsigned int flags(const struct segment *s)
{
	return s->frame[s->tcp + 13] & (FIN | SYN | RST | ACK);
}

static bool segment_is_syn(const struct segment *s)
{
	return flags(s) == SYN;
}

static bool segment_is_syn_ack(const struct segment *s)
{
	return flags(s) == (SYN | ACK);
}

static bool segment_has_port(const struct segment *s, uint16_t port)
{
	return get16(s->frame + s->tcp) == port || get16(s->frame + s->tcp + 2) == port;
}

/* RFC 6994: the kinds for experiments are told apart by two bytes behind the length. */
static bool is_experiment(const uint8_t *option, uint16_t id)
{
	return (option[0] == 253 || option[0] == 254) && option[1] >= 4 && get16(option + 2) == id;
}

/* The option, or NULL. One that does not fit ends the list, as it does for the kernel. id: of an
 * experiment, instead of a kind. */
static uint8_t *find_option(const struct segment *s, uint8_t kind, uint16_t id)
{
	size_t at = s->tcp + TCP_HEADER;

	while (at < s->data && s->frame[at] != END) {
		uint8_t *option = s->frame + at;

		if (option[0] == NOP) {
			at++;
			continue;
		}
		if (at + 2 > s->data || option[1] < 2 || at + option[1] > s->data)
			return NULL;
		if (id ? is_experiment(option, id) : option[0] == kind)
			return option;
		at += option[1];
	}
	return NULL;
}

static bool strip(struct segment *s, uint8_t kind, uint16_t id)
{
	uint8_t *option;
	bool found = false;

	while ((option = find_option(s, kind, id))) {
		memset(option, NOP, option[1]);
		found = true;
	}
	return found;
}

static bool segment_has_option(const struct segment *s, uint8_t kind)
{
	return find_option(s, kind, 0) != NULL;
}

/* NOPs in its place. False: there was none. */
static bool segment_strip_option(struct segment *s, uint8_t kind)
{
	return strip(s, kind, 0);
}

/* The same of an experiment's option (RFC 6994). */
static bool segment_strip_experiment(struct segment *s, uint16_t id)
{
	return strip(s, 0, id);
}

/* Takes the data away. False: there was none. */
static bool segment_strip_data(struct segment *s)
{
	bool found = s->end > s->data;

	s->end = s->data;
	return found;
}

/* RFC 1071 */
static uint32_t sum(const uint8_t *p, size_t len, uint32_t n)
{
	for (; len > 1; p += 2, len -= 2)
		n += get16(p);
	if (len)
		n += (uint32_t)*p << 8;
	while (n >> 16)
		n = (n & 0xffff) + (n >> 16);
	return n;
}

static uint32_t pseudo_header(const struct segment *s)
{
	const uint8_t *ip = s->frame + s->ip;
	uint32_t n = sum(s->is_v6 ? ip + 8 : ip + 12, s->is_v6 ? 32 : 8, IPPROTO_TCP);

	return sum(NULL, 0, n + (uint32_t)(s->end - s->tcp));
}

static void mend_ip(struct segment *s)
{
	uint8_t *ip = s->frame + s->ip;

	if (s->is_v6) {
		put16(ip + 4, s->end - s->tcp);
		return;
	}
	put16(ip + 2, s->end - s->ip);
	put16(ip + 10, 0);
	put16(ip + 10, ~sum(ip, s->tcp - s->ip, 0));
}

/* After changes. A checksum that the virtio header leaves to the interface stays left to it. */
static void segment_mend(struct segment *s)
{
	uint8_t *tcp = s->frame + s->tcp;
	uint32_t n;

	mend_ip(s);
	n = pseudo_header(s);
	put16(tcp + TCP_CHECKSUM, 0);
	if (s->frame[0] & VIRTIO_NET_HDR_F_NEEDS_CSUM)
		put16(tcp + TCP_CHECKSUM, n);
	else
		put16(tcp + TCP_CHECKSUM, ~sum(tcp, s->end - s->tcp, n));
}

/* "10.1.0.1:40000 > 10.1.0.2:5124", "[fd01::1]:40000 > ..." */
static void segment_text(const struct segment *s, char text[static SEGMENT_TEXT_MAX])
{
	const uint8_t *ip = s->frame + s->ip, *tcp = s->frame + s->tcp;
	char from[INET6_ADDRSTRLEN], to[INET6_ADDRSTRLEN];

	inet_ntop(s->is_v6 ? AF_INET6 : AF_INET, ip + (s->is_v6 ? 8 : 12), from, sizeof(from));
	inet_ntop(s->is_v6 ? AF_INET6 : AF_INET, ip + (s->is_v6 ? 24 : 16), to, sizeof(to));
	snprintf(text, SEGMENT_TEXT_MAX, s->is_v6 ? "[%s]:%d > [%s]:%d" : "%s:%d > %s:%d", from,
		 get16(tcp), to, get16(tcp + 2));
}

/* ------------------------------------------------------------------ the rules */

static bool strip_tfo_34(struct segment *s)
{
	return (segment_is_syn(s) || segment_is_syn_ack(s)) &&
	       segment_strip_option(s, SEGMENT_FAST_OPEN);
}

static bool strip_tfo(struct segment *s)
{
	bool found = strip_tfo_34(s);

	return ((segment_is_syn(s) || segment_is_syn_ack(s)) &&
		segment_strip_experiment(s, SEGMENT_FAST_OPEN_EXPERIMENT)) ||
	       found;
}

static bool strip_mptcp(struct segment *s)
{
	return segment_strip_option(s, SEGMENT_MPTCP);
}

static bool strip_syn_data(struct segment *s)
{
	return segment_is_syn(s) && segment_strip_data(s);
}

static bool is_mptcp(struct segment *s)
{
	return segment_is_syn(s) && segment_has_option(s, SEGMENT_MPTCP);
}

static bool is_syn_data(struct segment *s)
{
	return segment_is_syn(s) && s->end > s->data;
}

static bool is_syn_ack_data(struct segment *s)
{
	return segment_is_syn_ack(s) && s->end > s->data;
}

static struct rule {
	const char *name;
	bool (*apply)(struct segment *s); /* whether it was meant, and what it strips is gone */
	bool drops;
	bool is_on;
} rules[] = {
	{ "strip-tfo", strip_tfo, false, false },
	{ "strip-tfo-34", strip_tfo_34, false, false },
	{ "strip-mptcp", strip_mptcp, false, false },
	{ "strip-syn-data", strip_syn_data, false, false },
	{ "drop-mptcp", is_mptcp, true, false },
	{ "drop-syn-data", is_syn_data, true, false },
	{ "drop-syn-ack-data", is_syn_ack_data, true, false },
};

#define N_RULES (sizeof(rules) / sizeof(rules[0]))

static uint16_t only_port;

static bool apply_rules(uint8_t *frame, size_t *len)
{
	char text[SEGMENT_TEXT_MAX];
	struct segment s;
	bool changed = false;

	if (!segment_find(&s, frame, *len) || (only_port && !segment_has_port(&s, only_port)))
		return true;
	for (size_t i = 0; i < N_RULES; i++) {
		if (!rules[i].is_on || !rules[i].apply(&s))
			continue;
		segment_text(&s, text);
		printf("%s %s\n", rules[i].name, text);
		if (rules[i].drops)
			return false;
		changed = true;
	}
	if (changed) {
		segment_mend(&s);
		*len = s.end;
	}
	return true;
}

static _Noreturn void usage(void)
{
	fputs("usage: middlebox [--delay MS] [--port N] INTERFACE INTERFACE [RULE...]\nrules:",
	      stderr);
	for (size_t i = 0; i < N_RULES; i++)
		fprintf(stderr, " %s", rules[i].name);
	fputc('\n', stderr);
	exit(2);
}

static void switch_on(const char *name)
{
	for (size_t i = 0; i < N_RULES; i++) {
		if (strcmp(rules[i].name, name) == 0) {
			rules[i].is_on = true;
			return;
		}
	}
	usage();
}

int main(int argc, char **argv)
{
	static const struct option options[] = { { "delay", required_argument, NULL, 'd' },
						 { "port", required_argument, NULL, 'p' },
						 { 0 } };
	int64_t delay_ns = 0;
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 'd')
			delay_ns = atol(optarg) * 1000000;
		else if (option == 'p')
			only_port = (uint16_t)atoi(optarg);
		else
			usage();
	}
	if (argc - optind < 2)
		usage();
	for (int i = optind + 2; i < argc; i++)
		switch_on(argv[i]);
	setvbuf(stdout, NULL, _IOLBF, 0);
	wire_run(argv[optind], argv[optind + 1], delay_ns, argc > optind + 2 ? apply_rules : NULL);
}
