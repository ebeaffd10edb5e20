// SPDX-License-Identifier: MIT
/*
 * syscall(), with which programs make a system call past libc's function for it. What it does to a
 * socket of ours goes the way of that function, or the program would read the converter's reply as
 * the server's first bytes, and an option or a registration in an epoll set would be lost with a twin.
 *
 * Everything else is a jump to libc: some calls return twice, or on another stack, and where fewer
 * arguments were given the place of the last one is somebody's variable, so nothing is pushed and
 * nothing is copied. Nothing is refused. connect() is not looked at: who connects past libc is direct.
 */
#undef _FORTIFY_SOURCE /* glibc 2.36's <bits/poll2.h> takes the short ppoll() for the long one */
#include "counts.h"
#include "handover.h"
#include "memory.h"
#include "narrow.h"
#include "passed.h"
#include "proc.h"
#include "record.h"
#include "shim.h"
#include "wait.h"

#include <linux/aio_abi.h>
#include <linux/net.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <string.h>

#define RAW_NUMBERS 512 /* none of those above concerns us */

INTERNAL long raw_ours(long number, long a, long b, long c, long d, long e, long f);

/* When a system call is libc's function to us. */
enum concern {
	NONE,
	UNSETTLED,	  /* the first argument is a connection being made, or failed */
	BOTH_UNSETTLED,	  /* the first or the second */
	EITHER_UNSETTLED, /* the first or the third */
	SECOND_UNSETTLED,
	ANY_UNSETTLED, /* what it waits for, or gives away, may be one */
	KNOWN,	       /* of the first something is known that a close() ends */
	TCP,	       /* the first is a socket that our socket() has made */
	EITHER_TCP,    /* the first or the second */
	THIRD_TCP,
	LISTENING, /* its listeners may be converters' */
	FILTER,	   /* it is to be a seccomp filter */
	WAITING, /* what it waits for may be one, now or when another thread has begun something */
	ALWAYS,	 /* it may give something away */
};

static bool is_unsettled(long fd)
{
	return mark_is_unsettled(mark_get((int)fd));
}

static bool is_tcp(long fd)
{
	enum mark mark = mark_get((int)fd);

	return mark != MARK_UNKNOWN && mark != MARK_OTHER;
}

/* Is nothing ever converted, and nothing ever held for its name? */
static bool is_off(void)
{
	return shim_has_read() && !shim_is_active() && !shim_is_listening();
}

static bool concerns_us(enum concern concern, long a, long b, long c)
{
	switch (concern) {
	case NONE:
		return false;
	case UNSETTLED:
		return is_unsettled(a);
	case BOTH_UNSETTLED:
		return is_unsettled(a) || is_unsettled(b);
	case EITHER_UNSETTLED:
		return is_unsettled(a) || is_unsettled(c);
	case SECOND_UNSETTLED:
		return is_unsettled(b);
	case ANY_UNSETTLED:
		return mark_any_unsettled();
	case KNOWN:
		return mark_get((int)a) != MARK_UNKNOWN;
	case TCP:
		return is_tcp(a);
	case EITHER_TCP:
		return is_tcp(a) || is_tcp(b);
	case THIRD_TCP:
		return is_tcp(c);
	case LISTENING:
		return shim_is_listening();
	case FILTER:
		return a == PR_SET_SECCOMP;
	case WAITING:
		return mark_any_unsettled() || !(libc_is_single_threaded() || is_off());
	case ALWAYS:
		return true;
	}
	return false;
}

/* A system call's arguments are numbers, pointers or not.
 * NOLINTBEGIN(performance-no-int-to-ptr) */

/* The kernel writes what is left of these calls' time; libc's functions keep that to themselves. */
struct limit {
	struct timespec *left; /* NULL: there is none */
	int64_t until_ns;
};

static struct limit limit_of(struct timespec *t)
{
	int64_t until_ns;

	/* of one that is no limit nothing is used up */
	if (!wait_until(t, &until_ns) || until_ns == WAIT_FOREVER)
		return (struct limit){ .left = NULL };
	return (struct limit){ t, until_ns };
}

static long limited(struct limit limit, long r)
{
	if (limit.left && (r >= 0 || errno == EINTR))
		wait_left(limit.until_ns, limit.left);
	return r;
}

/* The time of the older numbers, which has 32 bits on machines of 32 bits. */
typedef struct __kernel_old_timespec old_time;

static struct timespec *from_old(long timeout, struct timespec *t)
{
	const old_time *old = (const old_time *)timeout;

