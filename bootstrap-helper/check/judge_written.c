// SPDX-License-Identifier: MIT
/* The state and the log. What root is told to do is harmless wherever other users may write: there it
 * makes and removes by one name at a time, and gives nothing away that was there before. */
#include "check.h"

#include <libgen.h>
#include <stdio.h>

#include "state_file.h"

struct words {
	char path[FINDING_QUOTED], directory[FINDING_QUOTED];
};

static void quote(const struct host_written *w, struct words *q)
{
	char text[PATH_MAX];

	finding_quote(w->path, q->path);
	snprintf(text, sizeof(text), "%s", w->path);
	finding_quote(dirname(text), q->directory);
}

/* ---------------------------------------------------------------------------- the state */

/* Another was named, and what is there is not for us to change. */
static void elsewhere(struct finding *found, const struct host_written *w)
{
	if (w->by_environment)
		finding_mend(found, "unset CONVERT_STATE");
	else
		finding_advise(found,
			       "no line \"file = ...\" in [state]: then each user has a file of "
			       "his own");
}

static void mend_file(struct finding *found, const struct host_written *w, const struct words *q)
{
	if (w->is_own && w->may_remove)
		finding_mend(found, "rm -rf %s", q->path);
	else if (w->is_own)
		finding_mend_as_root(found, "rm -rf %s", q->path);
	else if (w->file == HOST_FILE_NOT_WRITABLE && w->belongs_to_us)
		finding_mend(found, "chmod 600 %s", q->path);
	else if (w->belongs_to_us && w->may_remove && w->is_state)
		finding_mend(found, "rm -f %s", q->path);
	else
		elsewhere(found, w);
}

/* A user's own. Who was first in everybody's may be first again: then mkdir fails, and harms nothing. */
static void mend_directory(struct finding *found, const struct host_written *w,
			   const struct words *q)
{
	if (w->is_shared && w->may_remove) {
		finding_mend(found, "rm -rf %s", q->directory);
	} else if (w->is_shared) {
		finding_mend_as_root(found, "rm -rf %s", q->directory);
		finding_mend_as_root(found, "mkdir -m 700 %s && %schown -h %u %s", q->directory,
				     found->needs_sudo ? "sudo " : "", w->uid, q->directory);
	} else if (w->belongs_to_us) {
		finding_mend(found, "chmod 700 %s", q->directory);
	} else {
		finding_mend_as_root(found, "rm -rf %s", q->directory);
	}
}

static void mend_place(struct finding *found, const struct host_written *w, const struct words *q)
{
	if (w->is_shared)
		finding_mend_as_root(found, "install -d -m 700 -o %u " STATE_PLACE_USERS "%u",
				     w->uid, w->uid);
	else if (w->is_own)
		finding_mend(found,
			     "mkdir -m 700 " STATE_PLACE_SHARED "/convert-%u && export "
			     "CONVERT_STATE=" STATE_PLACE_SHARED "/convert-%u/state",
			     w->uid, w->uid);
	else if (w->may_make)
		finding_mend(found, "install -d -m 700 %s", q->directory);
	else if (w->root_may_make && w->file == HOST_FILE_NO_DIRECTORY)
		finding_mend_as_root(found, "install -d -m 700 -o %u %s", w->uid, q->directory);
	else if (w->root_may_make)
		finding_mend_as_root(found, "install -m 600 -o %u /dev/null %s", w->uid, q->path);
	else
		elsewhere(found, w);
}

/* In a service that is shut in (ProtectSystem=strict), as a rule: there /dev is as it was. */
static void mend_read_only(struct finding *found, const struct host_written *w,
			   const struct words *q)
{
	static const char service[] = "or, in [Service] of its unit, ReadWritePaths=-";

	if (w->is_own && !w->is_shared)
		finding_mend(found,
			     "mkdir -m 700 " STATE_PLACE_SHARED "/convert-%u && export "
			     "CONVERT_STATE=" STATE_PLACE_SHARED "/convert-%u/state   # %s%s",
			     w->uid, w->uid, service, q->directory);
	else if (w->is_own)
		finding_mend(found, "ReadWritePaths=-%s   # in [Service] of its unit",
			     q->directory);
	else if (w->by_environment)
		finding_mend(found, "unset CONVERT_STATE   # %s%s", service, q->directory);
	else
		finding_mend(found,
			     "ReadWritePaths=-%s   # in [Service] of its unit, or no line "
			     "\"file = ...\" in [state]",
			     q->directory);
}

