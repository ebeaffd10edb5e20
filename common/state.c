// SPDX-License-Identifier: MIT
#include "state.h"

#include "clock.h"
#include "quiet.h"
#include "state_file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Raw system calls: libc's are cancellation points, and some are interposed by us. */

struct search {
	bool found;	  /* the key, and its time has not run out */
	bool is_stale;	  /* the key, but its time has */
	long at;	  /* where in the file the key is, else the slot that may go */
	int64_t at_until; /* when that would expire; INT64_MIN: there is nothing in it */
	uint8_t *slot;	  /* what is at `at`, if found, in the block that was read last */
	struct state_times times;
};

int64_t state_now_ms(void)
{
	return clock_ns(CLOCK_REALTIME_COARSE) / 1000000;
}

/* ------------------------------------------------------------------------- the file */

/* Writes the header if there is none. False: the file is not ours, or cannot be written. */
static __attribute__((noinline)) bool claim_file(int fd)
{
	static const uint8_t none[STATE_HEADER_LEN];
	uint8_t ours[STATE_HEADER_LEN], header[STATE_HEADER_LEN] = { 0 };
	struct stat st;

	if (syscall(SYS_pread64, fd, header, sizeof(header), SYS_OFFSET(0)) < 0)
		return false;
	state_header(ours);
	if (memcmp(header, ours, sizeof(ours)) == 0)
		return true;
	return memcmp(header, none, sizeof(none)) == 0 && fstat(fd, &st) == 0 &&
	       st.st_size <= STATE_FILE_MAX && /* images of discs begin with zeros, too */
	       quiet_write(fd, ours, sizeof(ours), 0) == sizeof(ours);
}

static int open_for_writing(void)
{
	int fd = state_place_make();

	if (fd >= 0 && !claim_file(fd)) {
		syscall(SYS_close, fd);
		return -EBADF;
	}
	return fd;
}

/* type: F_WRLCK, without waiting, or F_UNLCK. The lock goes with the open file, not with the
 * process, so the program's own locks know nothing of it. */
static int lock_bucket(int fd, enum state_kind kind, uint32_t first, short type)
{
	struct flock64 lock = {
		.l_type = type,
		.l_whence = SEEK_SET,
		.l_start = (off64_t)first * STATE_BLOCK,
		.l_len = (off64_t)state_shape(kind)->bucket_blocks * STATE_BLOCK,
	};

	return syscall(SYS_FCNTL, fd, F_OFD_SETLK, &lock) == 0 ? 0 : -errno;
}

/* That one errno is for a bucket that another process has locked. */
static int but_not_eagain(int ret)
{
	return ret == -EAGAIN ? -EIO : ret;
}

/* ------------------------------------------------------------------------- its slots */

/* What lies behind the end is zero, and so is what cannot be read: no slot. */
static void read_block(int fd, uint32_t number, uint8_t block[static STATE_BLOCK])
{
	long n = syscall(SYS_pread64, fd, block, (size_t)STATE_BLOCK,
			 SYS_OFFSET((long)number * STATE_BLOCK));

	n = n < 0 ? 0 : n;
	memset(block + n, 0, (size_t)(STATE_BLOCK - n));
}

static void look_at_slot(enum state_kind kind, const void *key, int64_t now_ms, uint8_t *slot,
			 long at, struct search *s)
{
	struct state_times times;
	bool whole = state_slot_is_whole(kind, slot, &times);
	bool holds = whole && state_times_hold(&times, now_ms);
	bool is_key = whole && state_slot_has_key(kind, slot, key);
	int64_t until = holds ? times.until_ms : INT64_MIN;

	s->found = is_key && holds;
	s->is_stale = is_key && !holds;
	if (!is_key && s->at >= 0 && until >= s->at_until)
		return;
	s->at = at;
	s->at_until = until;
	s->slot = slot;
	s->times = times;
}

/* Ends at the key, in whatever state: there is one of each. */
static bool look(int fd, enum state_kind kind, const void *key, int64_t now_ms,
		 uint8_t block[static STATE_BLOCK], struct search *s)
{
	const struct state_shape *shape = state_shape(kind);
	const uint32_t first = state_bucket(kind, key);

	*s = (struct search){ .at = -1 };
	for (uint32_t b = first; b < first + shape->bucket_blocks; b++) {
		read_block(fd, b, block);
		for (unsigned int i = 0; i < STATE_BLOCK; i += shape->slot_len) {
			look_at_slot(kind, key, now_ms, block + i, (long)b * STATE_BLOCK + (long)i,
				     s);
			if (s->found || s->is_stale)
				return s->found;
		}
	}
	return false;
}

