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
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>

#include "segment.h"

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
