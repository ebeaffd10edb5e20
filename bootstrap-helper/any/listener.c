// SPDX-License-Identifier: MIT
#include "any_int.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>

/* Linux 6.6: whoever calls will sleep, and so we run where he has, at once. */
#ifndef SECCOMP_IOCTL_NOTIF_SET_FLAGS
#define SECCOMP_IOCTL_NOTIF_SET_FLAGS	   SECCOMP_IOW(4, uint64_t)
#define SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP 1
#endif

#define WAITERS 65536 /* as many may wait at a time; the kernel counts the calls one by one */
#define PLACES	64    /* that a call may be written down at */

/* What a supervisor leaves behind that is killed: the last call that it has received, and who waits. err: what he
 * is told by whoever takes over; 0: the kernel shall do it. */
struct waiter {
	_Atomic uint64_t id;
	_Atomic int err;
};
static struct shared {
	_Atomic uint64_t last;
	struct waiter waiters[WAITERS];
} * shared;
static int listener = -1;

bool listener_share(void)
{
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		      0);
	return shared != MAP_FAILED;
}

void listener_begin(int fd)
{
	listener = fd;
	ioctl(fd, SECCOMP_IOCTL_NOTIF_SET_FLAGS, SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP);
}

/* Calls that follow one another have theirs far from where one that has waited for thousands of them has its next. */
static struct waiter *place(uint64_t id, uint64_t i)
{
	return &shared->waiters[(id + i * 40503) % WAITERS];
}

static struct waiter *place_of(uint64_t id)
{
	for (uint64_t i = 0; i < PLACES; i++)
		if (atomic_load(&place(id, i)->id) == id)
			return place(id, i);
	return NULL;
}

static struct waiter *free_place(uint64_t id)
{
	for (uint64_t i = 0; i < PLACES; i++) {
		uint64_t old = atomic_load(&place(id, i)->id);

		if (!old || !listener_waits(old))
			return place(id, i);
	}
	return NULL;
}

/* It is written down until it has its answer: a second one is none, but without one a program hangs. */
static bool send_answer(uint64_t id, int err, uint32_t flags)
{
	struct seccomp_notif_resp answer = { .id = id, .error = -err, .flags = flags };
	bool sent = ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &answer) == 0;
	struct waiter *at = place_of(id);

	if (at)
		atomic_store(&at->id, 0);
	return sent;
}

bool listener_answer(uint64_t id, int err)
{
	return send_answer(id, err, 0);
}

bool listener_natively(uint64_t id)
{
	return send_answer(id, 0, SECCOMP_USER_NOTIF_FLAG_CONTINUE);
}

void listener_otherwise(uint64_t id, int err)
{
	struct waiter *at = place_of(id);

	if (at)
		atomic_store(&at->err, err);
}

bool listener_waits(uint64_t id)
{
	return ioctl(listener, SECCOMP_IOCTL_NOTIF_ID_VALID, &id) == 0;
}

bool listener_receive(struct seccomp_notif *req)
{
	struct waiter *at;

	memset(req, 0, sizeof(*req));
	if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, req) < 0)
		return false;
	at = free_place(req->id);
	if (!at) { /* it would be forgotten should we be killed */
		listener_answer(req->id, EAGAIN);
		return false;
	}
	atomic_store(&at->err, 0);
	atomic_store(&at->id, req->id);
	atomic_store(&shared->last, req->id);
	return true;
}

bool listener_put(uint64_t id, int ours, int number, bool cloexec)
{
	struct seccomp_notif_addfd put = {
		.id = id,
		.flags = SECCOMP_ADDFD_FLAG_SETFD,
		.srcfd = (uint32_t)ours,
		.newfd = (uint32_t)number,
		.newfd_flags = cloexec ? O_CLOEXEC : 0,
	};

	return ioctl(listener, SECCOMP_IOCTL_NOTIF_ADDFD, &put) >= 0;
}

/* ----------------------------------------------------------------- without a supervisor */

static bool is_local(const struct seccomp_notif *req)
{
	struct call call;
	sa_family_t family;

	return filter_decode(req, &call) &&
	       (call.kind != CALL_CONNECT ||
		(target_read((int)req->pid, call.args[1], &family, sizeof(family)) &&
		 family != AF_INET && family != AF_INET6));
}

static void let_through(uint64_t id, int err, bool strict)
{
	if (err || strict)
		listener_answer(id, err ? err : ENETUNREACH);
	else
		listener_natively(id);
}

/* How far the kernel, which counts the calls, may be ahead of the last one received that was not given up. */
#define AHEAD 64

void listener_let_go(bool strict)
{
	uint64_t id, last = atomic_load(&shared->last);

	for (size_t i = 0; i < WAITERS; i++)
		if ((id = atomic_load(&shared->waiters[i].id)))
			let_through(id, atomic_load(&shared->waiters[i].err), strict);
	/* received, and not written down any more */
	for (id = last + 1; last && id <= last + AHEAD; id++)
		if (listener_waits(id))
			let_through(id, 0, strict);
}

bool listener_let_next(bool strict)
{
	struct pollfd p = { .fd = listener, .events = POLLIN };
	struct seccomp_notif req;

	if (poll(&p, 1, -1) < 0)
		return errno == EINTR;
	if (!(p.revents & POLLIN))
		return false;
	if (!listener_receive(&req))
		return true;
	if (strict && !is_local(&req))
		listener_answer(req.id, ENETUNREACH);
	else
		listener_natively(req.id);
	return true;
}

void listener_let_through(bool strict)
{
	listener_let_go(strict);
	while (listener_let_next(strict))
		;
}
