/* SPDX-License-Identifier: MIT */
/*
 * bootstrap.h - the verbs of convert-bootstrap. Each gets its own arguments, its name first,
 * and returns the exit status.
 */
#ifndef CVT_BOOTSTRAP_H
#define CVT_BOOTSTRAP_H

enum {
	BOOTSTRAP_OK = 0,
	BOOTSTRAP_FAILED = 1,
	BOOTSTRAP_USAGE = 2,
	BOOTSTRAP_UNCHANGED = 3, /* fetch: there was nothing to do */
};

int run_main(int argc, char **argv);
int check_main(int argc, char **argv);
int status_main(int argc, char **argv);
int flush_main(int argc, char **argv);
int forget_main(int argc, char **argv);
int pin_main(int argc, char **argv);
int fetch_main(int argc, char **argv);
int top_main(int argc, char **argv);
int explain_main(int argc, char **argv);
int map_main(int argc, char **argv);

#endif
