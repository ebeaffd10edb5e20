// SPDX-License-Identifier: MIT
#include "fetch_int.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define RECORD_MAX 1024

uint64_t fetch_hash(const void *bytes, size_t len)
{
	const uint8_t *p = bytes;
	uint64_t hash = 0xcbf29ce484222325;

	for (size_t i = 0; i < len; i++)
		hash = (hash ^ p[i]) * 0x100000001b3;
	return hash;
}

bool fetch_record_takes(const char *text, size_t len, size_t size)
{
	if (len == 0 || len >= size)
		return false;
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)text[i] < ' ' || (unsigned char)text[i] >= 0x7f)
			return false;
	return true;
}

static void take_text(char *field, size_t size, const char *value)
{
	size_t len = strlen(value);

	if (fetch_record_takes(value, len, size))
		memcpy(field, value, len + 1);
}

static void take_line(struct fetch_record *r, const char *line)
{
	sscanf(line, "url %" SCNx64, &r->url);
	sscanf(line, "content %" SCNx64, &r->content);
	sscanf(line, "rolled-back %" SCNx64, &r->rolled_back);
	if (strncmp(line, "etag ", 5) == 0)
		take_text(r->etag, sizeof(r->etag), line + 5);
	if (strncmp(line, "last-modified ", 14) == 0)
		take_text(r->last_modified, sizeof(r->last_modified), line + 14);
}

void fetch_record_parse(struct fetch_record *r, const char *bytes, size_t len)
{
	char text[RECORD_MAX], *line, *rest = text;
	bool is_whole = false;

	*r = (struct fetch_record){ .url = 0 };
	if (len >= sizeof(text))
		return;
	memcpy(text, bytes, len);
	text[len] = '\0';
	while ((line = strsep(&rest, "\n"))) {
		take_line(r, line);
		is_whole |= strcmp(line, "end") == 0;
	}
	if (!is_whole)
		*r = (struct fetch_record){ .url = 0 };
}

void fetch_record_read(struct fetch_record *r, int fd)
{
	char text[RECORD_MAX];
	ssize_t n = fd < 0 ? -1 : pread(fd, text, sizeof(text), 0);

	fetch_record_parse(r, text, n < 0 ? 0 : (size_t)n);
}

int fetch_record_write(const struct fetch_record *r, int fd)
{
	char text[RECORD_MAX];
	int len = snprintf(text, sizeof(text),
			   "# What convert-bootstrap fetch knows of the file beside this one.\n"
			   "url %016" PRIx64 "\ncontent %016" PRIx64 "\nrolled-back %016" PRIx64
			   "\netag %s\nlast-modified %s\nend\n",
			   r->url, r->content, r->rolled_back, r->etag, r->last_modified);
	ssize_t n;

	/* emptied first: half of it would have no end */
	if (ftruncate(fd, 0) < 0)
		return -errno;
	n = pwrite(fd, text, (size_t)len, 0);
	if (n != len)
		return n < 0 ? -errno : -ENOSPC;
	return fsync(fd) < 0 ? -errno : 0;
}
