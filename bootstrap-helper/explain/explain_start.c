// SPDX-License-Identifier: MIT
/* What starts another program: by its words, as env, nice and timeout do, or so that it loses the library, as sudo
 * does. Only their names tell. */
#include <string.h>
#include <unistd.h>

#include "explain.h"

#define LIBRARY "libconvert-preload.so"

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* ---------------------------------------------------------------------------- by its words */

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
	for (size_t i = 0; i < sizeof(starters) / sizeof(starters[0]); i++)
		if (strcmp(starters[i].name, base_name(name)) == 0)
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

/* ------------------------------------------------------------------- without the library */

/* Their files look fine, and they lose the library when they start another or go on as another user. */
enum kind {
	KNOWN_SANDBOX,	 /* files of its own; works if convert-run is what it starts */
	KNOWN_ELSEWHERE, /* the same, and it does not */
	KNOWN_CLEANER,	 /* another environment; likewise */
	KNOWN_DAEMON,	 /* a daemon that gives its children an environment of its own */
	KNOWN_SECURE,	 /* started by root: its worker has AT_SECURE set, and no LD_PRELOAD */
	KNOWN_PLUGINS,	 /* loads with RTLD_DEEPBIND */
};

#define RUN "convert-run PROGRAM"

static const struct known {
	const char *name;
	enum kind kind;
	const char *what, *mend;
} all[] = {
	{ "bwrap", KNOWN_SANDBOX, "a sandbox, where the library may not be to be seen",
	  "bwrap --bind / / ... " RUN },
	{ "firejail", KNOWN_SANDBOX, "a sandbox that sets LD_PRELOAD anew", "firejail " RUN },
	{ "mptcpize", KNOWN_CLEANER, "it puts a library of its own in place of LD_PRELOAD",
	  "mptcpize run " RUN },
	{ "sudo", KNOWN_CLEANER, "it gives what it starts an environment of its own", "sudo " RUN },
	{ "doas", KNOWN_CLEANER, "it gives what it starts an environment of its own", "doas " RUN },
	{ "su", KNOWN_CLEANER, "it may give what it starts an environment of its own",
	  "su -c '" RUN "'" },
	{ "pkexec", KNOWN_CLEANER, "it gives what it starts an environment of its own",
	  "pkexec " RUN },
	{ "flatpak", KNOWN_ELSEWHERE, "it starts programs with files of their own", NULL },
	{ "snap", KNOWN_ELSEWHERE, "it starts programs with files of their own", NULL },
	{ "systemd-run", KNOWN_CLEANER, "the service manager starts the program, not this",
	  "systemd-run " RUN },
	{ "systemd-nspawn", KNOWN_ELSEWHERE, "it starts programs with files of their own", NULL },
	{ "cron", KNOWN_DAEMON, NULL, NULL },
	{ "crond", KNOWN_DAEMON, NULL, NULL },
	{ "exim", KNOWN_DAEMON, NULL, NULL },
	{ "exim4", KNOWN_DAEMON, NULL, NULL },
	{ "postfix", KNOWN_DAEMON, NULL, NULL },
	{ "dovecot", KNOWN_DAEMON, NULL, NULL },
	{ "squid", KNOWN_SECURE, NULL, NULL },
	{ "php", KNOWN_PLUGINS,
	  "before PHP 8.5 its extensions (curl, sockets, pgsql) are loaded past the library: what "
	  "they "
	  "connect is direct",
	  "convert-run --any PROGRAM" },
};

/* "php", "php8.2", "php-fpm8.2": of a kind that is named with its version. */
static bool is_named(const struct known *k, const char *name)
{
	size_t len = strlen(k->name);

	if (k->kind != KNOWN_PLUGINS)
		return strcmp(k->name, name) == 0;
	if (strncmp(name, k->name, len) != 0)
		return false;
	name += len;
	if (strncmp(name, "-fpm", 4) == 0 || strncmp(name, "-cgi", 4) == 0)
		name += 4;
	else if (strncmp(name, "dbg", 3) == 0)
		name += 3;
	return !name[strspn(name, "0123456789.")];
}

static const struct known *find(const char *path)
{
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		if (is_named(&all[i], base_name(path)))
			return &all[i];
	return NULL;
}

/* bwrap --bind / /: all files are there, and the environment is as it was. */
static bool shows_all(char *const *words)
{
	for (; words && words[0] && words[1] && words[2]; words++)
		if (strstr(words[0], "bind") && strcmp(words[1], "/") == 0 &&
		    strcmp(words[2], "/") == 0)
			return true;
	return false;
}

static void add(struct explain *e, const struct known *k)
{
	enum finding_verdict verdict = FINDING_PROBLEM;
	const char *what = k->what, *id = "program-drops";
	struct finding *found;

	if (k->kind == KNOWN_DAEMON)
		what = "a daemon that gives what it starts an environment of its own";
	else if (k->kind == KNOWN_SECURE)
		what = "started by root, its worker goes on as another user, for which the loader "
		       "ignores LD_PRELOAD";
	if (k->kind == KNOWN_PLUGINS)
		id = "program-plugins";
	if (k->kind == KNOWN_PLUGINS || (k->kind == KNOWN_SECURE && geteuid() != 0))
		verdict = FINDING_NOTE;
	found = finding_add(&e->found, id, verdict, "%s", what);
	if (k->mend)
		finding_mend(found, "%s", k->mend);
	else if (k->kind == KNOWN_ELSEWHERE)
		finding_mend(found, "the same program from the system's packages");
	else
		finding_mend(found, "the library in /etc/ld.so.preload, for every program");
}

void explain_known(struct explain *e, const char *path)
{
	const struct known *k = find(path);

	if (!k ||
	    (k->kind >= KNOWN_CLEANER && k->kind != KNOWN_PLUGINS && e->is_in_every &&
	     !e->needs_variables) ||
	    (strcmp(k->name, "bwrap") == 0 && shows_all(e->words)))
		return;
	add(e, k);
}
