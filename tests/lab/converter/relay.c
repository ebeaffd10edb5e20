// SPDX-License-Identifier: MIT
#include "conn.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define CHUNK	    65536 /* bytes: what a pipe holds by default */
#define POOL	    256
#define SPARE_PIPES 32
#define MAX_TURNS   16 /* chunks in a row, so that one connection cannot starve the others */

/* ------------------------------------------------------------- pool of pipes */

static int pool[POOL][2];
static size_t pooled;

static int pipe_get(int fds[2])
{
	if (pooled) {
		memcpy(fds, pool[--pooled], sizeof(pool[0]));
		return 0;
	}
	return pipe2(fds, O_NONBLOCK | O_CLOEXEC) < 0 ? -errno : 0;
}

static void pipe_close(int fds[2])
{
	close(fds[0]);
	close(fds[1]);
	fds[0] = fds[1] = -1;
}

/* Only an empty pipe may be handed to another connection. */
static void pipe_put(struct relay_flow *f)
{
	if (f->pipe[0] < 0)
		return;
	if (f->in_pipe || pooled == POOL) {
		pipe_close(f->pipe);
		return;
	}
	memcpy(pool[pooled++], f->pipe, sizeof(pool[0]));
	f->pipe[0] = f->pipe[1] = -1;
}

int relay_fill_pool(void)
{
	while (pooled < SPARE_PIPES) {
		if (pipe2(pool[pooled], O_NONBLOCK | O_CLOEXEC) < 0)
			return -errno;
		pooled++;
	}
	return 0;
}

void relay_close_pool(void)
{
	while (pooled)
		pipe_close(pool[--pooled]);
}

/* ---------------------------------------------------------------- directions */

static enum relay_side other(enum relay_side side)
{
	return side == RELAY_UP ? RELAY_DOWN : RELAY_UP;
}