	if (old)
		*t = (struct timespec){ .tv_sec = old->tv_sec, .tv_nsec = old->tv_nsec };
	return old ? t : NULL;
}

static long to_old(long timeout, const struct timespec *t, long r)
{
	if (timeout)
		*(old_time *)timeout = (old_time){ (long)t->tv_sec, (long)t->tv_nsec };
	return r;
}

/* What the kernel would refuse is its to refuse. */
static bool is_good(long pointer, size_t n)
{
	return !pointer || memory_was_readable((const void *)pointer, n);
}

/* A position in a file as the kernel takes it: on 32-bit machines, in two halves. */
static off_t position(long low, long high)
{
	uint64_t both = (unsigned long)low;

	if (sizeof(long) < sizeof(off_t))
		both |= (uint64_t)(unsigned long)high << 32;
	return (off_t)both;
}

/* Asynchronous reads and writes: of which the kernel tells in its own way, and at its own time. */
static void before_submitting(long n, struct iocb **blocks)
{
	for (long i = 0; i < n && memory_was_readable(&blocks[i], sizeof(struct iocb *)); i++)
		if (memory_was_readable(blocks[i], sizeof(**blocks)))
			handover_finish((int)blocks[i]->aio_fildes);
}

static long limited_ppoll(struct pollfd *fds, nfds_t n, struct timespec *left, const sigset_t *mask)
{
	struct limit limit = limit_of(left);

	return limited(limit, ppoll(fds, n, left, mask));
}

static long old_ppoll(struct pollfd *fds, nfds_t n, long timeout, const sigset_t *mask)
{
	struct timespec t, *left = from_old(timeout, &t);

	return to_old(timeout, left, limited_ppoll(fds, n, left, mask));
}

static long limited_pselect(int n, fd_set *reads, fd_set *writes, fd_set *excepts,
			    struct timespec *left, long sixth)
{
	/* it points to a pointer to the mask, and its size */
	const sigset_t *const *mask = (const sigset_t *const *)sixth;
	struct limit limit = limit_of(left);

	return limited(limit, pselect(n, reads, writes, excepts, left, mask ? *mask : NULL));
}

static long old_pselect(int n, fd_set *reads, fd_set *writes, fd_set *excepts, long timeout,
			long mask)
{
	struct timespec t, *left = from_old(timeout, &t);

	return to_old(timeout, left, limited_pselect(n, reads, writes, excepts, left, mask));
}

static long saw_uring(long r)
{
	if (r >= 0)
		proc_saw_uring();
	return r;
}

static long saw_filter(long operation, long r)
{
	if (r >= 0 &&
	    (operation == SECCOMP_SET_MODE_STRICT || operation == SECCOMP_SET_MODE_FILTER))
		counts_filtered();
	return r;
}

/* To the program that takes the place of this one: what is unsettled, or the names of what was accepted. */
static bool hands_over(void)
{
	return mark_any_unsettled() || atomic_load(&passed_any);
}

#ifdef SYS_socketcall
static long by_socketcall(long call, const long *args, long number);
#endif

#ifdef SYS__newselect /* the other one has its arguments in memory */
#define OLD_SELECT SYS__newselect
#else
#define OLD_SELECT SYS_select
#endif

