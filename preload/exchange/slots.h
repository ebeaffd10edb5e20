/* SPDX-License-Identifier: MIT */
/*
 * slots.h - where exchanges live, and who may touch one.
 */
#ifndef CVT_SLOTS_H
#define CVT_SLOTS_H

#include "exchange.h"

/* A free slot for this socket, or NULL: too many exchanges at once, or no memory. */
struct exchange *exchange_new(uint64_t sock_cookie);
/* By its index, whatever that is; NULL: there has been none there yet. */
struct exchange *exchange_at(uint32_t index);
uint16_t exchange_index(const struct exchange *u);

/* Who is asking: unique among the threads of all processes that share the exchanges. Only after
 * the first exchange_new(). exchange_in_child() is for the child's side of fork(). */
uint32_t exchange_thread(void);
void exchange_before_fork(void);
void exchange_in_child(void);

/* Never waits: whoever does not get the lock sees the connection as still pending. That is also what
 * keeps a signal handler from waiting for the frame that it interrupted. */
bool exchange_try_lock(struct exchange *u);
void exchange_unlock(struct exchange *u);

/* Has this thread been interrupted, by a signal whose handler is asking now, where it alone can get
 * an exchange further? Then no wait of ours may wait (D5a). enter/leave mark such places. */
bool exchange_is_interrupted(void);
void exchange_enter(void);
void exchange_leave(void);

#endif
