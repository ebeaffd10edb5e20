// SPDX-License-Identifier: MIT
/* Programs that their files look fine of, and that lose the library when they start another or go on as
 * another user. Only their names tell. */
#include <string.h>
#include <unistd.h>

#include "explain.h"

enum kind {
	KNOWN_SANDBOX,	 /* files of its own; works if convert-run is what it starts */
	KNOWN_ELSEWHERE, /* the same, and it does not */
	KNOWN_CLEANER,	 /* another environment; likewise */
	KNOWN_DAEMON,	 /* a daemon that gives its children an environment of its own */
	KNOWN_SECURE,	 /* started by root: its worker has AT_SECURE set, and no LD_PRELOAD */
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
};

static const struct known *find(const char *path)
{
	const char *slash = strrchr(path, '/');

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		if (strcmp(all[i].name, slash ? slash + 1 : path) == 0)
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
	const char *what = k->what;
	struct finding *found;

	if (k->kind == KNOWN_DAEMON)
		what = "a daemon that gives what it starts an environment of its own";
	else if (k->kind == KNOWN_SECURE)
		what = "started by root, its worker goes on as another user, for which the loader "
		       "ignores LD_PRELOAD";
	if (k->kind == KNOWN_SECURE && geteuid() != 0)
		verdict = FINDING_NOTE;
	found = finding_add(&e->found, "program-drops", verdict, "%s", what);
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

	if (!k || (k->kind >= KNOWN_CLEANER && e->is_in_every && !e->needs_variables) ||
	    (strcmp(k->name, "bwrap") == 0 && shows_all(e->words)))
		return;
	add(e, k);
}