/* Both return 1 (moved something), 0 (would block or nothing left) or -errno. */
static int fill(struct relay *r, enum relay_side from)
{
	struct relay_flow *f = &r->flow[from];
	size_t want = CHUNK;
	ssize_t n;
	int err;

	if (from == RELAY_DOWN && r->limit_down && r->limit_down - f->bytes < want)
		want = (size_t)(r->limit_down - f->bytes);
	if (f->pipe[0] < 0) {
		err = pipe_get(f->pipe);
		if (err < 0)
			return err;
	}
	/* the pipe is empty here, so EAGAIN can only mean that the socket is */
	n = splice(r->watch[from]->fd, NULL, f->pipe[1], NULL, want,
		   SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
	if (n < 0)
		return errno == EAGAIN ? 0 : -errno;
	if (n == 0)
		f->eof = true;
	f->in_pipe = (size_t)n;
	return n > 0;
}

static int drain(struct relay *r, enum relay_side from)
{
	struct relay_flow *f = &r->flow[from];
	ssize_t n = splice(f->pipe[0], NULL, r->watch[other(from)]->fd, NULL, f->in_pipe,
			   SPLICE_F_MOVE | SPLICE_F_NONBLOCK);

	if (n < 0)
		return errno == EAGAIN ? 0 : -errno;
	f->in_pipe -= (size_t)n;
	f->bytes += (uint64_t)n;
	return n > 0;
}

static enum relay_state fail(struct relay *r, enum relay_side side, int err)
{
	r->failed = side;
	r->error = r->error ? r->error : -err;
	return RELAY_FAILED;
}

static void mark_broken(struct relay *r, enum relay_side side, int err)
{
	r->broken[side] = true;
	r->error = r->error ? r->error : -err;
}

static bool limit_reached(const struct relay *r, enum relay_side from)
{
	return from == RELAY_DOWN && r->limit_down && r->flow[from].bytes >= r->limit_down;
}

static enum relay_state pass_fin(struct relay *r, enum relay_side from)
{
	/* SO_ERROR was read already, so the end of a broken side looks like an orderly one */
	if (r->broken[from])
		return fail(r, from, -ECONNRESET);
	if (shutdown(r->watch[other(from)]->fd, SHUT_WR) < 0)
		mark_broken(r, other(from), -errno);
	r->flow[from].shut = true;
	return RELAY_GOING;
}

/* Moves what can be moved from one side to the other. */
static enum relay_state run(struct relay *r, enum relay_side from)
{
	struct relay_flow *f = &r->flow[from];
	/* what such a side still holds is finite and no event will tell of it again */
	bool to_the_end = r->unwatched[from] || r->broken[from];
	int n;

	for (int turn = 0; (turn < MAX_TURNS || to_the_end) && !f->shut; turn++) {
		if (!f->in_pipe && !f->eof) {
			n = fill(r, from);
			if (n < 0)
				return fail(r, from, n);
			if (n == 0 && !f->eof)
				break;
		}
		if (f->in_pipe) {
			n = drain(r, from);
			if (n < 0)
				mark_broken(r, other(from), n);
			if (limit_reached(r, from))
				return fail(r, from, -ECONNABORTED);
			if (n <= 0)
				break;
		}
		if (f->eof && !f->in_pipe && pass_fin(r, from) == RELAY_FAILED)
			return RELAY_FAILED;
	}
	if (!f->in_pipe)
		pipe_put(f);
	return RELAY_GOING;
}

/* Runs both directions; the last bytes of a broken side are passed on before its failure is. */
static enum relay_state run_both(struct relay *r)
{
	if (!r->broken[RELAY_DOWN] && run(r, RELAY_UP) == RELAY_FAILED)
		return RELAY_FAILED;
	if (!r->broken[RELAY_UP] && run(r, RELAY_DOWN) == RELAY_FAILED)
		return RELAY_FAILED;
	if (r->broken[RELAY_UP] && !r->broken[RELAY_DOWN] && run(r, RELAY_UP) == RELAY_FAILED)
		return RELAY_FAILED;
	if (r->broken[RELAY_UP] && r->broken[RELAY_DOWN])
		return fail(r, RELAY_DOWN, -ECONNRESET);
	for (enum relay_side side = RELAY_UP; side <= RELAY_DOWN; side++)
		if (r->broken[side] && r->flow[side].shut)
			return fail(r, side, -ECONNRESET);
	return r->flow[RELAY_UP].shut && r->flow[RELAY_DOWN].shut ? RELAY_DONE : RELAY_GOING;
}

/* What is waited for on one side: its bytes, and room for the other side's. */
static int set_mask(struct relay *r, enum relay_side side)
{
	const struct relay_flow *out = &r->flow[side], *in = &r->flow[other(side)];
	uint32_t mask = 0;

	if (r->unwatched[side])
		return 0;
	/* for a side that has failed nothing is read, so what comes for it would come up for ever */
	if (!out->eof && !out->in_pipe && !r->broken[other(side)])
		mask |= EPOLLIN;
	if (in->in_pipe && !r->broken[side])
		mask |= EPOLLOUT;
	return loop_watch(r->watch[side], mask);
}

/* EPOLLERR and EPOLLHUP would come again and again, so their side is not watched any more. */
static void note_failure(struct relay *r, enum relay_side side, uint32_t events)
{
	socklen_t len = sizeof(int);
	int err = 0;

	if (!(events & (EPOLLERR | EPOLLHUP)))
		return;
	getsockopt(r->watch[side]->fd, SOL_SOCKET, SO_ERROR, &err, &len);
	if (err)
		mark_broken(r, side, -err);
	else if (!(events & EPOLLHUP)) /* EPOLLHUP alone: both directions have seen their FIN */
		return;
	r->unwatched[side] = true;
	loop_unwatch(r->watch[side]);
}

bool relay_is_broken(const struct relay *r)
{
	return r->broken[RELAY_UP] || r->broken[RELAY_DOWN];
}

uint64_t relay_moved(const struct relay *r)
{
	return r->flow[RELAY_UP].bytes + r->flow[RELAY_DOWN].bytes;
}

enum relay_state relay_ready(struct relay *r, enum relay_side side, uint32_t events)
{
	enum relay_state state;
	int err;

	note_failure(r, side, events);
	state = run_both(r);
	for (side = RELAY_UP; side <= RELAY_DOWN && state == RELAY_GOING; side++) {
		err = set_mask(r, side);
		if (err < 0)
			state = fail(r, side, err);
	}
	return state;
}

void relay_start(struct relay *r, struct loop_watch *up, struct loop_watch *down)
{
	memset(r, 0, sizeof(*r));
	r->watch[RELAY_UP] = up;
	r->watch[RELAY_DOWN] = down;
	for (int i = 0; i < 2; i++)
		r->flow[i].pipe[0] = r->flow[i].pipe[1] = -1;
}

void relay_end(struct relay *r)
{
	for (int i = 0; i < 2; i++)
		if (r->watch[i])
			pipe_put(&r->flow[i]);
}
