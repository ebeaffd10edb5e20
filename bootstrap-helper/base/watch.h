/* SPDX-License-Identifier: MIT */
/*
 * watch.h - what `run --watch` waits for: changes of addresses and routes, the time, and its end.
 * Also for `map`.
 *
 * Promises: one wait, without any turn in vain; changes that come in a flurry are one.
 */
#ifndef CVT_WATCH_H
#define CVT_WATCH_H

#include <stdint.h>

struct watch {
	int network; /* rtnetlink */
	int signals; /* readable when SIGTERM, SIGINT or SIGHUP has come, and from then on; but for ignored ones */
	int lock;
	int also;  /* whatever else is waited for; -1: nothing */
	int alarm; /* a timerfd: poll()'s own time stands still while the host sleeps */
};

#define WATCH_NONE                                                                \
	{                                                                         \
		.network = -1, .signals = -1, .lock = -1, .also = -1, .alarm = -1 \
	}

enum watch_event { WATCH_TIME, WATCH_NETWORK, WATCH_ALSO, WATCH_STOP };

/* state_file: that of state.h, "" for none. -EBUSY: another process watches for it; other -errno. */
int watch_open(struct watch *w, const char *state_file);
/* ms go on while the host sleeps. */
enum watch_event watch_wait(const struct watch *w, int64_t ms);
/* STATE-FILE.ENDING, locked; close() it. -errno as watch_open(). */
int watch_lock(const char *state_file, const char *ending);
/* Takes the signals that have come: only further ones are WATCH_STOP. */
void watch_again(const struct watch *w);
void watch_close(struct watch *w);

#endif
