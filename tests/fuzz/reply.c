// SPDX-License-Identifier: MIT
#include "fuzz.h"

#include "reference.h"

#include <sys/socket.h>
#include <unistd.h>

static uint64_t seed;

void reply_seed(uint64_t value)
{
	seed = value;
}

size_t reply_below(size_t n) /* splitmix64 */
{
	uint64_t z = seed += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return (size_t)((z ^ z >> 31) % n);
}

bool reply_in_percent(size_t percent)
{
	return reply_below(100) < percent;
}

/* ----------------------------------------------------------------------- a message */

static void put(struct reply *r, uint8_t byte)
{
	r->bytes[r->len++] = byte;
}

static void put_random(struct reply *r, size_t n)
{
	while (n-- > 0)
		put(r, (uint8_t)reply_below(256));
}

/* Options of a SYN+ACK, of which the client looks for MP_CAPABLE. */
static void put_options(struct reply *r, size_t words)
{
	size_t left = words * 4;

	while (left >= 12 && reply_in_percent(70)) {
		uint8_t len = (uint8_t)(2 + reply_below(10));

		put(r, reply_in_percent(50) ? 30 : (uint8_t)reply_below(256));
		put(r, reply_in_percent(90) ? len : (uint8_t)reply_below(256));
		put_random(r, len - 2U);
		left -= len;
	}
	while (left-- > 0)
		put(r, reply_in_percent(80) ? 0 : 1);
}

static void put_tlv(struct reply *r)
{
	static const uint8_t types[] = { 20, 20, 20, 30, 30, 21, 22, 1, 10, 0, 99, 200 };
	static const uint8_t codes[] = { 0, 1, 2, 3, 32, 33, 64, 65, 96, 96, 97, 97, 31, 95, 128 };
	uint8_t type = types[reply_below(sizeof(types))], words = (uint8_t)(1 + reply_below(5));

	if (type == 10)
		words = 5;
	put(r, type);
	put(r, words);
	if (type == 30)
		put(r, codes[reply_below(sizeof(codes))]);
	else
		put(r, 0);
	put(r, reply_in_percent(80) ? 0 : (uint8_t)reply_below(256));
	if (type == 20)
		put_options(r, words - 1U);
	else
		put_random(r, 4 * (words - 1U));
}

void reply_make_message(struct reply *r)
{
	put(r, 1);
	put(r, 0);
	put(r, 0x22);
	put(r, 0x63);
	if (reply_in_percent(60))
		put_tlv(r);
	while (reply_in_percent(15))
		put_tlv(r);
	r->bytes[1] = (uint8_t)(r->len / 4);
}

/* One byte, a length, a piece too many or too few. */
void reply_change_message(struct reply *r)
{
	size_t at = reply_below(r->len), n = 1 + reply_below(8);

	switch (reply_below(6)) {
	case 0:
		r->bytes[at] ^= (uint8_t)(1U << reply_below(8));
		break;
	case 1:
		r->bytes[at] = (uint8_t)reply_below(256);
		break;
	case 2:
		r->bytes[1] = (uint8_t)(r->bytes[1] + reply_below(5) - 2);
		break;
	case 3:
		if (r->len > 5)
			r->bytes[5] = (uint8_t)(r->bytes[5] + reply_below(5) - 2);
		break;
	case 4:
		if (r->len > n + 1)
			r->len -= n;
		break;
	case 5:
		put_random(r, n);
		break;
	}
}

void reply_make(struct reply *r)
{
	r->len = 0;
	reply_make_message(r);
	for (size_t changes = reply_in_percent(50) ? 0 : 1 + reply_below(3); changes > 0; changes--)
		reply_change_message(r);
	if (reply_in_percent(70))
		put_random(r, reply_below(DATA_MAX));
	if (reply_in_percent(10)) /* the end comes somewhere */
		r->len = reply_below(r->len + 1);
	r->end = reply_in_percent(90) ? END_FIN : reply_in_percent(70) ? END_RST : END_SILENCE;
}

/* --------------------------------------------------------------------------- its end */

void reply_finish(int fd, enum end end)
{
	const struct linger at_once = { .l_onoff = 1 };
	char rest[512];

	if (end == END_RST)
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
	if (end == END_FIN)
		shutdown(fd, SHUT_WR);
	if (end != END_RST)
		while (recv(fd, rest, sizeof(rest), 0) > 0)
			;
	close(fd);
}

/* ----------------------------------------------------------------------- what it is */

uint32_t reply_hash(const uint8_t *bytes, size_t n) /* FNV-1a */
{
	uint32_t h = 2166136261;

	for (size_t i = 0; i < n; i++)
		h = (h ^ bytes[i]) * 16777619;
	return h;
}

enum meaning reply_meaning(const struct reply *r, size_t *message)
{
	const struct ref ref = ref_read(r->bytes, r->len, CVT_DIALECT_RFC8803, CVT_TO_CLIENT);
	const struct ref_range error = ref.tlv[CVT_TLV_ERROR];

	*message = ref.len;
	if (ref.faults != 0)
		return MEANS_NOTHING;
	if (error.len == 0)
		return MEANS_CONNECTED;
	/* RFC 8803 6.2.8: 96 to 127 are about the server */
	return r->bytes[error.at + 2] / 32 == 3 ? MEANS_SERVER_ERROR : MEANS_NOTHING;
}
