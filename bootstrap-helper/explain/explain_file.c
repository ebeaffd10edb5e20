// SPDX-License-Identifier: MIT
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "explain.h"
#include "base.h"

#define PROGRAM_MAX (1U << 30)

/* Snaps are links to one starter, Flatpak's are scripts in a directory of their own. */
static void look_at_sandbox(struct explain *e, const char *path)
{
	char *real = realpath(path, NULL);
	struct finding *found = NULL;

	if (real && (strcmp(real, "/usr/bin/snap") == 0 || strncmp(real, "/snap/", 6) == 0))
		found = finding_add(&e->found, "program-sandbox", FINDING_PROBLEM,
				    "a snap: it runs with files and rules of its own, where the "
				    "library is not to be seen");
	else if (strstr(path, "/flatpak/exports/bin/"))
		found = finding_add(&e->found, "program-sandbox", FINDING_PROBLEM,
				    "a Flatpak application: it runs with files of its own, where "
				    "the library is not to be seen");
	if (found)
		finding_mend(found, "the same program from the system's packages");
	free(real);
}

/* gains: as the kernel has it when it sets AT_SECURE (security/commoncap.c), by the real user and group: to become
 * who one is already is nothing, nor are file capabilities to root, who has all. */
static const char *privileges(const char *path, const struct stat *st, bool *gains)
{
	const bool has_user = st->st_mode & S_ISUID;
	const bool has_group = (st->st_mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP);
	const bool has_more = getxattr(path, "security.capability", NULL, 0) > 0;
	struct statvfs fs;
	const bool counts = statvfs(path, &fs) < 0 || !(fs.f_flag & ST_NOSUID);
	const bool sets_ids = counts && prctl(PR_GET_NO_NEW_PRIVS, 0UL, 0UL, 0UL, 0UL) != 1;

	*gains = true;
	if (has_user && sets_ids && st->st_uid != getuid())
		return "set-user-ID";
	if (has_group && sets_ids && st->st_gid != getgid())
		return "set-group-ID";
	if (has_more && counts && getuid() != 0)
		return "with file capabilities";
	*gains = false;
	return has_user	 ? "set-user-ID" :
	       has_group ? "set-group-ID" :
	       has_more	 ? "with file capabilities" :
			   NULL;
}

static char *look_inside(struct explain *e, const char *path, const struct file_bytes *f)
{
	bool gains;
	const char *privileged = privileges(path, &f->st, &gains);

	look_at_sandbox(e, path);
	explain_known(e, path);
	if (f->len >= 2 && memcmp(f->bytes, "#!", 2) == 0) {
		if (privileged)
			finding_add(&e->found, "program-privileges", FINDING_NOTE,
				    "%s, which the kernel ignores: it is a script", privileged);
		return explain_script(e, f->bytes, f->len);
	}
	if (elf_has_magic((const uint8_t *)f->bytes, f->len)) {
		explain_elf(e, (const uint8_t *)f->bytes, f->len, privileged, gains);
	} else if (f->len == 0) {
		finding_add(&e->found, "program-kind", FINDING_PROBLEM, "an empty file");
	} else {
		struct finding *found = finding_add(
			&e->found, "program-kind", FINDING_PROBLEM,
			"neither an ELF file nor a script that names its interpreter");

		finding_mend(found, "if it is a shell script: a first line such as #!/bin/sh");
	}
	return NULL;
}

static const char *no_program(int err)
{
	return err == -ENOENT || err == -ENOTDIR ? "there is no such file" :
	       err == -EISDIR			 ? "a directory, no program" :
	       err == -EINVAL			 ? "not a regular file" :
						   NULL;
}

static bool is_on_noexec(const char *path)
{
	struct statvfs fs;

	return statvfs(path, &fs) == 0 && fs.f_flag & ST_NOEXEC;
}

static void add_not_executable(struct explain *e, const char *path, const struct stat *st)
{
	char *whole, quoted[FINDING_QUOTED];
	struct finding *found;

	if (is_on_noexec(path)) { /* and no mode helps */
		found = finding_add(&e->found, "program-executable", FINDING_PROBLEM,
				    "it is on a mount that is noexec");
		finding_mend(found, "a copy of it elsewhere");
		return;
	}
	found = finding_add(&e->found, "program-executable", FINDING_PROBLEM,
			    "it may not be executed%s", getuid() ? " by this user" : "");
	whole = file_absolute(path);
	finding_quote(whole ? whole : path, quoted);
	if (st->st_uid == geteuid())
		finding_mend(found, "chmod +x %s", quoted);
	else
		finding_mend_as_root(found, "chmod +x %s", quoted);
	free(whole);
}

char *explain_file(struct explain *e, const char *path)
{
	char *interpreter;
	struct file_bytes f;
	int err = file_map(&f, path, PROGRAM_MAX);

	findings_about(&e->found, "%s", path);
	if (err) {
		finding_add(&e->found, no_program(err) ? "program-found" : "program-readable",
			    FINDING_PROBLEM, "%s%s",
			    no_program(err) ? "" : "it cannot be read, and so not explained: ",
			    no_program(err) ? no_program(err) : strerror(-err));
		return NULL;
	}
	if (access(path, X_OK) != 0)
		add_not_executable(e, path, &f.st);
	interpreter = look_inside(e, path, &f);
	file_free(&f);
	return interpreter;
}
