// SPDX-License-Identifier: MIT
/*
 * Giving a descriptor away: to another program by exec or spawn, to another process by SCM_RIGHTS, to
 * stdio, whose reads and writes inside libc do not come by here. What is pending is brought to its end
 * first, or whoever gets it, without our memory, would read the converter's reply as data.
 */
#undef _FORTIFY_SOURCE /* <bits/stdio2.h> wraps what this file defines */
#include "handover.h"

#include "advance.h"
#include "accept.h"
#include "record.h"
#include "fastopen.h"
#include "memory.h"
#include "notes.h"
#include "passed.h"
#include "real.h"

#include <dlfcn.h>
#include <limits.h>
#include <pthread.h>
#include <string.h>

void handover_finish(int fd)
{
	int saved_errno = errno;

	if (fastopen_is_deferred(fd)) /* nobody there would know what the first write is for */
		fastopen_start(fd, MSG_DONTWAIT);
	conn_finish(fd);
	errno = saved_errno;
}

void handover_finish_uncancelled(int fd)
{
	int cancel_state;

	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel_state);
	handover_finish(fd);
	pthread_setcancelstate(cancel_state, NULL);
}

void handover_duplicated(int fd)
{
	if (!conn_is_owner())
		handover_finish_uncancelled(fd);
}

void handover_to_signals(int fd)
{
	struct conn *c = conn_pending(fd);

	if (c && !conn_is_incoming(c))
		handover_finish_uncancelled(fd);
}

/* Numbers that an action of posix_spawn() duplicates, whatever has them by then: libc's own child does it, past us, and
 * FD_CLOEXEC is no matter. Those that are so far apart share a place. */
#define PLANS 1024
static _Atomic bool planned[PLANS];

/* The numbers that a new program would inherit. */
static void finish_inherited(bool by_actions)
{
	note_shared();
	if (!mark_any_unsettled())
		return;
	for (int fd = 0; fd <= conn_highest(); fd++) {
		int flags = mark_get(fd) == MARK_PENDING ? sys_fcntl(fd, F_GETFD, 0) : -1;

		if (flags >= 0 && (!(flags & FD_CLOEXEC) || (by_actions && planned[fd % PLANS])) &&
		    !(held_any() && held_is(fd)))
			handover_finish_uncancelled(fd);
	}
}

static void each_in(const struct msghdr *msg, void (*each)(int fd))
{
	size_t len, own;
	int fd;

	if (memory_is_absurd(msg) || memory_is_absurd(msg->msg_control))
		return;
	len = libc_length((size_t)msg->msg_controllen);
	for (size_t at = 0; at + sizeof(struct cmsghdr) <= len; at += CMSG_ALIGN(own)) {
		const struct cmsghdr *c = (const struct cmsghdr *)((char *)msg->msg_control + at);

		own = libc_length((size_t)c->cmsg_len);
		if (own < sizeof(*c) || own > len - at)
			break;
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = CMSG_LEN(0); i + sizeof(fd) <= own; i += sizeof(fd)) {
			memcpy(&fd, (const char *)c + i, sizeof(fd));
			each(fd);
		}
	}
}

void handover_sent(const struct msghdr *msg)
{
	each_in(msg, handover_finish);
}

static void give(int fd)
{
	conn_share(fd);
	note_spoil(fd, "given to another process");
}

SLOW void handover_given(const struct msghdr *msg)
{
	each_in(msg, give);
}

/* The kernel, too, looks at no more of them. */
void handover_all_sent(const struct mmsghdr *msgs, unsigned int n)
{
	if (n > IOV_MAX)
		n = IOV_MAX;
	for (unsigned int i = 0; i < n && memory_was_readable(&msgs[i], sizeof(*msgs)); i++)
		handover_sent(&msgs[i].msg_hdr);
}

/* Whose the accepted connections are is one variable more (passed.h). On the stack, as exec may be called where
 * malloc() may not, and by a vfork child; beside the numbers of libc's own execvpe() it is little. */
#define VARIABLES_MOST 512

struct environment {
	char *variables[VARIABLES_MOST];
	char peers[PASSED_ROOM];
};

static bool is_to_pass(void)
{
	return __builtin_expect(atomic_load_explicit(&passed_any, memory_order_relaxed), 0);
}

