/* SPDX-License-Identifier: MIT */
/*
 * starter N PROGRAM - starts a program N times, one after the other, and says how many lived; a line for each
 * that did not end well. For little, so that what is started has the time: no shell, no copy of memory.
 */
#include <errno.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

int main(int argc, char **argv)
{
	char *none[] = { NULL };
	int n = argc > 2 ? atoi(argv[1]) : 0, lived = 0;

	for (int i = 0; i < n; i++) {
		int status = 0;
		pid_t child;
		int r = posix_spawn(&child, argv[2], NULL, NULL, argv + 2, none);

		if (r != 0)
			printf("%s: %s\n", argv[2], strerror(r));
		else if (waitpid(child, &status, 0) != child || status != 0)
			printf("died: %#x\n", (unsigned int)status);
		else
			lived++;
		fflush(stdout);
	}
	printf("%d lived\n", lived);
	return lived != n;
}
