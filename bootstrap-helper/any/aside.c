// SPDX-License-Identifier: MIT
#include "aside.h"

#include "sys.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/resource.h>

#define ASIDE 4096

void aside_begin(void)
{
	struct rlimit files, most = { 0, 0 };
	FILE *f = fopen("/proc/sys/fs/nr_open", "re");
	unsigned long n = 0;

	if (f && fscanf(f, "%lu", &n) == 1)
		most.rlim_cur = most.rlim_max = n;
	if (f)
		fclose(f);
	if (getrlimit(RLIMIT_NOFILE, &files) < 0 ||
	    (n > files.rlim_max && setrlimit(RLIMIT_NOFILE, &most) == 0))
		return;
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
}

int aside(int fd)
{
	int moved = fd < 0 ? -1 : sys_fcntl(fd, F_DUPFD_CLOEXEC, ASIDE);

	if (moved < 0)
		return fd;
	close(fd);
	return moved;
}
