/* SPDX-License-Identifier: MIT */
/* file.h - whole files, descriptors, and how the helper says what is wrong with one. Served by file.c. */
#ifndef CVT_FILE_H
#define CVT_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

struct file_bytes {
	char *bytes;
	size_t len;
	bool is_mapped;
	struct stat st;
};

/* Reads a regular file of at most `most` bytes. Waits for nothing: a FIFO is refused, not opened
 * until somebody writes. Returns 0 or -errno: -EISDIR, -EINVAL (not a regular file), -EFBIG,
 * -EAGAIN (it shrank while it was read) and what open() and read() say. */
int file_read(struct file_bytes *f, const char *path, size_t most);
/* The same, mapped: for a large file of which little is looked at. Who cuts it short meanwhile kills us
 * by SIGBUS, as he would the program that it is. */
int file_map(struct file_bytes *f, const char *path, size_t most);
void file_free(struct file_bytes *f);

/* The name from / on, from malloc(); links stay. NULL and errno. */
char *file_absolute(const char *path);

/* All that was put there. False: it cannot be written, and standard error says why. */
bool file_flush_output(void);

/* "PATH: WHAT: STRERROR" to standard error; returns err, which is a -errno. */
int file_complain(const char *path, const char *what, int err);

/* ---- the state file */

/* "PATH: cannot be written: WHY" to standard error. err: the -errno of state.h; 0: nobody knows. */
void unwritten_complain(int err);
/* Does the file that is open begin as one that is none of state.h's, of this version? */
bool unwritten_is_strange(int fd);

/* ---- the numbers 0, 1 and 2, which whoever has started us may have closed */

/* First of all: what is opened next would have such a number, and what is said on standard error would be written
 * there. It is taken by what fails to be read and written as before, and is closed for a program that we become. */
void standard_take(void);

#endif
