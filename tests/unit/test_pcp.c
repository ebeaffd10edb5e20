// SPDX-License-Identifier: MIT
/* The Port Control Protocol's messages, byte by byte as the figures of RFC 6887 have them. */
#include "pcp.h"
#include "reference.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define NONCE	 "000102030405060708090a0b"
#define V4(last) "00000000000000000000ffff" last
#define ANY_V4	 V4("00000000")

/* for an hour: 10.1.0.1's TCP port 8080, as 192.0.2.7's port 80 if that can be */
#define MAP "02010000 00000e10" V4("0a010001") NONCE "06000000 1f900050" V4("c0000207")
#define GRANTED                                                     \
	"02810000 00000e10 00001234 000000000000000000000000" NONCE \
	"06000000 1f901f91" V4("cb007109")

static struct pcp_request map_request(void)
{
	struct pcp_request q = { .opcode = PCP_MAP,
				 .lifetime_s = 3600,
				 .map = { .protocol = PCP_TCP, .internal_port = 8080 } };

	for (uint8_t i = 0; i < PCP_NONCE_LEN; i++)
		q.map.nonce[i] = i;
	addr_parse(&q.client, "10.1.0.1");
	addr_parse(&q.map.external, "192.0.2.7");
	q.map.external.port = 80;
	return q;
}

static void assert_bytes(const uint8_t *got, size_t len, const char *hex)
{
	uint8_t want[PCP_MESSAGE_MAX];
	size_t n = unhex(hex, want);

	assert_int_equal(len, n);
	assert_memory_equal(got, want, n);
}

/* A copy of its own size, so that AddressSanitizer sees a read behind it. */
static bool read_response(struct pcp_response *r, const uint8_t *bytes, size_t len)
{
	uint8_t *copy = test_malloc(len ? len : 1);
	bool ok;

	memcpy(copy, bytes, len);
	ok = pcp_read_response(r, copy, len);
	test_free(copy);
	return ok;
}

static int read_request(struct pcp_request *q, const uint8_t *bytes, size_t len)
{
	uint8_t *copy = test_malloc(len ? len : 1);
	int result;

	memcpy(copy, bytes, len);
	result = pcp_read_request(q, copy, len);
	test_free(copy);
	return result;
}

static int read_hex(struct pcp_request *q, const char *hex)
{
	uint8_t bytes[2 * PCP_MESSAGE_MAX];

	return read_request(q, bytes, unhex(hex, bytes));
}

static void requests_are_written(void **state)
{
	uint8_t out[PCP_MAP_LEN + PCP_OPTION_LEN];
	struct pcp_request q = map_request();

	(void)state;
	assert_bytes(out, pcp_write_request(out, &q), MAP);
	q.prefer_failure = true;
	assert_bytes(out, pcp_write_request(out, &q), MAP "02000000");
	q.opcode = PCP_ANNOUNCE;
	q.lifetime_s = 0;
	assert_bytes(out, pcp_write_request(out, &q), "02000000 00000000" V4("0a010001"));
}

static void requests_are_read(void **state)
{
	struct pcp_request want = map_request(), q;

	(void)state;
	assert_int_equal(read_hex(&q, MAP), PCP_SUCCESS);
	assert_memory_equal(q.map.nonce, want.map.nonce, PCP_NONCE_LEN);
	assert_int_equal(q.opcode, PCP_MAP);
	assert_int_equal(q.lifetime_s, 3600);
	assert_int_equal(q.map.protocol, PCP_TCP);
	assert_int_equal(q.map.internal_port, 8080);
	assert_int_equal(q.map.external.port, 80);
	assert_true(addr_equal_ip(&q.map.external, &want.map.external));
	assert_true(addr_equal_ip(&q.client, &want.client));
	assert_false(q.prefer_failure);
	assert_int_equal(read_hex(&q, MAP "02000000"), PCP_SUCCESS);
	assert_true(q.prefer_failure);
	assert_int_equal(read_hex(&q, "02000000 00000000" V4("0a010001")), PCP_SUCCESS);
	assert_int_equal(q.opcode, PCP_ANNOUNCE);
}

