/* SPDX-License-Identifier: MIT */
/*
 * like.h - a socket of ours that is like the program's, whose own calls nobody has seen: what they have
 * set is what the kernel says and a new socket does not.
 */
#ifndef CVT_LIKE_H
#define CVT_LIKE_H

#include <stdbool.h>
#include <stdint.h>

#define LIKE_OPTIONS 52

/* What was set, as far as it is an int: so that what is set later is seen. */
struct like {
	int values[LIKE_OPTIONS];
	int family, protocol;
	bool bound, lends; /* its port */
};

/* Without blocking, with a note (notes.h), and bound where that one is, which lends its port for that
 * until like_bound(). A negative errno: there is none. */
int like_open(int theirs, struct like *is);
void like_bound(int theirs, const struct like *is);
void like_close(int ours);
/* What has been set on theirs, of this process, since then, on ours. */
void like_again(int theirs, int process, const struct like *is, int ours);
/* From the network that we are in? */
bool like_is_here(int theirs);

#endif
