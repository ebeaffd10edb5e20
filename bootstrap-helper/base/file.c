// SPDX-License-Identifier: MIT
#include "base.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "state_file.h"

static int read_bytes(int fd, char *bytes, size_t len)
{
	size_t n = 0;

	while (n < len) {
		ssize_t got = read(fd, bytes + n, len - n);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		if (got == 0)
			return -EAGAIN;
		n += (size_t)got;
	}
	return 0;
}

static int read_all(struct file_bytes *f, int fd)
{
	int err;

	f->bytes = malloc(f->len + 1);
	if (!f->bytes)
		return -ENOMEM;
	err = read_bytes(fd, f->bytes, f->len);
	if (err)
		file_free(f);
	return err;
}

static int map_all(struct file_bytes *f, int fd)
{
	void *bytes = mmap(NULL, f->len, PROT_READ, MAP_PRIVATE, fd, 0);

	if (bytes == MAP_FAILED)
		return -errno;
	f->bytes = bytes;
	f->is_mapped = true;
	return 0;
}

static int take_open(struct file_bytes *f, int fd, size_t most, bool map)
{
	if (fstat(fd, &f->st) < 0)
		return -errno;
	if (!S_ISREG(f->st.st_mode))
		return S_ISDIR(f->st.st_mode) ? -EISDIR : -EINVAL;
	if ((uintmax_t)f->st.st_size > most)
		return -EFBIG;
	f->len = (size_t)f->st.st_size;
	return map && f->len > 0 ? map_all(f, fd) : read_all(f, fd);
}

static int take(struct file_bytes *f, const char *path, size_t most, bool map)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK), err;

	*f = (struct file_bytes){ .bytes = NULL };
	if (fd < 0)
		return -errno;
	err = take_open(f, fd, most, map);
	close(fd);
	return err;
}

int file_read(struct file_bytes *f, const char *path, size_t most)
{
	return take(f, path, most, false);
}

int file_map(struct file_bytes *f, const char *path, size_t most)
{
	return take(f, path, most, true);
}

void file_free(struct file_bytes *f)
{
	if (f->is_mapped)
		munmap(f->bytes, f->len);
	else
		free(f->bytes);
	f->is_mapped = false;
	f->bytes = NULL;
	f->len = 0;
}

char *file_absolute(const char *path)
{
	char *directory = *path == '/' ? strdup("") : getcwd(NULL, 0), *whole = NULL;

	if (directory && asprintf(&whole, "%s%s%s", directory, *directory ? "/" : "", path) < 0)
		whole = NULL;
	free(directory);
	return whole;
}

bool file_flush_output(void)
{
	if (fflush(stdout) != 0)
		file_complain("standard output", "cannot be written", -errno);
	else if (ferror(stdout)) /* at another time, and why is forgotten */
		fputs("standard output: not all of it could be written\n", stderr);
	else
		return true;
	return false;
}

int file_complain(const char *path, const char *what, int err)
{
	fprintf(stderr, "%s: %s: %s\n", path, what, strerror(-err));
	return err;
}

/* ---------------------------------------------------------------------- the state file */

bool unwritten_is_strange(int fd)
{
	static const uint8_t none[STATE_HEADER_LEN];
	uint8_t ours[STATE_HEADER_LEN], header[STATE_HEADER_LEN] = { 0 };
	struct stat st;

	state_header(ours);
	if (pread(fd, header, sizeof(header), 0) < 0)
		return true;
	if (memcmp(header, ours, sizeof(ours)) == 0)
		return false;
	return memcmp(header, none, sizeof(none)) != 0 || fstat(fd, &st) < 0 ||
	       st.st_size > STATE_FILE_MAX;
}

/* Once more as a program opens it, which says most; what can be opened and cannot be written has no room. */
void unwritten_complain(int err)
{
	int fd = state_place_make();
	const char *why = fd < 0		   ? strerror(-fd) :
			  err == -EAGAIN	   ? "another process has it locked" :
			  unwritten_is_strange(fd) ? "no state file of this version" :
			  !err || err == -EBADF || err == -ENOSPC ? "expected room for it" :
								    strerror(-err);

	if (fd >= 0)
		close(fd);
	fprintf(stderr, "%s: cannot be written: %s\n", state_path(), why);
}

/* ------------------------------------------------------------------ the numbers 0, 1 and 2 */

void standard_take(void)
{
	int fd;

	do
		fd = open("/", O_PATH | O_CLOEXEC);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}
