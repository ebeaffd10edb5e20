// SPDX-License-Identifier: MIT
/*
 * delay-line - hands every frame of one interface to another one, some milliseconds later, and
 * the other way round: delay-line IF1 IF2 MS. For kernels without netem. See line.h.
 */
#include <stdio.h>
#include <stdlib.h>

#include "line.h"

int main(int argc, char **argv)
{
	if (argc != 4) {
		fprintf(stderr, "usage: delay-line INTERFACE INTERFACE MILLISECONDS\n");
		return 2;
	}
	line_run(argv[1], argv[2], atol(argv[3]) * 1000000, NULL);
}
