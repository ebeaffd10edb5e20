// SPDX-License-Identifier: MIT
#include "state_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifdef SYS_geteuid32 /* the other one has 16 bits */
#define SYS_GETEUID SYS_geteuid32
#else
#define SYS_GETEUID SYS_geteuid
#endif

#define FIRST_FREE 3 /* descriptors below are standard input, output and error */
#define ALWAYS	   (O_NOFOLLOW | O_CLOEXEC | O_NOCTTY | O_NONBLOCK)

static char given[STATE_PATH_MAX + 1], runtime[STATE_PATH_MAX + 1];
static bool is_own;

enum choice { RUNTIME, ROOT, USERS, SHARED };

/* The user for whom it was made, plus one, and behind him the choice in 8 bits; 0: none was made. */
static _Atomic uint64_t chosen;

struct place {
	char path[STATE_TEXT_MAX];
	size_t len, dir_len;
	uid_t user;
	bool is_own, is_shared;
};

static uid_t effective_user(void)
{
	return (uid_t)syscall(SYS_GETEUID);
}

static void copy(char to[static STATE_PATH_MAX + 1], const char *path)
{
	size_t len = path ? strlen(path) : 0;

	if (len > STATE_PATH_MAX)
		len = 0;
	if (len)
		memcpy(to, path, len);
	to[len] = '\0';
}

void state_setup(const char *path)
{
	copy(given, path && strcmp(path, "none") != 0 ? path : NULL);
	is_own = false;
}

void state_setup_own(const char *runtime_dir)
{
	copy(runtime, runtime_dir);
	is_own = true;
	atomic_store_explicit(&chosen, 0, memory_order_relaxed);
}

bool state_is_kept(void)
{
	return is_own || given[0];
}

/* ------------------------------------------------------------------------------- which */

static void append(struct place *p, const char *text)
{
	size_t len = strlen(text);

	memcpy(p->path + p->len, text, len + 1);
	p->len += len;
}

static void append_user(struct place *p, uid_t user)
{
	char digits[11], *at = digits + sizeof(digits) - 1;

	*at = '\0';
	do
		*--at = (char)('0' + user % 10);
	while ((user /= 10) > 0);
	append(p, at);
}

/* One that su has left in the environment is another's. */
static bool is_directory_of(const char *path, uid_t user)
{
	struct stat st; /* its raw form differs between machines, and fstatat() is harmless */

	return path[0] == '/' && fstatat(AT_FDCWD, path, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	       S_ISDIR(st.st_mode) && st.st_uid == user && (st.st_mode & 022) == 0;
}

static void name_directory(struct place *p, enum choice choice)
{
	static const char *const names[] = { [RUNTIME] = runtime,
					     [ROOT] = STATE_PLACE_ROOT,
					     [USERS] = STATE_PLACE_USERS,
					     [SHARED] = STATE_PLACE_SHARED "/convert-" };

	p->len = 0;
	append(p, names[choice]);
	if (choice == USERS || choice == SHARED)
		append_user(p, p->user);
}

static enum choice choose(struct place *scratch)
{
	if (is_directory_of(runtime, scratch->user))
		return RUNTIME;
	if (scratch->user == 0)
		return ROOT;
	name_directory(scratch, USERS);
	return is_directory_of(scratch->path, scratch->user) ? USERS : SHARED;
}

static enum choice choice_of(struct place *scratch)
{
	const uint64_t mark = (uint64_t)scratch->user + 1;
	uint64_t last = atomic_load_explicit(&chosen, memory_order_relaxed);

	if (last >> 8 != mark) {
		last = mark << 8 | choose(scratch);
		atomic_store_explicit(&chosen, last, memory_order_relaxed);
	}
	return (enum choice)(last & 0xff);
}

static void find_own(struct place *p)
{
	enum choice choice;

	p->user = effective_user();
	choice = choice_of(p);
	p->is_shared = choice == SHARED;
	name_directory(p, choice);
	append(p, p->is_shared ? "/state" : "/convert/state");
}

/* False: there is none. */
static bool find(struct place *p)
{
	p->len = 0;
	p->path[0] = '\0';
	p->is_own = is_own;
	p->is_shared = false;
	if (is_own)
		find_own(p);
	else
		append(p, given);
	p->dir_len = p->len ? (size_t)(strrchr(p->path, '/') - p->path) : 0;
	return p->len > 0;
}

const char *state_path(void)
{
	static char text[STATE_TEXT_MAX];
	int saved_errno = errno;
	struct place p;

	find(&p);
	memcpy(text, p.path, p.len + 1);
	errno = saved_errno;
	return text;
}

/* ------------------------------------------------------------------------------ opening */

/* In a program that has closed its standard error, the number must not be ours for long: what
 * another of its threads prints would go into the file. */
static int above_standard(long fd)
{
	long moved;

	if (fd < 0)
		return -errno;
	if (fd >= FIRST_FREE)
		return (int)fd;
	moved = syscall(SYS_FCNTL, fd, F_DUPFD_CLOEXEC, FIRST_FREE);
	if (moved < 0)
		moved = -errno;
	syscall(SYS_close, fd);
	return (int)moved;
}

/* Nobody else may have had his hands in it: he could send our connections elsewhere. */
static bool is_trusted(const struct place *p, int fd, bool is_owner)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && (st.st_mode & 022) == 0 &&
	       (st.st_uid == 0 ||
		(is_owner && st.st_uid == (p->is_own ? p->user : effective_user())));
}

