// SPDX-License-Identifier: MIT
#include "proc.h"

#include "real.h"

#include <link.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>

/* What stays in the mask of a one-shot registration that has fired. */
#define PRIVATE_BITS (EPOLLWAKEUP | EPOLLONESHOT | EPOLLET | EPOLLEXCLUSIVE)

/* "tfd:        5 events:       1d data: ..." (proc_pid_fdinfo(5)), read a byte at a time. */
struct line {
	unsigned int column;  /* words seen */
	unsigned int letters; /* of the last one; of the first: that are those of "tfd:" */
	unsigned int matched;
	unsigned int fd, events;
	uint64_t data;
	bool in_word;
};

static unsigned int digit(char c)
{
	if (c >= '0' && c <= '9')
		return (unsigned int)(c - '0');
	return c >= 'a' && c <= 'f' ? (unsigned int)(c - 'a') + 10 : 0;
}

/* Returns true when a line is complete. */
static bool take(struct line *line, char c)
{
	if (c == '\n')
		return true;
	if (c == ' ' || c == '\t') {
		line->in_word = false;
		return false;
	}
	if (!line->in_word) {
		line->in_word = true;
		line->column++;
		line->letters = 0;
	}
	if (line->column == 1 && line->letters < 4)
		line->matched += c == "tfd:"[line->letters];
	line->letters++;
	if (line->column == 2)
		line->fd = line->fd * 10 + digit(c);
	else if (line->column == 4)
		line->events = line->events * 16 + digit(c);
	else if (line->column == 6)
		line->data = line->data * 16 + digit(c);
	return false;
}

/* Not /proc/self: it has no descriptors and no maps once the first thread has left. */
#define FDINFO "/proc/thread-self/fdinfo"

/* FDINFO/N */
static void name_of(int fd, char name[static 48])
{
	static const char folder[] = FDINFO "/";
	char digits[12];
	size_t n = sizeof(digits);

	digits[--n] = '\0';
	do
		digits[--n] = (char)('0' + fd % 10);
	while (fd /= 10);
	memcpy(name, folder, sizeof(folder) - 1);
	memcpy(name + sizeof(folder) - 1, digits + n, sizeof(digits) - n);
}

/* What the kernel has of fd in epfd. 0: nothing, or epfd is no set; negative: that cannot be looked up. */
static int find(int epfd, int fd, struct epoll_event *event)
{
	struct line line = { 0 };
	char name[48], bytes[512];
	int found = 0;
	long info, n;

	name_of(epfd, name);
	info = sys_result(syscall(SYS_openat, AT_FDCWD, name, O_RDONLY | O_CLOEXEC));
	if (info < 0)
		return info == -ENOENT ? 0 : (int)info;
	while ((n = sys_result(syscall(SYS_read, info, bytes, sizeof(bytes)))) > 0)
		for (long i = 0; i < n; i++) {
			if (!take(&line, bytes[i]))
				continue;
			if (line.matched == 4 && line.fd == (unsigned int)fd) {
				event->events = line.events;
				event->data.u64 = line.data;
				found = 1;
			}
			line = (struct line){ 0 };
		}
	syscall(SYS_close, info);
	return n < 0 ? (int)n : found;
}

bool proc_is_armed(int epfd, int fd)
{
	struct epoll_event event;

	return epfd < 0 || find(epfd, fd, &event) <= 0 || event.events & ~PRIVATE_BITS;
}

/* As getdents64() writes it. */
struct entry {
	uint64_t inode, next;
	unsigned short size;
	unsigned char type;
	char name[];
};

static bool look_into(const struct entry *e, int fd, proc_set_is *is)
{
	struct epoll_event event;
	int epfd = 0, found;

	if (e->name[0] == '.')
		return true;
	for (const char *c = e->name; *c; c++)
		epfd = epfd * 10 + (int)digit(*c);
	found = find(epfd, fd, &event);
	if (found > 0)
		is(epfd, fd, &event);
	return found >= 0;
}

bool proc_each_set(int fd, proc_set_is *is)
{
	_Alignas(struct entry) char entries[1024];
	bool ok = true;
	long folder, n;

	folder = sys_result(
		syscall(SYS_openat, AT_FDCWD, FDINFO, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	if (folder < 0)
		return false;
	while ((n = sys_result(syscall(SYS_getdents64, folder, entries, sizeof(entries)))) > 0)
		for (long at = 0; at < n; at += ((struct entry *)(entries + at))->size)
			ok &= look_into((struct entry *)(entries + at), fd, is);
	syscall(SYS_close, folder);
	return ok && n == 0;
}

/* musl does not say, nor may glibc when the others have ended. The folder has a link for each thread, and two. */
bool proc_is_alone(void)
{
	int saved_errno = errno;
	struct stat task = { .st_nlink = 0 };
	long folder;

	if (libc_is_single_threaded())
		return true;
	folder = sys_result(syscall(SYS_openat, AT_FDCWD, "/proc/self/task",
				    O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	if (folder >= 0) {
		fstat((int)folder, &task);
		syscall(SYS_close, folder);
	}
	errno = saved_errno;
	return task.st_nlink == 3;
}

/* ------------------------------------------------------------------------ io_uring */

/* What the kernel calls a mapped ring. Its first letter does not come again in it, so a mismatch
 * need not go back further than to that. */
static const char ring[] = "anon_inode:[io_uring]";

static bool look(void)
{
	char bytes[2048];
	size_t matched = 0;
	long file, n;

	file = sys_result(
		syscall(SYS_openat, AT_FDCWD, "/proc/thread-self/maps", O_RDONLY | O_CLOEXEC));
	if (file < 0)
		return false;
	while (ring[matched] && (n = sys_result(syscall(SYS_read, file, bytes, sizeof(bytes)))) > 0)
		for (long i = 0; i < n && ring[matched]; i++)
			matched = bytes[i] == ring[matched] ? matched + 1 : bytes[i] == ring[0];
	syscall(SYS_close, file);
	return !ring[matched];
}

/* liburing makes its system calls by instructions of its own. Of the library, but not of a copy of it that is
 * part of a program, the loader knows; what dlopen() brings in later stands behind `last_loaded`. */
__attribute__((weak)) extern int io_uring_queue_init_params(unsigned int entries, void *ring,
							    void *params);
__attribute__((weak)) extern struct r_debug _r_debug; /* musl has it under another name */
static const struct link_map *last_loaded WRITTEN;
static _Atomic bool there;

__attribute__((constructor)) static void see_what_is_loaded(void)
{
	last_loaded = &_r_debug ? _r_debug.r_map : NULL;
	while (last_loaded && last_loaded->l_next)
		last_loaded = last_loaded->l_next;
}

static bool may_have_liburing(void)
{
	return io_uring_queue_init_params || !last_loaded ||
	       *(struct link_map *const volatile *)&last_loaded->l_next;
}

void proc_saw_uring(void)
{
	atomic_store(&there, true);
}

bool proc_has_uring(void)
{
	static _Atomic unsigned int asked, next = 1;
	unsigned int now, due;
	int saved_errno = errno;

	if (atomic_load(&there) || !may_have_liburing())
		return atomic_load(&there);
	now = atomic_fetch_add(&asked, 1) + 1;
	due = atomic_load(&next);
	if (now == due) {
		atomic_store(&next, due * 16);
		atomic_store(&there, look());
	}
	errno = saved_errno;
	return atomic_load(&there);
}
