// SPDX-License-Identifier: MIT
#include "unit.h"

#include "file.h"
#include "finding.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SUFFIX	   ".service"
#define PLACE	   "/etc/systemd/system"
#define DROP_IN	   "convert.conf"
#define FIRST	   "# Written by \"convert-run enable\", and taken away by \"convert-run disable\"."
#define OWNS_DIR   "# So is this folder."
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
	bool is_whole = dot && strcmp(dot, SUFFIX) == 0;
	int n = snprintf(u->name, sizeof(u->name), "%s%s", word, is_whole ? "" : SUFFIX);

	u->root = root;
	if (n < (int)sizeof(u->name) - 8 && *word && *word != '.' && *word != '@' &&
	    !word[strspn(word, NAME_CHARS)])
		return true;
	fail("%s: no name of a service", word);
	return false;
}

/* ------------------------------------------------------------------ what the unit says by itself */

/* Returns the number of the line, or 0. */
static int line_that_preloads(const char *path)
{
	FILE *f = fopen(path, "re");
	char *line = NULL;
	size_t size = 0;
	int n = 0, found = 0;

	while (f && !found && getline(&line, &size, f) > 0) {
		n++;
		if (line[strspn(line, " \t")] != '#' && line[strspn(line, " \t")] != ';' &&
		    strstr(line, "LD_PRELOAD="))
			found = n;
	}
	free(line);
	if (f)
		fclose(f);
	return found;
}

struct seen {
	bool exists;
	char preloads[PATH_MAX + 16]; /* "FILE:LINE" of another LD_PRELOAD; "": there is none */
};

static void look_at_file(struct seen *s, const char *path)
{
	int line = line_that_preloads(path);

	if (line && !s->preloads[0])
		snprintf(s->preloads, sizeof(s->preloads), "%s:%d", path, line);
}

static void look_at_dropins(struct seen *s, const char *folder, bool has_ours)
{
	DIR *d = opendir(folder);
	char path[PATH_MAX];
	struct dirent *e;

	while (d && (e = readdir(d))) {
		const char *dot = strrchr(e->d_name, '.');

		if (!dot || strcmp(dot, ".conf") != 0 ||
		    (has_ours && strcmp(e->d_name, DROP_IN) == 0))
			continue;
		if (snprintf(path, sizeof(path), "%s/%s", folder, e->d_name) < (int)sizeof(path))
			look_at_file(s, path);
	}
	if (d)
		closedir(d);
}

/* Where there is a unit of that name, or only what is dropped into it. */
static void look_for(struct seen *s, const struct unit *u, const char *name, bool is_unit)
{
	static const char *const places[] = { PLACE,
					      "/run/systemd/system",
					      "/usr/local/lib/systemd/system",
					      "/usr/lib/systemd/system",
					      "/lib/systemd/system",
					      "/etc/init.d" };
	char path[PATH_MAX];

	for (size_t i = 0; i < sizeof(places) / sizeof(*places); i++) {
		const char *at = places[i];
		int len = (int)strlen(name);

		if (strcmp(at, "/etc/init.d") == 0) { /* systemd makes units of these */
			if (!is_unit)
				continue;
			len -= (int)strlen(SUFFIX);
		}
		if (snprintf(path, sizeof(path) - 2, "%s%s/%.*s", u->root, at, len, name) >=
		    (int)sizeof(path) - 2)
			continue;
		if (is_unit) {
			s->exists |= access(path, F_OK) == 0;
			look_at_file(s, path);
		}
		memcpy(path + strlen(path), ".d", 3);
		look_at_dropins(s, path, at == places[0] && strcmp(name, u->name) == 0);
	}
}

/* What holds for several units: "service.d", and for "a-b.service" "a-.service.d" (systemd.unit(5)). */
static void look_wider(struct seen *s, const struct unit *u)
{
	size_t prefix = strcspn(u->name, "@");
	char name[sizeof(u->name) + sizeof(SUFFIX)];

	look_for(s, u, SUFFIX + 1, false);
	for (size_t i = 0; i < prefix; i++) {
		if (u->name[i] != '-')
			continue;
		snprintf(name, sizeof(name), "%.*s" SUFFIX, (int)i + 1, u->name);
		if (strcmp(name, u->name) != 0)
			look_for(s, u, name, false);
	}
}

/* DefaultEnvironment= (systemd-system.conf(5)). */
static void look_at_manager(struct seen *s, const struct unit *u)
{
	static const char *const places[] = { "/etc/systemd", "/run/systemd", "/usr/local/lib/systemd",
					      "/usr/lib/systemd" };
	char path[PATH_MAX];

	for (size_t i = 0; i < sizeof(places) / sizeof(*places); i++) {
		if (snprintf(path, sizeof(path) - 2, "%s%s/system.conf", u->root, places[i]) >=
		    (int)sizeof(path) - 2)
			continue;
		look_at_file(s, path);
		memcpy(path + strlen(path), ".d", 3);
		look_at_dropins(s, path, false);
	}
}

/* The unit, and for "x@y.service" the template "x@.service"; and what holds for more than it. */
static void look(struct seen *s, const struct unit *u)
{
	const char *at = strchr(u->name, '@');
	char template[sizeof(u->name) + sizeof(SUFFIX)];

	*s = (struct seen){ .exists = false };
	look_for(s, u, u->name, true);
	if (at) {
		snprintf(template, sizeof(template), "%.*s" SUFFIX, (int)(at + 1 - u->name), u->name);
		look_for(s, u, template, true);
	}
	look_wider(s, u);
	look_at_manager(s, u);
}

