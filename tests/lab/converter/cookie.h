/* SPDX-License-Identifier: MIT */
/*
 * cookie.h - the cookie that proves that a client can receive at its address (S-12).
 *
 * Promises: the same client gets the same cookie for the life of the process, and nobody can
 * tell another one's: it is SipHash-2-4 of the address under a random key.
 * Never: keeps anything per client.
 */
#ifndef LAB_COOKIE_H
#define LAB_COOKIE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define COOKIE_LEN 8 /* bytes: two words on the wire */

/* Draws the key. -errno of getrandom. */
int cookie_init(void);
void cookie_compute(const uint8_t ip[static 16], uint8_t cookie[static COOKIE_LEN]);
/* Takes the same time wherever the difference is. */
bool cookie_equal(const uint8_t *a, size_t a_len, const uint8_t *b, size_t b_len);

#endif