/* fork()'s child knows which numbers the program inherits; of a child by vfork() or spawn see above. */
static char *const *with_peers(struct environment *room, char *const *envp, bool all)
{
	bool any = passed_write(room->peers, all || !conn_is_owner());
	size_t n = 0;

	for (char *const *v = envp; v && *v; v++) {
		if (passed_is_variable(*v))
			continue;
		if (n == VARIABLES_MOST - 2)
			return envp;
		room->variables[n++] = *v;
	}
	room->variables[n] = any ? room->peers : NULL;
	room->variables[n + any] = NULL;
	return room->variables;
}

SLOW static int exec_with_peers(__typeof__(execve) *exec, const char *path, char *const argv[],
				char *const envp[])
{
	struct environment room;

	return exec(path, argv, with_peers(&room, envp, false));
}

INTERPOSE int execve(const char *path, char *const argv[], char *const envp[])
{
	finish_inherited(false);
	return is_to_pass() ? exec_with_peers(REAL(execve), path, argv, envp) :
			      REAL(execve)(path, argv, envp);
}

INTERPOSE int execv(const char *path, char *const argv[])
{
	finish_inherited(false);
	return is_to_pass() ? exec_with_peers(REAL(execve), path, argv, __environ) :
			      REAL(execv)(path, argv);
}

INTERPOSE int execvp(const char *file, char *const argv[])
{
	finish_inherited(false);
	return is_to_pass() ? exec_with_peers(REAL(execvpe), file, argv, __environ) :
			      REAL(execvp)(file, argv);
}

INTERPOSE int execvpe(const char *file, char *const argv[], char *const envp[])
{
	finish_inherited(false);
	return is_to_pass() ? exec_with_peers(REAL(execvpe), file, argv, envp) :
			      REAL(execvpe)(file, argv, envp);
}

/* The variadic ones: libc's own call execve() past us, so the list becomes an array here. It lives on the
 * stack, as exec may be called where malloc() may not, and memory that a vfork child has asked for would be
 * left to its parent. */

/* The closing NULL too. */
static size_t count_args(const char *first, va_list args)
{
	size_t n = 1;

	for (const char *arg = first; arg; arg = va_arg(args, const char *))
		n++;
	return n;
}

static void list_args(char **argv, const char *first, va_list *args)
{
	memcpy(argv, &first, sizeof(first));
	while (*argv)
		*++argv = va_arg(*args, char *);
}

/* alloca()'s room is that of the function itself. */
#define LIST_ARGS(argv, first, args)                                                  \
	do {                                                                          \
		va_start(args, first);                                                \
		(argv) = __builtin_alloca(count_args(first, args) * sizeof(*(argv))); \
		va_end(args);                                                         \
		va_start(args, first);                                                \
		list_args(argv, first, &(args));                                      \
	} while (0)

INTERPOSE int execl(const char *path, const char *arg, ...)
{
	va_list args;
	char **argv;

	LIST_ARGS(argv, arg, args);
	va_end(args);
	return execv(path, argv);
}

INTERPOSE int execlp(const char *file, const char *arg, ...)
{
	va_list args;
	char **argv;

	LIST_ARGS(argv, arg, args);
	va_end(args);
	return execvp(file, argv);
}

INTERPOSE int execle(const char *path, const char *arg, ...)
{
	char **argv, *const *envp;
	va_list args;

	LIST_ARGS(argv, arg, args);
	envp = va_arg(args, char *const *);
	va_end(args);
	return execve(path, argv, envp);
}

SLOW static int fexec_with_peers(int fd, char *const argv[], char *const envp[])
{
	struct environment room;

	return REAL(fexecve)(fd, argv, with_peers(&room, envp, false));
}

INTERPOSE int fexecve(int fd, char *const argv[], char *const envp[])
{
	finish_inherited(false);
	return is_to_pass() ? fexec_with_peers(fd, argv, envp) : REAL(fexecve)(fd, argv, envp);
}

SLOW static int execveat_with_peers(int fd, const char *path, char *const argv[],
				    char *const envp[], int flags)
{
	struct environment room;

	return REAL(execveat)(fd, path, argv, with_peers(&room, envp, false), flags);
}

INTERPOSE int execveat(int fd, const char *path, char *const argv[], char *const envp[], int flags)
{
	finish_inherited(false);
	return is_to_pass() ? execveat_with_peers(fd, path, argv, envp, flags) :
			      REAL(execveat)(fd, path, argv, envp, flags);
}

