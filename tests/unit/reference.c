// SPDX-License-Identifier: MIT
#include "reference.h"

#include <string.h>

#define FAULT(v) (1U << (v))

/* PROTOCOL 1.3. A TLV goes "up" to the converter or "down" to the client, or both ways. A
 * Connect towards the client is for incoming connections only, which this reader does not read
 * (fuzz_incoming does). */
static const struct row {
	int code;
	const char *draft02, *rfc8803;
	size_t least, most; /* words */
} table[] = {
	{ 1, "up", "up", 1, 1 },	    /* Bootstrap, Info */
	{ 10, "up", "up", 5, 254 },	    /* Connect */
	{ 20, "down", "down", 1, 254 },	    /* Extended TCP Header */
	{ 21, "down", "down", 1, 254 },	    /* Supported */
	{ 22, "down", "up", 1, 254 },	    /* draft-02: Supported again; RFC 8803: Cookie */
	{ 30, "updown", "updown", 1, 254 }, /* Error */
};

static const struct row *row_of(int code)
{
	const struct row *found = NULL;

	for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++)
		found = table[i].code == code ? &table[i] : found;
	return found;
}

static uint32_t word(const uint8_t *bytes, size_t index)
{
	uint32_t w = 0;

	for (int i = 0; i < 4; i++)
		w = w << 8 | bytes[4 * index + (size_t)i];
	return w;
}

static uint32_t header_faults(uint32_t first, enum cvt_dialect dialect)
{
	uint32_t lower = dialect == CVT_DIALECT_RFC8803 ? 8803 : 0, faults = 0;

	if (first >> 24 != 1)
		faults |= FAULT(CVT_BAD_VERSION);
	if ((first & 0xffff) != lower)
		faults |= FAULT(CVT_BAD_MAGIC);
	if ((first >> 16 & 0xff) == 0)
		faults |= FAULT(CVT_BAD_TOTAL_LENGTH);
	return faults;
}

static void note_tlv(struct ref *r, int code, size_t at, size_t words, bool draft, const char *way)
{
	const struct row *row = row_of(code);
	int slot = code;

	if (code == 0)
		r->faults |= FAULT(CVT_TLV_TYPE_ZERO);
	if (code == 22 && draft && strcmp(way, "down") == 0)
		slot = 21; /* "accept 21 and 22 as the same TLV, both present = duplicate" */
	if (r->tlv[slot].at)
		r->faults |= FAULT(CVT_TLV_DUPLICATE);
	r->tlv[slot] = (struct ref_range){ at, 4 * words };
	r->supported_as_22 |= slot != code;
	if (!row) {
		r->unknown = (uint8_t)code;
		/* A-04; the converter: S-11 and S-13 */
		if (draft || strcmp(way, "up") == 0)
			r->faults |= FAULT(CVT_TLV_UNKNOWN);
		return;
	}
	if (!strstr(draft ? row->draft02 : row->rfc8803, way))
		r->faults |= FAULT(CVT_TLV_WRONG_DIRECTION);
	if (words < row->least || words > row->most)
		r->faults |= FAULT(CVT_TLV_BAD_LENGTH);
}

struct ref ref_read(const uint8_t *bytes, size_t n, enum cvt_dialect dialect,
		    enum cvt_direction direction)
{
	const char *way = direction == CVT_TO_CLIENT ? "down" : "up";
	struct ref r = { 0 };
	size_t total, words;

	if (n < 4) {
		r.faults = FAULT(CVT_TRUNCATED);
		return r;
	}
	total = bytes[1];
	r.len = 4 * total;
	r.magic = (word(bytes, 0) & 0xffff) != 0;
	r.faults = header_faults(word(bytes, 0), dialect);
	if (!r.faults && n / 4 < total)
		r.faults = FAULT(CVT_TRUNCATED);
	if (r.faults)
		return r;
	for (size_t i = 1; i < total; i += words) {
		uint32_t w = word(bytes, i);

		words = w >> 16 & 0xff;
		if (words == 0 || words > total - i) {
			r.faults |= words ? FAULT(CVT_TLV_OVERRUN) : FAULT(CVT_TLV_ZERO_LENGTH);
			break; /* nothing says where the next one would begin */
		}
		note_tlv(&r, (int)(w >> 24), 4 * i, words, dialect == CVT_DIALECT_DRAFT02, way);
	}
	return r;
}

