// SPDX-License-Identifier: MIT
/* The state file: what was written is found, nothing else is, and nobody comes to harm. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "help.h"
#include "state.h"
#include "state_file.h"

#define HOUR (3600 * 1000LL)

#ifdef __OPTIMIZE__
#define IS_OPTIMIZED 1
#else
#define IS_OPTIMIZED 0
#endif

static char dir[] = "/tmp/test_state.XXXXXX";
static char file[64], other[64];
static int64_t now;

static const enum state_kind both[] = { STATE_SERVER, STATE_CONVERTER };

/* ----------------------------------------------------------------------------- helpers */

static int start(void **state)
{
	(void)state;
	now = 1800000000000;
	unlink(file);
	unlink(other);
	state_setup(file);
	return 0;
}

/* Key i, and the value that is written for it. */
static void make(enum state_kind kind, unsigned int i, uint8_t *key, uint8_t *value)
{
	const struct state_shape *s = state_shape(kind);

	memset(key, 0xa5, s->key_len);
	memcpy(key, &i, sizeof(i));
	for (unsigned int k = 0; value && k < s->value_len; k++)
		value[k] = (uint8_t)(i * 31 + k);
}

struct put {
	const uint8_t *value;
	size_t len;
	int64_t until_ms;
	int found; /* out */
	bool refuse;
};

static bool put_value(void *value, struct state_times *times, bool found, void *arg)
{
	struct put *p = arg;

	p->found = found;
	memcpy(value, p->value, p->len);
	times->until_ms = p->until_ms;
	return !p->refuse;
}

static int put_until(enum state_kind kind, unsigned int i, int64_t until_ms)
{
	uint8_t key[STATE_CONVERTER_KEY], value[STATE_CONVERTER_VALUE];
	struct put p = { value, state_shape(kind)->value_len, until_ms, 0, false };
	int ret;

	make(kind, i, key, value);
	errno = 123;
	ret = state_update(kind, key, now, put_value, &p);
	assert_int_equal(errno, 123);
	return ret;
}

static int put(enum state_kind kind, unsigned int i)
{
	return put_until(kind, i, now + HOUR);
}

/* Found, and then it is right. */
static bool get(enum state_kind kind, unsigned int i)
{
	uint8_t key[STATE_CONVERTER_KEY], value[STATE_CONVERTER_VALUE], got[STATE_CONVERTER_VALUE];
	struct state_times times;
	bool found;

	make(kind, i, key, value);
	errno = 123;
	found = state_get(kind, key, now, got, &times);
	assert_int_equal(errno, 123);
	if (!found)
		return false;
	assert_memory_equal(got, value, state_shape(kind)->value_len);
	assert_true(times.until_ms > now);
	assert_true(times.written_ms <= now + 60000 || times.until_ms == STATE_FOREVER);
	return true;
}

static off_t size_of(const char *path)
{
	struct stat st;

	return stat(path, &st) < 0 ? -1 : st.st_size;
}

static void write_file(const char *path, const void *bytes, size_t len, mode_t mode)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, len), len);
	assert_int_equal(fchmod(fd, mode), 0);
	close(fd);
}

static void assert_unchanged(const char *path, const void *bytes, size_t len)
{
	char got[4096];
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(read(fd, got, sizeof(got)), len);
	assert_memory_equal(got, bytes, len);
	close(fd);
}

