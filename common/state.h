/* SPDX-License-Identifier: MIT */
/*
 * state.h - the file in which one process remembers for the next (D7): state_file.h has its bytes, and what the
 * values mean policy/servers.h and policy/health.h.
 *
 * A table of fixed size: a key's hash names a bucket of 512-byte blocks, which is all that is ever
 * read or written for that key; if it is full, the slot that would have expired first goes. Each
 * slot carries a checksum over all that it holds, so a slot is whole or it is not there. The file
 * is sparse and never longer than STATE_FILE_MAX.
 *
 * Promises: whatever is wrong with the file (missing, another's, cut, noise, another version, read
 * only, no room) is a miss or a lost write, and neither an error nor a wrong answer. A file that
 * does not start as ours is never written to. No descriptor stays open, nothing is mapped, no
 * lock is waited for; raw system calls, no memory but less than 1 KiB of stack; errno untouched; no
 * signal that a write raises reaches the program.
 * Never: what the bytes mean (policy/).
 */
#ifndef CVT_STATE_H
#define CVT_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum state_kind {
	STATE_SERVER,	 /* 16384 slots of 64 bytes, 8 to a bucket */
	STATE_CONVERTER, /* 128 slots of 512 bytes, 4 to a bucket */
};

#define STATE_SERVER_KEY      18
#define STATE_SERVER_VALUE    22
#define STATE_CONVERTER_KEY   26
#define STATE_CONVERTER_VALUE 462

#define STATE_BLOCK    512
#define STATE_FILE_MAX ((1 + 2048 + 128) * STATE_BLOCK) /* 1,114,624 bytes, the header included */
#define STATE_PATH_MAX 512
#define STATE_TEXT_MAX (STATE_PATH_MAX + 32) /* of a path, with what is put behind a directory */
#define STATE_FOREVER  INT64_MAX

/* Moments are CLOCK_REALTIME in milliseconds: the file may outlive the boot. */
struct state_times {
	int64_t written_ms;
	int64_t until_ms; /* STATE_FOREVER: no expiry, and the last to make room for another */
};

/* path: copied; NULL, "none", or longer than STATE_PATH_MAX: there is no file. It is made with
 * mode 0600 by the first write, its directory (that one only) with 0700. */
void state_setup(const char *path);
/* The file of whatever user the process is by then (state_file.h). runtime_dir: copied, or NULL. */
void state_setup_own(const char *runtime_dir);
/* Whether there is to be one. */
bool state_is_kept(void);
/* "" if there is none. For people's tools: the next call changes it. */
const char *state_path(void);
/* As the first write would. -errno: there is none that could be trusted. */
int state_make_directory(void);
/* Now, by the coarse clock: no system call. */
int64_t state_now_ms(void);

/* key and value have the sizes of the kind. False: a miss. At most 5 system calls, and 3
 * more for STATE_CONVERTER, and for a user without a runtime directory. */
bool state_get(enum state_kind kind, const void *key, int64_t now_ms, void *value,
	       struct state_times *times);

/* Changes the value in place, which is all zero if nothing was found. until_ms is its to set,
 * written_ms becomes now; before, they are 0 or say when what is not found was there. Returns
 * false if there is nothing to write. Must not wait: the bucket is locked against other processes
 * meanwhile. */
typedef bool state_change_fn(void *value, struct state_times *times, bool found, void *arg);
/* Reads, changes and writes one key. -EAGAIN: another process is just doing so, and nothing was
 * done; other -errno: nothing could be written. */
int state_update(enum state_kind kind, const void *key, int64_t now_ms, state_change_fn *change,
		 void *arg);
/* As if it had never been there. -errno, as above. */
int state_erase(enum state_kind kind, const void *key, int64_t now_ms);

/* All that is there and has not expired, in no order. For people's tools. */
typedef void state_each_fn(const void *key, const void *value, const struct state_times *times,
			   void *arg);
void state_each(enum state_kind kind, int64_t now_ms, state_each_fn *each, void *arg);
/* Forgets everything. -EBADF: it does not start as ours and is left alone; other -errno. */
int state_clear(void);

#endif