SLOW static int spawn_with_peers(__typeof__(posix_spawn) *spawn, pid_t *pid, const char *path,
				 const posix_spawn_file_actions_t *actions,
				 const posix_spawnattr_t *attr, char *const argv[],
				 char *const envp[])
{
	struct environment room;

	return spawn(pid, path, actions, attr, argv, with_peers(&room, envp, true));
}

static int spawn_by(__typeof__(posix_spawn) *spawn, pid_t *pid, const char *path,
		    const posix_spawn_file_actions_t *actions, const posix_spawnattr_t *attr,
		    char *const argv[], char *const envp[])
{
	finish_inherited(actions);
	return is_to_pass() ? spawn_with_peers(spawn, pid, path, actions, attr, argv, envp) :
			      spawn(pid, path, actions, attr, argv, envp);
}

INTERPOSE int posix_spawn_file_actions_adddup2(posix_spawn_file_actions_t *restrict actions, int fd,
					       int newfd)
{
	if (fd >= 0)
		planned[fd % PLANS] = true;
	return REAL(posix_spawn_file_actions_adddup2)(actions, fd, newfd);
}

INTERPOSE int posix_spawn(pid_t *restrict pid, const char *restrict path,
			  const posix_spawn_file_actions_t *restrict actions,
			  const posix_spawnattr_t *restrict attr, char *const argv[restrict],
			  char *const envp[restrict])
{
	return spawn_by(REAL(posix_spawn), pid, path, actions, attr, argv, envp);
}

INTERPOSE int posix_spawnp(pid_t *restrict pid, const char *restrict file,
			   const posix_spawn_file_actions_t *restrict actions,
			   const posix_spawnattr_t *restrict attr, char *const argv[restrict],
			   char *const envp[restrict])
{
	return spawn_by(REAL(posix_spawnp), pid, file, actions, attr, argv, envp);
}

#ifdef __GLIBC_PREREQ
#if __GLIBC_PREREQ(2, 39)
/* pidfd_spawn() or pidfd_spawnp(), which an older libc lacks than the one that we are built with. */
static int spawn_pidfd(const char *name, int *pidfd, const char *path,
		       const posix_spawn_file_actions_t *actions, const posix_spawnattr_t *attr,
		       char *const argv[], char *const envp[])
{
	__typeof__(pidfd_spawn) *spawn;

	*(void **)&spawn = dlsym(RTLD_NEXT, name);
	return spawn ? spawn_by(spawn, pidfd, path, actions, attr, argv, envp) : ENOSYS;
}

INTERPOSE int pidfd_spawn(int *restrict pidfd, const char *restrict path,
			  const posix_spawn_file_actions_t *restrict actions,
			  const posix_spawnattr_t *restrict attr, char *const argv[restrict],
			  char *const envp[restrict])
{
	return spawn_pidfd("pidfd_spawn", pidfd, path, actions, attr, argv, envp);
}

INTERPOSE int pidfd_spawnp(int *restrict pidfd, const char *restrict file,
			   const posix_spawn_file_actions_t *restrict actions,
			   const posix_spawnattr_t *restrict attr, char *const argv[restrict],
			   char *const envp[restrict])
{
	return spawn_pidfd("pidfd_spawnp", pidfd, file, actions, attr, argv, envp);
}
#endif
#endif

/* ----------------------------------------------------------------------- stdio */

INTERPOSE FILE *fdopen(int fd, const char *mode)
{
	if (mark_get(fd) == MARK_PENDING)
		handover_finish_uncancelled(fd);
	else /* its connect() may be one that does not wait */
		mark_rule_out(fd);
	return REAL(fdopen)(fd, mode);
}

int __dprintf_chk(int fd, int flag, const char *restrict format, ...)
	__attribute__((format(printf, 3, 4)));

INTERPOSE int vdprintf(int fd, const char *restrict format, va_list args)
{
	handover_finish(fd);
	return REAL(vdprintf)(fd, format, args);
}

INTERPOSE int dprintf(int fd, const char *restrict format, ...)
{
	va_list args;
	int r;

	va_start(args, format);
	r = vdprintf(fd, format, args);
	va_end(args);
	return r;
}

INTERPOSE int __vdprintf_chk(int fd, int flag, const char *restrict format, va_list args)
{
	handover_finish(fd);
	return REAL(__vdprintf_chk)(fd, flag, format, args);
}

INTERPOSE int __dprintf_chk(int fd, int flag, const char *restrict format, ...)
{
	va_list args;
	int r;

	va_start(args, format);
	r = __vdprintf_chk(fd, flag, format, args);
	va_end(args);
	return r;
}
