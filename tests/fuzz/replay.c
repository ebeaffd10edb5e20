// SPDX-License-Identifier: MIT
/*
 * A main() for the fuzz targets without libFuzzer: runs each input of the kept corpus once, then
 * inputs that are made of them.
 * usage: replay_NAME [FILE-OR-DIRECTORY...]
 *     (default: kept/NAME beside the program, where make unpacks tests/fuzz/corpus.tar)
 *
 * FUZZ_SEED=1 and FUZZ_RUNS=200000 choose what is made, FUZZ_SECONDS=2 ends it earlier. The same
 * seed makes the same inputs. The one that a target ends on is left in made-NAME beside the program.
 *
 * Prints each name first, so that the last line before a crash says which file it was. All of it is
 * one test.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MADE_MAX 2048

struct input {
	uint8_t *bytes;
	size_t len;
};

static unsigned long n_files;
static struct input *kept; /* the corpus */
static size_t n_kept;
static uint64_t seed = 1;

/* no byte more than the input has, for the sanitizers' sake */
static void run_bytes(const uint8_t *bytes, size_t len)
{
	uint8_t *exact = malloc(len ? len : 1);

	if (!exact)
		exit(1);
	memcpy(exact, bytes, len);
	LLVMFuzzerTestOneInput(exact, len);
	free(exact);
}

static void keep(uint8_t *bytes, size_t len)
{
	kept = realloc(kept, (n_kept + 1) * sizeof(*kept));
	if (!kept)
		exit(1);
	kept[n_kept++] = (struct input){ bytes, len };
}

static void run_file(const char *path)
{
	FILE *f = fopen(path, "rb");
	uint8_t *bytes;
	long size;

	printf("%s\n", path);
	fflush(stdout);
	if (!f || fseek(f, 0, SEEK_END) < 0 || (size = ftell(f)) < 0) {
		perror(path);
		exit(1);
	}
	rewind(f);
	bytes = malloc(size ? (size_t)size : 1);
	if (!bytes || fread(bytes, 1, (size_t)size, f) != (size_t)size) {
		perror(path);
		exit(1);
	}
	fclose(f);
	run_bytes(bytes, (size_t)size);
	keep(bytes, (size_t)size);
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

/* ----------------------------------------------------------------- inputs that are made */

static struct input made;
static char made_file[PATH_MAX];

static size_t random_below(size_t n) /* splitmix64 */
{
	uint64_t z = seed += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return (size_t)((z ^ z >> 31) % n);
}

static void cut_out(size_t at, size_t n)
{
	memmove(made.bytes + at, made.bytes + at + n, made.len - at - n);
	made.len -= n;
}

static void put_in(size_t at, const uint8_t *bytes, size_t n)
{
	if (n > MADE_MAX - made.len)
		n = MADE_MAX - made.len;
	memmove(made.bytes + at + n, made.bytes + at, made.len - at);
	memcpy(made.bytes + at, bytes, n);
	made.len += n;
}

/* A piece of any input goes to any place: in between, or over what is there. */
static void splice_in(const struct input *from)
{
	size_t start = random_below(from->len + 1), n = random_below(from->len - start + 1);
	size_t at = random_below(made.len + 1);

	if (random_below(2) && n <= made.len - at)
		cut_out(at, n);
	put_in(at, from->bytes + start, n);
}

static void change_once(void)
{
	static const uint8_t edges[] = { 0, 1, 0x7f, 0x80, 0xff, '\n', ' ' };
	size_t at = made.len ? random_below(made.len) : 0;
	size_t what = made.len ? random_below(6) : 5;
	uint8_t byte = edges[random_below(sizeof(edges))];

	switch (what) {
	case 0:
		made.bytes[at] ^= (uint8_t)(1U << random_below(8));
		break;
	case 1:
		made.bytes[at] = byte;
		break;
	case 2:
		made.bytes[at] = (uint8_t)(made.bytes[at] + random_below(17) - 8);
		break;
	case 3:
		cut_out(at, 1 + random_below(made.len - at < 16 ? made.len - at : 16));
		break;
	case 4:
		put_in(at, &byte, 1);
		break;
	case 5:
		splice_in(&kept[random_below(n_kept)]);
		break;
	}
}

static void on_crash(int signal_number)
{
	int fd = open(made_file, O_WRONLY | O_CREAT | O_TRUNC, 0644);

	if (fd < 0 || write(fd, made.bytes, made.len) < 0)
		made_file[0] = '\0';
	signal(signal_number, SIG_DFL);
	raise(signal_number);
}

/* A file in the program's own folder. */
static void beside(char *path, size_t room, const char *kind, const char *name)
{
	snprintf(path, room, "%.*s%s%s",
		 (int)(program_invocation_short_name - program_invocation_name),
		 program_invocation_name, kind, name);
}

static unsigned long number_of(const char *variable, unsigned long otherwise)
{
	const char *text = getenv(variable);

	return text ? strtoul(text, NULL, 10) : otherwise;
}

static void run_made(const char *name)
{
	static const int crashes[] = { SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL };
	const unsigned long runs = number_of("FUZZ_RUNS", 200000);
	const time_t end = time(NULL) + (time_t)number_of("FUZZ_SECONDS", 2);
	unsigned long n;

	seed = number_of("FUZZ_SEED", 1);
	made.bytes = malloc(MADE_MAX);
	if (!made.bytes || n_kept == 0)
		exit(1);
	beside(made_file, sizeof(made_file), "made-", name);
	for (size_t i = 0; i < sizeof(crashes) / sizeof(crashes[0]); i++)
		signal(crashes[i], on_crash);
	printf("made: seed %lu, up to %lu runs\n", number_of("FUZZ_SEED", 1), runs);
	fflush(stdout);
	for (n = 0; n < runs && time(NULL) < end; n++) {
		const struct input *from = &kept[random_below(n_kept)];

		made.len = from->len < MADE_MAX ? from->len : MADE_MAX;
		memcpy(made.bytes, from->bytes, made.len);
		for (size_t changes = 1 + random_below(6); changes > 0; changes--)
			change_once();
		run_bytes(made.bytes, made.len);
	}
	printf("made: %lu runs\n", n);
	free(made.bytes);
}

static void run_corpus(const char *name)
{
	char path[PATH_MAX];

	beside(path, sizeof(path), "kept/", name);
	run(path);
}

int main(int argc, char **argv)
{
	const char *name = strchr(program_invocation_short_name, '_');

	for (int i = 1; i < argc; i++)
		run(argv[i]);
	if (argc < 2 && name)
		run_corpus(name + 1);
	if (n_files > 0 && name)
		run_made(name + 1);
	for (size_t i = 0; i < n_kept; i++)
		free(kept[i].bytes);
	free(kept);
	printf("%lu kept inputs\n%d passed, 0 failed, 0 skipped\n", n_files, n_files > 0);
	return n_files == 0;
}