/* Each number that concerns us: when, and which call it is then, of the arguments a to f. */
#define P	 (void *)
#define I	 (int)
#define U	 (unsigned int)
#define Z	 (size_t)
#define NATIVELY real_syscall(number, a, b, c, d, e, f)
/* clang-format off */
#define RAW_CALLS(X) \
	X(SYS_read, UNSETTLED, read(I a, P b, Z c)) \
	X(SYS_readv, UNSETTLED, readv(I a, P b, I c)) \
	X(SYS_recvfrom, UNSETTLED, recvfrom(I a, P b, Z c, I d, (struct sockaddr *)e, P f)) \
	X(SYS_recvmsg, UNSETTLED, recvmsg(I a, P b, I c)) \
	X(SYS_recvmmsg, UNSETTLED, narrow_recvmmsg(I a, P b, U c, (libc_flags)d, P e)) \
	X(SYS_preadv2, UNSETTLED, preadv2(I a, P b, I c, position(d, e), I f)) \
	X(SYS_write, UNSETTLED, write(I a, P b, Z c)) \
	X(SYS_writev, UNSETTLED, writev(I a, P b, I c)) \
	X(SYS_pwritev2, UNSETTLED, pwritev2(I a, P b, I c, position(d, e), I f)) \
	X(SYS_sendto, UNSETTLED, sendto(I a, P b, Z c, I d, (struct sockaddr *)e, (socklen_t)f)) \
	X(SYS_sendmsg, ALWAYS, mark_any_unsettled() ? sendmsg(I a, P b, I c) : \
		  handover_gave(NATIVELY, P b)) \
	X(SYS_sendmmsg, ALWAYS, mark_any_unsettled() ? sendmmsg(I a, P b, U c, (libc_flags)d) : \
		  handover_gave_all(NATIVELY, P b)) \
	X(SYS_sendfile, BOTH_UNSETTLED, narrow_sendfile(I a, I b, P c, Z d)) \
	X(SYS_splice, EITHER_UNSETTLED, splice(I a, P b, I c, P d, Z e, U f)) \
	X(SYS_io_submit, ANY_UNSETTLED, (before_submitting(b, P c), NATIVELY)) \
	/* of this process, perhaps; and who gets a pending descriptor knows nothing of it */ \
	X(SYS_pidfd_getfd, SECOND_UNSETTLED, (handover_finish(I b), NATIVELY)) \
	X(SYS_execve, ALWAYS, hands_over() ? execve(P a, P b, P c) : NATIVELY) \
	X(SYS_execveat, ALWAYS, hands_over() ? execveat(I a, P b, P c, P d, I e) : NATIVELY) \
	X(SYS_ppoll, ANY_UNSETTLED, \
	  is_good(c, sizeof(old_time)) ? old_ppoll(P a, (nfds_t)b, c, P d) : NATIVELY) \
	X(SYS_pselect6, ANY_UNSETTLED, \
	  is_good(e, sizeof(old_time)) && is_good(f, sizeof(sigset_t *)) ? \
		  old_pselect(I a, P b, P c, P d, e, f) : NATIVELY) \
	X(SYS_epoll_ctl, THIRD_TCP, epoll_ctl(I a, I b, I c, P d)) \
	X(SYS_epoll_pwait, WAITING, epoll_pwait(I a, P b, I c, I d, P e)) \
	X(SYS_epoll_pwait2, WAITING, epoll_pwait2(I a, P b, I c, P d, P e)) \
	X(SYS_io_uring_setup, ALWAYS, saw_uring(NATIVELY)) \
	X(SYS_seccomp, ALWAYS, (counts_before_filter(), saw_filter(a, NATIVELY))) \
	X(SYS_prctl, FILTER, prctl(I a, b, c, d, e)) \
	X(SYS_listen, LISTENING, listen(I a, I b)) \
	X(SYS_accept4, LISTENING, accept4(I a, P b, P c, I d)) \
	X(SYS_dup, TCP, dup(I a)) \
	X(SYS_dup3, EITHER_TCP, dup3(I a, I b, I c)) \
	X(SYS_fcntl, TCP, narrow_fcntl(I a, I b, P c)) \
	X(SYS_ioctl, TCP, ioctl(I a, (libc_request)b, P c)) \
	X(SYS_close, KNOWN, close(I a)) \
	X(SYS_close_range, ALWAYS, close_range(U a, U b, I c)) \
	X(SYS_bind, TCP, bind(I a, (struct sockaddr *)b, (socklen_t)c)) \
	X(SYS_shutdown, TCP, shutdown(I a, I b)) \
	X(SYS_getsockname, TCP, getsockname(I a, (struct sockaddr *)b, P c)) \
	X(SYS_getpeername, TCP, getpeername(I a, (struct sockaddr *)b, P c)) \
	X(SYS_getsockopt, TCP, getsockopt(I a, I b, I c, P d, P e)) \
	X(SYS_setsockopt, TCP, setsockopt(I a, I b, I c, P d, (socklen_t)e))

#ifdef SYS_accept
#define RAW_ACCEPT(X) X(SYS_accept, LISTENING, accept(I a, P b, P c))
#else
#define RAW_ACCEPT(X)
#endif

#ifdef SYS_poll /* newer architectures have none of the older calls */
#define RAW_OLDER(X) \
	X(SYS_poll, ANY_UNSETTLED, poll(P a, (nfds_t)b, I c)) \
	X(OLD_SELECT, ANY_UNSETTLED, is_good(e, sizeof(struct __kernel_old_timeval)) ? \
		  narrow_select(I a, P b, P c, P d, P e) : NATIVELY) \
	X(SYS_epoll_wait, WAITING, epoll_wait(I a, P b, I c, I d)) \
	X(SYS_dup2, EITHER_TCP, dup2(I a, I b))
