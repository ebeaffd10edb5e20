// SPDX-License-Identifier: MIT
#include "line.h"

#include <arpa/inet.h>
#include <errno.h>
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
		perror("line: setsockopt");
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
		perror("line: socket");
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

static void take(struct direction *d, int64_t delay_ns, line_touch_fn *touch)
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
			perror("line: send");
		d->first = f->next;
		if (!d->first)
			d->last = &d->first;
		free(f);
	}
	return f ? f->due_ns : INT64_MAX;
}

void line_run(const char *interface1, const char *interface2, int64_t delay_ns,
	      line_touch_fn *touch)
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
