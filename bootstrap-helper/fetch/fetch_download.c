// SPDX-License-Identifier: MIT
#include "fetch.h"

#include "text.h"

#include <curl/curl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#define SLOW_BYTES 100 /* less than that each second is a stalled server ... */
#define SLOW_PART  4   /* ... after this part of the time */
#define CONNECT_S  15
#define METER_MS   100

struct transfer {
	const struct fetch_request *request;
	struct fetch_answer *answer;
	CURL *curl;
	struct curl_slist *headers;
	size_t room;
	int64_t metered_ms;
	bool is_too_large, has_no_memory;
	bool is_chunked;
	char why[CURL_ERROR_SIZE]; /* libcurl's own words */
};

/* --------------------------------------------------------------------------------- the address */

static char *make_label(CURLU *u)
{
	char *host = NULL, *port = NULL, *path = NULL, *label = NULL;

	if (curl_url_get(u, CURLUPART_HOST, &host, 0) == CURLUE_OK &&
	    curl_url_get(u, CURLUPART_PATH, &path, 0) == CURLUE_OK) {
		curl_url_get(u, CURLUPART_PORT, &port, 0);
		if (asprintf(&label, "https://%s%s%s%s", host, port ? ":" : "", port ? port : "",
			     path) < 0)
			label = NULL;
	}
	curl_free(host);
	curl_free(port);
	curl_free(path);
	return label;
}

static bool has_part(CURLU *u, CURLUPart part)
{
	char *text = NULL;
	CURLUcode code = curl_url_get(u, part, &text, 0);

	curl_free(text);
	return code == CURLUE_OK;
}

char *fetch_label(const char *url, const char **why)
{
	char *scheme = NULL, *label = NULL;
	CURLU *u = curl_url();
	CURLUcode code = u ? curl_url_set(u, CURLUPART_URL, url, 0) : CURLUE_OUT_OF_MEMORY;

	*why = "an address such as https://example.com/convert.conf";
	if (code == CURLUE_UNSUPPORTED_SCHEME && strncasecmp(url, "https:", 6) == 0)
		*why = "a libcurl with TLS: this one has none";
	if (code == CURLUE_OK && curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
	    strcmp(scheme, "https") == 0) {
		if (has_part(u, CURLUPART_USER) || has_part(u, CURLUPART_PASSWORD))
			*why = "no user and password: every user sees them in the process list";
		else
			label = make_label(u);
	}
	curl_free(scheme);
	curl_url_cleanup(u);
	return label;
}

/* --------------------------------------------------------------------- what libcurl calls back */

static size_t take_body(char *bytes, size_t size, size_t n, void *user)
{
	struct transfer *t = user;
	struct fetch_answer *a = t->answer;

	n *= size;
	if (n > t->request->most - a->len) {
		t->is_too_large = true;
		return 0;
	}
	if (a->len + n > t->room) {
		size_t room = 2 * (a->len + n);
		char *more = realloc(a->bytes, room);

		t->has_no_memory = !more;
		if (!more)
			return 0;
		a->bytes = more;
		t->room = room;
	}
	memcpy(a->bytes + a->len, bytes, n);
	a->len += n;
	return n;
}

/* The value of the header `name`, if this line is one; without spaces at its ends. */
static const char *header_value(const char *line, size_t *len, const char *name)
{
	const size_t n = strlen(name);
	const char *end = line + *len;

	if (*len <= n || strncasecmp(line, name, n) != 0 || line[n] != ':')
		return NULL;
	line += n + 1;
	while (line < end && (*line == ' ' || *line == '\t'))
		line++;
	while (end > line && strchr(" \t\r\n", end[-1]))
		end--;
	*len = (size_t)(end - line);
	return line;
}

static void keep(char *field, size_t size, const char *line, size_t len, const char *name)
{
	const char *value = header_value(line, &len, name);

	if (value && fetch_record_takes(value, len, size)) {
		memcpy(field, value, len);
		field[len] = '\0';
	}
}

/* Each line of each answer, those of redirects first. */
static size_t take_header(char *line, size_t size, size_t n, void *user)
{
	struct transfer *t = user;
	struct fetch_answer *a = t->answer;
	char coding[16] = "";

	n *= size;
	if (n > 5 && strncasecmp(line, "HTTP/", 5) == 0) {
		a->etag[0] = a->last_modified[0] = '\0';
		t->is_chunked = false;
	}
	keep(a->etag, sizeof(a->etag), line, n, "ETag");
	keep(a->last_modified, sizeof(a->last_modified), line, n, "Last-Modified");
	keep(coding, sizeof(coding), line, n, "Transfer-Encoding");
	t->is_chunked |= strcasecmp(coding, "chunked") == 0;
	return n;
}