#else
#define RAW_OLDER(X)
#endif

#ifdef SYS_recv
#define RAW_RECV(X) \
	X(SYS_recv, UNSETTLED, recv(I a, P b, Z c, I d)) \
	X(SYS_send, UNSETTLED, send(I a, P b, Z c, I d))
#else
#define RAW_RECV(X)
#endif

#ifdef SYS_socketcall
#define RAW_SOCKETCALL(X) X(SYS_socketcall, ALWAYS, by_socketcall(a, P b, number))
#else
#define RAW_SOCKETCALL(X)
#endif

#ifdef SYS_fcntl64 /* 32-bit machines */
#define RAW_NARROW(X) \
	X(SYS_fcntl64, TCP, fcntl(I a, I b, P c)) \
	X(SYS_sendfile64, BOTH_UNSETTLED, sendfile(I a, I b, P c, Z d)) \
	X(SYS_recvmmsg_time64, UNSETTLED, recvmmsg(I a, P b, U c, I d, P e)) \
	X(SYS_ppoll_time64, ANY_UNSETTLED, \
	  is_good(c, sizeof(struct timespec)) ? limited_ppoll(P a, (nfds_t)b, P c, P d) : NATIVELY) \
	X(SYS_pselect6_time64, ANY_UNSETTLED, \
	  is_good(e, sizeof(struct timespec)) && is_good(f, sizeof(sigset_t *)) ? \
		  limited_pselect(I a, P b, P c, P d, P e, f) : NATIVELY)
#else
#define RAW_NARROW(X)
#endif

#define RAW_ALL(X) \
	RAW_CALLS(X) RAW_ACCEPT(X) RAW_OLDER(X) RAW_RECV(X) RAW_SOCKETCALL(X) RAW_NARROW(X)
/* clang-format on */

#define CONCERN(nr, concern, call) [nr] = (concern),
INTERNAL const uint8_t raw_concerns[RAW_NUMBERS] = { RAW_ALL(CONCERN) };

#define CALL(nr, concern, call) \
	case nr:                \
		return call;
static long by_libc(long number, long a, long b, long c, long d, long e, long f)
{
	switch (number) {
		RAW_ALL(CALL)
	}
	return NATIVELY;
}

/* NOLINTEND(performance-no-int-to-ptr) */

#ifdef SYS_socketcall /* all calls of sockets under one number, with their arguments in memory */
struct socket_call {
	uint16_t number;
	uint8_t n_args;
};

static const struct socket_call socket_calls[] = {
	[SYS_BIND] = { SYS_bind, 3 },
	[SYS_LISTEN] = { SYS_listen, 2 },
	[SYS_ACCEPT4] = { SYS_accept4, 4 },
	[SYS_GETSOCKNAME] = { SYS_getsockname, 3 },
	[SYS_GETPEERNAME] = { SYS_getpeername, 3 },
	[SYS_SEND] = { SYS_sendto, 4 },
	[SYS_RECV] = { SYS_recvfrom, 4 },
	[SYS_SENDTO] = { SYS_sendto, 6 },
	[SYS_RECVFROM] = { SYS_recvfrom, 6 },
	[SYS_SHUTDOWN] = { SYS_shutdown, 2 },
	[SYS_SETSOCKOPT] = { SYS_setsockopt, 5 },
	[SYS_GETSOCKOPT] = { SYS_getsockopt, 5 },
	[SYS_SENDMSG] = { SYS_sendmsg, 3 },
	[SYS_RECVMSG] = { SYS_recvmsg, 3 },
	[SYS_RECVMMSG] = { SYS_recvmmsg, 5 },
	[SYS_SENDMMSG] = { SYS_sendmmsg, 4 },
};

static long by_socketcall(long call, const long *args, long number)
{
	struct socket_call as = { 0 };
	long a[6] = { 0 };

	if (call >= 0 && call < (long)(sizeof(socket_calls) / sizeof(socket_calls[0])))
		as = socket_calls[call];
	if (!as.number || !memory_was_readable(args, as.n_args * sizeof(*args)))
		return real_syscall(number, call, (long)args, 0, 0, 0, 0);
	memcpy(a, args, as.n_args * sizeof(*args));
	return raw_ours(as.number, a[0], a[1], a[2], a[3], a[4], a[5]);
}
#endif

/* Which does not come back, and what a vfork child has set by then stays its parent's; what it waits for, it does not
 * let anybody cancel (handover.c). */
static bool is_exec(long number)
{
	return number == SYS_execve || number == SYS_execveat;
}

