// SPDX-License-Identifier: MIT
#include "converter.h"

#include <errno.h>
#include <sys/random.h>

static uint8_t secret[16];

static uint64_t rotl(uint64_t x, unsigned int by)
{
	return x << by | x >> (64 - by);
}

/* Little-endian, as SipHash defines its words. */
static uint64_t word(const uint8_t *p, size_t n)
{
	uint64_t w = 0;

	while (n--)
		w = w << 8 | p[n];
	return w;
}

static void rounds(uint64_t v[static 4], int n)
{
	while (n--) {
		v[0] += v[1];
		v[2] += v[3];
		v[1] = rotl(v[1], 13) ^ v[0];
		v[3] = rotl(v[3], 16) ^ v[2];
		v[0] = rotl(v[0], 32);
		v[2] += v[1];
		v[0] += v[3];
		v[1] = rotl(v[1], 17) ^ v[2];
		v[3] = rotl(v[3], 21) ^ v[0];
		v[2] = rotl(v[2], 32);
	}
}

static void absorb(uint64_t v[static 4], uint64_t m)
{
	v[3] ^= m;
	rounds(v, 2);
	v[0] ^= m;
}

/* SipHash-2-4 (Aumasson and Bernstein, 2012). */
static uint64_t siphash24(const uint8_t key[static 16], const uint8_t *bytes, size_t len)
{
	uint64_t k0 = word(key, 8), k1 = word(key + 8, 8);
	uint64_t v[4] = { k0 ^ 0x736f6d6570736575, k1 ^ 0x646f72616e646f6d, k0 ^ 0x6c7967656e657261,
			  k1 ^ 0x7465646279746573 };
	size_t whole = len / 8 * 8;

	for (size_t i = 0; i < whole; i += 8)
		absorb(v, word(bytes + i, 8));
	absorb(v, (uint64_t)len << 56 | word(bytes + whole, len - whole));
	v[2] ^= 0xff;
	rounds(v, 4);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

int cookie_init(void)
{
	return getrandom(secret, sizeof(secret), 0) == sizeof(secret) ? 0 : -errno;
}

void cookie_compute(const uint8_t ip[static 16], uint8_t cookie[static COOKIE_LEN])
{
	uint64_t hash = siphash24(secret, ip, 16);

	for (int i = 0; i < COOKIE_LEN; i++)
		cookie[i] = (uint8_t)(hash >> (8 * i));
}

bool cookie_equal(const uint8_t *a, size_t a_len, const uint8_t *b, size_t b_len)
{
	uint8_t difference = 0;

	if (a_len != b_len)
		return false;
	for (size_t i = 0; i < a_len; i++)
		difference |= a[i] ^ b[i];
	return difference == 0;
}
