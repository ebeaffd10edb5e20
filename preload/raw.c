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
#include "conn.h"
#include "memory.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>

#define RAW_NUMBERS 512 /* none of those above concerns us */

INTERNAL long raw_ours(long number, long a, long b, long c, long d, long e, long f);

/* When a system call is libc's function to us. */
enum concern {
	NONE,
	UNSETTLED,	  /* the first argument is a connection being made, or failed */
	EITHER_UNSETTLED, /* the first or the third */
	ANY_UNSETTLED,	  /* whatever it waits for may be one */
	TCP,		  /* the first is a socket that our socket() has made */
	EITHER_TCP,	  /* the first or the second */
	THIRD_TCP,
	ALWAYS, /* another thread may begin something while it waits */
};

INTERNAL const uint8_t raw_concerns[RAW_NUMBERS] = {
	[SYS_read] = UNSETTLED,
	[SYS_readv] = UNSETTLED,
	[SYS_recvfrom] = UNSETTLED,
	[SYS_recvmsg] = UNSETTLED,
	[SYS_recvmmsg] = UNSETTLED,
	[SYS_write] = UNSETTLED,
	[SYS_writev] = UNSETTLED,
	[SYS_sendto] = UNSETTLED,
	[SYS_sendmsg] = UNSETTLED,
	[SYS_sendmmsg] = UNSETTLED,
	[SYS_sendfile] = UNSETTLED,
	[SYS_splice] = EITHER_UNSETTLED,
	[SYS_ppoll] = ANY_UNSETTLED,
	[SYS_pselect6] = ANY_UNSETTLED,
	[SYS_epoll_ctl] = THIRD_TCP,
	[SYS_epoll_pwait] = ALWAYS,
	[SYS_epoll_pwait2] = ALWAYS,
	[SYS_dup] = TCP,
	[SYS_dup3] = EITHER_TCP,
	[SYS_fcntl] = TCP,
	[SYS_ioctl] = TCP,
	[SYS_close] = TCP,
	[SYS_bind] = TCP,
	[SYS_shutdown] = TCP,
	[SYS_getsockname] = TCP,
	[SYS_getpeername] = TCP,
	[SYS_getsockopt] = TCP,
	[SYS_setsockopt] = TCP,
#ifdef SYS_poll /* newer architectures have none of the older calls */
	[SYS_poll] = ANY_UNSETTLED,
	[SYS_select] = ANY_UNSETTLED,
	[SYS_epoll_wait] = ALWAYS,
	[SYS_dup2] = EITHER_TCP,
#endif
};

static bool is_unsettled(long fd)
{
	return fdt_is_unsettled(fdt_get((int)fd));
}

static bool is_tcp(long fd)
{
	enum fdt_mark mark = fdt_get((int)fd);

	return mark != FDT_UNKNOWN && mark != FDT_OTHER;
}

