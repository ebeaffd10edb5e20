/* SPDX-License-Identifier: MIT */
/*
 * fuzz.h - what fuzzers share: an assertion, and (reply.c) what a converter may send: a Convert message, changed or
 * not, followed by bytes, and an end, all made of a seed; and what it means, by the second reader of messages
 * (reference.h).
 */
#ifndef FUZZ_H
#define FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* Seen as a crash, in any build. */
#define CHECK(condition)                                                                \
	do {                                                                            \
		if (!(condition)) {                                                     \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
			abort();                                                        \
		}                                                                       \
	} while (0)

#define MESSAGE_MAX 1020
#define DATA_MAX    3000

enum end { END_FIN, END_RST, END_SILENCE };

struct reply {
	uint8_t bytes[MESSAGE_MAX + 64 + DATA_MAX];
	size_t len;
	enum end end;
};

enum meaning {
	MEANS_CONNECTED,
	MEANS_SERVER_ERROR, /* the server has refused, or cannot be reached */
	MEANS_NOTHING,	    /* the converter's own error, or no message */
};

/* The same seed makes the same things. */
void reply_seed(uint64_t seed);
size_t reply_below(size_t n);
bool reply_in_percent(size_t percent);

void reply_make_message(struct reply *r);
void reply_change_message(struct reply *r);
void reply_make(struct reply *r);

/* Closes fd with that end. If it is no RST, the client goes first: nothing that it has sent makes a FIN
 * a RST. */
void reply_finish(int fd, enum end end);

/* What r's bytes mean to a client of RFC 8803; message is then the length of the message. */
enum meaning reply_meaning(const struct reply *r, size_t *message);
uint32_t reply_hash(const uint8_t *bytes, size_t n);

#endif
