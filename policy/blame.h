/* SPDX-License-Identifier: MIT */
/*
 * blame.h - whose fault is it that no reply has come in time?
 *
 * A converter reports the server's silence by its own, so a server that drops packets and a converter
 * that is dead look alike to whoever only waits. What is known besides decides, and what speaks against
 * somebody else is not told of the converter (health.h). What nobody can tell is: it costs it one limit.
 *
 * What cannot be told apart by looking: a converter in user space that has stopped behind a kernel that
 * still answers; and one that holds its SYN+ACK until the server has answered, as the draft has it,
 * from one that is gone. Then BLAME_UNCLEAR, and the converter is asked something that it answers
 * without a server: an Info TLV. What answers that and no Connect TLV (its own way to the servers is
 * cut) is found out by the direct connection that follows, if that finds the server well.
 *
 * Pure: facts in, verdict out.
 */
#ifndef CVT_BLAME_H
#define CVT_BLAME_H

#include <stdbool.h>

/* Of an attempt to get a reply. */
struct blame_facts {
	bool has_syn_ack; /* the connection to the converter is established */
	bool has_sent;	  /* the whole Convert message is the kernel's, if only in its SYN ... */
	bool has_ack;	  /* ... and nothing of it is unacknowledged */
	bool has_begun;	  /* some of the reply has come */
	bool is_alive;	  /* it has answered others since: has spoken of another server, say */
	bool was_asked;	  /* an Info TLV, and has not answered that either */
};

enum blame {
	BLAME_NOBODY,	 /* we have not asked; or only this connection's packets are lost */
	BLAME_SERVER,	 /* the converter is there and has the message */
	BLAME_CONVERTER, /* it has the message and does nothing about it */
	BLAME_PATH,	 /* nothing comes from there: nobody can tell from here what is broken */
	BLAME_UNCLEAR,	 /* the server's or the converter's */
};

enum blame blame(const struct blame_facts *f);
/* Does it count as a failure of the converter? */
bool blame_counts(enum blame b);
/* For the log: "no reply in time, by the server's silence". */
const char *blame_text(enum blame b);

#endif
