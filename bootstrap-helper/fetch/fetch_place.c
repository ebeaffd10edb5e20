// SPDX-License-Identifier: MIT
#include "fetch.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#define NEW_FILE_MODE 0644 /* every user's programs read it */
#define RECORD_MAX    1024

/* ------------------------------------------------------------------------------- where it is */

static char *join(const char *a, const char *b, const char *c)
{
	char *text;

	return asprintf(&text, "%s%s%s", a, b, c) < 0 ? NULL : text;
}

/* The path of a file that is not there yet, in its real directory. NULL and errno. */
static char *path_to_be(const char *file)
{
	char *copy = strdup(file), *name = strdup(file), *dir = NULL, *path = NULL;
	struct stat st;

	if (copy && name && lstat(file, &st) < 0 && errno == ENOENT) /* no dangling link */
		dir = realpath(dirname(copy), NULL);
	if (dir)
		path = join(strcmp(dir, "/") == 0 ? "" : dir, "/", basename(name));
	free(copy);
	free(name);
	free(dir);
	return path;
}

int fetch_place_find(struct fetch_place *p, const char *file)
{
	char *copy;

	*p = (struct fetch_place){ .lock = -1 };
	p->live = realpath(file, NULL);
	if (!p->live && errno == ENOENT)
		p->live = path_to_be(file);
	if (!p->live)
		return file_complain(file, "cannot be found, nor made", errno ? -errno : -ENOENT);
	copy = strdup(p->live);
	p->dir = copy ? strdup(dirname(copy)) : NULL;
	free(copy);
	p->old = join(p->live, ".old", "");
	p->record = join(p->live, ".fetched", "");
	p->new = join(p->live, ".new", "");
	p->old_new = join(p->live, ".old", ".new");
	if (p->dir && p->old && p->record && p->new && p->old_new)
		return 0;
	return file_complain(file, "cannot be read", -ENOMEM);
}

void fetch_place_close(struct fetch_place *p)
{
	if (p->lock >= 0)
		close(p->lock);
	free(p->live);
	free(p->dir);
	free(p->old);
	free(p->record);
	free(p->new);
	free(p->old_new);
	*p = (struct fetch_place){ .lock = -1 };
}

/* ------------------------------------------------------------------------ alone, and tidied up */

static int remove_file(const char *path)
{
	if (unlink(path) == 0 || errno == ENOENT)
		return 0;
	return file_complain(path, "cannot be removed", -errno);
}

static int rename_file(const char *from, const char *to)
{
	if (rename(from, to) == 0)
		return 0;
	return file_complain(to, "cannot be replaced", -errno);
}

/*
 * new is made before old_new and renamed before it. So old_new alone is whole, and its rename is
 * all that was missing; beside new, neither counts. That order is kept here too.
 */
static int discard(const struct fetch_place *p)
{
	int err = remove_file(p->old_new);

	return err ? err : remove_file(p->new);
}

static int finish(const struct fetch_place *p)
{
	struct stat st;

	if (lstat(p->new, &st) == 0)
		return discard(p);
	return lstat(p->old_new, &st) == 0 ? rename_file(p->old_new, p->old) : 0;
}

int fetch_place_lock(struct fetch_place *p)
{
	p->lock = open(p->record, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
	if (p->lock < 0)
		return file_complain(p->record, "cannot be written", -errno);
	if (flock(p->lock, LOCK_EX | LOCK_NB) < 0) {
		if (errno != EWOULDBLOCK)
			return file_complain(p->record, "cannot be locked", -errno);
		fprintf(stderr, "%s: another fetch is at work on it: expected to be alone\n",
			p->live);
		return -EWOULDBLOCK;
	}
	return finish(p);
}

/* --------------------------------------------------------------------------- reading, writing */

static const char *why_not(int err)
{
	return err == -EISDIR ? "a directory: expected a file" :
	       err == -EINVAL ? "not a regular file" :
	       err == -EFBIG  ? "larger than 4 MiB" :
	       err == -EAGAIN ? "changed while it was read" :
				NULL;
}

int fetch_place_read(const char *path, struct file_bytes *f)
{
	int err = file_read(f, path, FETCH_FILE_MAX);

	if (err == 0 || err == -ENOENT)
		return 0;
	if (!why_not(err))
		return file_complain(path, "cannot be read", err);
	fprintf(stderr, "%s: %s\n", path, why_not(err));
	return err;
}

static int write_all(int fd, const char *bytes, size_t len)
{
	while (len > 0) {
		ssize_t n = write(fd, bytes, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		bytes += n;
		len -= (size_t)n;
	}
	return 0;
}

/* Owner first: changing it takes the set-user-ID bit away, and opens nothing to the new group. */
static int dress(int fd, const struct file_bytes *like)
{
	if (!like->bytes)
		return fchmod(fd, NEW_FILE_MODE) < 0 ? -errno : 0;
	if (fchown(fd, like->st.st_uid, like->st.st_gid) < 0)
		return -errno;
	return fchmod(fd, like->st.st_mode & 07777) < 0 ? -errno : 0;
}

/* A whole file under a name that nobody reads. */
static int write_file(const char *path, const char *bytes, size_t len,
		      const struct file_bytes *like)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600), err;

	if (fd < 0)
		return file_complain(path, "cannot be made", -errno);
	err = write_all(fd, bytes, len);
	if (err == 0)
		err = dress(fd, like);
	if (err == 0 && fsync(fd) < 0)
		err = -errno;
	if (close(fd) < 0 && err == 0)
		err = -errno;
	return err ? file_complain(path, "cannot be written", err) : 0;
}

