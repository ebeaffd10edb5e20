// SPDX-License-Identifier: MIT
#include "run.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define NAME_SIZE sizeof(((struct unit *)NULL)->name)
#define NAMES	  16 /* of one unit */
#define INIT	  "/etc/init.d"

/* Where systemd looks for units and for what is dropped into them (systemd.unit(5)), but for what is made at
 * run time. It makes units of what is in /etc/init.d. */
static const char *const places[] = { UNIT_PLACE,
				      "/etc/systemd/system.control",
				      "/etc/systemd/system.attached",
				      "/run/systemd/system",
				      "/run/systemd/system.control",
				      "/run/systemd/system.attached",
				      "/usr/local/lib/systemd/system",
				      "/usr/lib/systemd/system",
				      "/lib/systemd/system",
				      INIT };
#define PLACES (sizeof(places) / sizeof(*places))

/* ----------------------------------------------------------------------------------- its files */

int unit_open(const struct unit *u, const char *path, int flags)
{
	const int all = flags | O_CLOEXEC | (flags & O_PATH ? 0 : O_NOCTTY | O_NONBLOCK);
	const struct open_how how = { .flags = (uint32_t)all, .resolve = RESOLVE_IN_ROOT };
	int root = open(*u->root ? u->root : "/", O_PATH | O_DIRECTORY | O_CLOEXEC), fd, err;

	if (root < 0)
		return -1;
	do
		fd = (int)syscall(SYS_openat2, root, path, &how, sizeof(how));
	while (fd < 0 && errno == EAGAIN); /* something is being renamed */
	/* before Linux 5.6, and in some containers; below a root the links would lead out of it */
	if (fd < 0 && (errno == ENOSYS || errno == EPERM) && !*u->root)
		fd = openat(root, path + 1, all);
	err = errno;
	close(root);
	errno = err;
	return fd;
}

/* NULL: there is nothing to be read. Takes the descriptor. */
static FILE *reader(int fd)
{
	struct stat st;
	FILE *f = fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) ? fdopen(fd, "r") : NULL;

	if (!f && fd >= 0)
		close(fd);
	return f;
}