/* -------------------------------------------------------------------------------- the drop-in */

static bool is_ours(const char *path, bool *owns_folder)
{
	FILE *f = fopen(path, "re");
	char line[sizeof(FIRST) + 2];
	bool ours = f && fgets(line, sizeof(line), f) && strcmp(line, FIRST "\n") == 0;

	*owns_folder = ours && fgets(line, sizeof(line), f) && strcmp(line, OWNS_DIR "\n") == 0;
	if (f)
		fclose(f);
	return ours;
}

/* As systemd.exec(5) reads it. False: it cannot be said. */
static bool write_variable(FILE *f, const char *name, const char *value)
{
	fprintf(f, "Environment=\"%s=", name);
	for (; *value; value++) {
		if ((unsigned char)*value < ' ')
			return false;
		if (strchr("\"\\", *value))
			fputc('\\', f);
		if (*value == '%')
			fputc('%', f);
		fputc(*value, f);
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

	fprintf(f, FIRST "\n%s[Service]\n", owns_folder ? OWNS_DIR "\n" : "");
	whole &= write_variable(f, "LD_PRELOAD", library);
	for (size_t i = 0; i < sizeof(variables) / sizeof(*variables); i++) {
		const char *value = getenv(variables[i]);

		if (value && *value)
			whole &= write_variable(f, variables[i], value);
	}
	return whole;
}

/* Returns 0, or an errno: EINVAL is a value that no unit can have. */
static int put(const char *path, const char *library, bool owns_folder)
{
	char new[PATH_MAX + 16];
	bool whole;
	int fd, err;
	FILE *f;

	snprintf(new, sizeof(new), "%s.XXXXXX", path);
	fd = mkostemp(new, O_CLOEXEC);
	f = fd >= 0 ? fdopen(fd, "w") : NULL;
	if (!f)
		return errno;
	whole = write_text(f, library, owns_folder);
	err = fchmod(fd, 0644) < 0 || fflush(f) != 0 || fsync(fd) < 0 ? errno : whole ? 0 : EINVAL;
	fclose(f);
	if (!err && rename(new, path) < 0)
		err = errno;
	if (err)
		unlink(new);
	return err;
}

/* The drop-in's name in path, its folder's in folder; false: they are too long. */
static bool names_of(const struct unit *u, char path[static PATH_MAX], char folder[static PATH_MAX])
{
	int n = snprintf(folder, PATH_MAX, "%s" PLACE "/%s.d", u->root, u->name);

	return n < PATH_MAX && snprintf(path, PATH_MAX, "%s/" DROP_IN, folder) < PATH_MAX;
}

/* The status: what is done and cannot be told is not well. */
static int tell(const struct unit *u, const char *what, const char *path)
{
	char name[FINDING_QUOTED];

	printf("%s %s\n", path, what);
	if (!*u->root)
		printf("From the next start on: systemctl daemon-reload && systemctl restart %s\n",
		       finding_quote(u->name, name));
	return !file_flush_output();
}

static int fail_without_place(const struct unit *u)
{
	char place[PATH_MAX + sizeof(PLACE)], quoted[FINDING_QUOTED];

	snprintf(place, sizeof(place), "%s" PLACE, u->root);
	return fail("%s: not there, so neither is systemd; mend: mkdir -p %s", place,
		    finding_quote(place, quoted));
}

int unit_enable(const struct unit *u, const char *library)
{
	char path[PATH_MAX], folder[PATH_MAX];
	bool made, owns_folder, ours;
	struct seen seen;
	int err;

	if (library[strcspn(library, " :")])
		return fail("%s: the loader splits LD_PRELOAD at spaces and colons", library);
	if (!names_of(u, path, folder))
		return fail("%s: %s", u->name, strerror(ENAMETOOLONG));
	look(&seen, u);
	if (seen.preloads[0])
		return fail("%s sets LD_PRELOAD, of which one would replace the other; mend: add "
			    "\":%s\" to it",
			    seen.preloads, library);
	ours = is_ours(path, &owns_folder);
	if (!ours && access(path, F_OK) == 0)
		return fail("%s is not from convert-run", path);
	made = mkdir(folder, 0755) == 0;
	if (!made && errno == ENOENT)
		return fail_without_place(u);
	if (!made && errno != EEXIST)
		return fail("%s: %s", folder, strerror(errno));
	err = put(path, library, owns_folder || made);
	if (err) {
		if (made)
			rmdir(folder);
		return fail("%s: %s", path, strerror(err));
	}
	if (!seen.exists)
		fail("%s: no unit of that name is there yet", u->name);
	return tell(u, "is written.", path);
}

int unit_disable(const struct unit *u)
{
	char path[PATH_MAX], folder[PATH_MAX];
	bool owns_folder;

	if (!names_of(u, path, folder))
		return fail("%s: %s", u->name, strerror(ENAMETOOLONG));
	if (!is_ours(path, &owns_folder)) {
		if (access(path, F_OK) == 0)
			return fail("%s is not from convert-run", path);
		return fail("%s is not enabled", u->name);
	}
	if (unlink(path) < 0)
		return fail("%s: %s", path, strerror(errno));
	if (owns_folder)
		rmdir(folder); /* unless somebody else uses it now */
	return tell(u, "is gone.", path);
}
