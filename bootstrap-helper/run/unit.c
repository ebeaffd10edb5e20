// SPDX-License-Identifier: MIT
#include "run.h"

#include "base.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NAME_CHARS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:-_.\\@"

__attribute__((format(printf, 1, 2))) static int fail(const char *format, ...)
{
	va_list args;

	fputs("convert-run: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	return 1;
}

bool unit_init(struct unit *u, const char *root, const char *word)
{
	const char *dot = strrchr(word, '.');
	bool is_whole = dot && strcmp(dot, UNIT_SUFFIX) == 0;
	int n = snprintf(u->name, sizeof(u->name), "%s%s", word, is_whole ? "" : UNIT_SUFFIX);

	u->root = root;
	if (n < (int)sizeof(u->name) - 8 && *word && *word != '.' && *word != '@' &&
	    !word[strspn(word, NAME_CHARS)])
		return true;
	fail("%s: no name of a service", word);
	return false;
}

/* -------------------------------------------------------------------------------- the drop-in */

/* How many bytes the character has, or 0: it is none that systemd takes (UTF-8 without surrogates and what is no
 * character), or controls something. */
static size_t character(const char *text)
{
	const unsigned char *c = (const unsigned char *)text;
	const size_t n = *c < 0x80 ? 1 :
			 *c < 0xc2 ? 0 :
			 *c < 0xe0 ? 2 :
			 *c < 0xf0 ? 3 :
			 *c < 0xf5 ? 4 :
				     0;
	uint32_t is = n > 1 ? *c & (0x7fU >> n) : *c;

	for (size_t i = 1; i < n; i++) {
		if ((c[i] & 0xc0) != 0x80)
			return 0;
		is = is << 6 | (c[i] & 0x3f);
	}
	if (is < ' ' || (n == 3 && is < 0x800) || (n == 4 && is < 0x10000) || is > 0x10ffff ||
	    (is >= 0xd800 && is < 0xe000) || (is >= 0xfdd0 && is < 0xfdf0) ||
	    (is & 0xfffe) == 0xfffe)
		return 0;
	return n;
}

/* As systemd.exec(5) reads it. False: it cannot be said, which has been told. */
static bool write_variable(FILE *f, const char *name, const char *value)
{
	fprintf(f, "Environment=\"%s=", name);
	for (size_t n; *value; value += n) {
		n = character(value);
		if (!n) {
			fail("%s: expected UTF-8 without control characters, which no unit can "
			     "have",
			     name);
			return false;
		}
		if (strchr("\"\\", *value))
			fputc('\\', f);
		if (*value == '%')
			fputc('%', f);
		fwrite(value, 1, n, f);
	}
	fputs("\"\n", f);
	return true;
}

static bool write_text(FILE *f, const char *library, bool owns_folder)
{
	/* not CONVERT_COOKIE: everybody may read a unit */
	static const char *const variables[] = { "CONVERT_CONF",      "CONVERT_ADDR",
						 "CONVERT_PORT",      "CONVERT_LOG",
						 "CONVERT_LOG_LEVEL", "CONVERT_LOG_FORMAT",
						 "CONVERT_STRICT" };
	bool whole = true;

	fprintf(f, UNIT_FIRST "\n%s[Service]\n", owns_folder ? UNIT_OWNS_DIR "\n" : "");
	whole &= write_variable(f, "LD_PRELOAD", library);
	for (size_t i = 0; i < sizeof(variables) / sizeof(*variables); i++) {
		const char *value = getenv(variables[i]);

		if (value && *value)
			whole &= write_variable(f, variables[i], value);
	}
	return whole;
}

static int write_file(int fd, const char *library, bool owns_folder)
{
	FILE *f = fdopen(fd, "w");
	bool whole;
	int err;

	if (!f) {
		err = errno;
		close(fd);
		return err;
	}
	whole = write_text(f, library, owns_folder);
	err = fchmod(fd, 0644) < 0 || fflush(f) != 0 || fsync(fd) < 0 ? errno : 0;
	if (!err && ferror(f)) /* before, and what could not be written is not there any more */
		err = EIO;
	fclose(f);
	return whole ? err : -1;
}

/* Returns 0, or an errno; -1: it has been said why not. */
static int put(int folder, const char *library, bool owns_folder)
{
	char new[sizeof(UNIT_DROP_IN) + 16];
	int fd, err;

	snprintf(new, sizeof(new), UNIT_DROP_IN ".%d", (int)getpid());
	unlinkat(folder, new, 0); /* of one who had that number before, and was killed */
	fd = openat(folder, new, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return errno;
	err = write_file(fd, library, owns_folder);
	if (!err && renameat(folder, new, folder, UNIT_DROP_IN) < 0)
		err = errno;
	if (err)
		unlinkat(folder, new, 0);
	return err;
}

/* The drop-in's name in path, its folder's in folder; false: they are too long. */
static bool names_of(const struct unit *u, char path[static PATH_MAX], char folder[static PATH_MAX])
{
	int n = snprintf(folder, PATH_MAX, "%s" UNIT_PLACE "/%s.d", u->root, u->name);

	return n < PATH_MAX && snprintf(path, PATH_MAX, "%s/" UNIT_DROP_IN, folder) < PATH_MAX;
}

/* The status: what is done and cannot be told is not well. */
static int tell(const struct unit *u, const char *what, const char *path)
{
	const char *at = strstr(u->name, "@" UNIT_SUFFIX);
	char name[FINDING_QUOTED], running[sizeof(u->name) + 1];

	/* of a template there is nothing but its instances to be started anew */
	snprintf(running, sizeof(running), "%.*s%s", at ? (int)(at - u->name) : INT_MAX, u->name,
		 at ? "@*" UNIT_SUFFIX : "");
	printf("%s %s\n", path, what);
	if (!*u->root)
		printf("From the next start on: systemctl daemon-reload && systemctl restart %s\n",
		       finding_quote(running, name));
	return !file_flush_output();
}

static int fail_without_place(const struct unit *u)
{
	char place[PATH_MAX + sizeof(UNIT_PLACE)], quoted[FINDING_QUOTED];

	snprintf(place, sizeof(place), "%s" UNIT_PLACE, u->root);
	return fail("%s: not there, so neither is systemd; mend: mkdir -p %s", place,
		    finding_quote(place, quoted));
}

/* The folder of the drop-in, or -1 and errno. */
static int open_folder(const struct unit *u)
{
	char folder[sizeof(UNIT_PLACE) + sizeof(u->name) + 4];

	snprintf(folder, sizeof(folder), UNIT_PLACE "/%s.d", u->name);
	return unit_open(u, folder, O_RDONLY | O_DIRECTORY);
}

static bool has_file(int folder)
{
	struct stat st;

	return fstatat(folder, UNIT_DROP_IN, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

/* What else there is of the unit: true if it is in the way, which has been said. */
static bool is_in_the_way(const struct unit_seen *seen, const char *library)
{
	if (!seen->preloads[0])
		return false;
	if (seen->takes_it_away)
		fail("%s takes LD_PRELOAD away; mend: no such line", seen->preloads);
	else
		fail("%s sets LD_PRELOAD, of which one would replace the other; mend: add \":%s\" "
		     "to it",
		     seen->preloads, library);
	return true;
}

/* Into its folder. 0, an errno, or -1: it has been said why not. */
static int put_there(const struct unit *u, const char *library, const char *path, bool made)
{
	int folder = open_folder(u), err;
	bool owns_folder;

	if (folder < 0)
		return errno;
	if (!unit_is_ours(folder, &owns_folder) && has_file(folder)) {
		fail("%s is not from convert-run", path);
		err = -1;
	} else {
		err = put(folder, library, owns_folder || made);
	}
	close(folder);
	return err;
}

static int enable_in(const struct unit *u, const char *library, const char *path,
		     const char *folder, int place)
{
	const char *name = strrchr(folder, '/') + 1;
	bool made = mkdirat(place, name, 0755) == 0;
	int err;

	if (!made && errno != EEXIST) {
		fail("%s: %s", folder, strerror(errno));
		return -1;
	}
	err = put_there(u, library, path, made);
	if (err && made)
		unlinkat(place, name, AT_REMOVEDIR);
	return err;
}

int unit_enable(const struct unit *u, const char *library)
{
	char path[PATH_MAX], folder[PATH_MAX];
	struct unit_seen seen;
	int place, err;

	if (library[strcspn(library, " :")])
		return fail("%s: the loader splits LD_PRELOAD at spaces and colons", library);
	if (!names_of(u, path, folder))
		return fail("%s: %s", u->name, strerror(ENAMETOOLONG));
	unit_look(&seen, u);
	if (is_in_the_way(&seen, library))
		return 1;
	place = unit_open(u, UNIT_PLACE, O_PATH | O_DIRECTORY);
	if (place < 0)
		return errno == ENOENT ? fail_without_place(u) :
					 fail("%s: %s", folder, strerror(errno));
	err = enable_in(u, library, path, folder, place);
	close(place);
	if (err)
		return err < 0 ? 1 : fail("%s: %s", path, strerror(err));
	if (!seen.exists)
		fail("%s: no unit of that name is there yet", u->name);
	return tell(u, "is written.", path);
}

int unit_disable(const struct unit *u)
{
	char path[PATH_MAX], folder_path[PATH_MAX];
	int folder, place;
	bool owns_folder;

	if (!names_of(u, path, folder_path))
		return fail("%s: %s", u->name, strerror(ENAMETOOLONG));
	folder = open_folder(u);
	if (folder < 0 && (errno == ENOSYS || errno == EPERM))
		return fail("%s: %s", folder_path, strerror(errno));
	if (folder < 0 || !has_file(folder))
		return fail("%s is not enabled", u->name);
	if (!unit_is_ours(folder, &owns_folder))
		return fail("%s is not from convert-run", path);
	if (unlinkat(folder, UNIT_DROP_IN, 0) < 0)
		return fail("%s: %s", path, strerror(errno));
	close(folder);
	place = owns_folder ? unit_open(u, UNIT_PLACE, O_PATH | O_DIRECTORY) : -1;
	if (place >= 0) {
		unlinkat(place, strrchr(folder_path, '/') + 1,
			 AT_REMOVEDIR); /* unless somebody else uses it now */
		close(place);
	}
	return tell(u, "is gone.", path);
}
