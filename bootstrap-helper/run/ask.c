// SPDX-License-Identifier: MIT
#include "run.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "explain.h"
#include "policy.h"
#include "paths.h"

/* Nobody may read it, or we have no /proc: then it may well work. */
#define NOT_KNOWN "program-readable"

static bool is_set(const char *variable)
{
	const char *value = getenv(variable);

	return value && *value;
}

/* ------------------------------------------------------------------------------ the library */

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

bool ask_is_loaded(const char *library)
{
	void *connect_of = dlsym(RTLD_DEFAULT, "connect");
	Dl_info info;

	return connect_of && dladdr(connect_of, &info) &&
	       strcmp(base_name(info.dli_fname), base_name(library)) == 0;
}

/* The loader knows best. Its complaint is not shown twice: the program's start brings it. */
static bool does_load(const char *library)
{
	char *argv[] = { (char *)"convert-run", (char *)ASK_LOADED, (char *)library, NULL };
	char *preload, *env[2] = { NULL, NULL };
	posix_spawn_file_actions_t files;
	int status = 0, err;
	pid_t pid;

	if (asprintf(&preload, "LD_PRELOAD=%s", library) < 0)
		return false;
	env[0] = preload;
	posix_spawn_file_actions_init(&files);
	posix_spawn_file_actions_addopen(&files, 2, "/dev/null", O_WRONLY, 0);
	err = posix_spawn(&pid, "/proc/self/exe", &files, NULL, argv, env);
	posix_spawn_file_actions_destroy(&files);
	free(preload);
	return err || waitpid(pid, &status, 0) != pid || status == 0;
}

static void ask_library(struct findings *f, const char *library)
{
	char quoted[FINDING_QUOTED];
	struct finding *found;

	findings_about(f, "library");
	if (library[strcspn(library, " :")]) {
		found = finding_add(f, "library", FINDING_PROBLEM,
				    "%s: the loader splits LD_PRELOAD at spaces and colons",
				    library);
		finding_mend(found, "a directory without, and CONVERT_PRELOAD=FILE there");
	} else if (!does_load(library)) {
		found = finding_add(f, "library", FINDING_PROBLEM,
				    "%s: the loader does not load it", library);
		finding_mend(found, "LD_PRELOAD=%s /bin/true   # says why",
			     finding_quote(library, quoted));
	}
}

/* ------------------------------------------------------------------------ the configuration */

static void ask_network(struct findings *f, const struct config *config)
{
	static const struct addr anywhere = { .ip = { 0x20, 0x01, 0x0d, 0xb8, [15] = 1 } };
	const struct pol_verdict rule = { .reason = POL_DEFAULT };
	const struct pol_facts facts = { .route = route_lookup };
	char quoted[FINDING_QUOTED];
	struct finding *found;

	if (pol_choose(config, &anywhere, AF_INET6, rule, facts).action == POL_CONVERT)
		return;
	found = finding_add(f, "network", FINDING_PROBLEM,
			    "no converter may be used in this network: %s",
			    config->is_strict ? "no connection is made, but by a rule" :
						"every connection is direct");
	finding_mend(found,
		     "convert-bootstrap check%s%s   # says what \"interface\" and \"from\" "
		     "would have to be",
		     config->file ? " -c " : "",
		     config->file ? finding_quote(config->file, quoted) : "");
}

/* They say nothing of a file's converters. */
static void ask_variables(struct findings *f)
{
	static const char *const of_address[] = { "CONVERT_PORT", "CONVERT_COOKIE" };

	for (size_t i = 0; i < 2; i++)
		if (is_set(of_address[i]) && !is_set("CONVERT_ADDR"))
			finding_mend(finding_add(f, "environment", FINDING_PROBLEM,
						 "%s is not looked at without CONVERT_ADDR",
						 of_address[i]),
				     "CONVERT_ADDR=ADDRESS, or unset %s", of_address[i]);
}

