// SPDX-License-Identifier: MIT
/*
 * A main() for the fuzz targets without libFuzzer: runs each file of the kept corpus once.
 * usage: replay_NAME [FILE-OR-DIRECTORY...]   (default tests/fuzz/corpus/NAME)
 *
 * Prints each name first, so that the last line before a crash says which file it was.
 */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned long n_files;

static void run_file(const char *path)
{
	FILE *f = fopen(path, "rb");
	uint8_t *exact;
	long size;

	printf("%s\n", path);
	fflush(stdout);
	if (!f || fseek(f, 0, SEEK_END) < 0 || (size = ftell(f)) < 0) {
		perror(path);
		exit(1);
	}
	rewind(f);
	/* no byte more than the input has, for the sanitizers' sake */
	exact = malloc(size ? (size_t)size : 1);
	if (!exact || fread(exact, 1, (size_t)size, f) != (size_t)size) {
		perror(path);
		exit(1);
	}
	fclose(f);
	LLVMFuzzerTestOneInput(exact, (size_t)size);
	free(exact);
	n_files++;
}

static void run(const char *path)
{
	struct stat st;
	struct dirent **names;
	int n;

	if (stat(path, &st) < 0 || !S_ISDIR(st.st_mode)) {
		run_file(path);
		return;
	}
	n = scandir(path, &names, NULL, alphasort);
	for (int i = 0; i < n; i++) {
		char file[PATH_MAX];

		snprintf(file, sizeof(file), "%s/%s", path, names[i]->d_name);
		if (names[i]->d_name[0] != '.')
			run_file(file);
		free(names[i]);
	}
	if (n >= 0)
		free(names);
}

int main(int argc, char **argv)
{
	const char *name = strchr(program_invocation_short_name, '_');
	char corpus[PATH_MAX];

	for (int i = 1; i < argc; i++)
		run(argv[i]);
	if (argc < 2 && name) {
		snprintf(corpus, sizeof(corpus), "tests/fuzz/corpus/%s", name + 1);
		run(corpus);
	}
	printf("%lu passed, 0 failed, 0 skipped\n", n_files);
	return n_files == 0;
}
