/* SPDX-License-Identifier: MIT */
/*
 * servers_int.h - what the files servers*.c share; nobody else includes it.
 */
#ifndef CVT_SERVERS_INT_H
#define CVT_SERVERS_INT_H

#include "servers.h"

#define SERVERS_SHIFTS_MAX 8 /* SERVERS_HOLD_MS << 8 is more than SERVERS_KEEP_MS */

enum servers_news_kind {
	SERVERS_NEWS_LEARNED,
	SERVERS_NEWS_WITHDRAWN,
	SERVERS_NEWS_BAD_COOKIE,
	SERVERS_NEWS_PINNED
};

struct servers_news {
	enum servers_news_kind kind;
	enum servers_verdict verdict;
	struct cvt_span tfo_cookie;
	int64_t now_ms;
	struct servers_entry entry; /* what only we know; out: as it is in the file afterwards */
};

/* Returns whether e has changed. */
bool servers_apply(struct servers_entry *e, const struct servers_news *n);

#endif
