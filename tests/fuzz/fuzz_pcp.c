// SPDX-License-Identifier: MIT
/*
 * The Port Control Protocol's messages. Input: a message, as a server and as a client gets it. Asserted:
 * what is read of it is what stands at the places that RFC 6887's figures give it; what was read and is
 * written again is read as the same; whatever a server answers, a client can read, and finds what it
 * asked for in it.
 */
#include "fuzz.h"
#include "pcp.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint64_t number(const uint8_t *p, size_t len)
{
	uint64_t n = 0;

	for (size_t i = 0; i < len; i++)
		n = n * 256 + p[i];
	return n;
}

static void check_map(const struct pcp_map *m, const uint8_t *p)
{
	CHECK(memcmp(m->nonce, p, 12) == 0);
	CHECK(m->protocol == p[12]);
	CHECK(m->internal_port == number(p + 16, 2) && m->external.port == number(p + 18, 2));
	CHECK(memcmp(m->external.ip, p + 20, 16) == 0);
}

static void check_same_map(const struct pcp_map *a, const struct pcp_map *b)
{
	CHECK(memcmp(a->nonce, b->nonce, 12) == 0 && a->protocol == b->protocol);
	CHECK(a->internal_port == b->internal_port && a->external.port == b->external.port);
	CHECK(addr_equal_ip(&a->external, &b->external));
}

static void check_response(const uint8_t *data, size_t size)
{
	struct pcp_response r;

	if (!pcp_read_response(&r, data, size))
		return;
	CHECK(size >= 4 && data[1] >= 128);
	CHECK(r.version == data[0] && r.opcode == data[1] - 128 && r.result == data[3]);
	if (r.version != 2) {
		CHECK(r.result == 1 && !r.has_map);
		return;
	}
	CHECK(size >= 24 && size <= 1100 && size % 4 == 0);
	CHECK(r.lifetime_s == number(data + 4, 4) && r.epoch_s == number(data + 8, 4));
	CHECK(r.has_map == (r.opcode == 1 && size >= 60));
	CHECK(r.has_map || r.result || r.opcode != 1);
	if (r.has_map)
		check_map(&r.map, data + 24);
}

/* Every answer that a server may give, as the client sees it. */
static void check_answer(const struct pcp_request *q, uint8_t result, const uint8_t *data,
			 size_t size)
{
	struct pcp_response r = { .version = 2, .result = result, .lifetime_s = 7, .epoch_s = 9 };
	uint8_t out[PCP_MESSAGE_MAX];
	struct pcp_response back;
	size_t n;

	r.map = q->map;
	n = pcp_write_response(out, &r, data, size, q->prefer_failure);
	CHECK(n <= sizeof(out) && pcp_read_response(&back, out, n));
	CHECK(back.result == result && back.lifetime_s == 7 && back.epoch_s == 9);
	CHECK(back.opcode == (data[1] & 127));
	CHECK(back.has_map || result || back.opcode != PCP_MAP);
	if (back.has_map && !result)
		check_same_map(&back.map, &q->map);
	else if (back.has_map && size >= 60)
		check_map(&back.map, data + 24);
}

static void check_request(const uint8_t *data, size_t size)
{
	uint8_t out[PCP_MAP_LEN + PCP_OPTION_LEN];
	struct pcp_request q, again;
	int result = pcp_read_request(&q, data, size);
	size_t n;

	CHECK((result < 0) == (size < 2 || data[1] >= 128));
	if (result < 0)
		return;
	CHECK((result == PCP_UNSUPP_VERSION) == (data[0] != 2));
	check_answer(&q, (uint8_t)result, data, size);
	if (result)
		return;
	check_answer(&q, PCP_NO_RESOURCES, data, size);
	CHECK(size >= 24 && size <= 1100 && size % 4 == 0 && data[1] <= 1);
	CHECK(q.lifetime_s == number(data + 4, 4) && memcmp(q.client.ip, data + 8, 16) == 0);
	if (q.opcode == PCP_MAP)
		check_map(&q.map, data + 24);
	n = pcp_write_request(out, &q);
	CHECK(n <= size && memcmp(out, data, 2) == 0 && memcmp(out + 4, data + 4, 20) == 0);
	CHECK(pcp_read_request(&again, out, n) == 0);
	CHECK(again.opcode == q.opcode && again.lifetime_s == q.lifetime_s);
	CHECK(again.prefer_failure == q.prefer_failure && addr_equal_ip(&again.client, &q.client));
	check_same_map(&again.map, &q.map);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	check_request(data, size);
	check_response(data, size);
	return 0;
}
