// SPDX-License-Identifier: MIT
/* From a command line to the programs that it starts. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "explain.h"
#include "file.h"

#define LIBRARY	     "libconvert-preload.so"
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

/* ------------------------------------------------------------------- what starts another program */

/* Programs that become another one, with the environment that they have: the options that have a word
 * of their own behind them, and how many words stand before the program. */
static const struct starter {
	const char *name, *with_word;
	int n_words;
} starters[] = {
	{ "env", "uCS", 0 },   { "nohup", "", 0 },     { "setsid", "", 0 },    { "nice", "n", 0 },
	{ "ionice", "cn", 0 }, { "timeout", "ks", 1 }, { "stdbuf", "ioe", 0 }, { "chrt", "TPD", 1 },
	{ "taskset", "", 1 },  { "time", "fo", 0 },
};

static const struct starter *find_starter(const char *name)
{
	const char *slash = strrchr(name, '/');

	for (size_t i = 0; i < sizeof(starters) / sizeof(starters[0]); i++)
		if (strcmp(starters[i].name, slash ? slash + 1 : name) == 0)
			return &starters[i];
	return NULL;
}

static bool is_of_ours(const char *variable)
{
	static const char name[] = "LD_PRELOAD";

	return strcspn(variable, "=") == strlen(name) && strncmp(variable, name, strlen(name)) == 0;
}

/* Does env(1) take LD_PRELOAD away by this option, or set it anew by this variable? */
static bool clears(const char *word, const char *next)
{
	if (*word != '-')
		return is_of_ours(word) && !strstr(word, LIBRARY);
	if (strncmp(word, "--unset=", 8) == 0)
		return is_of_ours(word + 8);
	if (strncmp(word, "-u", 2) == 0)
		return word[2] ? is_of_ours(word + 2) : next && is_of_ours(next);
	return strcmp(word, "-") == 0 || strcmp(word, "--ignore-environment") == 0 ||
	       (word[1 + strspn(word + 1, "i0v")] == '\0' && strchr(word, 'i'));
}

/* The words of the program that is started; NULL: there are none. */
static char *const *started(struct explain *e, const struct starter *s, char *const *words)
{
	const bool is_env = s->with_word[0] == 'u';
	int n = s->n_words;

	for (; *words; words++) {
		const char *word = *words;

		if (is_env && (*word == '-' || strchr(word, '=')) && clears(word, words[1]))
			explain_no_environment(e, "the same words without that");
		if (strcmp(word, "--") == 0)
			continue;
		if (*word == '-') {
			if (word[1] && word[1] != '-' && strchr(s->with_word, word[1]) &&
			    !word[2] && words[1])
				words++;
		} else if (!(is_env && strchr(word, '=')) && n-- == 0) {
			return words;
		}
	}
	return NULL;
}

void explain_command(struct explain *e, char *const *words)
{
	const struct starter *s;

	while (words) {
		e->words = words;
		explain(e, words[0]);
		s = find_starter(words[0]);
		words = s ? started(e, s, words + 1) : NULL;
	}
}

/* -------------------------------------------------------------------------------- where we are */

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

/* What we are: word size, machine and loader are the library's too. */
bool explain_begin(struct explain *e)
{
	struct file_bytes f;
	int err = file_map(&f, "/proc/self/exe", 1 << 28);
	const char *wrong;

	*e = (struct explain){ .is_in_every = is_in_every_program() };
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
