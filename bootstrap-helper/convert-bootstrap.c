// SPDX-License-Identifier: MIT
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "check.h"
#include "base.h"

static const struct verb {
	const char *name;
	int (*main)(int argc, char **argv);
	const char *usage, *help; /* help: a line or two of the text about all */
} verbs[] = {
	{ "run", run_main, run_usage,
	  "run [-c FILE] [-v] [-w]              asks the converters what they can do" },
	{ "check", check_main, check_usage,
	  "check [-c FILE] [-j] [HOST[:PORT]]   what is wrong here, and what mends it\n"
	  "  check --explain HOST[:PORT]          where a connection would go, and why\n"
	  "  check --config [-c FILE]             the configuration, and what it means" },
	{ "status", status_main, status_usage,
	  "status [-c FILE] [-j]                what is known of converters and servers" },
	{ "top", top_main, top_usage,
	  "top [-c FILE] [-d SECONDS]           who is connected to what, and how\n"
	  "  top [-c FILE] --once | -j            the same, once" },
	{ "flush", flush_main, flush_usage,
	  "flush [-c FILE]                      forget all of it" },
	{ "forget", forget_main, forget_usage,
	  "forget [-c FILE] SERVER              forget one server, ADDRESS:PORT" },
	{ "pin", pin_main, pin_usage,
	  "pin [-c FILE] SERVER mptcp|tcp       never learn what it speaks" },
	{ "fetch", fetch_main, fetch_usage,
	  "fetch [OPTION...] URL                a configuration by HTTPS" },
	{ "explain", explain_main, explain_usage,
	  "explain [-j] PROGRAM                 can the library work in it, and why not" },
	{ "map", map_main, map_usage,
	  "map [-c FILE] [-j] [-s SERVER] [PORT...]\n"
	  "                                       keeps ports of this host open at the "
	  "converters" },
	{ "request", request_main, NULL, NULL }, /* for check */
};

#define N_VERBS (sizeof(verbs) / sizeof(verbs[0]))

static void usage(FILE *out)
{
	fputs("Usage: convert-bootstrap VERB [OPTION...]\n\n", out);
	for (size_t i = 0; i < N_VERBS; i++)
		if (verbs[i].help)
			fprintf(out, "  %s\n", verbs[i].help);
	fputs("\n  --help                               this text\n"
	      "  --version                            the version\n\n"
	      "Exit status: 0 if all is well, 1 if not, 2 if this text is not followed;\n"
	      "of fetch, 3 if there was nothing to change.\n",
	      out);
}

static void complain(const char *verb)
{
	char offered[256] = "", text[OPTION_TEXT_MAX];
	const char *near;
	size_t len = 0;

	for (size_t i = 0; i < N_VERBS; i++)
		if (verbs[i].help)
			len += (size_t)snprintf(offered + len, sizeof(offered) - len, "%s%s",
						len ? ", " : "", verbs[i].name);
	near = mistake_nearest(verb, offered, &len);
	fprintf(stderr, "convert-bootstrap: unknown verb \"%s\"", option_text(verb, text));
	if (near)
		fprintf(stderr, "; did you mean \"%.*s\"?", (int)len, near);
	fputc('\n', stderr);
}

static int flush(void)
{
	return file_flush_output() ? BOOTSTRAP_OK : BOOTSTRAP_FAILED;
}

static bool asks_for_help(const char *word)
{
	return strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0;
}

/* Wherever it stands, but behind a program, whose own it is. */
static bool has_help(const struct verb *v, char *const *words)
{
	for (; *words && strcmp(*words, "--") != 0; words++) {
		if (asks_for_help(*words))
			return v->help;
		if (v->main == explain_main && **words != '-')
			return false;
	}
	return false;
}

int main(int argc, char **argv)
{
	const char *verb = argc > 1 ? argv[1] : "";

	standard_take();
	if (asks_for_help(verb)) {
		usage(stdout);
		return flush();
	}
	if (strcmp(verb, "--version") == 0 || strcmp(verb, "-V") == 0) {
		puts("convert-bootstrap " CONVERT_VERSION);
		return flush();
	}
	for (size_t i = 0; i < N_VERBS; i++) {
		if (strcmp(verbs[i].name, verb) == 0) {
			if (has_help(&verbs[i], argv + 2)) {
				printf("%s\n  %s\n", verbs[i].usage, verbs[i].help);
				return flush();
			}
			int status = verbs[i].main(argc - 1, argv + 1), flushed = flush();
			bool is_well = status == BOOTSTRAP_OK || status == BOOTSTRAP_UNCHANGED;

			return is_well && flushed ? flushed : status;
		}
	}
	if (*verb)
		complain(verb);
	usage(stderr);
	return BOOTSTRAP_USAGE;
}
