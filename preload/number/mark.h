/* SPDX-License-Identifier: MIT */
/*
 * mark.h - what can be believed of a descriptor number.
 */
#ifndef CVT_MARK_H
#define CVT_MARK_H

#include <stdbool.h>

enum mark {
	MARK_UNKNOWN,	 /* nothing known: ask the kernel */
	MARK_TCP,	 /* made by our socket() as a TCP stream, not connected by us */
	MARK_TCP_SET,	 /* the same, and an option was set on it that connecting has to know */
	MARK_TCP_COPIED, /* the same, and there may be other numbers for it */
	MARK_FELL_BACK, /* the same: the kernel connects it directly, as a converter was silent; what
			 * comes of that tells whose fault it was */
	MARK_OTHER,	/* made by our socket() as something else */
	MARK_OPENING,	/* a connect() is just deciding what to do with it */
	MARK_BYPASS,	/* a twin (twin.h) that is connected, or connecting, to the server itself */
	MARK_PENDING,	/* a conversion is under way */
	MARK_FAILED,	/* a conversion failed and the program has not been told yet */
	MARK_FAILED_TOLD,
	MARK_UP, /* converted: getpeername() still needs us */
};

/* Made as a TCP stream by our socket(), and not a converted connection. */
static inline bool mark_is_fresh(enum mark mark)
{
	return mark >= MARK_TCP && mark <= MARK_FELL_BACK;
}

static inline bool mark_may_have_copies(enum mark mark)
{
	return mark == MARK_TCP_COPIED || mark == MARK_FELL_BACK;
}

/* Is a direct connection of it worth a look, once it is there? */
static inline bool mark_is_watched(enum mark mark)
{
	return mark == MARK_BYPASS || mark == MARK_FELL_BACK;
}

static inline bool mark_has_record(enum mark mark)
{
	return mark >= MARK_PENDING;
}

static inline bool mark_has_failed(enum mark mark)
{
	return mark == MARK_FAILED || mark == MARK_FAILED_TOLD;
}

/* May it be converted yet, or is it being, perhaps by another socket under the number? */
static inline bool mark_is_unfinished(enum mark mark)
{
	return mark_is_fresh(mark) || mark == MARK_PENDING || mark_has_failed(mark);
}

static inline bool mark_is_unsettled(enum mark mark)
{
	return mark == MARK_PENDING || mark == MARK_FAILED;
}

#endif