bool unit_is_ours(int folder, bool *owns_folder)
{
	FILE *f = reader(
		openat(folder, UNIT_DROP_IN, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
	char line[sizeof(UNIT_FIRST) + 2];
	bool ours = f && fgets(line, sizeof(line), f) && strcmp(line, UNIT_FIRST "\n") == 0;

	*owns_folder = ours && fgets(line, sizeof(line), f) &&
		       strcmp(line, UNIT_OWNS_DIR "\n") == 0;
	if (f)
		fclose(f);
	return ours;
}

static bool is_start_of_name(const char *line, const char *at)
{
	return at == line || (!isalnum((unsigned char)at[-1]) && at[-1] != '_');
}

/* Does this line set LD_PRELOAD, or take it away? */
static bool is_about_it(const char *line, bool *takes_away)
{
	static const char unset[] = "UnsetEnvironment", name[] = "LD_PRELOAD";

	line += strspn(line, " \t");
	*takes_away = strncmp(line, unset, sizeof(unset) - 1) == 0;
	if (*line == '#' || *line == ';')
		return false;
	for (const char *at = line; (at = strstr(at, name)); at += sizeof(name) - 1)
		if (is_start_of_name(line, at) && (*takes_away || at[sizeof(name) - 1] == '='))
			return true;
	return false;
}

/* "Environment=" with nothing behind it: all that was set before is set no more. */
static bool is_emptied(const char *line)
{
	static const char environment[] = "Environment", space[] = " \t\r\n";

	line += strspn(line, space);
	if (strncmp(line, environment, sizeof(environment) - 1) != 0)
		return false;
	line += sizeof(environment) - 1;
	line += strspn(line, space);
	return *line == '=' && !line[1 + strspn(line + 1, space)];
}

/* is_behind: systemd reads it after our drop-in. */
static void look_at_file(struct unit_seen *s, const struct unit *u, const char *path,
			 bool is_behind)
{
	FILE *f = s->preloads[0] ? NULL : reader(unit_open(u, path, O_RDONLY));
	char *line = NULL;
	size_t size = 0;

	for (int n = 1; f && !s->preloads[0] && getline(&line, &size, f) > 0; n++) {
		bool is_about = is_about_it(line, &s->takes_it_away);

		if (is_behind && is_emptied(line))
			is_about = s->takes_it_away = true;
		if (is_about)
			snprintf(s->preloads, sizeof(s->preloads), "%s%s:%d", u->root, path, n);
	}
	free(line);
	if (f)
		fclose(f);
}

/* ------------------------------------------------------------------------- all that holds for it */

static DIR *open_folder(const struct unit *u, const char *path)
{
	int fd = unit_open(u, path, O_RDONLY | O_DIRECTORY);
	DIR *d = fd >= 0 ? fdopendir(fd) : NULL;

	if (!d && fd >= 0)
		close(fd);
	return d;
}

/* But for ours. Wherever they are, they are read in the order of their names. */
static void look_at_dropins(struct unit_seen *s, const struct unit *u, const char *folder)
{
	DIR *d = open_folder(u, folder);
	char path[PATH_MAX];
	struct dirent *e;
	bool owns_folder;

	while (d && (e = readdir(d))) {
		const char *dot = strrchr(e->d_name, '.');

		if (!dot || strcmp(dot, ".conf") != 0 ||
		    (strcmp(e->d_name, UNIT_DROP_IN) == 0 && unit_is_ours(dirfd(d), &owns_folder)))
			continue;
		if (snprintf(path, sizeof(path), "%s/%s", folder, e->d_name) < (int)sizeof(path))
			look_at_file(s, u, path, strcmp(e->d_name, UNIT_DROP_IN) > 0);
	}
	if (d)
		closedir(d);
}

static void look_at_unit(struct unit_seen *s, const struct unit *u, const char *path)
{
	int fd = unit_open(u, path, O_PATH);

	if (fd < 0)
		return;
	close(fd);
	s->exists = true;
	look_at_file(s, u, path, false);
}

/* Where there is a unit of that name, or only what is dropped into it. */
static void look_for(struct unit_seen *s, const struct unit *u, const char *name, bool is_unit)
{
	char path[PATH_MAX];

	for (size_t i = 0; i < PLACES; i++) {
		bool is_init = strcmp(places[i], INIT) == 0;

		if (is_unit) {
			snprintf(path, sizeof(path), "%s/%.*s", places[i],
				 (int)(strlen(name) - (is_init ? strlen(UNIT_SUFFIX) : 0)), name);
			look_at_unit(s, u, path);
		}
		snprintf(path, sizeof(path), "%s/%s.d", places[i], name);
		if (!is_init)
			look_at_dropins(s, u, path);
	}
}

/* For "a-b@c.service" what holds for several of that beginning: "a-.service", "a-@.service", "a-@c.service". */
static void look_wider(struct unit_seen *s, const struct unit *u, const char *name)
{
	const size_t prefix = strcspn(name, "@");
	const char *const ends[] = { UNIT_SUFFIX, name[prefix] ? "@" UNIT_SUFFIX : NULL,
				     name + prefix };
	char wider[NAME_SIZE + sizeof(UNIT_SUFFIX)];

	for (size_t i = 0; i < prefix; i++)
		for (size_t k = 0; name[i] == '-' && k < (name[prefix] ? 3 : 1); k++) {
			snprintf(wider, sizeof(wider), "%.*s%s", (int)i + 1, name, ends[k]);
			if (strcmp(wider, name) != 0)
				look_for(s, u, wider, false);
		}
}

/* DefaultEnvironment= (systemd-system.conf(5)). */
static void look_at_manager(struct unit_seen *s, const struct unit *u)
{
	static const char *const managers[] = { "/etc/systemd", "/run/systemd",
						"/usr/local/lib/systemd", "/usr/lib/systemd" };
	char path[PATH_MAX];

	for (size_t i = 0; i < sizeof(managers) / sizeof(*managers); i++) {
		snprintf(path, sizeof(path), "%s/system.conf", managers[i]);
		look_at_file(s, u, path, false);
		snprintf(path, sizeof(path), "%s/system.conf.d", managers[i]);
		look_at_dropins(s, u, path);
	}
}

/* ----------------------------------------------------------------------------------- its names */

struct names {
	char all[NAMES][NAME_SIZE];
	bool are_links[NAMES]; /* and not the unit's own */
	size_t n;
};

static bool is_service(const char *name)
{
	const char *dot = strrchr(name, '.');

	return dot && dot != name && strcmp(dot, UNIT_SUFFIX) == 0 && strlen(name) < NAME_SIZE;
}

static void add(struct names *names, const char *name)
{
	for (size_t i = 0; i < names->n; i++)
		if (strcmp(names->all[i], name) == 0)
			return;
	if (names->n < NAMES)
		snprintf(names->all[names->n++], NAME_SIZE, "%s", name);
}

/* "x@.service" of "x@y.service". */
static bool template_of(const char *name, char template[static NAME_SIZE])
{
	const char *at = strchr(name, '@');

	return at && at[1] != '.' &&
	       snprintf(template, NAME_SIZE, "%.*s@" UNIT_SUFFIX, (int)(at - name), name) <
		       (int)NAME_SIZE;
}

/* One is a link to the other: what is called so has the other name, too, and so have instances of it. False: that
 * is another unit. */
static bool link_of(struct names *names, const char *name, const char *one, const char *other)
{
	char template[NAME_SIZE], instance[2 * NAME_SIZE];
	const char *at = strstr(other, "@."), *end = strchr(name, '@');
	bool is_instance = template_of(name, template), is_it = strcmp(name, one) == 0;

	if (!is_it && (!is_instance || strcmp(template, one) != 0))
		return false;
	if (is_instance && at) {
		snprintf(instance, sizeof(instance), "%.*s%s", (int)(at - other), other, end);
		if (strlen(instance) < NAME_SIZE)
			add(names, instance);
	} else if (is_it || (strchr(other, '@') && strcmp(strchr(other, '@'), end) == 0)) {
		add(names, other);
	}
	return true;
}

/* systemd's aliases are links: their other names are names of the unit, by which more is dropped into it. */
static void find_links(struct names *names, size_t i, const struct unit *u, const char *place)
{
	const char *name = names->all[i];
	DIR *d = open_folder(u, place);
	char target[PATH_MAX];
	struct dirent *e;
	const char *base;
	ssize_t n;

	while (d && (e = readdir(d))) {
		n = is_service(e->d_name) ?
			    readlinkat(dirfd(d), e->d_name, target, sizeof(target) - 1) :
			    -1;
		if (n < 0)
			continue;
		target[n] = '\0';
		base = strrchr(target, '/');
		base = base ? base + 1 : target;
		if (!is_service(base) || strcmp(base, e->d_name) == 0)
			continue;
		names->are_links[i] |= link_of(names, name, e->d_name, base);
		link_of(names, name, base, e->d_name);
	}
	if (d)
		closedir(d);
}

void unit_look(struct unit_seen *s, const struct unit *u)
{
	struct names names = { .n = 0 };
	char template[NAME_SIZE];

	*s = (struct unit_seen){ .exists = false };
	add(&names, u->name);
	for (size_t i = 0; i < names.n; i++)
		for (size_t k = 0; k < PLACES; k++)
			find_links(&names, i, u, places[k]);
	for (size_t i = 0; i < names.n; i++) {
		look_for(s, u, names.all[i], true);
		if (template_of(names.all[i], template))
			look_for(s, u, template, true);
		if (!names.are_links[i])
			look_wider(s, u, names.all[i]);
	}
	look_for(s, u, "service", false);
	look_at_manager(s, u);
}
