// SPDX-License-Identifier: MIT
/* explain - says whether the library can work in a program. */
#include "explain.h"

#include <getopt.h>
#include <stdio.h>
#include <unistd.h>

#include "base.h"

static void show(struct explain *e, const char *program, bool as_json)
{
	if (as_json) {
		findings_print_json(&e->found);
		return;
	}
	e->found.is_for_eyes = isatty(STDOUT_FILENO);
	findings_print(&e->found);
	printf("The library %s work in %s.\n",
	       findings_count(&e->found, FINDING_PROBLEM) ? "cannot" : "can", program);
}

const char explain_usage[] =
	"Usage: convert-bootstrap explain [-j | --json] PROGRAM [ARGUMENT...]\n";

int explain_main(int argc, char **argv)
{
	static const struct option longer[] = { { "json", no_argument, NULL, 'j' }, { 0 } };
	struct explain e;
	bool as_json = false, ok = true;
	int option, status;

	while ((option = getopt_long(argc, argv, "+j", longer, NULL)) != -1) {
		as_json |= option == 'j';
		ok &= option == 'j';
	}
	if (!ok || optind == argc || !argv[optind][0]) {
		fputs(explain_usage, stderr);
		return BOOTSTRAP_USAGE;
	}
	if (!explain_begin(&e))
		return BOOTSTRAP_FAILED;
	findings_for(&e.found, geteuid() == 0, NULL);
	explain_command(&e, argv + optind);
	status = findings_count(&e.found, FINDING_PROBLEM) ? BOOTSTRAP_FAILED : BOOTSTRAP_OK;
	show(&e, argv[optind], as_json);
	findings_free(&e.found);
	return status;
}