/* O_NOATIME is the owner's privilege, and so the kernel's word for whose it is. st_uid alone is not:
 * in a user namespace everybody whom it does not map looks like nobody, this process maybe too. */
static int open_file(const struct place *p, int at, const char *name, int flags)
{
	int fd = above_standard(syscall(SYS_openat, at, name, flags | ALWAYS | O_NOATIME, 0600));
	bool is_owner = fd != -EPERM;

	if (!is_owner)
		fd = above_standard(syscall(SYS_openat, at, name, flags | ALWAYS, 0600));
	if (fd >= 0 && !is_trusted(p, fd, is_owner)) {
		syscall(SYS_close, fd);
		return -EPERM;
	}
	return fd;
}

/* path: without the file's name, for the moment. */
static int open_shared_directory(struct place *p)
{
	struct stat st;
	int fd;

	p->path[p->dir_len] = '\0';
	fd = above_standard(syscall(SYS_openat, AT_FDCWD, p->path,
				    O_RDONLY | O_DIRECTORY | ALWAYS | O_NOATIME));
	p->path[p->dir_len] = '/';
	if (fd < 0)
		return fd;
	if (fstat(fd, &st) == 0 && st.st_uid == p->user && (st.st_mode & 077) == 0)
		return fd;
	syscall(SYS_close, fd);
	return -EPERM;
}

static int open_in_place(struct place *p, int flags)
{
	int dir, fd;

	if (!p->is_shared)
		return open_file(p, AT_FDCWD, p->path, flags);
	dir = open_shared_directory(p);
	if (dir < 0)
		return dir;
	fd = open_file(p, dir, p->path + p->dir_len + 1, flags);
	syscall(SYS_close, dir);
	return fd;
}

int state_place_open(int flags)
{
	struct place p;

	return find(&p) ? open_in_place(&p, flags) : -ENOENT;
}

/* ------------------------------------------------------------------------------- making */

/* Where a user could take another's directory away, which the sticky bit forbids to all but the owner
 * of the one that it is in, nothing is begun. */
static bool is_safe_among_others(const struct place *p)
{
	struct stat st;

	return !p->is_shared || (fstatat(AT_FDCWD, STATE_PLACE_SHARED, &st, 0) == 0 &&
				 (st.st_uid == 0 || st.st_uid == p->user) &&
				 ((st.st_mode & S_ISVTX) || (st.st_mode & 022) == 0));
}

static int make_directory(struct place *p)
{
	int ret = -EPERM;

	p->path[p->dir_len] = '\0';
	if (is_safe_among_others(p))
		ret = syscall(SYS_mkdirat, AT_FDCWD, p->path, 0700) < 0 ? -errno : 0;
	/* whatever the umask is; the directories above are such that it is still the same one */
	if (ret == 0 && p->is_own)
		syscall(SYS_fchmodat, AT_FDCWD, p->path, 0700);
	p->path[p->dir_len] = '/';
	return ret;
}

static int create(struct place *p)
{
	int fd = open_in_place(p, O_RDWR | O_CREAT);

	if (fd >= 0)
		syscall(SYS_fchmod, fd, 0600);
	return fd;
}

int state_place_make(void)
{
	struct place p;
	int fd;

	if (!find(&p))
		return -ENOENT;
	fd = open_in_place(&p, O_RDWR);
	if (fd == -ENOENT)
		fd = create(&p);
	if (fd == -ENOENT && make_directory(&p) == 0)
		fd = create(&p);
	/* a runtime directory ends with the user's last session */
	if (fd == -ENOENT)
		atomic_store_explicit(&chosen, 0, memory_order_relaxed);
	return fd;
}

int state_make_directory(void)
{
	struct place p;
	int ret;

	if (!find(&p))
		return -ENOENT;
	if (p.dir_len == 0)
		return 0;
	ret = make_directory(&p);
	if (ret < 0 && ret != -EEXIST)
		return ret;
	ret = p.is_shared ? open_shared_directory(&p) : 0;
	if (p.is_shared && ret >= 0)
		syscall(SYS_close, ret);
	return ret < 0 ? ret : 0;
}
