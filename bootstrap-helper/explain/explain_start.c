// SPDX-License-Identifier: MIT
/* What starts another program by its words: env, nice, timeout ... */
#include <string.h>

#include "explain.h"

#define LIBRARY "libconvert-preload.so"

void explain_another(struct explain *e)
{
	if (!e->is_of_another)
		e->n_own = e->found.n;
	e->is_of_another = true;
}

void explain_no_environment(struct explain *e, const char *mend)
{
	struct finding *found = finding_add(&e->found, "script-environment", FINDING_PROBLEM,
					    "env takes LD_PRELOAD away from what it starts");

	finding_mend(found, "%s", mend);
}

/* Programs that become another one, with the environment that they have: the options that have a word
 * of their own behind them, the same in full (none of them is the beginning of another option), and how many
 * words stand before the program. */
#define LONGER 4
static const struct starter {
	const char *name, *with_word;
	const char *longer[LONGER];
	int n_words;
} starters[] = {
	{ "env", "uCS", { "unset", "chdir", "split-string" }, 0 },
	{ "nohup", "", { NULL }, 0 },
	{ "setsid", "", { NULL }, 0 },
	{ "nice", "n", { "adjustment" }, 0 },
	{ "ionice", "cn", { "class", "classdata" }, 0 },
	{ "timeout", "ks", { "kill-after", "signal" }, 1 },
	{ "stdbuf", "ioe", { "input", "output", "error" }, 0 },
	{ "chrt", "TPD", { "sched-runtime", "sched-period", "sched-deadline" }, 1 },
	{ "taskset", "", { NULL }, 1 },
	{ "time", "fo", { "format", "output" }, 0 },
};
#define ENV (&starters[0])

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

/* Is that an option which the next word belongs to? As GNU has them: several of one letter in a word, of which the
 * last may want one, and long ones that may be cut short. */
static bool wants_word(const struct starter *s, const char *word)
{
	const size_t len = strlen(word), letter = 1 + strcspn(word + 1, s->with_word);

	if (word[1] != '-')
		return letter + 1 == len;
	for (size_t i = 0; i < LONGER && s->longer[i] && len > 2; i++)
		if (strncmp(s->longer[i], word + 2, len - 2) == 0)
			return true;
	return false;
}

/* Does env(1) take LD_PRELOAD away by this option, or set it anew by this variable? */
static bool clears(const char *word, const char *next)
{
	static const char all[] = "--ignore-environment", one[] = "--unset";
	const size_t len = strlen(word);

	if (*word != '-')
		return is_of_ours(word) && !strstr(word, LIBRARY);
	if (strncmp(word, one, sizeof(one) - 1) == 0 && word[sizeof(one) - 1] == '=')
		return is_of_ours(word + sizeof(one));
	if (word[1] == '-' && strncmp(word, one, len) == 0)
		return len > 2 && next && is_of_ours(next);
	if (word[1] == '-' || !word[1]) /* --ignore-signal is another one */
		return len == 1 ||
		       (len >= sizeof("--ignore-e") - 1 && strncmp(word, all, len) == 0);
	for (word++; *word && !strchr(ENV->with_word, *word); word++)
		if (*word == 'i')
			return true;
	next = *word && word[1] ? word + 1 : next;
	return *word == 'u' && next && is_of_ours(next);
}

/* The words of the program that is started; NULL: there are none. mend: for env(1). */
static char *const *started(struct explain *e, const struct starter *s, char *const *words,
			    const char *mend)
{
	const bool is_env = s == ENV;
	int n = s->n_words;

	for (; *words; words++) {
		const char *word = *words;

		if (is_env && (*word == '-' || strchr(word, '=')) && clears(word, words[1]))
			explain_no_environment(e, mend);
		if (strcmp(word, "--") == 0)
			continue;
		if (*word == '-') {
			if (wants_word(s, word) && words[1])
				words++;
		} else if (!(is_env && strchr(word, '=')) && n-- == 0) {
			return words;
		}
	}
	return NULL;
}

char *const *explain_env(struct explain *e, char *const *words, const char *mend)
{
	return started(e, ENV, words, mend);
}

char *const *explain_started(struct explain *e, char *const *words)
{
	const struct starter *s = find_starter(words[0]);
	char *const *next = s ? started(e, s, words + 1, "the same words without that") : NULL;

	if (next)
		explain_another(e);
	return next;
}
