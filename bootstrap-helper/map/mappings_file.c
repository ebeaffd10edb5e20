// SPDX-License-Identifier: MIT
#include "map.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base.h"
#include "state.h"

#define FIRST_WORDS "convert-mappings 1 " /* and which boot */
#define BOOT_ID	    "/proc/sys/kernel/random/boot_id"
#define BOOT_MAX    64
#define LINE_SIZE   384
#define SIZE_MOST   (16U << 20)
#define PATH_MAX_   (STATE_TEXT_MAX + 16)
#define NO_PORT	    "-"
#define LEFT	    "left"

static bool name(char path[static PATH_MAX_], const char *ending)
{
	return *state_path() &&
	       snprintf(path, PATH_MAX_, "%s.%s", state_path(), ending) < PATH_MAX_;
}

int64_t mappings_now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_BOOTTIME, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* With the line's end; where it cannot be read, the end alone. */
static void read_boot(char boot[static BOOT_MAX])
{
	int fd = open(BOOT_ID, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : read(fd, boot, BOOT_MAX - 1);

	boot[n > 0 ? n : 0] = '\0';
	if (n <= 0 || boot[n - 1] != '\n')
		snprintf(boot, BOOT_MAX, "\n");
	if (fd >= 0)
		close(fd);
}

/* ----------------------------------------------------------------------------- reading */

static bool read_nonce(uint8_t nonce[static PCP_NONCE_LEN], const char *hex)
{
	if (strlen(hex) != 2 * PCP_NONCE_LEN || hex[strspn(hex, "0123456789abcdef")])
		return false;
	for (size_t i = 0; i < PCP_NONCE_LEN; i++)
		sscanf(hex + 2 * i, "%2" SCNx8, &nonce[i]);
	return true;
}

static bool read_line(struct mapping_record *r, const char *line)
{
	char nonce[2 * PCP_NONCE_LEN + 1], server[64], client[64], external[64], left[8];
	int n;

	*r = (struct mapping_record){ .until_ms = 0 };
	n = sscanf(line, "%24s %63s %63s %63s %" SCNd64 " %d %d %7s", nonce, server, client,
		   external, &r->until_ms, &r->result, &r->err, left);
	r->is_left = n == 8 && strcmp(left, LEFT) == 0;
	return n >= 7 && read_nonce(r->nonce, nonce) && r->result >= MAPPING_NO_ANSWER &&
	       r->result <= UINT8_MAX && endpoint_parse(&r->server, server, 0) &&
	       endpoint_parse(&r->client, client, 0) &&
	       (strcmp(external, NO_PORT) == 0 || endpoint_parse(&r->external, external, 0));
}

static struct mapping_record *read_lines(FILE *in, size_t *n)
{
	char line[LINE_SIZE], boot[BOOT_MAX];
	const size_t words = strlen(FIRST_WORDS);
	struct mapping_record one, *all = NULL, *more;
	bool is_of_now;

	read_boot(boot);
	if (!fgets(line, sizeof(line), in) || strncmp(line, FIRST_WORDS, words) != 0)
		return NULL;
	is_of_now = strcmp(line + words, boot) == 0;
	while (fgets(line, sizeof(line), in)) {
		if (!read_line(&one, line))
			continue;
		if (!is_of_now)
			one.until_ms = 0;
		more = reallocarray(all, *n + 1, sizeof(*all));
		if (!more)
			break;
		all = more;
		all[(*n)++] = one;
	}
	return all;
}

struct mapping_record *mappings_file_read(size_t *n)
{
	struct mapping_record *all = NULL;
	char path[PATH_MAX_];
	struct file_bytes f;
	FILE *in = NULL;

	*n = 0;
	if (!name(path, "mappings") || file_read(&f, path, SIZE_MOST) < 0)
		return NULL;
	if ((f.st.st_uid == geteuid() || f.st.st_uid == 0) && !(f.st.st_mode & 022) && f.len)
		in = fmemopen(f.bytes, f.len, "r");
	if (in) {
		all = read_lines(in, n);
		fclose(in);
	}
	file_free(&f);
	return all;
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
	fprintf(out, " %s %s %s %" PRId64 " %d %d%s\n", server, client, external, r->until_ms,
		r->result, r->err, r->is_left ? " " LEFT : "");
}

/* A new file: what a killed one has left there, or somebody else, may have other names as well. */
static FILE *make(const char *path)
{
	FILE *out;
	int fd, err;

	if (unlink(path) < 0 && errno != ENOENT)
		return NULL;
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY, 0600);
	out = fd < 0 ? NULL : fdopen(fd, "w");
	err = errno;
	if (!out && fd >= 0)
		close(fd);
	errno = err;
	return out;
}

static int write_all(const char *path, const struct mapping_record *all, size_t n)
{
	FILE *out = make(path);
	char boot[BOOT_MAX];
	int err = 0;

	if (!out)
		return -errno;
	read_boot(boot);
	fprintf(out, FIRST_WORDS "%s", boot);
	for (size_t i = 0; i < n && !ferror(out); i++)
		write_record(out, &all[i]);
	/* where there is no room some file systems say so last of all */
	if (ferror(out) || fflush(out) != 0 || fsync(fileno(out)) < 0)
		err = errno ? errno : EIO;
	if (fclose(out) != 0 && !err)
		err = errno;
	return -err;
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
	if (!err && rename(fresh, path) < 0)
		err = -errno;
	if (err)
		unlink(fresh);
	return err;
}

int mappings_file_lock(void)
{
	return *state_path() ? watch_lock(state_path(), "map") : -ENOENT;
}

bool mappings_file_is_locked(void)
{
	return *state_path() && watch_is_locked(state_path(), "map");
}
