/* SPDX-License-Identifier: MIT */
/*
 * handover.h - descriptors that leave this process.
 */
#ifndef CVT_HANDOVER_H
#define CVT_HANDOVER_H

#include <sys/socket.h>

/* As conn_finish(), after the SYN if that is deferred. errno is kept. */
void handover_finish(int fd);
/* The same where what we are called by is no cancellation point. */
void handover_finish_uncancelled(int fd);
/* msg is about to be sent: brings every pending descriptor in it to its end. errno is kept. */
void handover_sent(const struct msghdr *msg);
void handover_all_sent(const struct mmsghdr *msgs, unsigned int n);
/* Signals say from now on what becomes of fd, and one may be the last: so what is pending is brought to its end. Who
 * has accepted it waits for data. errno is kept. */
void handover_to_signals(int fd);
/* fd is about to be duplicated: a vfork child does that for the program that it becomes, and no record is kept of
 * its numbers, so it brings the connection to its end. errno is kept. */
void handover_duplicated(int fd);
/* msg has been sent, so that it can be read: of what is in it another process has the socket, too, and no twin
 * takes its place. errno is kept. */
void handover_given(const struct msghdr *msg);
/* The same for what sendmsg() or sendmmsg() has returned, which is r; nothing where no control data went along. */
static inline long handover_gave(long r, const struct msghdr *msg)
{
	if (r >= 0 && msg->msg_controllen)
		handover_given(msg);
	return r;
}
static inline long handover_gave_all(long r, const struct mmsghdr *msgs)
{
	for (long i = 0; i < r; i++)
		handover_gave(0, &msgs[i].msg_hdr);
	return r;
}

#endif
