// SPDX-License-Identifier: MIT
#include "reply.h"

#include <string.h>

static int finish(struct cvt_writer *w, uint8_t out[static CVT_MSG_MAX])
{
	int len = cvt_finish(w);

	if (len > 0)
		memcpy(out, w->bytes, (size_t)len);
	return len;
}

bool reply_wants_ext_header(const struct request *r, const struct options *o)
{
	if (!r->msg.has_connect || o->ext_header == EXT_HEADER_NEVER)
		return false;
	if (o->ext_header == EXT_HEADER_ALWAYS || o->dialect == CVT_DIALECT_DRAFT02)
		return true;
	return r->msg.connect.opts.len > 0; /* RFC 8803: an Extended Connect */
}

int reply_success(uint8_t out[static CVT_MSG_MAX], const struct request *r, const struct options *o,
		  const struct cvt_span *ext)
{
	struct cvt_writer w;

	cvt_begin(&w, o->dialect);
	if (ext)
		cvt_put_ext_tcp_header(&w, *ext);
	if (r->msg.has_info)
		cvt_put_supported(&w, o->supported_type, (struct cvt_span){ o->kinds, o->n_kinds });
	return finish(&w, out);
}

int reply_failure(uint8_t out[static CVT_MSG_MAX], const struct request *r, const struct options *o,
		  const struct failure *f)
{
	struct cvt_writer w;

	cvt_begin(&w, o->dialect);
	if (f->echo)
		cvt_put_error_echo(&w, f->code, (struct cvt_span){ r->bytes, r->have });
	else
		cvt_put_error(&w, f->code, (struct cvt_span){ f->value, f->n });
	return finish(&w, out);
}
