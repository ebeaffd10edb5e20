// SPDX-License-Identifier: MIT
#include "mappings_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "endpoint.h"
#include "file.h"
#include "state.h"
#include "watch.h"

#define FIRST_LINE "convert-mappings 1\n"
#define LINE_MAX   384
#define PATH_MAX_  (STATE_TEXT_MAX + 16)
#define NO_PORT	   "-"

static bool name(char path[static PATH_MAX_], const char *ending)
{
	return *state_path() &&
	       snprintf(path, PATH_MAX_, "%s.%s", state_path(), ending) < PATH_MAX_;
}

/* ----------------------------------------------------------------------------- reading */

static bool read_nonce(uint8_t nonce[static PCP_NONCE_LEN], const char *hex)
{
	for (size_t i = 0; i < PCP_NONCE_LEN; i++)
		if (sscanf(hex + 2 * i, "%2" SCNx8, &nonce[i]) != 1)
			return false;
	return hex[2 * PCP_NONCE_LEN] == '\0';
}

static bool read_line(struct mapping_record *r, const char *line)
{
	char nonce[2 * PCP_NONCE_LEN + 1], server[64], client[64], external[64];

	*r = (struct mapping_record){ .until_ms = 0 };
	return sscanf(line, "%24s %63s %63s %63s %" SCNd64 " %d %d", nonce, server, client,
		      external, &r->until_ms, &r->result, &r->err) == 7 &&
	       read_nonce(r->nonce, nonce) && endpoint_parse(&r->server, server, 0) &&
	       endpoint_parse(&r->client, client, 0) &&
	       (strcmp(external, NO_PORT) == 0 || endpoint_parse(&r->external, external, 0));
}

size_t mappings_file_read(struct mapping_record all[static MAPPINGS_MAX])
{
	char path[PATH_MAX_], line[LINE_MAX];
	struct file_bytes f;
	size_t n = 0;

	if (!name(path, "mappings") || file_read(&f, path, MAPPINGS_MAX * LINE_MAX) < 0)
		return 0;
	if ((f.st.st_uid == geteuid() || f.st.st_uid == 0) && !(f.st.st_mode & 022) &&
	    f.len >= strlen(FIRST_LINE) && memcmp(f.bytes, FIRST_LINE, strlen(FIRST_LINE)) == 0)
		for (size_t at = strlen(FIRST_LINE); at < f.len && n < MAPPINGS_MAX;) {
			const char *end = memchr(f.bytes + at, '\n', f.len - at);
			size_t len = end ? (size_t)(end - f.bytes) - at : f.len - at;

			if (len < sizeof(line)) {
				memcpy(line, f.bytes + at, len);
				line[len] = '\0';
				n += read_line(&all[n], line);
			}
			at += len + 1;
		}
	file_free(&f);
	return n;
}

/* ----------------------------------------------------------------------------- writing */

static void write_record(FILE *out, const struct mapping_record *r)
{
	char server[ADDR_TEXT_MAX], client[ADDR_TEXT_MAX], external[ADDR_TEXT_MAX] = NO_PORT;

	for (size_t i = 0; i < PCP_NONCE_LEN; i++)
		fprintf(out, "%02x", r->nonce[i]);
	addr_format(&r->server, server);
	addr_format(&r->client, client);
	if (r->external.port)
		addr_format(&r->external, external);
	fprintf(out, " %s %s %s %" PRId64 " %d %d\n", server, client, external, r->until_ms,
		r->result, r->err);
}

static int write_all(const char *path, const struct mapping_record *all, size_t n)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY, 0600);
	FILE *out = fd < 0 ? NULL : fdopen(fd, "w");
	struct stat st;
	bool failed;

	if (!out || fstat(fd, &st) < 0 || st.st_uid != geteuid()) {
		int err = out ? EPERM : errno;

		if (out)
			fclose(out);
		else if (fd >= 0)
			close(fd);
		return -err;
	}
	fputs(FIRST_LINE, out);
	for (size_t i = 0; i < n; i++)
		write_record(out, &all[i]);
	failed = ferror(out);
	return fclose(out) || failed ? -EIO : 0;
}

int mappings_file_write(const struct mapping_record *all, size_t n)
{
	char path[PATH_MAX_], fresh[PATH_MAX_];
	int err;

	if (!name(path, "mappings") || !name(fresh, "mappings.new"))
		return 0; /* no state is kept */
	if (!n)
		return unlink(path) == 0 || errno == ENOENT ? 0 : -errno;
	err = state_make_directory();
	if (err < 0)
		return err;
	err = write_all(fresh, all, n);
	return err ? err : rename(fresh, path) < 0 ? -errno : 0;
}

int mappings_file_lock(void)
{
	return *state_path() ? watch_lock(state_path(), "map") : -ENOENT;
}

bool mappings_file_is_locked(void)
{
	char path[PATH_MAX_];
	int fd = name(path, "map") ? open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY) : -1;
	bool locked;

	if (fd < 0)
		return false;
	locked = flock(fd, LOCK_SH | LOCK_NB) < 0;
	close(fd);
	return locked;
}