static unsigned int open_descriptors(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned int n = 0;

	assert_non_null(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

/* ------------------------------------------------------------------- reading and writing */

static void written_and_found(void **state)
{
	struct stat st;

	(void)state;
	for (int k = 0; k < 2; k++) {
		assert_false(get(both[k], 1));
		assert_int_equal(put(both[k], 1), 0);
		assert_true(get(both[k], 1));
		assert_false(get(both[k], 2));
	}
	assert_int_equal(stat(file, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_true(st.st_size <= STATE_FILE_MAX);
}

static void a_look_up_makes_no_file(void **state)
{
	(void)state;
	assert_false(get(STATE_SERVER, 1));
	assert_int_equal(size_of(file), -1);
}

static void the_callers_change(void **state)
{
	uint8_t key[STATE_SERVER_KEY], value[STATE_SERVER_VALUE];
	struct put p = { value, sizeof(value), now + HOUR, -1, true };
	struct state_times times;

	(void)state;
	make(STATE_SERVER, 1, key, value);
	assert_int_equal(state_update(STATE_SERVER, key, now, put_value, &p), 0);
	assert_int_equal(p.found, 0);
	assert_false(get(STATE_SERVER, 1)); /* it said that there was nothing to write */
	p.refuse = false;
	assert_int_equal(state_update(STATE_SERVER, key, now, put_value, &p), 0);
	now += 5;
	assert_int_equal(state_update(STATE_SERVER, key, now, put_value, &p), 0);
	assert_int_equal(p.found, 1);
	assert_true(state_get(STATE_SERVER, key, now, value, &times));
	assert_int_equal(times.written_ms, now);
	assert_int_equal(times.until_ms, now - 5 + HOUR);
}

static void expires(void **state)
{
	(void)state;
	put(STATE_SERVER, 1);
	put_until(STATE_SERVER, 2, STATE_FOREVER);
	now += HOUR - 1;
	assert_true(get(STATE_SERVER, 1));
	now += 1;
	assert_false(get(STATE_SERVER, 1));
	now += 1000000 * HOUR;
	assert_true(get(STATE_SERVER, 2));
}

static void a_clock_set_back(void **state)
{
	(void)state;
	put(STATE_SERVER, 1);
	now -= 60000;
	assert_true(get(STATE_SERVER, 1));
	now -= 1;
	assert_false(get(STATE_SERVER, 1));
}

static void erased(void **state)
{
	uint8_t key[STATE_SERVER_KEY];

	(void)state;
	now = state_now_ms();
	put(STATE_SERVER, 1);
	put(STATE_SERVER, 2);
	make(STATE_SERVER, 1, key, NULL);
	assert_int_equal(state_erase(STATE_SERVER, key, now), 0);
	assert_int_equal(state_erase(STATE_SERVER, key, now), 0);
	assert_false(get(STATE_SERVER, 1));
	assert_true(get(STATE_SERVER, 2));
}

static void cleared(void **state)
{
	(void)state;
	put(STATE_SERVER, 1);
	put(STATE_CONVERTER, 1);
	assert_int_equal(state_clear(), 0);
	assert_false(get(STATE_SERVER, 1));
	assert_false(get(STATE_CONVERTER, 1));
	assert_int_equal(put(STATE_SERVER, 1), 0);
	assert_true(get(STATE_SERVER, 1));
}

static void count(const void *key, const void *value, const struct state_times *times, void *arg)
{
	uint8_t right_key[STATE_CONVERTER_KEY], right[STATE_CONVERTER_VALUE];
	unsigned int i, *counts = arg;

	(void)times;
	memcpy(&i, key, sizeof(i));
	assert_in_range(i, 0, 99);
	make(STATE_CONVERTER, i, right_key, right);
	assert_memory_equal(key, right_key, sizeof(right_key));
	assert_memory_equal(value, right, sizeof(right));
	counts[i]++;
}

static void each(void **state)
{
	unsigned int counts[100] = { 0 }, n = 0;

	(void)state;
	state_each(STATE_CONVERTER, now, count, counts); /* no file */
	for (unsigned int i = 0; i < 100; i++)
		put(STATE_CONVERTER, i);
	state_each(STATE_CONVERTER, now, count, counts);
	for (unsigned int i = 0; i < 100; i++) {
		assert_int_equal(counts[i], get(STATE_CONVERTER, i));
		n += counts[i];
	}
	assert_in_range(n, 70, 100); /* some buckets of four have had five */
}

/* As many as there is room for, and more: the size is bounded, the newest are there. */
static void bounded(void **state)
{
	enum { ROOM = 16384, MANY = 3 * ROOM };
	unsigned int found = 0, newest = 0;

	(void)state;
	for (unsigned int i = 0; i < MANY; i++) {
		now++;
		assert_int_equal(put(STATE_SERVER, i), 0);
	}
	for (unsigned int i = 0; i < 2000; i++)
		put(STATE_CONVERTER, i);
	assert_true(size_of(file) <= STATE_FILE_MAX);
	for (unsigned int i = 0; i < MANY; i++) {
		bool known = get(STATE_SERVER, i);

		found += known;
		newest += i >= MANY - ROOM / 4 && known;
	}
	assert_in_range(found, ROOM * 9 / 10, ROOM);
	/* the last quarter of the room's worth: seldom more than eight of them in one bucket */
	assert_in_range(newest, ROOM / 4 * 99 / 100, ROOM / 4);
}

/* n keys of one bucket. */
static void neighbours(unsigned int *same, unsigned int n)
{
	uint8_t key[STATE_SERVER_KEY];
	unsigned int found = 0;
	uint32_t bucket;

	make(STATE_SERVER, 0, key, NULL);
	bucket = state_bucket(STATE_SERVER, key);
	for (unsigned int i = 0; found < n; i++) {
		make(STATE_SERVER, i, key, NULL);
		if (state_bucket(STATE_SERVER, key) == bucket)
			same[found++] = i;
	}
}

/* A key whose time has run out is written where it was, though there is room in front of it: no
 * second copy may come back when the clock does. */
static void no_ghosts(void **state)
{
	uint8_t key[STATE_SERVER_KEY], value[STATE_SERVER_VALUE] = "new";
	struct put p = { value, sizeof(value), now + HOUR / 2, 0, false };
	unsigned int same[2];
	struct state_times times;

	(void)state;
	neighbours(same, 2);
	make(STATE_SERVER, same[1], key, NULL);
	put_until(STATE_SERVER, same[0], now + 1);
	put_until(STATE_SERVER, same[1], now + 1000);
	now += 1000;
	assert_int_equal(state_update(STATE_SERVER, key, now, put_value, &p), 0);
	assert_int_equal(p.found, 0);
	now += HOUR / 2; /* the new one's time runs out too, and somebody takes the first slot */
	put(STATE_SERVER, same[0]);
	now -= HOUR / 2 + 500;
	assert_true(state_get(STATE_SERVER, key, now, value, &times));
	assert_string_equal(value, "new");
	/* what was erased while nobody could see it does not come back either */
	now += HOUR;
	assert_int_equal(state_erase(STATE_SERVER, key, now), 0);
	now -= HOUR;
	assert_false(state_get(STATE_SERVER, key, now, value, &times));
}

/* The one that would have expired first goes, and what is for ever stays. */
static void who_makes_room(void **state)
{
	unsigned int same[9];

	(void)state;
	neighbours(same, 9);
	put_until(STATE_SERVER, same[0], STATE_FOREVER);
	for (unsigned int i = 1; i < 8; i++)
		put_until(STATE_SERVER, same[i], now + (i == 5 ? HOUR : (2 + (int64_t)i) * HOUR));
	put_until(STATE_SERVER, same[8], now + HOUR);
	for (unsigned int i = 0; i < 9; i++)
		assert_int_equal(get(STATE_SERVER, same[i]), i != 5);
	now += 3 * HOUR + 1; /* now 1 and 8 have expired */
	put_until(STATE_SERVER, same[5], now + 1);
	for (unsigned int i = 0; i < 9; i++)
		assert_int_equal(get(STATE_SERVER, same[i]), i != 1 && i != 8);
}

/* A host without a clock of its own is in 1970 until somebody tells it the time: what has no expiry is
 * there all the while, and makes no room. */
static void for_ever_before_it_was_written(void **state)
{
	const int64_t was = now;
	unsigned int same[9];

	(void)state;
	neighbours(same, 9);
	put_until(STATE_SERVER, same[0], STATE_FOREVER);
	now = 1000;
	assert_true(get(STATE_SERVER, same[0]));
	for (unsigned int i = 1; i < 9; i++)
		put_until(STATE_SERVER, same[i], now + HOUR);
	assert_true(get(STATE_SERVER, same[0]));
	now = was;
	assert_true(get(STATE_SERVER, same[0]));
}

/* ---------------------------------------------------------------- whatever the file is */

static void no_place(void **state)
{
	static char long_path[STATE_PATH_MAX + 10];
	const char *const places[] = {
		NULL, "none",	   "",	     "/proc/nothing/state", "/dev/null/state", "/tmp",
		"/",  "/dev/full", long_path
	};

	(void)state;
	memset(long_path, 'x', sizeof(long_path) - 1);
	long_path[0] = '/';
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		state_setup(places[i]);
		assert_true(put(STATE_SERVER, 1) < 0);
		assert_false(get(STATE_SERVER, 1));
		assert_true(state_clear() < 0);
		state_each(STATE_CONVERTER, now, count, NULL);
	}
}

static void its_directory_is_made(void **state)
{
	char deep[80];
	struct stat st;

	(void)state;
	snprintf(deep, sizeof(deep), "%s/a/b/state", dir);
	state_setup(deep);
	assert_true(put(STATE_SERVER, 1) < 0); /* one, not two */
	snprintf(deep, sizeof(deep), "%s/a/state", dir);
	state_setup(deep);
	assert_int_equal(put(STATE_SERVER, 1), 0);
	assert_true(get(STATE_SERVER, 1));
	unlink(deep);
	*strrchr(deep, '/') = '\0';
	assert_int_equal(stat(deep, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	rmdir(deep);
}

/* Somebody has named the wrong file. */
static void a_foreign_file_is_left_alone(void **state)
{
	static const char *const texts[] = { "Dear diary,\n", "\0", "CONVERT-STATE",
					     "CONVERT-STATE\0\0\0\2", "\0\0\0\0x" };
	uint8_t header[STATE_HEADER_LEN];
	struct stat st;

	(void)state;
	write_file(file, texts[0], strlen(texts[0]), 0600);
	assert_true(put(STATE_SERVER, 1) < 0);
	assert_int_equal(state_clear(), -EBADF);
	assert_false(get(STATE_SERVER, 1));
	assert_unchanged(file, texts[0], strlen(texts[0]));
	write_file(file, texts[3], 17, 0600); /* another version */
	assert_true(put(STATE_SERVER, 1) < 0);
	assert_unchanged(file, texts[3], 17);
	write_file(file, texts[4], 5, 0600);
	assert_true(put(STATE_SERVER, 1) < 0);
	assert_unchanged(file, texts[4], 5);
	state_header(header);
	header[STATE_HEADER_LEN - 1] = 1;
	write_file(file, header, sizeof(header), 0600);
	assert_true(put(STATE_SERVER, 1) < 0);
	assert_unchanged(file, header, sizeof(header));
	/* longer than it can be: an image of a disc */
	write_file(file, "", 0, 0600);
	assert_int_equal(truncate(file, STATE_FILE_MAX + 1), 0);
	assert_int_equal(put(STATE_SERVER, 1), -EBADF);
	assert_int_equal(state_clear(), -EBADF);
	assert_int_equal(stat(file, &st), 0);
	assert_int_equal(st.st_size, STATE_FILE_MAX + 1);
	/* but an empty one is as good as none */
	write_file(file, "", 0, 0600);
	assert_int_equal(put(STATE_SERVER, 1), 0);
	assert_true(get(STATE_SERVER, 1));
}

/* Another layout: the same key, and nothing of it is believed. */
static void another_version(void **state)
{
	int fd;

	(void)state;
	put(STATE_SERVER, 1);
	fd = open(file, O_RDWR | O_CLOEXEC);
	assert_int_equal(pwrite(fd, "\2", 1, 16), 1);
	close(fd);
	assert_int_equal(put(STATE_SERVER, 1), -EBADF);
	assert_true(get(STATE_SERVER, 1)); /* the slots say themselves which version they are of */
}

static void not_a_regular_file(void **state)
{
	(void)state;
	assert_int_equal(mkfifo(file, 0600), 0);
	assert_true(put(STATE_SERVER, 1) < 0); /* and does not wait */
	assert_false(get(STATE_SERVER, 1));
	unlink(file);
	state_setup(other);
	put(STATE_SERVER, 1);
	assert_int_equal(symlink(other, file), 0);
	state_setup(file);
	assert_false(get(STATE_SERVER, 1));
	assert_int_equal(put(STATE_SERVER, 1), -ELOOP);
	unlink(file);
	assert_int_equal(mkdir(file, 0700), 0);
	assert_true(put(STATE_SERVER, 1) < 0);
	assert_false(get(STATE_SERVER, 1));
	rmdir(file);
}

static void others_may_write(void **state)
{
	static const mode_t modes[] = { 0620, 0602, 0666 };

	(void)state;
	put(STATE_SERVER, 1);
	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		assert_int_equal(chmod(file, modes[i]), 0);
		assert_false(get(STATE_SERVER, 1));
		assert_true(put(STATE_SERVER, 1) < 0);
	}
	assert_int_equal(chmod(file, 0644), 0);
	assert_true(get(STATE_SERVER, 1));
}

static void in_child(void (*what)(void))
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		what();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void become_nobody(void)
{
	if (setresgid(65534, 65534, 65534) < 0 || setresuid(65534, 65534, 65534) < 0)
		_exit(9);
}

static bool can_read(void)
{
	uint8_t key[STATE_SERVER_KEY], value[STATE_SERVER_VALUE];
	struct state_times times;

	make(STATE_SERVER, 1, key, NULL);
	return state_get(STATE_SERVER, key, now, value, &times);
}

static void reads_roots(void)
{
	become_nobody();
	_exit(can_read() && put(STATE_SERVER, 1) < 0 ? 0 : 1);
}

static void does_not_read(void)
{
	become_nobody();
	_exit(can_read() || put(STATE_SERVER, 1) == 0);
}

static void as_root_does_not_read(void)
{
	_exit(can_read() || put(STATE_SERVER, 1) == 0);
}

static void other_users(void **state)
{
	(void)state;
	if (geteuid() != 0) {
		print_message("skipped: only root can be several users\n");
		skip();
	}
	assert_int_equal(chmod(dir, 0755), 0);
	put(STATE_SERVER, 1);
	in_child(does_not_read);
	assert_int_equal(chmod(file, 0644), 0);
	in_child(reads_roots);
	assert_int_equal(chown(file, 1, 1), 0);
	in_child(does_not_read);
	in_child(as_root_does_not_read);
	assert_int_equal(chmod(dir, 0700), 0);
}

/* Any byte of it changed: a miss, or what was written. */
static void every_byte_of_a_slot(void **state)
{
	uint8_t key[STATE_CONVERTER_KEY];
	int fd;

	(void)state;
	for (int k = 0; k < 2; k++) {
		const struct state_shape *s = state_shape(both[k]);
		off_t at;

		put(both[k], 1);
		make(both[k], 1, key, NULL);
		at = (off_t)state_bucket(both[k], key) * STATE_BLOCK; /* the first of its bucket */
		fd = open(file, O_RDWR | O_CLOEXEC);
		assert_true(fd >= 0);
		for (off_t i = at; i < at + s->slot_len; i++) {
			uint8_t was, is;

			assert_int_equal(pread(fd, &was, 1, i), 1);
			for (unsigned int bit = 0; bit < 8; bit++) {
				is = (uint8_t)(was ^ 1U << bit);
				assert_int_equal(pwrite(fd, &is, 1, i), 1);
				assert_false(get(both[k], 1));
			}
			assert_int_equal(pwrite(fd, &was, 1, i), 1);
		}
		assert_true(get(both[k], 1));
		for (off_t i = 0; i < s->slot_len; i++) {
			assert_int_equal(ftruncate(fd, at + i), 0);
			assert_false(get(both[k], 1));
		}
		close(fd);
	}
}

/* A slot of one kind is no slot of the other, wherever it lies. */
static void a_slot_elsewhere(void **state)
{
	uint8_t slot[STATE_BLOCK], key[STATE_CONVERTER_KEY];
	int fd;

	(void)state;
	put(STATE_SERVER, 1);
	make(STATE_SERVER, 1, key, NULL);
	fd = open(file, O_RDWR | O_CLOEXEC);
	assert_int_equal(pread(fd, slot, 64, (off_t)state_bucket(STATE_SERVER, key) * STATE_BLOCK),
			 64);
	for (off_t at = STATE_BLOCK; at < STATE_FILE_MAX; at += 64)
		assert_int_equal(pwrite(fd, slot, 64, at), 64);
	close(fd);
	assert_true(get(STATE_SERVER, 1));
	for (unsigned int i = 0; i < 1000; i++) {
		assert_int_equal(get(STATE_SERVER, i), i == 1);
		assert_false(get(STATE_CONVERTER, i));
	}
}

/* ------------------------------------------------------------ whatever the process is */

static void no_descriptor_is_left(void **state)
{
	unsigned int before = open_descriptors();

	(void)state;
	for (unsigned int i = 0; i < 10; i++) {
		get(STATE_SERVER, i);
		put(STATE_SERVER, i);
		get(STATE_SERVER, i);
		state_clear();
		chmod(file, 0666);
		put(STATE_SERVER, i);
		unlink(file);
	}
	assert_int_equal(open_descriptors(), before);
}

static void no_descriptors(void)
{
	const struct rlimit none = { 0, 0 };

	if (setrlimit(RLIMIT_NOFILE, &none) < 0)
		_exit(2);
	_exit(can_read() || put(STATE_SERVER, 1) == 0);
}

static void without_descriptors(void **state)
{
	(void)state;
	put(STATE_SERVER, 1);
	in_child(no_descriptors);
}

/* The limit is inside the slot, and below it: a signal would end the process. */
static void limited(void)
{
	uint8_t key[STATE_SERVER_KEY];
	struct rlimit limit = { 0, 0 };
	sigset_t waiting;

	make(STATE_SERVER, 1, key, NULL);
	for (rlim_t i = 0; i < 3; i++) {
		limit.rlim_cur = limit.rlim_max = RLIM_INFINITY;
		limit.rlim_cur = i == 0 ?
					 0 :
				 i == 1 ?
					 64 :
					 (rlim_t)state_bucket(STATE_SERVER, key) * STATE_BLOCK + 10;
		if (setrlimit(RLIMIT_FSIZE, &limit) < 0)
			_exit(2);
		if (put(STATE_SERVER, 1) == 0 || can_read())
			_exit(3);
		if (sigpending(&waiting) < 0 || sigismember(&waiting, SIGXFSZ))
			_exit(4);
	}
	_exit(0);
}

static void a_limit_on_file_sizes(void **state)
{
	(void)state;
	in_child(limited);
}

static void closed_standard(void)
{
	close(0);
	close(1);
	close(2);
	if (put(STATE_SERVER, 1) != 0 || !can_read())
		_exit(1);
	if (fcntl(0, F_GETFD) >= 0 || fcntl(1, F_GETFD) >= 0 || fcntl(2, F_GETFD) >= 0)
		_exit(2);
	_exit(0);
}

static bool find_number(void *value, struct state_times *times, bool found, void *arg)
{
	int *lowest = arg;

	(void)value;
	(void)times;
	(void)found;
	for (int fd = 0; fd < 3 && *lowest < 0; fd++) {
		if (fcntl(fd, F_GETFD) >= 0)
			*lowest = fd;
	}
	return false;
}

static void closed_standard_meanwhile(void)
{
	uint8_t key[STATE_SERVER_KEY];
	int lowest = -1;

	make(STATE_SERVER, 1, key, NULL);
	close(0);
	close(1);
	close(2);
	if (state_update(STATE_SERVER, key, now, find_number, &lowest) != 0)
		_exit(1);
	_exit(lowest >= 0 ? 2 : 0);
}

/* What a thread prints to a standard error that the program has closed must not end up there. */
static void standard_descriptors_closed(void **state)
{
	(void)state;
	in_child(closed_standard);
	in_child(closed_standard_meanwhile);
}

static bool change_again(void *value, struct state_times *times, bool found, void *arg)
{
	uint8_t key[STATE_SERVER_KEY];
	struct put p = { value, 1, now + HOUR, 0, false };
	int *ret = arg;

	(void)times;
	(void)found;
	make(STATE_SERVER, 1, key, NULL);
	*ret = state_update(STATE_SERVER, key, now, put_value, &p);
	return false;
}

/* As from a signal handler that interrupts an update, or another process: it does not wait. */
static void two_at_once(void **state)
{
	uint8_t key[STATE_SERVER_KEY];
	int ret = 0;

	(void)state;
	make(STATE_SERVER, 1, key, NULL);
	assert_int_equal(state_update(STATE_SERVER, key, now, change_again, &ret), 0);
	assert_int_equal(ret, -EAGAIN);
	assert_int_equal(put(STATE_SERVER, 1), 0);
}

static bool fork_now(void *value, struct state_times *times, bool found, void *arg)
{
	pid_t *pid = arg;

	(void)value;
	(void)times;
	(void)found;
	*pid = fork();
	if (*pid == 0) {
		pause();
		_exit(0);
	}
	return false;
}

/* The child has the open file too; it must not keep the lock. */
static void a_fork_meanwhile(void **state)
{
	uint8_t key[STATE_SERVER_KEY];
	pid_t pid = -1;
	int ret;

	(void)state;
	make(STATE_SERVER, 1, key, NULL);
	assert_int_equal(state_update(STATE_SERVER, key, now, fork_now, &pid), 0);
	ret = put(STATE_SERVER, 1);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	assert_int_equal(ret, 0);
	assert_true(get(STATE_SERVER, 1));
}

/* How deep the stack goes, on a painted one. */
static void *deep_get(void *arg)
{
	static uint8_t key[STATE_CONVERTER_KEY], value[STATE_CONVERTER_VALUE];
	static struct state_times times;

	(void)arg;
	state_get(STATE_CONVERTER, key, now, value, &times);
	return NULL;
}

static void *deep_update(void *arg)
{
	static uint8_t key[STATE_CONVERTER_KEY], value[STATE_CONVERTER_VALUE];
	static struct put p;

	(void)arg;
	p = (struct put){ value, sizeof(value), now + HOUR, 0, false };
	state_update(STATE_CONVERTER, key, now, put_value, &p);
	return NULL;
}

static void *nothing(void *arg)
{
	return arg;
}

static size_t depth(void *(*what)(void *))
{
	enum { SIZE = 64 * 1024 };
	uint8_t *stack = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
			      0);
	size_t untouched = 0;
	pthread_attr_t attr;
	pthread_t t;

	assert_true(stack != MAP_FAILED);
	memset(stack, 0x5a, SIZE);
	pthread_attr_init(&attr);
	assert_int_equal(pthread_attr_setstack(&attr, stack, SIZE), 0);
	assert_int_equal(pthread_create(&t, &attr, what, NULL), 0);
	pthread_join(t, NULL);
	while (untouched < SIZE && stack[untouched] == 0x5a)
		untouched++;
	pthread_attr_destroy(&attr);
	munmap(stack, SIZE);
	return SIZE - untouched;
}

static void little_stack(void **state)
{
	size_t start_of_thread, reading, writing;

	(void)state;
	if (IS_SANITIZED || !IS_OPTIMIZED) {
		print_message("skipped: this build's frames are not the library's\n");
		skip();
	}
	put(STATE_CONVERTER, 1);
	depth(deep_update); /* resolves symbols */
	start_of_thread = depth(nothing);
	reading = depth(deep_get) - start_of_thread;
	writing = depth(deep_update) - start_of_thread;
	print_message("# stack: %zu bytes to read, %zu to write\n", reading, writing);
	assert_true(reading < 1024);
	assert_true(writing < 1024);
}

static int make_dir(void **state)
{
	(void)state;
	if (!mkdtemp(dir))
		return -1;
	snprintf(file, sizeof(file), "%s/state", dir);
	snprintf(other, sizeof(other), "%s/other", dir);
	return 0;
}

static int remove_dir(void **state)
{
	start(state);
	return rmdir(dir);
}

#define TEST(test) cmocka_unit_test_setup(test, start)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(written_and_found),
		TEST(a_look_up_makes_no_file),
		TEST(the_callers_change),
		TEST(expires),
		TEST(a_clock_set_back),
		TEST(erased),
		TEST(cleared),
		TEST(each),
		TEST(bounded),
		TEST(no_ghosts),
		TEST(who_makes_room),
		TEST(for_ever_before_it_was_written),
		TEST(no_place),
		TEST(its_directory_is_made),
		TEST(a_foreign_file_is_left_alone),
		TEST(another_version),
		TEST(not_a_regular_file),
		TEST(others_may_write),
		TEST(other_users),
		TEST(every_byte_of_a_slot),
		TEST(a_slot_elsewhere),
		TEST(no_descriptor_is_left),
		TEST(without_descriptors),
		TEST(a_limit_on_file_sizes),
		TEST(standard_descriptors_closed),
		TEST(two_at_once),
		TEST(a_fork_meanwhile),
		TEST(little_stack),
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
