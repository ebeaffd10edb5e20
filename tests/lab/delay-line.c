// SPDX-License-Identifier: MIT
/*
 * delay-line - hands every frame of one interface to another one, some milliseconds later, and
 * the other way round: delay-line IF1 IF2 MS. For kernels without netem.
 *
 * Frames pass with their virtio header, so large unsegmented ones and those whose checksum is
 * still to be computed come out as they went in. Prints "ready" when it works. SIGUSR1 cuts the
 * line, so that neither end knows; SIGUSR2 mends it.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

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
		perror("delay-line: setsockopt");
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
		perror("delay-line: socket");
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

static void take(struct direction *d, int64_t delay_ns)
{
	static uint8_t bytes[FRAME_MAX];
	ssize_t n;

	while ((n = recv(d->from, bytes, sizeof(bytes), 0)) > 0) {
		struct frame *f;

		if (is_cut)
			continue;
		f = malloc(sizeof(*f) + (size_t)n);
		if (!f)
			exit(1);
		f->next = NULL;
		f->due_ns = now_ns() + delay_ns;
		f->len = (size_t)n;
		memcpy(f->bytes, bytes, f->len);
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
			perror("delay-line: send");
		d->first = f->next;
		if (!d->first)
			d->last = &d->first;
		free(f);
	}
	return f ? f->due_ns : INT64_MAX;
}

int main(int argc, char **argv)
{
	struct direction there, back;
	int64_t delay_ns;

	if (argc != 4) {
		fprintf(stderr, "usage: delay-line INTERFACE INTERFACE MILLISECONDS\n");
		return 2;
	}
	signal(SIGUSR1, on_signal);
	signal(SIGUSR2, on_signal);
	prctl(PR_SET_TIMERSLACK, 1);
	delay_ns = atol(argv[3]) * 1000000;
	there = (struct direction){ .from = open_end(argv[1]), .last = &there.first };
	back = (struct direction){ .from = open_end(argv[2]), .last = &back.first };
	there.to = back.from;
	back.to = there.from;
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
		take(&there, delay_ns);
		take(&back, delay_ns);
	}
}