static void ask_configuration(struct findings *f, bool *wants_receipt)
{
	struct host_written log;
	struct config config;

	if (load_check(&config, NULL, NULL, f) == BOOTSTRAP_OK) {
		findings_about(f, "configuration");
		ask_variables(f); /* first: that there is no converter may come of it */
		findings_about(f, "configuration");
		judge_converters(f, &config);
		if (config.n_converters > 0)
			ask_network(f, &config);
		host_log_file(&log, config.log_target, is_set("CONVERT_LOG"));
		judge_log(f, &log);
		*wants_receipt = config.log_receipt;
	}
	config_free(&config);
}

/* ------------------------------------------------------------------------------ the program */

static size_t n_own; /* findings before those of what the program starts in turn */

static void ask_program(struct findings *f, char *const *words)
{
	struct explain e;

	if (access("/proc/self/exe", R_OK) < 0 || !explain_begin(&e)) {
		findings_about(f, "/proc");
		finding_mend_as_root(finding_add(f, NOT_KNOWN, FINDING_PROBLEM,
						 "not mounted: no program can be looked at"),
				     "mount -t proc proc /proc");
		return;
	}
	e.needs_variables = is_set("CONVERT_CONF") || is_set("CONVERT_ADDR") ||
			    is_set("CONVERT_STRICT");
	e.found = *f;
	explain_command(&e, words);
	*f = e.found;
	n_own = e.n_own;
}

void ask_first(struct findings *f, const char *library, char *const *words, bool *wants_receipt)
{
	ask_configuration(f, wants_receipt);
	if (library)
		ask_library(f, library);
	ask_program(f, words);
}

static bool is(const struct finding *found, const char *id)
{
	return strcmp(found->id, id) == 0;
}

/* A supervisor does not mind what a program is. */
static bool is_of_the_program(const struct finding *found)
{
	return strncmp(found->id, "program-", 8) == 0 || strncmp(found->id, "script", 6) == 0;
}

/* It cannot be executed. */
static bool is_no_program(const struct finding *found)
{
	return is(found, "program-found") || is(found, "program-builtin") ||
	       is(found, "program-executable");
}

static bool is_for_exec(const struct findings *f, const struct finding *found)
{
	return is_no_program(found) && (size_t)(found - f->all) < n_own;
}

/* Of what it starts, elsewhere perhaps, the program will say itself that it is not there. */
static bool may_well_work(const struct findings *f, const struct finding *found)
{
	return is(found, NOT_KNOWN) || (is_no_program(found) && !is_for_exec(f, found));
}

const struct finding *ask_worst(const struct findings *f, bool strict, bool any)
{
	for (size_t i = 0; i < f->n; i++) {
		const struct finding *found = &f->all[i];

		if (found->verdict == FINDING_PROBLEM && (strict || !may_well_work(f, found)) &&
		    (!any || !is_of_the_program(found) || is_for_exec(f, found)))
			return found;
	}
	return NULL;
}

const struct finding *ask_no_program(const struct findings *f)
{
	for (size_t i = 0; i < f->n; i++)
		if (f->all[i].verdict == FINDING_PROBLEM && is_for_exec(f, &f->all[i]))
			return &f->all[i];
	return NULL;
}

/* Of another word size, which this kernel runs as well. */
static bool is_narrow(const struct finding *found)
{
#if defined(__x86_64__)
	static const char narrow[] = "i386 (32 bits)";
#elif defined(__aarch64__)
	static const char narrow[] = "arm (32 bits)";
#else
	static const char narrow[] = "";
#endif
	for (size_t i = 0; i < found->n_values; i++)
		if (strcmp(found->values[i].name, "machine") == 0)
			return strcmp(found->values[i].word, narrow) == 0;
	return false;
}

const struct finding *ask_past(const struct findings *f)
{
	for (size_t i = 0; i < f->n; i++) {
		const struct finding *found = &f->all[i];

		if (found->verdict == FINDING_PROBLEM &&
		    (is(found, "program-go") || is(found, "program-static") ||
		     is(found, "program-libc") || is(found, "script-environment") ||
		     (is(found, "program-machine") && is_narrow(found))))
			return found;
	}
	return NULL;
}

const struct finding *ask_privileges(const struct findings *f)
{
	for (size_t i = 0; i < f->n; i++)
		if (is(&f->all[i], "program-privileges") && f->all[i].verdict == FINDING_PROBLEM)
			return &f->all[i];
	return NULL;
}
