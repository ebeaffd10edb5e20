/* SPDX-License-Identifier: MIT */
/*
 * state_file.h - the state file as bytes (state_slot.c) and as a file (state_place.c). For state.c, for tools that
 * judge such a file, for tests and the fuzzer.
 *
 * Bytes: which bucket is a key's, which slots are whole. Promises: pure functions over bytes in memory, any
 * bytes; nothing is found that was not sealed under the same kind, key and version.
 *
 * File: which it is, and opening it, for every single thing that state.c reads or writes; state_place.c has
 * those of state.h's functions that say where it is.
 *
 * If nobody has said, it is the file of the user that the process is now: a daemon that drops its
 * rights leaves root's file behind. It is the first that there is of
 *	$XDG_RUNTIME_DIR/convert/state	if that directory is the user's own,
 *	/run/convert/state		for root,
 *	/run/user/UID/convert/state	likewise,
 *	/dev/shm/convert-UID/state	for those who have no runtime directory.
 * The last stands among everybody's files, where another user may have been first. What is in a
 * directory that is this user's and that he alone may enter is his own, whoever the neighbours are:
 * a directory cannot be had by a hard link, nor be moved here by somebody who may not write to it. So
 * that is what is looked at, each time, on the open directory; no sysctl (fs.protected_*) is needed.
 *
 * Promises: a file that is opened is a regular one of this user's or of root's, and nobody else can
 * write it; no link is followed at its end, no FIFO waited for. Where that cannot be had: -errno.
 */
#ifndef CVT_STATE_FILE_H
#define CVT_STATE_FILE_H

#include "state.h"

#include <sys/syscall.h>

/* ---- bytes */

#define STATE_VERSION	 1 /* of the layout; the checksums of another one do not match */
#define STATE_HEADER_LEN 64
#define STATE_MAGIC_LEN	 14 /* at its beginning, of every version */

/* A slot: checksum, written_ms, until_ms, key, value; integers in the host's order. */
#define STATE_SLOT_KEY 24

struct state_shape {
	uint16_t slot_len, key_len, value_len;
	uint16_t bucket_blocks; /* blocks of a bucket, one behind the other */
	uint32_t first_block, n_buckets;
};

const struct state_shape *state_shape(enum state_kind kind);
/* The first block of the key's bucket. */
uint32_t state_bucket(enum state_kind kind, const void *key);

/* "CONVERT-STATE" and the version, the rest zero. */
void state_header(uint8_t header[static STATE_HEADER_LEN]);

/* Is the slot whole? Then its times are filled in. */
bool state_slot_is_whole(enum state_kind kind, const uint8_t *slot, struct state_times *times);
/* Neither expired, nor written before 1970, nor more than a minute from now: the clock has been set
 * back, and then nobody knows how old it is. Of what has no expiry nobody need know. */
bool state_times_hold(const struct state_times *times, int64_t now_ms);
bool state_slot_has_key(enum state_kind kind, const uint8_t *slot, const void *key);
/* The value is in place; fills in everything else. */
void state_slot_seal(enum state_kind kind, uint8_t *slot, const void *key,
		     const struct state_times *times);
uint8_t *state_slot_value(enum state_kind kind, uint8_t *slot);

/* ---- the file */

#ifdef SYS_fcntl64
#define SYS_FCNTL SYS_fcntl64
#else
#define SYS_FCNTL SYS_fcntl
#endif

#define STATE_PLACE_ROOT   "/run"
#define STATE_PLACE_USERS  "/run/user/"
#define STATE_PLACE_SHARED "/dev/shm"

/* O_RDONLY or O_RDWR. */
int state_place_open(int flags);
/* O_RDWR; makes it if it is not there: mode 0600, and its directory, that one only, with 0700. */
int state_place_make(void);

#endif
