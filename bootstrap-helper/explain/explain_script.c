// SPDX-License-Identifier: MIT
#include <stdio.h>
#include <string.h>

#include "explain.h"

#define LINE_MAX_LEN 256 /* what the kernel looks at (BINPRM_BUF_SIZE) */
#define SCRIPTS_MAX  5	 /* scripts whose interpreters are scripts: the kernel stops as well */
#define BLANK	     " \t"

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

void explain_no_environment(struct explain *e, const char *mend)
{
	struct finding *found = finding_add(&e->found, "script-environment", FINDING_PROBLEM,
					    "env takes LD_PRELOAD away from what it starts");

	finding_mend(found, "%s", mend);
}

/*
 * What env(1) runs: the first word that is neither an option nor a variable. The kernel hands over
 * all that stands behind env as one argument, which only -S takes apart. text is cut up. NULL: there
 * is none.
 */
static char *env_program(struct explain *e, char *text)
{
	bool is_split = false;
	char *word, *rest = text;

	if (text[0] != '-')
		return text[0] && !strchr(text, '=') ? text : NULL;
	while ((word = strsep(&rest, BLANK))) {
		if (strncmp(word, "-S", 2) == 0 || strncmp(word, "-vS", 3) == 0) {
			is_split = true;
			word = strchr(word, 'S') + 1;
		} else if (strncmp(word, "--split-string", 14) == 0) {
			is_split = true;
			word = word[14] == '=' ? word + 15 : word + 14;
		}
		if (strcmp(word, "-i") == 0 || strcmp(word, "--ignore-environment") == 0)
			explain_no_environment(e, "no -i in the first line of the script");
		else if (is_split && *word && *word != '-' && !strchr(word, '='))
			return word;
	}
	return NULL;
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
