// SPDX-License-Identifier: MIT
#include "config_int.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* libc's open, read and close may be interposed, and are cancellation points: this runs in
 * somebody's first socket(). */
static int open_file(const char *path)
{
	/* O_NONBLOCK: opening a FIFO must not wait for its writer */
	long fd = syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

	return fd < 0 ? -errno : (int)fd;
}

/* Reads up to size + 1 bytes, fewer only at the end of the file: which is there if one more was asked for
 * than has come. */
static ssize_t read_all(int fd, char *bytes, size_t size)
{
	size_t n = 0;

	while (n != size || n == 0) {
		long got = syscall(SYS_read, fd, bytes + n, size + 1 - n);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		if (got == 0)
			break;
		n += (size_t)got;
	}
	return (ssize_t)n;
}

/* What is small is not worth a mapping. */
#define SMALL 4096

static char *room_for(size_t size)
{
	void *p;

	if (size < SMALL)
		return malloc(size + 1);
	p = mmap(NULL, size + 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE,
		 -1, 0);
	return p == MAP_FAILED ? NULL : p;
}

void config_unmap_file(char *bytes, size_t len)
{
	if (len < SMALL)
		free(bytes);
	else
		munmap(bytes, len + 1);
}

/* One byte more than the size is asked for, to notice a file that is growing. */
static int map_open_file(int fd, size_t most, char **bytes, size_t *len, const char **why)
{
	struct stat st; /* its raw form differs between machines, and fstat() is harmless */
	size_t size;
	ssize_t got;

	if (fstat(fd, &st) < 0)
		return -errno;
	*why = "not a regular file";
	if (!S_ISREG(st.st_mode))
		return S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL;
	*why = "too large";
	if ((uintmax_t)st.st_size > most)
		return -EFBIG;
	*why = "cannot be read";
	size = (size_t)st.st_size;
	*bytes = room_for(size);
	if (!*bytes)
		return -ENOMEM;
	got = read_all(fd, *bytes, size);
	*len = size;
	if (got >= 0 && (size_t)got == size)
		return 0;
	config_unmap_file(*bytes, size);
	return got < 0 ? (int)got : -EAGAIN;
}

/* openat() once more, as a program that may read its configuration may call that. */
bool config_file_is_there(const char *path)
{
	long fd = syscall(SYS_openat, AT_FDCWD, path, O_PATH | O_NOFOLLOW | O_CLOEXEC);

	if (fd >= 0)
		syscall(SYS_close, fd);
	return fd >= 0;
}

static const char *reason(int err, const char *why)
{
	switch (err) {
	case -ENOENT:
	case -ENOTDIR:
		return "no such file";
	case -EACCES:
	case -EPERM:
		return "no permission to read it";
	case -ENOMEM:
		return "out of memory";
	case -EAGAIN:
		return "changed while it was read";
	case -EISDIR:
		return "a directory, not a file";
	}
	return why;
}

int config_map_file(const char *path, size_t most, char **bytes, size_t *len, const char **why)
{
	int fd = open_file(path), err;

	*why = "cannot be opened";
	if (fd >= 0) {
		err = map_open_file(fd, most, bytes, len, why);
		syscall(SYS_close, fd);
	} else {
		err = fd;
	}
	*why = reason(err, *why);
	return err;
}
