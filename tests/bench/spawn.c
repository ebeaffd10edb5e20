// SPDX-License-Identifier: MIT
/*
 * spawn [NAME=VALUE...] PROGRAM ARGUMENT... - runs a program in that environment as often as it is
 * told: reads numbers, a line for each turn, and answers each with "WALL CPU -1 0": nanoseconds, from the
 * start of the first to the end of the last one, the second of the programs' own processor time
 * (getrusage). It stays out of the environment itself. What they print goes to /dev/null.
 */
#include <fcntl.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

static int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int64_t cpu_ns(void)
{
	struct rusage used;

	getrusage(RUSAGE_CHILDREN, &used);
	return 1000 * (1000000 * (int64_t)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
		       used.ru_utime.tv_usec + used.ru_stime.tv_usec);
}

static void run(const posix_spawn_file_actions_t *files, char **argv, char **environment)
{
	int status;
	pid_t pid;

	if (posix_spawnp(&pid, argv[0], files, NULL, argv, environment) != 0 ||
	    waitpid(pid, &status, 0) != pid || status != 0) {
		fprintf(stderr, "spawn: %s failed\n", argv[0]);
		exit(1);
	}
}

int main(int argc, char **argv)
{
	posix_spawn_file_actions_t files;
	char **environment, **program = argv + 1, line[32];

	while (*program && strchr(*program, '='))
		program++;
	if (!*program || argc < 2)
		return 2;
	/* The environment ends where the program's name begins. */
	environment = calloc((size_t)argc, sizeof(*environment));
	if (!environment)
		return 1;
	memcpy(environment, argv + 1, (size_t)(program - argv - 1) * sizeof(*environment));
	posix_spawn_file_actions_init(&files);
	posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_addopen(&files, 1, "/dev/null", O_WRONLY, 0);
	setvbuf(stdout, NULL, _IOLBF, 0);
	while (fgets(line, sizeof(line), stdin)) {
		int64_t wall = now_ns(), cpu = cpu_ns();

		for (int i = atoi(line); i > 0; i--)
			run(&files, program, environment);
		wall = now_ns() - wall;
		cpu = cpu_ns() - cpu;
		printf("%lld %lld -1 0\n", (long long)wall, (long long)cpu);
	}
	free(environment);
	return 0;
}
