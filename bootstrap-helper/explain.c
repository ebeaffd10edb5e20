// SPDX-License-Identifier: MIT
/* explain - says whether the library can work in a program. */
#include "explain.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bootstrap.h"
#include "file.h"

#define LIBRARY	     "libconvert-preload.so"
#define DEFAULT_PATH "/usr/local/bin:/usr/bin:/bin"

/* ----------------------------------------------------------------------------------- by name */

static const char *const builtins[] = {
	".",	":",	  "[",	    "alias",   "bg",	"cd",	 "command",  "echo",
	"eval", "exec",	  "exit",   "export",  "false", "fc",	 "fg",	     "getopts",
	"hash", "jobs",	  "kill",   "printf",  "pwd",	"read",	 "readonly", "return",
	"set",	"shift",  "source", "test",    "time",	"times", "trap",     "true",
	"type", "ulimit", "umask",  "unalias", "unset", "wait",	 NULL,
};

static bool is_builtin(const char *name)
{
	for (size_t i = 0; builtins[i]; i++)
		if (strcmp(builtins[i], name) == 0)
			return true;
	return false;
}

/* The first file in PATH that execvp() would take; from malloc(), NULL if there is none. */
static char *find(const char *name)
{
	const char *dir = getenv("PATH"), *end;

	for (dir = dir ? dir : DEFAULT_PATH;; dir = end + 1) {
		const int len = (int)((end = strchrnul(dir, ':')) - dir);
		struct stat st;
		char *path;

		if (asprintf(&path, "%.*s%s%s", len, dir, len ? "/" : "./", name) < 0)
			return NULL;
		if (stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0)
			return path;
		free(path);
		if (!*end)
			return NULL;
	}
}

/* A name without a slash is looked for in PATH; it may be a built-in of the shell, too. Returns the
 * name of its interpreter, which is to be explained next. */
static char *explain_name(struct explain *e, const char *name)
{
	char *path = strchr(name, '/') ? strdup(name) : find(name), *interpreter = NULL;

	findings_about(&e->found, "%s", path ? path : name);
	if (!strchr(name, '/') && is_builtin(name))
		finding_add(&e->found, "program-builtin", path ? FINDING_NOTE : FINDING_PROBLEM,
			    path ? "a shell has a built-in of this name, and runs that instead" :
				   "a built-in of the shell: no program of its own");
	else if (!path)
		finding_add(&e->found, "program-found", FINDING_PROBLEM,
			    "no program of this name is in PATH");
	if (path)
		interpreter = explain_file(e, path);
	free(path);
	return interpreter;
}

/* A program, the interpreter of a script, the interpreter's own, and so on: explain_script() ends it. */
static void explain(struct explain *e, const char *program)
{
	char *name, *next;

	for (name = strdup(program); name; name = next) {
		next = explain_name(e, name);
		free(name);
	}
}

/* ------------------------------------------------------------------------------------ the verb */

static bool is_in_every_program(void)
{
	struct file_bytes f;
	bool found = false;

	if (file_read(&f, "/etc/ld.so.preload", 1 << 16) == 0) {
		found = memmem(f.bytes, f.len, LIBRARY, strlen(LIBRARY)) != NULL;
		file_free(&f);
	}
	return found;
}

/* What this helper is: word size, machine and loader are the library's too. */
static bool look_at_ourselves(struct explain *e)
{
	struct file_bytes f;
	int err = file_read(&f, "/proc/self/exe", 1 << 28);
	const char *wrong;

	if (err) {
		file_complain("/proc/self/exe", "cannot be read", err);
		return false;
	}
	wrong = elf_read(&e->own, (const uint8_t *)f.bytes, f.len);
	file_free(&f);
	if (wrong)
		fprintf(stderr, "/proc/self/exe: %s\n", wrong);
	return !wrong;
}

static void show(const struct explain *e, const char *program, bool as_json)
{
	if (as_json) {
		findings_print_json(&e->found);
		return;
	}
	findings_print(&e->found);
	printf("The library %s work in %s.\n",
	       findings_count(&e->found, FINDING_PROBLEM) ? "cannot" : "can", program);
}

int explain_main(int argc, char **argv)
{
	static const struct option longer[] = { { "json", no_argument, NULL, 'j' }, { 0 } };
	struct explain e = { .n_scripts = 0 };
	bool as_json = false, ok = true;
	int option, status;

	while ((option = getopt_long(argc, argv, "+j", longer, NULL)) != -1) {
		as_json |= option == 'j';
		ok &= option == 'j';
	}
	if (!ok || argc - optind != 1 || !argv[optind][0]) {
		fputs("Usage: convert-bootstrap explain [-j | --json] PROGRAM\n", stderr);
		return BOOTSTRAP_USAGE;
	}
	if (!look_at_ourselves(&e))
		return BOOTSTRAP_FAILED;
	e.is_in_every = is_in_every_program();
	explain(&e, argv[optind]);
	status = findings_count(&e.found, FINDING_PROBLEM) ? BOOTSTRAP_FAILED : BOOTSTRAP_OK;
	show(&e, argv[optind], as_json);
	findings_free(&e.found);
	return status;
}
