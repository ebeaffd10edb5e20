// SPDX-License-Identifier: MIT
/* From a command line to the programs that it starts. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base.h"
#include "explain.h"

#define DEFAULT_PATH "/usr/local/bin:/usr/bin:/bin"

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

	findings_about(&e->found, "%s", path ? path : *name ? name : "\"\"");
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

void explain_command(struct explain *e, char *const *words)
{
	while (words) {
		e->words = words;
		explain(e, words[0]);
		words = explain_started(e, words);
	}
	if (!e->is_of_another)
		e->n_own = e->found.n;
}

/* -------------------------------------------------------------------------------- where we are */

/* What we are: word size, machine and loader are the library's too. */
bool explain_begin(struct explain *e)
{
	char name[PATH_MAX];
	struct file_bytes f;
	int err = file_map(&f, "/proc/self/exe", 1 << 28);
	const char *wrong;

	*e = (struct explain){ .is_in_every = preloaded_name(name, sizeof(name)) };
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
