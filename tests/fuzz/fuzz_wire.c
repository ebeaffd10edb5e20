// SPDX-License-Identifier: MIT
/*
 * The codec. Input: one byte of choices, then a message. Asserted: the verdict and every field
 * are the reference's; all spans lie inside the message; what was read and is written again is
 * read as the same; options walk inside their bytes and to the reference's end.
 */
#include "fuzz.h"
#include "reference.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_inside(struct cvt_span s, const uint8_t *bytes, size_t n)
{
	if (!s.p)
		CHECK(s.len == 0);
	else
		CHECK(s.p >= bytes && s.len <= n && (size_t)(s.p - bytes) <= n - s.len);
}

static void check_options(struct cvt_span opts)
{
	static uint8_t kinds[REF_OPTS_MAX];
	static struct ref_range values[REF_OPTS_MAX];
	size_t n = ref_options(opts.p, opts.len, kinds, values), pos = 0, i = 0;
	bool mp_capable = false;
	struct cvt_opt opt;

	for (; cvt_next_opt(opts, &pos, &opt); i++) {
		CHECK(i < n && pos <= opts.len);
		CHECK(opt.kind == kinds[i] && opt.value.len == values[i].len);
		CHECK(opt.kind == 1 || opt.value.p == opts.p + values[i].at);
		mp_capable |= opt.kind == 30 && opt.value.len && opt.value.p && *opt.value.p > 0 &&
			      *opt.value.p < 0x10;
	}
	CHECK(i == n);
	CHECK(cvt_has_mp_capable(opts) == mp_capable);
}

static bool is_same(struct cvt_span a, struct cvt_span b)
{
	return (a.p == NULL) == (b.p == NULL) && a.len == b.len &&
	       (a.len == 0 || memcmp(a.p, b.p, a.len) == 0);
}

/* Writes m again, in another order than it may have come in, and reads that. */
static void check_round_trip(const struct cvt_msg *m, enum cvt_dialect dialect,
			     enum cvt_direction direction)
{
	struct cvt_writer w;
	struct cvt_msg again;
	int n;

	cvt_begin(&w, dialect);
	if (m->has_error)
		cvt_put_error(&w, (enum cvt_err)m->error.code, m->error.value);
	if (m->has_connect)
		cvt_put_connect(&w, m->connect.addr, m->connect.port, m->connect.opts);
	if (m->convert_cookie.p)
		cvt_put_list(&w, CVT_TLV_COOKIE, m->convert_cookie);
	if (m->has_info)
		cvt_put_info(&w);
	if (m->supported.p)
		cvt_put_list(&w, m->supported_as_22 ? CVT_TLV_COOKIE : CVT_TLV_SUPPORTED,
			     m->supported);
	if (m->ext_tcp_header.p)
		cvt_put_list(&w, CVT_TLV_EXT_TCP_HEADER, m->ext_tcp_header);
	n = cvt_finish(&w);
	CHECK(n >= CVT_HEADER_LEN && (size_t)n <= m->header.len);
	CHECK(m->unknown_type || (size_t)n == m->header.len);
	CHECK(cvt_parse(&again, (struct cvt_span){ w.bytes, (size_t)n }, dialect, direction) ==
	      CVT_OK);
	CHECK(again.header.word == m->header.word);
	CHECK(again.has_info == m->has_info && again.has_connect == m->has_connect &&
	      again.has_error == m->has_error);
	CHECK(again.connect.port == m->connect.port);
	CHECK(memcmp(again.connect.addr, m->connect.addr, 16) == 0);
	CHECK(is_same(again.connect.opts, m->connect.opts));
	CHECK(is_same(again.ext_tcp_header, m->ext_tcp_header));
	CHECK(is_same(again.supported, m->supported));
	CHECK(again.supported_as_22 == m->supported_as_22);
	CHECK(is_same(again.convert_cookie, m->convert_cookie));
	CHECK(again.error.code == m->error.code && is_same(again.error.value, m->error.value));
}

static void check_names(enum cvt_verdict verdict, const struct cvt_msg *m)
{
	CHECK(cvt_verdict_name(verdict)[0] != '?');
	CHECK(!m->has_error || cvt_err_name(m->error.code)[0] != '\0');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	enum cvt_dialect dialect;
	enum cvt_direction direction;
	enum cvt_verdict verdict;
	struct cvt_msg m;
	const char *disagrees;

	if (size == 0)
		return 0;
	dialect = (enum cvt_dialect)(data[0] % 3);
	direction = data[0] & 0x80 ? CVT_TO_CONVERTER : CVT_TO_CLIENT;
	data++;
	size--;
	verdict = cvt_parse(&m, (struct cvt_span){ data, size }, dialect, direction);
	disagrees = ref_disagrees(data, size, dialect, direction, verdict, &m);
	if (disagrees)
		fprintf(stderr, "%s, reference: %s\n", cvt_verdict_name(verdict), disagrees);
	CHECK(!disagrees);
	check_names(verdict, &m);
	if (verdict != CVT_OK)
		return 0;
	CHECK(m.header.len <= size);
	check_inside(m.connect.opts, data, m.header.len);
	check_inside(m.ext_tcp_header, data, m.header.len);
	check_inside(m.supported, data, m.header.len);
	check_inside(m.convert_cookie, data, m.header.len);
	check_inside(m.error.value, data, m.header.len);
	check_options(m.connect.opts);
	check_options(m.ext_tcp_header);
	check_options(m.supported); /* no option list, but any bytes will do */
	check_round_trip(&m, dialect, direction);
	return 0;
}
