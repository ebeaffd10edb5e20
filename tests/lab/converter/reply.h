/* SPDX-License-Identifier: MIT */
/*
 * reply.h - the converter's one message in its direction (S-01, S-06, S-09, S-13).
 *
 * Promises: pure; the dialect is the configured one.
 */
#ifndef LAB_REPLY_H
#define LAB_REPLY_H

#include "options.h"
#include "request.h"
#include "wire.h"

/* Does a success with this request carry the Extended TCP Header TLV (S-09, --ext-header)? */
bool reply_wants_ext_header(const struct request *r, const struct options *o);
/* Both give the message's length, or -errno if it cannot be written. ext: NULL or the server's
 * option bytes. */
int reply_success(uint8_t out[static CVT_MSG_MAX], const struct request *r, const struct options *o,
		  const struct cvt_span *ext);
int reply_failure(uint8_t out[static CVT_MSG_MAX], const struct request *r, const struct options *o,
		  const struct failure *f);

#endif
