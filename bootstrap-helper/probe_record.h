/* SPDX-License-Identifier: MIT */
/* probe_record.h - what a probe has found, told to all programs through the state file. */
#ifndef CVT_PROBE_RECORD_H
#define CVT_PROBE_RECORD_H

#include "probe.h"

/* started_ms: when the probe began (CLOCK_REALTIME). Returns whether there was anything to tell.
 * It speaks against a converter only if a Connect would not even begin, or is not wanted for now:
 * nothing else that Info meets says what a Connect would. */
bool probe_record(const struct probe_request *q, const struct probe *p,
		  const struct health_key *key, unsigned int retry_ms, int64_t started_ms);

#endif