static int64_t clock_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int show_meter(void *user, curl_off_t most, curl_off_t n, curl_off_t up_most, curl_off_t up)
{
	struct transfer *t = user;
	int64_t now = clock_ms();

	(void)up_most;
	(void)up;
	if (now - t->metered_ms < METER_MS)
		return 0;
	t->metered_ms = now;
	if (most > 0)
		fprintf(stderr, "\r\033[K%" PRId64 " of %" PRId64 " bytes, %d %%", (int64_t)n,
			(int64_t)most, (int)(100 * n / most));
	else
		fprintf(stderr, "\r\033[K%" PRId64 " bytes", (int64_t)n);
	return 0;
}

/* ------------------------------------------------------------------------- what can go wrong */

static const char *expected(CURLcode code)
{
	switch (code) {
	case CURLE_PEER_FAILED_VERIFICATION:
		return "a certificate for this host, by a CA that is trusted here or --cacert";
	case CURLE_SSL_CACERT_BADFILE:
		return "a PEM file of certificates behind --cacert";
	case CURLE_SSL_CONNECT_ERROR:
		return "TLS 1.2 or later";
	case CURLE_TOO_MANY_REDIRECTS:
		return "at most 5 redirects";
	case CURLE_COULDNT_RESOLVE_HOST:
		return "a host that can be looked up";
	case CURLE_COULDNT_CONNECT:
		return "a server that listens there";
	case CURLE_OPERATION_TIMEDOUT:
		return "all of it within the time of --max-time";
	case CURLE_PARTIAL_FILE:
	case CURLE_RECV_ERROR:
	case CURLE_GOT_NOTHING:
	case CURLE_HTTP2:
	case CURLE_HTTP2_STREAM:
		return "the whole file";
	default:
		return NULL;
	}
}

static int complain(const struct transfer *t, const char *what, const char *wanted)
{
	fprintf(stderr, "%s: %s\n", t->request->label, what);
	if (wanted)
		fprintf(stderr, "    expected %s\n", wanted);
	return -1;
}

static long status_of(const struct transfer *t)
{
	long status = 0;

	curl_easy_getinfo(t->curl, CURLINFO_RESPONSE_CODE, &status);
	return status;
}

static int complain_of_status(const struct transfer *t, long status)
{
	char what[64];

	snprintf(what, sizeof(what), "the server answers with HTTP status %ld", status);
	return complain(t, what, t->headers ? "200 or 304" : "200");
}

static int fail(const struct transfer *t, CURLcode code)
{
	const long status = status_of(t);
	char wanted[64];

	snprintf(wanted, sizeof(wanted), "at most %zu bytes (--max-size)", t->request->most);
	if (t->has_no_memory || code == CURLE_OUT_OF_MEMORY)
		return complain(t, "out of memory", NULL);
	if (status >= 400) /* whatever is wrong with the page that says so */
		return complain_of_status(t, status);
	if (t->is_too_large || code == CURLE_FILESIZE_EXCEEDED)
		return complain(t, "too large", wanted);
	if (code == CURLE_UNSUPPORTED_PROTOCOL) /* the address itself has been looked at */
		return complain(t, "it redirects to something else than https",
				"https, behind redirects too");
	return complain(t, t->why[0] ? t->why : curl_easy_strerror(code), expected(code));
}

