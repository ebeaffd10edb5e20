// SPDX-License-Identifier: MIT
/* The two files that programs write: can those of this user? */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "check.h"
#include "base.h"
#include "state_file.h"

static bool may(const char *path, int what)
{
	return faccessat(AT_FDCWD, path, what, AT_EACCESS) == 0;
}

/* It would be allowed, but for the mount. */
static bool is_read_only(const char *path, int what)
{
	return !may(path, what) && errno == EROFS;
}

/* In a directory with the sticky bit only its owner and the file's may do that. */
static bool may_remove(const char *path, uid_t uid)
{
	char text[PATH_MAX];
	const char *directory;
	struct stat st, above;

	snprintf(text, sizeof(text), "%s", path);
	directory = dirname(text);
	if (lstat(path, &st) < 0 || stat(directory, &above) < 0 || !may(directory, W_OK | X_OK))
		return false;
	return !(above.st_mode & S_ISVTX) || uid == 0 || st.st_uid == uid || above.st_uid == uid;
}

/* What has to be made first, and whether that can be done: by a program, which makes one directory at
 * most, and by a person. */
static void look_above(struct host_written *w, int levels)
{
	char text[PATH_MAX], *directory;
	struct statvfs fs;
	struct stat st;
	int missing = 0;

	snprintf(text, sizeof(text), "%s", w->path);
	directory = dirname(text);
	while (strlen(directory) > 1 && access(directory, F_OK) < 0 && errno == ENOENT) {
		directory = dirname(directory);
		missing++;
	}
	w->may_make = may(directory, W_OK | X_OK);
	w->root_may_make = may(directory, X_OK) && stat(directory, &st) == 0 && st.st_uid == 0 &&
			   (st.st_mode & 022) == 0 && statvfs(directory, &fs) == 0 &&
			   !(fs.f_flag & ST_RDONLY);
	if (missing <= levels && w->may_make)
		w->file = HOST_FILE_TO_MAKE;
	else if (is_read_only(directory, W_OK | X_OK))
		w->file = HOST_FILE_READ_ONLY;
	else
		w->file = missing ? HOST_FILE_NO_DIRECTORY : HOST_FILE_NO_RIGHT;
}

/* ------------------------------------------------------------------------------ the log */

/* As log.c opens it. */
static bool root_leaves_alone(const char *path, const struct stat *st)
{
	char text[PATH_MAX];
	struct stat folder, highest;

	snprintf(text, sizeof(text), "%s", path);
	return (S_ISLNK(st->st_mode) ||
		(S_ISREG(st->st_mode) && (st->st_uid != 0 || st->st_nlink != 1))) &&
	       stat(dirname(text), &folder) == 0 &&
	       (folder.st_mode & 022 || (folder.st_uid != 0 && (stat("/", &highest) < 0 ||
								folder.st_uid != highest.st_uid)));
}

void host_log_file(struct host_written *w, const char *path, bool by_environment)
{
	bool is_word = path && (strcmp(path, LOG_STDERR) == 0 || strcmp(path, LOG_SYSLOG) == 0);
	char *whole = path && !is_word ? file_absolute(path) : NULL;
	struct stat st, of;

	*w = (struct host_written){ .uid = geteuid(), .by_environment = by_environment };
	snprintf(w->path, sizeof(w->path), "%s", whole ? whole : path ? path : "");
	free(whole);
	path = w->path;
	if (!*path) {
		w->file = HOST_FILE_NONE;
	} else if (is_word) {
		w->file = HOST_FILE_FINE;
	} else if (stat(path, &of) == 0 && S_ISDIR(of.st_mode)) {
		w->file = HOST_FILE_STRANGE;
	} else if (lstat(path, &st) == 0) {
		w->file = may(path, W_OK)	   ? HOST_FILE_FINE :
			  is_read_only(path, W_OK) ? HOST_FILE_READ_ONLY :
						     HOST_FILE_NOT_WRITABLE;
		w->belongs_to_us = st.st_uid == w->uid && S_ISREG(st.st_mode);
		if (w->uid == 0 && root_leaves_alone(path, &st))
			w->file = HOST_FILE_NOT_TRUSTED;
	} else {
		look_above(w, 0);
	}
}

/* ---------------------------------------------------------------------------- the state */

/* By this version or another one; or nothing is in it yet. */
static bool has_begun_as_ours(const char *path)
{
	int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	uint8_t ours[STATE_HEADER_LEN], header[STATE_MAGIC_LEN];
	ssize_t n = fd < 0 ? -1 : pread(fd, header, sizeof(header), 0);

	if (fd >= 0)
		close(fd);
	state_header(ours);
	return n == 0 || (n == STATE_MAGIC_LEN && memcmp(ours, header, STATE_MAGIC_LEN) == 0);
}

/* As state_place.c opens it. */
static void look_at_file(struct host_written *w, const struct stat *st)
{
	int fd = state_place_open(O_RDWR), err = fd;

	w->belongs_to_us = st->st_uid == w->uid && S_ISREG(st->st_mode);
	w->may_remove = may_remove(w->path, w->uid);
	w->is_state = has_begun_as_ours(w->path);
	if (fd >= 0)
		w->file = unwritten_is_strange(fd) ? HOST_FILE_STRANGE : HOST_FILE_FINE;
	else if (err == -EROFS)
		w->file = HOST_FILE_READ_ONLY;
	else if (!S_ISREG(st->st_mode) || (st->st_mode & 022) || err == -EPERM)
		w->file = HOST_FILE_NOT_TRUSTED;
	else
		w->file = HOST_FILE_NOT_WRITABLE;
	if (fd >= 0)
		close(fd);
}

/* Whoever was there first. */
static bool look_at_directory(struct host_written *w)
{
	char text[PATH_MAX];
	const char *directory;
	struct stat st;

	snprintf(text, sizeof(text), "%s", w->path);
	directory = dirname(text);
	if (lstat(directory, &st) < 0)
		return false;
	if (is_read_only(directory, W_OK | X_OK)) {
		w->file = HOST_FILE_READ_ONLY;
		return true;
	}
	if (may(directory, W_OK | X_OK) &&
	    (!w->is_shared ||
	     (S_ISDIR(st.st_mode) && st.st_uid == w->uid && (st.st_mode & 077) == 0)))
		return false;
	w->file = HOST_FILE_NOT_OURS;
	w->belongs_to_us = st.st_uid == w->uid;
	w->may_remove = w->belongs_to_us && may_remove(directory, w->uid);
	return true;
}

static bool is_safe_to_share(void)
{
	struct stat st;

	return stat(STATE_PLACE_SHARED, &st) == 0 && (st.st_uid == 0 || st.st_uid == geteuid()) &&
	       ((st.st_mode & S_ISVTX) || (st.st_mode & 022) == 0);
}

void host_state_file(struct host_written *w, const struct config *config, bool by_environment)
{
	static const char shared[] = STATE_PLACE_SHARED "/convert-";
	struct stat st;

	*w = (struct host_written){ .uid = geteuid(),
				    .is_own = config->state_is_own,
				    .by_environment = by_environment };
	if (!state_is_kept())
		return;
	snprintf(w->path, sizeof(w->path), "%s", state_path());
	w->is_shared = w->is_own && strncmp(w->path, shared, sizeof(shared) - 1) == 0;
	if (w->is_own && look_at_directory(w))
		return;
	if (lstat(w->path, &st) == 0) {
		look_at_file(w, &st);
		return;
	}
	look_above(w, 1);
	if (w->is_shared && !is_safe_to_share())
		w->file = HOST_FILE_NO_RIGHT;
}
