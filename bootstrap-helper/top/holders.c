// SPDX-License-Identifier: MIT
#include "top.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define LOOKS 2 /* its program may have opened it since /proc was gone through */

struct held_program {
	struct program program;
	bool is_checked, is_gone, is_used;
	struct held_program *next;
};

static struct held_program *held(const struct holder *o)
{
	return (struct held_program *)o->program; /* its first member */
}

/* -------------------------------------------------------------------- from before to now */

static void drop(struct holder *o)
{
	free(o->note);
	*o = (struct holder){ .inode = o->inode };
}

static bool take_over(struct holders *h, const uint32_t *inodes, size_t n)
{
	struct holder *all = calloc(n + 1, sizeof(*all));
	size_t old = 0;

	if (!all)
		return false;
	for (size_t i = 0; i < n; i++) {
		for (; old < h->n && h->all[old].inode < inodes[i]; old++)
			drop(&h->all[old]);
		if (old < h->n && h->all[old].inode == inodes[i])
			all[i] = h->all[old++];
		all[i].inode = inodes[i];
	}
	for (; old < h->n; old++)
		drop(&h->all[old]);
	free(h->all);
	h->all = all;
	h->n = n;
	return true;
}

/* The socket behind a link in /proc/PID/fd; 0: it is none, or errno says why it cannot be read. */
static uint32_t inode_of(int dir, const char *name)
{
	char link[32];
	ssize_t len = readlinkat(dir, name, link, sizeof(link) - 1);
	unsigned int inode = 0;

	errno = len < 0 ? errno : 0;
	if (len > 0) {
		link[len] = '\0';
		sscanf(link, "socket:[%u]", &inode);
	}
	return inode;
}

/* Another process has the number by now, or this one has closed it and somebody else has it: one look for
 * each program, at its first socket. */
static void check_programs(struct holders *h)
{
	char path[48];

	for (struct held_program *p = h->programs; p; p = p->next)
		p->is_checked = p->is_gone = false;
	for (size_t i = 0; i < h->n; i++) {
		struct held_program *p = held(&h->all[i]);

		if (p && !p->is_checked) {
			p->is_checked = true;
			snprintf(path, sizeof(path), "/proc/%d/fd/%d", p->program.thread,
				 h->all[i].fd);
			p->is_gone = inode_of(AT_FDCWD, path) != h->all[i].inode;
		}
		if (p && p->is_gone)
			drop(&h->all[i]);
	}
}

/* ------------------------------------------------------------------------------- /proc */

/* The last one is the first to be found: a process's numbers are looked at together. */
static struct program *program_of(struct holders *h, int pid, int thread)
{
	struct held_program *p = h->programs;

	while (p && (p->program.pid != pid || p->is_gone))
		p = p->next;
	if (!p) {
		p = calloc(1, sizeof(*p));
		if (!p)
			return NULL;
		program_look(&p->program, pid, thread);
		p->next = h->programs;
		h->programs = p;
	}
	return &p->program;
}

static int by_inode(const void *key, const void *element)
{
	uint32_t a = *(const uint32_t *)key, b = ((const struct holder *)element)->inode;

	return (a > b) - (a < b);
}

static DIR *open_numbers(int thread)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/%d/fd", thread);
	return opendir(path);
}

static bool has_any(DIR *dir)
{
	const struct dirent *e;

	do
		e = readdir(dir);
	while (e && !isdigit((unsigned char)*e->d_name));
	rewinddir(dir);
	return e;
}

/* The descriptors are all threads', and /proc/PID shows the first one's, which has none any more if it has ended
 * before the others. */
static DIR *open_any_numbers(int pid, int *thread)
{
	DIR *dir = open_numbers(pid), *tasks = NULL;
	const struct dirent *e;
	char path[32];

	*thread = pid;
	if (!dir || has_any(dir))
		return dir;
	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	tasks = opendir(path);
	while (tasks && (e = readdir(tasks)) && (!dir || !has_any(dir)))
		if (isdigit((unsigned char)*e->d_name)) {
			if (dir)
				closedir(dir);
			*thread = atoi(e->d_name);
			dir = open_numbers(*thread);
		}
	if (tasks)
		closedir(tasks);
	return dir;
}

static void search_program(struct holders *h, int pid)
{
	const struct dirent *e;
	struct holder *o;
	uint32_t inode;
	int thread;
	DIR *dir = open_any_numbers(pid, &thread);

	h->sees_all &= dir || errno != EACCES;
	while (dir && (e = readdir(dir))) {
		if (!isdigit((unsigned char)*e->d_name))
			continue;
		inode = inode_of(dirfd(dir), e->d_name);
		h->sees_all &= inode || errno != EACCES; /* root without CAP_SYS_PTRACE */
		o = inode ? bsearch(&inode, h->all, h->n, sizeof(*o), by_inode) : NULL;
		if (o && !o->program) {
			o->program = program_of(h, pid, thread);
			o->fd = atoi(e->d_name);
		}
	}
	if (dir)
		closedir(dir);
}

static void search(struct holders *h)
{
	DIR *dir = opendir("/proc");
	const struct dirent *e;

	h->sees_all = dir && geteuid() == 0; /* hidepid=2 does not say so otherwise */
	while (dir && (e = readdir(dir)))
		if (isdigit((unsigned char)*e->d_name))
			search_program(h, atoi(e->d_name));
	if (dir)
		closedir(dir);
}

static void free_unused(struct holders *h)
{
	struct held_program **at = &h->programs, *p;

	for (p = h->programs; p; p = p->next)
		p->is_used = false;
	for (size_t i = 0; i < h->n; i++)
		if (h->all[i].program)
			held(&h->all[i])->is_used = true;
	while ((p = *at)) {
		if (p->is_used) {
			at = &p->next;
			continue;
		}
		*at = p->next;
		program_free(&p->program);
		free(p);
	}
}

bool holders_find(struct holders *h, const uint32_t *inodes, size_t n)
{
	bool is_new = false;

	if (!take_over(h, inodes, n))
		return false;
	check_programs(h);
	for (size_t i = 0; i < n; i++)
		if (!h->all[i].program && h->all[i].looked < LOOKS) {
			h->all[i].looked++;
			is_new = true;
		}
	if (is_new)
		search(h);
	free_unused(h);
	return true;
}

void holders_free(struct holders *h)
{
	for (size_t i = 0; i < h->n; i++)
		drop(&h->all[i]);
	free_unused(h);
	free(h->all);
}