/* A number that may concern us. No cancellation point, unlike what stands in for it; and for a thread that may be
 * cancelled at any moment, as for a native call, all that are one in there. */
long raw_ours(long number, long a, long b, long c, long d, long e, long f)
{
	int type, state;
	long r;

	if (!concerns_us((enum concern)raw_concerns[number], a, b, c))
		return real_syscall(number, a, b, c, d, e, f);
	if (raw_concerns[number] == ALWAYS &&
	    (is_exec(number) || !mark_any_unsettled())) /* nothing of ours waits in there */
		return by_libc(number, a, b, c, d, e, f);
	pthread_setcanceltype(PTHREAD_CANCEL_DEFERRED, &type);
	if (type == PTHREAD_CANCEL_DEFERRED)
		pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
	r = by_libc(number, a, b, c, d, e, f);
	if (type == PTHREAD_CANCEL_DEFERRED)
		pthread_setcancelstate(state, NULL);
	else
		pthread_setcanceltype(type, NULL);
	return r;
}

/* ------------------------------------------------------------------------ the entries */

/* __wrap_syscall is where the linker sends our own system calls (-Wl,--wrap=syscall). */
#ifdef __x86_64__
__asm__(".pushsection .text\n"
	"	.globl syscall, __wrap_syscall\n"
	"	.hidden __wrap_syscall\n"
	"	.type syscall, @function\n"
	"	.type __wrap_syscall, @function\n"
	"	.p2align 4\n"
	"syscall:\n"
	"	.cfi_startproc\n"
	"	endbr64\n"
	"	cmp	$512, %rdi\n"
	"	jae	1f\n"
	"	lea	raw_concerns(%rip), %rax\n"
	"	cmpb	$0, (%rax, %rdi)\n"
	"	jne	raw_ours\n"
	"1:	jmp	*real_syscall(%rip)\n"
	"	.cfi_endproc\n"
	"	.size syscall, . - syscall\n"
	"__wrap_syscall:\n"
	"	.cfi_startproc\n"
	"	endbr64\n"
	"	jmp	*real_syscall(%rip)\n"
	"	.cfi_endproc\n"
	"	.size __wrap_syscall, . - __wrap_syscall\n"
	".popsection\n");
_Static_assert(RAW_NUMBERS == 512, "as it is written there");
#elif defined(__i386__)
__asm__(".pushsection .text\n"
	"	.globl syscall, __wrap_syscall\n"
	"	.hidden __wrap_syscall\n"
	"	.type syscall, @function\n"
	"	.type __wrap_syscall, @function\n"
	"	.p2align 4\n"
	"syscall:\n"
	"	.cfi_startproc\n"
	"	call	2f\n"
	"	add	$_GLOBAL_OFFSET_TABLE_, %edx\n"
	"	mov	4(%esp), %eax\n"
	"	cmp	$512, %eax\n"
	"	jae	1f\n"
	"	cmpb	$0, raw_concerns@GOTOFF(%edx, %eax)\n"
	"	jne	raw_ours\n"
	"1:	jmp	*real_syscall@GOTOFF(%edx)\n"
	"	.cfi_endproc\n"
	"	.size syscall, . - syscall\n"
	"__wrap_syscall:\n"
	"	.cfi_startproc\n"
	"	call	2f\n"
	"	add	$_GLOBAL_OFFSET_TABLE_, %edx\n"
	"	jmp	*real_syscall@GOTOFF(%edx)\n"
	"	.cfi_endproc\n"
	"	.size __wrap_syscall, . - __wrap_syscall\n"
	"2:	mov	(%esp), %edx\n"
	"	ret\n"
	".popsection\n");
_Static_assert(RAW_NUMBERS == 512, "as it is written there");
#else
/* syscall() is declared with "...": where seven arguments are in registers this is the same. */
INTERPOSE long raw_syscall(long number, long a, long b, long c, long d, long e,
			   long f) __asm__("syscall");
INTERNAL long own_syscall(long number, long a, long b, long c, long d, long e,
			  long f) __asm__("__wrap_syscall");

long raw_syscall(long number, long a, long b, long c, long d, long e, long f)
{
	if (number >= 0 && number < RAW_NUMBERS && raw_concerns[number] != NONE)
		return raw_ours(number, a, b, c, d, e, f);
	return real_syscall(number, a, b, c, d, e, f);
}

long own_syscall(long number, long a, long b, long c, long d, long e, long f)
{
	return real_syscall(number, a, b, c, d, e, f);
}
#endif
