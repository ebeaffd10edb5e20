// SPDX-License-Identifier: MIT
#include <stdio.h>
#include <string.h>

#include "explain.h"

#define LINE_MAX_LEN 256 /* what the kernel looks at (BINPRM_BUF_SIZE) */
#define SCRIPTS_MAX  5	 /* scripts whose interpreters are scripts: the kernel stops as well */
#define BLANK	     " \t"
#define NO_SUCH_LINE "a first line of the script without that"

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

static bool is_one_of(const char *name, const char *const words[])
{
	for (size_t i = 0; words[i]; i++)
		if (strcmp(words[i], name) == 0)
			return true;
	return false;
}

/* What env is to take apart, if it is: what stands behind -S; else NULL. */
static char *split(char *text)
{
	static const char longer[] = "--split-string";
	char *s = text + strcspn(text, "S" BLANK);

	if (strncmp(text, longer, sizeof(longer) - 1) == 0)
		return text + sizeof(longer) - 1 + (text[sizeof(longer) - 1] == '=');
	return *s == 'S' ? s + 1 : NULL;
}

/*
 * What env(1) runs. The kernel hands over all that stands behind env as one argument, which only -S takes
 * apart. text is cut up. NULL: there is nothing.
 */
static char *env_program(struct explain *e, char *text)
{
	char *words[LINE_MAX_LEN / 2 + 1], *word, *rest = split(text);
	char *const *program;
	size_t n = 0;

	if (text[0] != '-')
		return text[0] && !strchr(text, '=') ? text : NULL;
	if (text[1] != '-' &&
	    memchr(text, 'i', rest ? (size_t)(rest - text) : strcspn(text, BLANK)))
		explain_no_environment(e, NO_SUCH_LINE);
	while ((word = strsep(&rest, BLANK)))
		if (*word)
			words[n++] = word;
	words[n] = NULL;
	program = explain_env(e, words, NO_SUCH_LINE);
	return program ? *program : NULL;
}

static char *look_at_interpreter(struct explain *e, char *interpreter, char *argument)
{
	static const char *const shells[] = { "sh",  "ash",  "bash", "dash", "fish",
					      "ksh", "mksh", "zsh",  NULL };
	char *program = interpreter;
	struct finding *found;

	if (strcmp(base_name(interpreter), "env") == 0)
		program = env_program(e, argument);
	if (!program) {
		finding_add(&e->found, "script", FINDING_PROBLEM,
			    "its first line does not say what env is to run");
		return NULL;
	}
	found = finding_add(&e->found, "script", FINDING_OK, "a script, run by %s%s",
			    program == interpreter ? "" : "what env finds as ", program);
	finding_word(found, "interpreter", program);
	if (is_one_of(base_name(program), shells))
		finding_add(
			&e->found, "script-shell", FINDING_NOTE,
			"a shell script connects by the programs that it starts: explain those");
	if (program != interpreter)
		explain_another(e);
	return strdup(program);
}

char *explain_script(struct explain *e, const char *bytes, size_t len)
{
	char line[LINE_MAX_LEN], *interpreter, *argument;

	if (++e->n_scripts > SCRIPTS_MAX) {
		finding_add(&e->found, "script", FINDING_PROBLEM,
			    "the interpreter of a script that is one itself, %d times over",
			    SCRIPTS_MAX);
		return NULL;
	}
	len = len < sizeof(line) ? len : sizeof(line) - 1;
	memcpy(line, bytes, len);
	line[len] = '\0';
	line[strcspn(line, "\n")] = '\0';
	interpreter = line + 2 + strspn(line + 2, BLANK);
	argument = interpreter + strcspn(interpreter, BLANK);
	if (*argument) {
		*argument++ = '\0';
		argument += strspn(argument, BLANK);
	}
	for (char *end = argument + strlen(argument); end > argument && strchr(BLANK, end[-1]);)
		*--end = '\0';
	if (!*interpreter)
		finding_add(&e->found, "script", FINDING_PROBLEM,
			    "a script whose first line names no interpreter");
	else if (strchr(interpreter, '\r') || strchr(argument, '\r'))
		finding_add(&e->found, "script", FINDING_PROBLEM,
			    "a script whose first line ends as on Windows: there is no such "
			    "interpreter");
	else
		return look_at_interpreter(e, interpreter, argument);
	return NULL;
}