static int sync_dir(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), err = 0;

	if (fd < 0 || fsync(fd) < 0)
		err = -errno;
	if (fd >= 0)
		close(fd);
	return err;
}

static bool is_same(const struct file_bytes *a, const struct file_bytes *b)
{
	if (!a->bytes || !b->bytes)
		return a->bytes == b->bytes;
	return a->len == b->len && memcmp(a->bytes, b->bytes, a->len) == 0 &&
	       a->st.st_mode == b->st.st_mode && a->st.st_uid == b->st.st_uid &&
	       a->st.st_gid == b->st.st_gid;
}

/* Somebody's edit meanwhile would be nowhere any more: what goes to old is what was read. */
static int look_again(const struct fetch_place *p, const struct file_bytes *was)
{
	struct file_bytes now;
	int err = fetch_place_read(p->live, &now);

	if (err == 0 && !is_same(&now, was)) {
		fprintf(stderr,
			"%s: was changed meanwhile, and stays so: expected it as it was when this "
			"fetch began\n",
			p->live);
		err = -EBUSY;
	}
	file_free(&now);
	return err;
}

int fetch_place_replace(const struct fetch_place *p, const char *bytes, size_t len,
			const struct file_bytes *was)
{
	int err = write_file(p->new, bytes, len, was);

	if (err == 0 && was->bytes)
		err = write_file(p->old_new, was->bytes, was->len, was);
	if (err == 0)
		err = look_again(p, was);
	if (err == 0)
		err = rename_file(p->new, p->live);
	if (err) {
		discard(p);
		return err;
	}
	if (was->bytes)
		err = rename_file(p->old_new, p->old);
	if (err == 0) {
		err = sync_dir(p->dir);
		if (err)
			file_complain(p->dir, "cannot be made to last", err);
	}
	if (err)
		fprintf(stderr, "%s: is replaced all the same\n", p->live);
	return err;
}

/* ---------------------------------------------------------------- what the server said of it */

uint64_t fetch_hash(const void *bytes, size_t len)
{
	const uint8_t *p = bytes;
	uint64_t hash = 0xcbf29ce484222325;

	for (size_t i = 0; i < len; i++)
		hash = (hash ^ p[i]) * 0x100000001b3;
	return hash;
}

bool fetch_record_takes(const char *text, size_t len, size_t size)
{
	if (len == 0 || len >= size)
		return false;
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)text[i] < ' ' || (unsigned char)text[i] >= 0x7f)
			return false;
	return true;
}

static void take_text(char *field, size_t size, const char *value)
{
	size_t len = strlen(value);

	if (fetch_record_takes(value, len, size))
		memcpy(field, value, len + 1);
}

static void take_line(struct fetch_record *r, const char *line)
{
	sscanf(line, "url %" SCNx64, &r->url);
	sscanf(line, "content %" SCNx64, &r->content);
	sscanf(line, "rolled-back %" SCNx64, &r->rolled_back);
	if (strncmp(line, "etag ", 5) == 0)
		take_text(r->etag, sizeof(r->etag), line + 5);
	if (strncmp(line, "last-modified ", 14) == 0)
		take_text(r->last_modified, sizeof(r->last_modified), line + 14);
}

void fetch_record_parse(struct fetch_record *r, const char *bytes, size_t len)
{
	char text[RECORD_MAX], *line, *rest = text;
	bool is_whole = false;

	*r = (struct fetch_record){ .url = 0 };
	if (len >= sizeof(text))
		return;
	memcpy(text, bytes, len);
	text[len] = '\0';
	while ((line = strsep(&rest, "\n"))) {
		take_line(r, line);
		is_whole |= strcmp(line, "end") == 0;
	}
	if (!is_whole)
		*r = (struct fetch_record){ .url = 0 };
}

void fetch_record_read(struct fetch_record *r, int fd)
{
	char text[RECORD_MAX];
	ssize_t n = fd < 0 ? -1 : pread(fd, text, sizeof(text), 0);

	fetch_record_parse(r, text, n < 0 ? 0 : (size_t)n);
}

int fetch_record_write(const struct fetch_record *r, int fd)
{
	char text[RECORD_MAX];
	int len = snprintf(text, sizeof(text),
			   "# What convert-bootstrap fetch knows of the file beside this one.\n"
			   "url %016" PRIx64 "\ncontent %016" PRIx64 "\nrolled-back %016" PRIx64
			   "\netag %s\nlast-modified %s\nend\n",
			   r->url, r->content, r->rolled_back, r->etag, r->last_modified);
	ssize_t n;

	/* emptied first: half of it would have no end */
	if (ftruncate(fd, 0) < 0)
		return -errno;
	n = pwrite(fd, text, (size_t)len, 0);
	if (n != len)
		return n < 0 ? -errno : -ENOSPC;
	return fsync(fd) < 0 ? -errno : 0;
}