/* A body of HTTP/1 that ends with its connection ends wherever that breaks. */
static bool has_known_end(const struct transfer *t)
{
	curl_off_t length = -1;
	long version = 0;

	curl_easy_getinfo(t->curl, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
	curl_easy_getinfo(t->curl, CURLINFO_HTTP_VERSION, &version);
	return length >= 0 || t->is_chunked ||
	       (version != CURL_HTTP_VERSION_1_0 && version != CURL_HTTP_VERSION_1_1);
}

static int judge(const struct transfer *t)
{
	const long status = status_of(t);

	t->answer->is_unchanged = status == 304 && t->headers;
	if (t->answer->is_unchanged)
		return 0;
	if (status != 200)
		return complain_of_status(t, status);
	if (!has_known_end(t))
		return complain(t, "the server does not say how long the file is",
				"a Content-Length, or chunks");
	if (t->answer->len == 0)
		return complain(t, "an empty file", "a configuration");
	return 0;
}

/* ------------------------------------------------------------------------------- the transfer */

static bool add_header(struct transfer *t, const char *name, const char *value)
{
	struct curl_slist *more;
	char line[320];

	snprintf(line, sizeof(line), "%s: %s", name, value);
	more = curl_slist_append(t->headers, line);
	if (more)
		t->headers = more;
	return more != NULL;
}

/* An ETag says more than a time does, and a server that has both looks at the ETag alone. */
static bool add_conditions(struct transfer *t)
{
	if (t->request->etag[0])
		return add_header(t, "If-None-Match", t->request->etag);
	if (t->request->last_modified[0])
		return add_header(t, "If-Modified-Since", t->request->last_modified);
	return true;
}

static CURLcode set_limits(const struct transfer *t)
{
	const struct fetch_request *r = t->request;
	const long slow_s = r->seconds / SLOW_PART ? r->seconds / SLOW_PART : 1;
	CURL *c = t->curl;
	CURLcode code = curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "https");

	if (!code)
		code = curl_easy_setopt(c, CURLOPT_REDIR_PROTOCOLS_STR, "https");
	if (!code)
		code = curl_easy_setopt(c, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	if (!code && r->ca)
		code = curl_easy_setopt(c, CURLOPT_CAINFO, r->ca);
	if (!code && r->ca)
		code = curl_easy_setopt(c, CURLOPT_CAPATH, NULL);
	curl_easy_setopt(c, CURLOPT_SSL_VERIFYPEER, 1L);
	curl_easy_setopt(c, CURLOPT_SSL_VERIFYHOST, 2L);
	curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 1L);
	curl_easy_setopt(c, CURLOPT_MAXREDIRS, (long)FETCH_REDIRECTS);
	curl_easy_setopt(c, CURLOPT_MAXFILESIZE_LARGE, (curl_off_t)r->most);
	curl_easy_setopt(c, CURLOPT_TIMEOUT, r->seconds);
	curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT,
			 r->seconds < CONNECT_S ? r->seconds : CONNECT_S);
	curl_easy_setopt(c, CURLOPT_LOW_SPEED_LIMIT, (long)SLOW_BYTES);
	curl_easy_setopt(c, CURLOPT_LOW_SPEED_TIME, slow_s);
	curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
	return code;
}

static CURLcode set_up(struct transfer *t)
{
	CURL *c = t->curl;
	CURLcode code = curl_easy_setopt(c, CURLOPT_URL, t->request->url);

	if (!add_conditions(t))
		return CURLE_OUT_OF_MEMORY;
	curl_easy_setopt(c, CURLOPT_HTTPHEADER, t->headers);
	curl_easy_setopt(c, CURLOPT_USERAGENT, "convert-bootstrap/" CONVERT_VERSION);
	curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, take_body);
	curl_easy_setopt(c, CURLOPT_WRITEDATA, t);
	curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, take_header);
	curl_easy_setopt(c, CURLOPT_HEADERDATA, t);
	curl_easy_setopt(c, CURLOPT_XFERINFOFUNCTION, show_meter);
	curl_easy_setopt(c, CURLOPT_XFERINFODATA, t);
	curl_easy_setopt(c, CURLOPT_NOPROGRESS, t->request->has_meter ? 0L : 1L);
	curl_easy_setopt(c, CURLOPT_ERRORBUFFER, t->why);
	return code ? code : set_limits(t);
}

int fetch_download(const struct fetch_request *request, struct fetch_answer *answer)
{
	struct transfer t = { .request = request, .answer = answer };
	CURLcode code = curl_global_init(CURL_GLOBAL_DEFAULT);
	int err;

	*answer = (struct fetch_answer){ .bytes = NULL };
	t.curl = code ? NULL : curl_easy_init();
	if (!t.curl)
		return complain(&t, "libcurl does not start", NULL);
	code = set_up(&t);
	if (!code)
		code = curl_easy_perform(t.curl);
	if (request->has_meter)
		fputs("\r\033[K", stderr);
	control_hide(t.why); /* it may have words of the server's */
	err = code ? fail(&t, code) : judge(&t);
	curl_easy_cleanup(t.curl);
	curl_slist_free_all(t.headers);
	curl_global_cleanup();
	if (err) {
		free(answer->bytes);
		answer->bytes = NULL;
	}
	return err;
}