static void state_is_bad(struct findings *f, const struct host_written *w, const char *what,
			 void (*mend)(struct finding *found, const struct host_written *w,
				      const struct words *q))
{
	struct finding *found = finding_add(f, "state", FINDING_PROBLEM, "%s%s", w->path, what);
	struct words q;

	quote(w, &q);
	mend(found, w, &q);
}

void judge_state(struct findings *f, const struct host_written *w)
{
	switch (w->file) {
	case HOST_FILE_NONE:
		elsewhere(finding_add(f, "state", FINDING_NOTE,
				      "no state file: every process learns by itself, and forgets"),
			  w);
		return;
	case HOST_FILE_FINE:
		finding_add(f, "state", FINDING_OK, "the state is in %s", w->path);
		return;
	case HOST_FILE_TO_MAKE:
		finding_add(f, "state", FINDING_OK, "%s is made by the first program", w->path);
		return;
	case HOST_FILE_NO_DIRECTORY:
	case HOST_FILE_NO_RIGHT:
		state_is_bad(f, w,
			     " can be made neither here nor by programs of this user: each "
			     "learns by itself, and forgets",
			     mend_place);
		return;
	case HOST_FILE_NOT_OURS:
		state_is_bad(f, w,
			     " is not used, as its directory is not this user's alone: each of "
			     "his programs learns by itself, and forgets",
			     mend_directory);
		return;
	case HOST_FILE_READ_ONLY:
		state_is_bad(f, w,
			     " is read-only here: what programs of this user learn is not kept",
			     mend_read_only);
		return;
	case HOST_FILE_NOT_WRITABLE:
		state_is_bad(f, w, " cannot be written", mend_file);
		return;
	case HOST_FILE_NOT_TRUSTED:
		state_is_bad(f, w, " is no file that only this user can write: it is not used",
			     mend_file);
		return;
	case HOST_FILE_STRANGE:
		state_is_bad(f, w, " is no state file of this version: it is not used", mend_file);
		return;
	}
}

/* ------------------------------------------------------------------------------ the log */

/* Never by a mode with which others could write what this user's programs are said to have done. */
static void mend_log(struct finding *found, const struct host_written *w, const char *again)
{
	const char *service = w->file == HOST_FILE_READ_ONLY ?
				      ", or ReadWritePaths= for it in [Service] of its unit" :
				      "";
	struct words q;

	quote(w, &q);
	if (w->file == HOST_FILE_NOT_WRITABLE && w->belongs_to_us) {
		finding_mend(found, "chmod 600 %s", q.path);
	} else if (w->file == HOST_FILE_NO_DIRECTORY && w->may_make) {
		finding_mend(found, "install -D -m 600 /dev/null %s", q.path);
	} else if (w->file != HOST_FILE_NOT_WRITABLE && w->root_may_make) {
		finding_mend_as_root(found, "install -D -m 600 -o %u /dev/null %s", w->uid, q.path);
	} else if (again[0]) {
		finding_mend(found, "[log]");
		finding_mend(found, "target = stderr   # in place of the line that names it%s",
			     service);
	} else {
		finding_mend(found,
			     "export CONVERT_LOG=stderr   # or a file that this user can write%s",
			     service);
	}
}

void judge_log(struct findings *f, const struct host_written *w)
{
	switch (w->file) {
	case HOST_FILE_NONE:
		return;
	case HOST_FILE_FINE:
	case HOST_FILE_TO_MAKE:
		finding_add(f, "log", FINDING_OK, "the log goes to %s", w->path);
		return;
	case HOST_FILE_STRANGE:
		mend_log(finding_add(f, "log", FINDING_PROBLEM,
				     "the log %s is a directory: nothing is logged", w->path),
			 w, f->again);
		return;
	case HOST_FILE_NOT_TRUSTED:
		mend_log(finding_add(f, "log", FINDING_PROBLEM,
				     "the log %s is a link or another user's, in a directory that "
				     "others "
				     "can write to: root's programs do not write it",
				     w->path),
			 w, f->again);
		return;
	case HOST_FILE_NO_DIRECTORY:
	case HOST_FILE_NO_RIGHT:
	case HOST_FILE_READ_ONLY:
	case HOST_FILE_NOT_WRITABLE:
	case HOST_FILE_NOT_OURS:
		mend_log(finding_add(f, "log", FINDING_PROBLEM,
				     "the log %s %s by programs of this user", w->path,
				     w->file == HOST_FILE_READ_ONLY ?
					     "is read-only here, and not written" :
					     "cannot be written"),
			 w, f->again);
		return;
	}
}