/* Is `span` what follows the first `skip` bytes of that TLV, or nothing if there is no TLV? */
static bool is_tail(const struct ref *r, int code, size_t skip, struct cvt_span span,
		    const uint8_t *bytes)
{
	struct ref_range tlv = r->tlv[code];

	if (!tlv.at)
		return span.p == NULL && span.len == 0;
	return span.p == bytes + tlv.at + skip && span.len == tlv.len - skip;
}

static const char *connect_differs(const struct ref *r, const struct cvt_msg *m,
				   const uint8_t *bytes)
{
	const uint8_t *tlv = bytes + r->tlv[10].at;

	if (m->has_connect != (r->tlv[10].at != 0))
		return "Connect";
	if (!m->has_connect)
		return NULL;
	if (m->connect.port != (word(tlv, 0) & 0xffff))
		return "Connect: port";
	for (size_t i = 0; i < 4; i++)
		if (word(m->connect.addr, i) != word(tlv, 1 + i))
			return "Connect: address";
	return is_tail(r, 10, 20, m->connect.opts, bytes) ? NULL : "Connect: TCP options";
}

/* NULL if m says what r says of the same bytes, else the name of what differs. */
static const char *ref_differs(const struct ref *r, const struct cvt_msg *m, const uint8_t *bytes)
{
	bool draft_list = r->supported_as_22;

	if (m->header.len != r->len)
		return "Total Length";
	if ((m->header.word == CVT_WORD_MAGIC) != r->magic)
		return "header word";
	if (m->has_info != (r->tlv[1].at != 0))
		return "Info";
	if (!is_tail(r, 20, 4, m->ext_tcp_header, bytes))
		return "Extended TCP Header";
	if (!is_tail(r, 21, 4, m->supported, bytes) || m->supported_as_22 != draft_list)
		return "Supported";
	if (!is_tail(r, 22, 4, m->convert_cookie, bytes))
		return "Cookie";
	if (m->has_error != (r->tlv[30].at != 0))
		return "Error";
	if (m->has_error && m->error.code != bytes[r->tlv[30].at + 2])
		return "Error: code";
	if (!is_tail(r, 30, 3, m->error.value, bytes))
		return "Error: value";
	if (m->unknown_type != r->unknown)
		return "unknown TLV";
	return connect_differs(r, m, bytes);
}

const char *ref_disagrees(const uint8_t *bytes, size_t n, enum cvt_dialect dialect,
			  enum cvt_direction direction, enum cvt_verdict verdict,
			  const struct cvt_msg *m)
{
	struct ref r = ref_read(bytes, n, dialect, direction);

	if (verdict == CVT_OK)
		return r.faults ? "accepted with a fault" : ref_differs(&r, m, bytes);
	if (!r.faults)
		return "refused without a fault";
	return r.faults & FAULT(verdict) ? NULL : "refused for another reason";
}

size_t ref_options(const uint8_t *p, size_t n, uint8_t kinds[REF_OPTS_MAX],
		   struct ref_range values[REF_OPTS_MAX])
{
	size_t count = 0, len;

	/* PROTOCOL 1.4: 0 ends, 1 is one byte, all others have a length of at least 2 */
	for (size_t at = 0; at < n && p[at] != 0; at += len) {
		bool is_nop = p[at] == 1;

		len = is_nop ? 1 : n - at < 2 ? 0 : p[at + 1];
		if (len > n - at || (!is_nop && len < 2))
			break;
		kinds[count] = p[at];
		values[count++] = is_nop ? (struct ref_range){ 0, 0 } :
					   (struct ref_range){ at + 2, len - 2 };
	}
	return count;
}

/* ------------------------------------------------------------------- the examples */

/* clang-format off: one line each, as in the document */
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