static void what_is_wrong_with_a_request(void **state)
{
	static const struct {
		const char *hex;
		int result;
	} cases[] = {
		{ "", -1 },
		{ "02", -1 },
		{ "0281", -1 }, /* a response */
		{ "0081", -1 },
		{ "0001", PCP_UNSUPP_VERSION },
		{ "0101" ANY_V4, PCP_UNSUPP_VERSION },
		{ "0301" ANY_V4, PCP_UNSUPP_VERSION },
		{ "0201", PCP_MALFORMED_REQUEST },
		{ "02010000 00000e10" V4("0a010001"), PCP_MALFORMED_REQUEST }, /* no MAP */
		{ MAP "00", PCP_MALFORMED_REQUEST },			       /* no word */
		{ "02020000 00000e10" V4("0a010001"), PCP_UNSUPP_OPCODE },     /* PEER */
		{ "027f0000 00000000" V4("0a010001"), PCP_UNSUPP_OPCODE },
		{ MAP "01000010" V4("0a010009"), PCP_UNSUPP_OPTION }, /* THIRD_PARTY */
		{ MAP "03000000", PCP_UNSUPP_OPTION },
		{ MAP "80000000", PCP_SUCCESS }, /* need not be understood */
		{ MAP "80000003 01020300 02000000", PCP_SUCCESS },
		{ MAP "01000010", PCP_MALFORMED_OPTION },
		{ MAP "80000001", PCP_MALFORMED_OPTION },
		{ MAP "8000ffff", PCP_MALFORMED_OPTION },
		{ MAP "02000004 00000000", PCP_MALFORMED_OPTION },
		{ MAP "02000000 02000000", PCP_MALFORMED_OPTION },
		{ "02000000 00000000" V4("0a010001") "02000000", PCP_UNSUPP_OPTION },
		/* not together with an end, 13.2 */
		{ "02010000 00000000" V4("0a010001") NONCE "06000000 1f900000" ANY_V4 "02000000",
		  PCP_MALFORMED_OPTION },
		/* a port of all protocols, 11.1 */
		{ "02010000 00000e10" V4("0a010001") NONCE "00000000 1f900000" ANY_V4,
		  PCP_MALFORMED_REQUEST },
		{ "02010000 00000e10" V4("0a010001") NONCE "00000000 00000000" ANY_V4,
		  PCP_SUCCESS },
	};
	struct pcp_request q;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		if (read_hex(&q, cases[i].hex) != cases[i].result)
			fail_msg("%s: %d", cases[i].hex, read_hex(&q, cases[i].hex));
}

static void lengths_of_requests(void **state)
{
	uint8_t bytes[PCP_MESSAGE_MAX + 8] = { 0 };
	size_t n = unhex(MAP, bytes);
	struct pcp_request q;

	(void)state;
	for (size_t at = n; at < sizeof(bytes); at += PCP_OPTION_LEN)
		bytes[at] = 0x80;
	for (size_t len = 2; len <= sizeof(bytes); len++)
		assert_int_equal(read_request(&q, bytes, len),
				 len >= n && len <= PCP_MESSAGE_MAX && len % 4 == 0 ?
					 PCP_SUCCESS :
					 PCP_MALFORMED_REQUEST);
}

static void responses_are_written(void **state)
{
	uint8_t out[PCP_MESSAGE_MAX], request[PCP_MESSAGE_MAX * 2] = { 0 };
	struct pcp_response r = { .version = PCP_VERSION, .lifetime_s = 3600, .epoch_s = 0x1234 };
	size_t n = unhex(MAP, request);

	(void)state;
	r.map = map_request().map;
	addr_parse(&r.map.external, "203.0.113.9");
	r.map.external.port = 8081;
	assert_bytes(out, pcp_write_response(out, &r, request, n, false), GRANTED);
	assert_bytes(out, pcp_write_response(out, &r, request, n, true), GRANTED "02000000");
	r.result = PCP_NOT_AUTHORIZED; /* repeats the request */
	assert_bytes(out, pcp_write_response(out, &r, request, n, false),
		     "02810002 00000e10 00001234 000000000000000000000000" NONCE
		     "06000000 1f900050" V4("c0000207"));
	assert_int_equal(pcp_write_response(out, &r, request, n + 1, false), PCP_MAP_LEN + 4);
	assert_int_equal(pcp_write_response(out, &r, request, 2, false), PCP_HEADER_LEN);
	assert_int_equal(pcp_write_response(out, &r, request, sizeof(request), false),
			 PCP_MESSAGE_MAX);
	unhex("0200", request);
	r.result = PCP_SUCCESS;
	assert_bytes(out, pcp_write_response(out, &r, request, PCP_HEADER_LEN, false),
		     "02800000 00000e10 00001234 000000000000000000000000");
	assert_bytes(out, pcp_write_announce(out, 7),
		     "02800000 00000000 00000007 000000000000000000000000");
}

