/* SPDX-License-Identifier: MIT */
/*
 * mappings_file.h - what `map` keeps of its mappings beside the state file, in FILE.mappings: for itself,
 * when it is started anew and its mappings are still there, which only their nonces give a say in;
 * and for those who ask how it stands. FILE.map is locked while somebody keeps them.
 *
 * Promises: readers find the old file or the new one, whole; what is another user's is not read.
 */
#ifndef CVT_MAPPINGS_FILE_H
#define CVT_MAPPINGS_FILE_H

#include "pcp.h"

struct mapping_record {
	struct addr server, client, external; /* external.port 0: none */
	uint8_t nonce[PCP_NONCE_LEN];
	int64_t until_ms; /* of mappings_now_ms(); 0: there is no mapping */
	int result;	  /* as in mapping.h */
	int err;	  /* errno of the last request, 0 if there was none */
	bool is_left;	  /* by a process that is no more; who writes it does not keep it */
};

/* Goes on while the host sleeps, as a mapping's time does, and nobody sets it. */
int64_t mappings_now_ms(void);
/* From malloc(); what cannot be read is none. Of what was there before the host was started, the time
 * is not known: until_ms is 0. */
struct mapping_record *mappings_file_read(size_t *n);
/* None takes the file away. 0 or -errno, and then the file is what it was. */
int mappings_file_write(const struct mapping_record *all, size_t n);
/* Valid until it is closed. -EBUSY: somebody has it; -ENOENT: there is no state; other -errno. */
int mappings_file_lock(void);
bool mappings_file_is_locked(void);

#endif
