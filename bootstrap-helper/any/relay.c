// SPDX-License-Identifier: MIT
#include "relay.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define PIECE  65536
#define ROUNDS 4 /* then others have their turn */

struct way {
	int from, to, pipe[2];
	size_t held;
	bool has_ended, is_over;
};

struct relay {
	struct way ways[2];
};

struct relay *relay_begin(int a, int b, bool only_from_a)
{
	struct relay *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->ways[0] = (struct way){ .from = a, .to = b };
	r->ways[1] = (struct way){ .from = b, .to = a, .is_over = only_from_a };
	if (pipe2(r->ways[0].pipe, O_CLOEXEC | O_NONBLOCK) == 0) {
		if (pipe2(r->ways[1].pipe, O_CLOEXEC | O_NONBLOCK) == 0)
			return r;
		close(r->ways[0].pipe[0]);
		close(r->ways[0].pipe[1]);
	}
	free(r);
	return NULL;
}

static ssize_t move(int from, int to, size_t n)
{
	return splice(from, NULL, to, NULL, n, SPLICE_F_NONBLOCK | SPLICE_F_MOVE);
}

/* Returns whether something was moved; -1: the connection is broken. */
static int step(struct way *w)
{
	ssize_t in = 0, out = 0;

	if (w->is_over)
		return 0;
	if (!w->has_ended && !w->held) {
		in = move(w->from, w->pipe[1], PIECE);
		if (in < 0 && errno != EAGAIN)
			return -1;
		w->has_ended = in == 0;
		w->held += in > 0 ? (size_t)in : 0;
	}
	if (w->held) {
		out = move(w->pipe[0], w->to, w->held);
		if (out < 0 && errno != EAGAIN)
			return -1;
		w->held -= out > 0 ? (size_t)out : 0;
	}
	if (w->has_ended && !w->held) {
		shutdown(w->to, SHUT_WR);
		w->is_over = true;
	}
	return in > 0 || out > 0;
}

bool relay_go_on(struct relay *r)
{
	int moved = 1, there, back;

	for (int i = 0; i < ROUNDS && moved; i++) {
		there = step(&r->ways[0]);
		back = step(&r->ways[1]);
		if (there < 0 || back < 0)
			return false;
		moved = there || back;
	}
	return !r->ways[0].is_over || !r->ways[1].is_over;
}

void relay_end(struct relay *r)
{
	if (!r)
		return;
	for (int i = 0; i < 4; i++)
		close(r->ways[i / 2].pipe[i % 2]);
	free(r);
}