/* Not inline: its block and the path of the file are not on the stack together. */
static __attribute__((noinline)) bool get(int fd, enum state_kind kind, const void *key,
					  int64_t now_ms, void *value, struct state_times *times)
{
	uint8_t block[STATE_BLOCK];
	struct search s;

	if (!look(fd, kind, key, now_ms, block, &s))
		return false;
	memcpy(value, state_slot_value(kind, s.slot), state_shape(kind)->value_len);
	*times = s.times;
	return true;
}

bool state_get(enum state_kind kind, const void *key, int64_t now_ms, void *value,
	       struct state_times *times)
{
	int saved_errno = errno, fd = state_place_open(O_RDONLY);
	bool found = false;

	if (fd >= 0) {
		found = get(fd, kind, key, now_ms, value, times);
		syscall(SYS_close, fd);
	}
	errno = saved_errno;
	return found;
}

static int write_slot(int fd, enum state_kind kind, const uint8_t *slot, long at)
{
	const long len = state_shape(kind)->slot_len;
	long n = quiet_write(fd, slot, (size_t)len, at);

	return n == len ? 0 : n < 0 ? -errno : -ENOSPC;
}

static __attribute__((noinline)) int change_locked(int fd, enum state_kind kind, const void *key,
						   int64_t now_ms, state_change_fn *change,
						   void *arg)
{
	uint8_t block[STATE_BLOCK];
	struct search s;

	if (!look(fd, kind, key, now_ms, block, &s)) {
		s.slot = block; /* whatever was read is not needed any more */
		memset(block, 0, sizeof(block));
		if (!s.is_stale)
			s.times = (struct state_times){ 0 };
	}
	if (!change(state_slot_value(kind, s.slot), &s.times, s.found, arg))
		return 0;
	s.times.written_ms = now_ms;
	state_slot_seal(kind, s.slot, key, &s.times);
	return write_slot(fd, kind, s.slot, s.at);
}

int state_update(enum state_kind kind, const void *key, int64_t now_ms, state_change_fn *change,
		 void *arg)
{
	int saved_errno = errno, fd = open_for_writing(), ret = but_not_eagain(fd);
	const uint32_t first = state_bucket(kind, key);

	if (fd >= 0) {
		ret = lock_bucket(fd, kind, first, F_WRLCK);
		if (ret == 0) {
			ret = but_not_eagain(change_locked(fd, kind, key, now_ms, change, arg));
			/* a child of a fork() meanwhile has the open file, and the lock, too */
			lock_bucket(fd, kind, first, F_UNLCK);
		}
		syscall(SYS_close, fd);
	}
	errno = saved_errno;
	return ret;
}

/* It has expired when it is written, and was never of any other time. */
static bool expire(void *value, struct state_times *times, bool found, void *arg)
{
	bool is_there = found || times->written_ms != 0;

	(void)value;
	(void)arg;
	times->until_ms = INT64_MIN;
	return is_there;
}

int state_erase(enum state_kind kind, const void *key, int64_t now_ms)
{
	int ret = state_update(kind, key, now_ms, expire, NULL);

	return ret == -ENOENT ? 0 : ret;
}

void state_each(enum state_kind kind, int64_t now_ms, state_each_fn *each, void *arg)
{
	const struct state_shape *shape = state_shape(kind);
	const uint32_t end = shape->first_block + shape->n_buckets * shape->bucket_blocks;
	int saved_errno = errno, fd = state_place_open(O_RDONLY);
	uint8_t block[STATE_BLOCK];
	struct state_times times;

	for (uint32_t b = shape->first_block; fd >= 0 && b < end; b++) {
		read_block(fd, b, block);
		for (unsigned int i = 0; i < STATE_BLOCK; i += shape->slot_len) {
			if (state_slot_is_whole(kind, block + i, &times) &&
			    state_times_hold(&times, now_ms))
				each(block + i + STATE_SLOT_KEY, state_slot_value(kind, block + i),
				     &times, arg);
		}
	}
	if (fd >= 0)
		syscall(SYS_close, fd);
	errno = saved_errno;
}

int state_clear(void)
{
	int saved_errno = errno, fd = open_for_writing(), ret = fd < 0 ? fd : 0;

	if (fd >= 0) {
		if (syscall(SYS_ftruncate, fd, (long)STATE_HEADER_LEN) < 0)
			ret = -errno;
		syscall(SYS_close, fd);
	}
	errno = saved_errno;
	return ret;
}
