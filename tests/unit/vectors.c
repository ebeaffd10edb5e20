// SPDX-License-Identifier: MIT
/* clang-format off: one line each, as in the document */
#include "vectors.h"

#define DRAFT CVT_DIALECT_DRAFT02
#define RFC   CVT_DIALECT_RFC8803
#define UP    CVT_TO_CONVERTER
#define DOWN  CVT_TO_CLIENT

#define D1_HEX "01020000 01010000"
#define R3_HEX "01062263 0a0501bb 00000000 00000000 0000ffff c0000201"

const struct vector vectors[N_VECTORS] = {
	{ "D1", D1_HEX, DRAFT, UP, .info = true },
	{ "D2", "01030000 15020000 1e220000", DRAFT, DOWN, .supported = "1e22",
	  .supported_type = 21 },
	{ "D3", "01030000 16020000 1e220000", DRAFT, DOWN, .supported = "1e22",
	  .supported_type = 22 },
	{ "D4", "01060000 0a0501bb 00000000 00000000 0000ffff c0000201", DRAFT, UP,
	  .target = "192.0.2.1", .port = 443 },
	{ "D5", "01090000 0a080050 20010db8 00000000 00000000 00000001 220aa1a2 a3a4a5a6 a7a80000",
	  DRAFT, UP, .target = "2001:db8::1", .port = 80, .opts = "220a a1a2a3a4a5a6a7a8" },
	{ "D6", "01070000 14060000 020405b4 0402080a 00000001 00000002 01030307", DRAFT, DOWN,
	  .ext_tcp_header = "020405b4 0402 080a0000000100000002 01 030307" },
	{ "D7", "01020000 1e016000", DRAFT, DOWN, .has_error = true, .error = 96 },
	{ "D8", "01040000 1e030101 02000001 01000000", DRAFT, DOWN, .has_error = true, .error = 1,
	  .echo = D1_HEX },
	{ "R1", "01022263 01010000", RFC, UP, .info = true },
	{ "R2", "01042263 15030000 04081c1e 22000000", RFC, DOWN, .supported = "04 08 1c 1e 22",
	  .supported_type = 21 },
	{ "R3", R3_HEX, RFC, UP, .target = "192.0.2.1", .port = 443 },
	{ "R4", "01072263 0a060050 20010db8 00000000 00000000 00000001 1e020000", RFC, UP,
	  .target = "2001:db8::1", .port = 80, .opts = "1e02" },
	{ "R5", "01092263 0a0501bb 00000000 00000000 0000ffff c0000201 16030000 deadbeef 01020304",
	  RFC, UP, .target = "192.0.2.1", .port = 443, .cookie = "deadbeef01020304" },
	{ "R6", "01012263", RFC, DOWN, .info = false },
	{ "R7",
	  "010a2263 14090000 020405b4 0402080a 00000001 00000002 01030307 1e0c0101 11223344"
	  " 55667788",
	  RFC, DOWN,
	  .ext_tcp_header =
		  "020405b4 0402 080a0000000100000002 01 030307 1e0c01011122334455667788" },
	{ "R8", "01022263 1e010001", RFC, DOWN, .has_error = true, .error = 0, .value = "01" },
	{ "R9", "01032263 1e020001 02000000", RFC, DOWN, .has_error = true, .error = 0,
	  .value = "0102" },
	{ "R10", "01082263 1e070100 01062263 0a0501bb 00000000 00000000 0000ffff c0000201", RFC,
	  DOWN, .has_error = true, .error = 1, .echo = R3_HEX },
	{ "R11", "01042263 1e030300 deadbeef 01020304", RFC, DOWN, .has_error = true, .error = 3,
	  .value = "00 deadbeef01020304" },
	{ "R12", "01022263 1e012000", RFC, DOWN, .has_error = true, .error = 32 },
	{ "R13", "01032263 1e02211e 22000000", RFC, DOWN, .has_error = true, .error = 33,
	  .value = "1e22" },
	{ "R14", "01022263 1e01403c", RFC, DOWN, .has_error = true, .error = 64, .value = "3c" },
	{ "R15", "01022263 1e014100", RFC, DOWN, .has_error = true, .error = 65 },
	{ "R16", "01022263 1e016103", RFC, DOWN, .has_error = true, .error = 97, .value = "03" },
};
/* clang-format on */

static int digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

size_t unhex(const char *hex, uint8_t *out)
{
	size_t n = 0;
	int high = -1;

	for (; hex && *hex; hex++) {
		int d = digit(*hex);

		if (d < 0)
			continue;
		if (high < 0) {
			high = d;
			continue;
		}
		out[n++] = (uint8_t)(high << 4 | d);
		high = -1;
	}
	return n;
}

size_t vector_bytes(const struct vector *v, uint8_t *out)
{
	return unhex(v->hex, out);
}
