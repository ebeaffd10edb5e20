// SPDX-License-Identifier: MIT
#include "any_int.h"

#include "sys.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>

#ifndef PIDFD_THREAD
#define PIDFD_THREAD O_EXCL /* Linux 6.9 */
#endif

#define ASIDE 4096

int aside(int fd)
{
	int moved = fd < 0 ? -1 : sys_fcntl(fd, F_DUPFD_CLOEXEC, ASIDE);

	if (moved < 0)
		return fd;
	close(fd);
	return moved;
}

static int open_proc(int tid, const char *what, int fd)
{
	char path[64];

	if (fd < 0)
		snprintf(path, sizeof(path), "/proc/%d/%s", tid, what);
	else
		snprintf(path, sizeof(path), "/proc/%d/%s/%d", tid, what, fd);
	return open(path, O_RDONLY | O_CLOEXEC);
}

/* The whole of a file in /proc, from its beginning, in room that grows, with a zero behind it; "" if it is none. */
static const char *read_all(int file)
{
	static char *room;
	static size_t size;
	size_t got = 0;
	ssize_t n = 0;

	do {
		got += (size_t)n;
		if (size - got < 4096) {
			char *more = realloc(room, size + 65536);

			if (!more)
				break;
			room = more;
			size += 65536;
		}
		n = pread(file, room + got, size - got - 1, (off_t)got);
	} while (n > 0);
	if (!room)
		return "";
	room[got] = '\0';
	return room;
}

static const char *read_proc(int tid, const char *what, int fd)
{
	int file = open_proc(tid, what, fd);
	const char *text = read_all(file);

	if (file >= 0)
		close(file);
	return text;
}

static int read_process(int tid)
{
	const char *at = strstr(read_proc(tid, "status", -1), "\nTgid:");

	return at ? atoi(at + sizeof("\nTgid:") - 1) : tid;
}

/* ------------------------------------------------------------------------------- the last one */

static int last_tid, last_pidfd = -1;

void target_done(void)
{
	if (last_pidfd >= 0)
		close(last_pidfd);
	last_pidfd = -1;
}

/* Before Linux 6.9. It has the thread's descriptors, or is of no use. */
static int open_process(int tid)
{
	int process = read_process(tid);

	if (syscall(SYS_kcmp, tid, process, KCMP_FILES, 0, 0) > 0)
		return -EPERM;
	return (int)sys_result(syscall(SYS_pidfd_open, process, 0));
}

static int open_pid(int tid)
{
	if (last_pidfd >= 0 && last_tid == tid)
		return last_pidfd;
	target_done();
	last_tid = tid;
	last_pidfd = (int)sys_result(syscall(SYS_pidfd_open, tid, PIDFD_THREAD));
	if (last_pidfd == -EINVAL)
		last_pidfd = open_process(tid);
	return last_pidfd;
}

int target_fd(int tid, int fd)
{
	int pidfd = open_pid(tid), r = pidfd;

	for (int i = 0; pidfd >= 0 && i < 2; i++) {
		r = (int)sys_result(syscall(SYS_pidfd_getfd, pidfd, fd, 0));
		if (r != -ESRCH)
			break;
		target_done(); /* of one who had that number before */
		pidfd = open_pid(tid);
	}
	return r;
}

/* ---------------------------------------------------------------------------------- its memory */

/* An address there means nothing here. */
static struct iovec there(uint64_t address, size_t n)
{
	/* NOLINTNEXTLINE(performance-no-int-to-ptr) */
	return (struct iovec){ (void *)(uintptr_t)address, n };
}

bool target_read(int tid, uint64_t from, void *to, size_t n)
{
	struct iovec ours = { to, n }, theirs = there(from, n);

	return process_vm_readv(tid, &ours, 1, &theirs, 1, 0) == (ssize_t)n;
}

bool target_write(int tid, uint64_t to, const void *from, size_t n)
{
	struct iovec ours = { (void *)from, n }, theirs = there(to, n);

	return process_vm_writev(tid, &ours, 1, &theirs, 1, 0) == (ssize_t)n;
}

/* --------------------------------------------------------------------------------- its numbers */

bool target_is_in_proc(int tid, int fd, int theirs)
{
	struct stat there, is;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/fd/%d", tid, fd);
	return stat(path, &there) == 0 && fstat(theirs, &is) == 0 && there.st_dev == is.st_dev &&
	       there.st_ino == is.st_ino;
}

bool target_has(int tid, int fd, ino_t ino)
{
	struct stat is;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/fd/%d", tid, fd);
	return ino && stat(path, &is) == 0 && is.st_ino == ino && S_ISSOCK(is.st_mode);
}

bool target_is_cloexec(int tid, int fd)
{
	const char *at = strstr(read_proc(tid, "fdinfo", fd), "flags:");

	return at && strtoul(at + sizeof("flags:") - 1, NULL, 8) & O_CLOEXEC;
}

/* A set that is just being made is there a moment later than we hear of it; for whoever makes it before its next
 * call. */
#define SOON_NS 200000000
#define THREADS 1024
#define KEPT	8 /* files on sets, of a thread */

struct set {
	int number;
	/* /proc's file on it, of the thread that was asked about last: the kernel has found out by then how much room
	 * its text takes */
	int info;
};