static void responses_are_read(void **state)
{
	uint8_t bytes[PCP_MESSAGE_MAX + 8] = { 0 };
	size_t n = unhex(GRANTED, bytes);
	struct addr external;
	struct pcp_response r;

	(void)state;
	assert_true(read_response(&r, bytes, n));
	assert_int_equal(r.opcode, PCP_MAP);
	assert_int_equal(r.lifetime_s, 3600);
	assert_int_equal(r.epoch_s, 0x1234);
	assert_true(r.has_map);
	assert_memory_equal(r.map.nonce, map_request().map.nonce, PCP_NONCE_LEN);
	assert_int_equal(r.map.internal_port, 8080);
	addr_parse(&external, "203.0.113.9");
	assert_true(addr_equal_ip(&r.map.external, &external));
	assert_int_equal(r.map.external.port, 8081);
	for (size_t len = 0; len <= sizeof(bytes); len++)
		assert_int_equal(read_response(&r, bytes, len),
				 len >= n && len <= PCP_MESSAGE_MAX && len % 4 == 0);
	bytes[3] = PCP_MALFORMED_REQUEST; /* an error need not repeat all */
	assert_true(read_response(&r, bytes, PCP_HEADER_LEN));
	assert_int_equal(r.result, PCP_MALFORMED_REQUEST);
	assert_false(r.has_map);
	bytes[1] = PCP_MAP; /* a request */
	assert_false(read_response(&r, bytes, n));
}

/* 9, appendix A: a server of NAT-PMP says what it is in eight bytes */
static void other_versions(void **state)
{
	uint8_t bytes[PCP_HEADER_LEN] = { 0 };
	struct pcp_response r;

	(void)state;
	assert_true(read_response(&r, bytes, unhex("00810001 00000007", bytes)));
	assert_int_equal(r.version, 0);
	assert_int_equal(r.result, PCP_UNSUPP_VERSION);
	assert_false(r.has_map);
	assert_false(read_response(&r, bytes, unhex("00810000 00000007", bytes)));
	assert_false(read_response(&r, bytes, unhex("008100", bytes)));
	assert_true(read_response(
		&r, bytes, unhex("01810001 00000708 00000007 000000000000000000000000", bytes)));
	assert_int_equal(r.version, 1);
}

static void names(void **state)
{
	(void)state;
	assert_string_equal(pcp_result_name(PCP_SUCCESS), "SUCCESS");
	assert_string_equal(pcp_result_name(PCP_EXCESSIVE_REMOTE_PEERS), "EXCESSIVE_REMOTE_PEERS");
	assert_null(pcp_result_name(PCP_EXCESSIVE_REMOTE_PEERS + 1));
	assert_null(pcp_result_name(255));
}

static void any(void **state)
{
	struct addr a, zero = { .port = 0 };
	struct addr_prefix v4;

	(void)state;
	addr_parse(&a, "192.0.2.1");
	addr_parse_prefix(&v4, "0.0.0.0/32");
	a = pcp_any(&a);
	assert_memory_equal(a.ip, v4.ip, sizeof(v4.ip));
	addr_parse(&a, "2001:db8::1");
	a = pcp_any(&a);
	assert_memory_equal(&a, &zero, sizeof(a));
}

/* 8.5 */
static void epochs(void **state)
{
	static const struct {
		uint32_t server_s;
		int64_t client_s;
		bool fits;
	} cases[] = {
		/* after an answer of 1000 at 5000 */
		{ 1000, 5000, true },
		{ 1001, 5001, true },
		{ 999, 5000, true },
		{ 998, 5000, false },
		{ 0, 5010, false },
		{ 1002, 5000, true },
		{ 1003, 5000, false },
		{ 1000, 5002, true },
		{ 1000, 5003, false },
		{ 1100, 5098, true },
		{ 1100, 5091, false },
		{ 1100, 5092, true },
		{ 1100, 5110, false },
		{ 1100, 5108, true },
		{ 1000 + 1600, 5000 + 1498, true },
		{ UINT32_MAX, 5001, false },
	};
	struct pcp_epoch last = { .is_known = false };

	(void)state;
	assert_true(pcp_epoch_fits(&last, 0, 0));
	assert_true(pcp_epoch_fits(&last, UINT32_MAX, 5));
	pcp_epoch_set(&last, 1000, 5000);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		if (pcp_epoch_fits(&last, cases[i].server_s, cases[i].client_s) != cases[i].fits)
			fail_msg("%u at %d", cases[i].server_s, (int)cases[i].client_s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(requests_are_written),
		cmocka_unit_test(requests_are_read),
		cmocka_unit_test(what_is_wrong_with_a_request),
		cmocka_unit_test(lengths_of_requests),
		cmocka_unit_test(responses_are_written),
		cmocka_unit_test(responses_are_read),
		cmocka_unit_test(other_versions),
		cmocka_unit_test(names),
		cmocka_unit_test(any),
		cmocka_unit_test(epochs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
