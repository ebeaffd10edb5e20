/* SPDX-License-Identifier: MIT */
/*
 * fetch_download.h - one small file over HTTPS, into memory. The only file that knows libcurl.
 *
 * Promises: TLS 1.2 or later, certificate and host name checked, https only, after redirects too;
 * bounded in size and time; a body that may be cut short is refused.
 */
#ifndef CVT_FETCH_DOWNLOAD_H
#define CVT_FETCH_DOWNLOAD_H

#include "fetch_record.h"

#define FETCH_REDIRECTS 5

struct fetch_request {
	const char *url;
	const char *label; /* url as it may be shown */
	const char *ca;	   /* NULL: those that the host trusts; else a PEM file, and no others */
	size_t most;	   /* bytes */
	long seconds;	   /* for all of it */
	bool has_meter;	   /* on standard error */
	/* "": not asked. With one of them the answer may be that nothing has changed. */
	const char *etag, *last_modified;
};

struct fetch_answer {
	char *bytes; /* from malloc() */
	size_t len;
	bool is_unchanged;		   /* and there are no bytes */
	char etag[256], last_modified[64]; /* "": not said */
};

/* url without what may be secret in it, from malloc(). NULL, with *why what was expected. */
char *fetch_label(const char *url, const char **why);
/* Returns 0 or -1; what went wrong has then been written to standard error. */
int fetch_download(const struct fetch_request *request, struct fetch_answer *answer);

#endif
