/* SPDX-License-Identifier: MIT */
/*
 * fetch.h - a configuration from an HTTPS server: what is downloaded, how it differs from what is there, and how it
 * takes its place. The verb itself is base.h's fetch_main(); nobody includes this but `fetch` and its tests.
 */
#ifndef CVT_FETCH_H
#define CVT_FETCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base.h"

/* ---- fetch_place.c (fetch_place_, fetch_record_, fetch_hash): the file that is replaced, and what lies beside it; for
 * /etc/convert.conf
 *
 *     convert.conf.old      the generation before, for --rollback
 *     convert.conf.fetched  what the server said of it; locked as long as somebody is at work
 *     convert.conf.new, convert.conf.old.new   only while somebody is, or was killed
 *
 * Promises: whoever opens the file, and whatever happens, finds the old or the new one, whole. What
 * a killed one has left is brought to its end or taken away by the next. */

#define FETCH_FILE_MAX (4U << 20) /* what programs read */

struct fetch_place {
	char *live, *dir;
	char *old, *record, *new, *old_new;
	int lock; /* the record's descriptor, or -1 */
};

/* All but fetch_place_close() say on standard error what is wrong, and return 0 or -errno. */

/* A symbolic link is followed: what it leads to is replaced. fetch_place_close() in any case. */
int fetch_place_find(struct fetch_place *p, const char *file);
/* For whoever will write. Fails at once if another one is at work; ends what was left undone. */
int fetch_place_lock(struct fetch_place *p);
void fetch_place_close(struct fetch_place *p);

/* The file at path, live or old. One that is not there is no error: its bytes are NULL then. */
int fetch_place_read(const char *path, struct file_bytes *f);
/* len bytes take the place of live, whose mode and owner they get; what it was goes to old.
 * was: what fetch_place_read() has found there; if it is not that any more nothing is changed. */
int fetch_place_replace(const struct fetch_place *p, const char *bytes, size_t len,
			const struct file_bytes *was);

/* What a server said of the version that it sent last, so that it need not send it
 * again. A record that is not whole is none: then everything is fetched. */

struct fetch_record {
	uint64_t url, content; /* hashes: an address may be secret, and so may what is there */
	uint64_t rolled_back; /* hash of what took the place of content by --rollback; 0: nothing */
	char etag[256], last_modified[64]; /* "": not said */
};

uint64_t fetch_hash(const void *bytes, size_t len); /* FNV-1a; to tell versions apart, no more */
/* A text for a header or a line of ours: printable, and it fits. */
bool fetch_record_takes(const char *text, size_t len, size_t size);
void fetch_record_parse(struct fetch_record *r, const char *text, size_t len);
/* fd: of the file, or -1. */
void fetch_record_read(struct fetch_record *r, int fd);
/* Returns 0 or -errno. */
int fetch_record_write(const struct fetch_record *r, int fd);

/* ---- fetch_download.c: one small file over HTTPS, into memory. The only file that knows libcurl.
 *
 * Promises: TLS 1.2 or later, certificate and host name checked, https only, after redirects too;
 * bounded in size and time; a body that may be cut short is refused. */

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

/* ---- fetch_diff.c: a unified diff of two configurations, for people.
 *
 * Never: the value of a cookie, nor what might be one: a comment that has the word, and, in a text
 * that the parser does not take, every value. Control characters are written as '?'. */

struct fetch_text {
	const char *name;
	const char *bytes;
	size_t len;
	bool is_sound; /* the parser takes it, so that its keys are the known ones */
};

/* Writes nothing if they are the same. Returns 0 or -ENOMEM. */
int fetch_diff(FILE *out, const struct fetch_text *old, const struct fetch_text *new);

/* ---- fetch_paths.c: the files that a configuration makes programs read (cookie) and write (state, log). Whoever may
 * name those has more power than one who only says where connections go: the programs are root's, too. */

struct fetch_path {
	unsigned int line; /* 0: there is none */
	char text[256]; /* "file = /var/log/convert.log", with nothing that a terminal would obey */
};

/* The first path in new that old does not have at the same key; what the parser would take for one. */
struct fetch_path fetch_new_path(const char *old, size_t old_len, const char *new, size_t new_len);

#endif
