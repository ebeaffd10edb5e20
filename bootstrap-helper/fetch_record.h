/* SPDX-License-Identifier: MIT */
/*
 * fetch_record.h - what a server said of the version that it sent last, so that it need not send it
 * again. A record that is not whole is none: then everything is fetched.
 */
#ifndef CVT_FETCH_RECORD_H
#define CVT_FETCH_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

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

#endif
