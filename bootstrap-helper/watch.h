/* SPDX-License-Identifier: MIT */
/*
 * watch.h - what `run --watch` waits for: changes of addresses and routes, the time, and its end.
 *
 * Promises: one wait, without any turn in vain; changes that come in a flurry are one.
 */
#ifndef CVT_WATCH_H
#define CVT_WATCH_H

#include <stdint.h>

struct watch {
	int network; /* rtnetlink */
	int signals; /* readable when SIGTERM or SIGINT has come, and from then on */
	int lock;
};

enum watch_event { WATCH_TIME, WATCH_NETWORK, WATCH_STOP };

/* state_file: that of state.h, "" for none. -EBUSY: another process watches for it; other -errno. */
int watch_open(struct watch *w, const char *state_file);
enum watch_event watch_wait(const struct watch *w, int64_t ms);
void watch_close(struct watch *w);

#endif