/* What is known of a thread. */
static struct thread {
	int tid, process;
	ino_t ino; /* of its pidfd, which is like no other's (Linux 6.9); 0: who knows */
	unsigned int generation; /* of its sets */
	size_t n, room;
	struct set *sets;
} threads[THREADS];
static unsigned int generation = 1;
static int64_t made_ns = INT64_MIN / 2;
static int made_by; /* 0: of late, by several */

void target_epoll_made(int tid)
{
	int64_t now = now_ns();

	made_by = now - made_ns > SOON_NS || made_by == tid ? tid : 0;
	generation++;
	made_ns = now;
}

static bool is_set(int directory, const char *name)
{
	static const char set[] = "anon_inode:[eventpoll]";
	char is[sizeof(set)];

	return readlinkat(directory, name, is, sizeof(is)) == sizeof(set) - 1 &&
	       memcmp(is, set, sizeof(set) - 1) == 0;
}

/* One more of size bytes; NULL: no memory, and as it was. */
static void *one_more(void *all, size_t n, size_t *room, size_t size)
{
	size_t more = *room ? 2 * *room : 16;

	if (n < *room)
		return all;
	all = realloc(all, more * size);
	if (all)
		*room = more;
	return all;
}

/* False: not all of them are there any more. */
static bool are_still(const struct thread *t)
{
	char name[64];

	for (size_t i = 0; i < t->n; i++) {
		snprintf(name, sizeof(name), "/proc/%d/fd/%d", t->tid, t->sets[i].number);
		if (!is_set(AT_FDCWD, name))
			return false;
	}
	return true;
}

static void close_info(struct set *set)
{
	if (set->info >= 0)
		close(set->info);
	set->info = -1;
}

static void close_infos(struct thread *t)
{
	for (size_t i = 0; i < t->n; i++)
		close_info(&t->sets[i]);
}

static void forget_sets(struct thread *t)
{
	close_infos(t);
	t->n = 0;
}

static void look_up(struct thread *t)
{
	struct dirent *each;
	struct set *more;
	char path[64];
	DIR *all;

	forget_sets(t);
	snprintf(path, sizeof(path), "/proc/%d/fd", t->tid);
	all = opendir(path);
	while (all && (each = readdir(all))) {
		if (!is_set(dirfd(all), each->d_name))
			continue;
		more = one_more(t->sets, t->n, &t->room, sizeof(*more));
		if (!more)
			break;
		t->sets = more;
		t->sets[t->n++] = (struct set){ .number = atoi(each->d_name), .info = -1 };
	}
	if (all)
		closedir(all);
}

static struct thread *known(int tid)
{
	struct thread *t = &threads[tid % THREADS];
	struct stat pidfd = { .st_ino = 0 };

	if (fstat(open_pid(tid), &pidfd) < 0 || (int64_t)pidfd.st_ino <= tid)
		pidfd.st_ino = 0; /* before Linux 6.9 all have the same, a small one */
	if (!pidfd.st_ino || t->tid != tid || t->ino != pidfd.st_ino) {
		forget_sets(t);
		*t = (struct thread){
			.tid = tid, .ino = pidfd.st_ino, .room = t->room, .sets = t->sets
		};
	}
	return t;
}

int target_process(int tid)
{
	struct thread *t = known(tid);

	if (!t->process)
		t->process = read_process(tid);
	return t->process;
}

static bool may_be_kept(const struct thread *t)
{
	return t->ino && (made_by == t->tid || now_ns() - made_ns > SOON_NS);
}

static struct thread *with_sets(int tid)
{
	static struct thread *last = threads;
	struct thread *t = known(tid);

	if (t != last)
		close_infos(last);
	last = t;
	if (may_be_kept(t) && t->generation == generation && are_still(t))
		return t;
	look_up(t);
	t->generation = may_be_kept(t) ? generation : 0;
	return t;
}

void target_look_ahead(int tid)
{
	struct thread *t = known(tid);

	if (!may_be_kept(t) || t->generation == generation)
		return;
	look_up(t);
	t->generation = generation;
}

/* What has been found so far, in room that grows. */
static struct found {
	struct target_epoll *all;
	size_t n, room;
} found;

static void add(struct target_epoll is)
{
	struct target_epoll *more = one_more(found.all, found.n, &found.room, sizeof(is));

	if (!more)
		return;
	found.all = more;
	found.all[found.n++] = is;
}

static void in_set(int tid, struct set *set, int fd, ino_t ino)
{
	const char *at;
	unsigned long long data;
	unsigned long is;
	unsigned int events;
	char number[32];

	if (set->info < 0)
		set->info = aside(open_proc(tid, "fdinfo", set->number));
	at = read_all(set->info);
	snprintf(number, sizeof(number), "\ntfd: %8d events:", fd);
	while ((at = strstr(at, number))) {
		at += strlen(number);
		if (sscanf(at, "%x data: %llx pos:%*d ino:%lx", &events, &data, &is) == 3 &&
		    is == ino)
			add((struct target_epoll){
				.epfd = set->number, .events = events, .data = data });
	}
}

size_t target_epolls(int tid, int fd, int theirs, struct target_epoll **all)
{
	struct thread *t = with_sets(tid);
	struct stat is;
	bool is_there = fstat(theirs, &is) == 0;

	found.n = 0;
	for (size_t i = 0; is_there && i < t->n; i++) {
		in_set(tid, &t->sets[i], fd, is.st_ino);
		if (i >= KEPT)
			close_info(&t->sets[i]);
	}
	*all = found.all;
	return found.n;
}