static bool concerns_us(enum concern concern, long a, long b, long c)
{
	switch (concern) {
	case NONE:
		return false;
	case UNSETTLED:
		return is_unsettled(a);
	case EITHER_UNSETTLED:
		return is_unsettled(a) || is_unsettled(c);
	case ANY_UNSETTLED:
		return fdt_any_unsettled();
	case TCP:
		return is_tcp(a);
	case EITHER_TCP:
		return is_tcp(a) || is_tcp(b);
	case THIRD_TCP:
		return is_tcp(c);
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

static struct limit limit_of(long timeout)
{
	struct timespec *t = (struct timespec *)timeout;

	if (!t || !memory_is_readable(t, sizeof(*t)))
		return (struct limit){ .left = NULL };
	return (struct limit){ t, now_ns() + (int64_t)t->tv_sec * 1000000000 + t->tv_nsec };
}

static long limited(struct limit limit, long r)
{
	int64_t ns = limit.until_ns - now_ns();

	if (limit.left && (r >= 0 || errno == EINTR))
		*limit.left = (struct timespec){ .tv_sec = ns > 0 ? ns / 1000000000 : 0,
						 .tv_nsec = ns > 0 ? ns % 1000000000 : 0 };
	return r;
}

/* The sixth argument of pselect6 points to a pointer to the mask, and its size. */
static const sigset_t *mask_behind(long pointer)
{
	const sigset_t *const *mask = (const sigset_t *const *)pointer;

	return mask && memory_is_readable(mask, sizeof(*mask)) ? *mask : NULL;
}

/* One line for each number above. */
#define P (void *)
#define I (int)
#define U (unsigned int)
#define Z (size_t)

static long by_libc(long number, long a, long b, long c, long d, long e, long f)
{
	struct limit limit;

	switch (number) {
	case SYS_read:
		return read(I a, P b, Z c);
	case SYS_readv:
		return readv(I a, P b, I c);
	case SYS_recvfrom:
		return recvfrom(I a, P b, Z c, I d, (struct sockaddr *)e, P f);
	case SYS_recvmsg:
		return recvmsg(I a, P b, I c);
	case SYS_recvmmsg:
		return recvmmsg(I a, P b, U c, I d, P e);
	case SYS_write:
		return write(I a, P b, Z c);
	case SYS_writev:
		return writev(I a, P b, I c);
	case SYS_sendto:
		return sendto(I a, P b, Z c, I d, (struct sockaddr *)e, (socklen_t)f);
	case SYS_sendmsg:
		return sendmsg(I a, P b, I c);
	case SYS_sendmmsg:
		return sendmmsg(I a, P b, U c, I d);
	case SYS_sendfile:
		return sendfile(I a, I b, P c, Z d);
	case SYS_splice:
		return splice(I a, P b, I c, P d, Z e, U f);
	case SYS_ppoll:
		limit = limit_of(c);
		return limited(limit, ppoll(P a, (nfds_t)b, P c, P d));
	case SYS_pselect6:
		limit = limit_of(e);
		return limited(limit, pselect(I a, P b, P c, P d, P e, mask_behind(f)));
	case SYS_epoll_ctl:
		return epoll_ctl(I a, I b, I c, P d);
	case SYS_epoll_pwait:
		return epoll_pwait(I a, P b, I c, I d, P e);
	case SYS_epoll_pwait2:
		return epoll_pwait2(I a, P b, I c, P d, P e);
	case SYS_dup:
		return dup(I a);
	case SYS_dup3:
		return dup3(I a, I b, I c);
	case SYS_fcntl:
		return fcntl(I a, I b, P c);
	case SYS_ioctl:
		return ioctl(I a, (unsigned long)b, P c);
	case SYS_close:
		return close(I a);
	case SYS_bind:
		return bind(I a, (struct sockaddr *)b, (socklen_t)c);
	case SYS_shutdown:
		return shutdown(I a, I b);
	case SYS_getsockname:
		return getsockname(I a, (struct sockaddr *)b, P c);
	case SYS_getpeername:
		return getpeername(I a, (struct sockaddr *)b, P c);
	case SYS_getsockopt:
		return getsockopt(I a, I b, I c, P d, P e);
	case SYS_setsockopt:
		return setsockopt(I a, I b, I c, P d, (socklen_t)e);
#ifdef SYS_poll
	case SYS_poll:
		return poll(P a, (nfds_t)b, I c);
	case SYS_select:
		return select(I a, P b, P c, P d, P e);
	case SYS_epoll_wait:
		return epoll_wait(I a, P b, I c, I d);
	case SYS_dup2:
		return dup2(I a, I b);
#endif
	}
	return real_syscall(number, a, b, c, d, e, f); /* a number above without its line */
}

/* NOLINTEND(performance-no-int-to-ptr) */

/* A number that may concern us. No cancellation point, unlike what stands in for it. */
long raw_ours(long number, long a, long b, long c, long d, long e, long f)
{
	int state;
	long r;

	if (!concerns_us((enum concern)raw_concerns[number], a, b, c))
		return real_syscall(number, a, b, c, d, e, f);
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
	r = by_libc(number, a, b, c, d, e, f);
	pthread_setcancelstate(state, NULL);
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
