// SPDX-License-Identifier: MIT
/*
 * The log: one write per line, nothing that a line holds can forge another one, and whatever
 * the target is, the program around us is not disturbed. And the write itself (quiet.h), whose signal nobody notices.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "log.h"
#include "quiet.h"

/* The clock that log.c sees: the real one unless a test sets it. */
static struct timespec fake_time;

/* NOLINTBEGIN(bugprone-reserved-identifier) the names that ld's --wrap wants */
struct clock_time __real_clock_read(clockid_t clock);
struct clock_time __wrap_clock_read(clockid_t clock);
/* NOLINTEND(bugprone-reserved-identifier) */

struct clock_time __wrap_clock_read(clockid_t clock)
{
	if (!fake_time.tv_sec)
		return __real_clock_read(clock);
	return (struct clock_time){ fake_time.tv_sec, fake_time.tv_nsec };
}

/* ------------------------------------------------------ catching standard error */

/* Standard error becomes a socket that keeps each write apart. */
static int real_stderr = -1, catcher = -1;

static int catch_stderr(void **state)
{
	int pair[2];

	(void)state;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -1;
	real_stderr = dup(2);
	dup2(pair[1], 2);
	close(pair[1]);
	catcher = pair[0];
	log_setup("stderr", LOG_LEVEL_DEBUG);
	return 0;
}

static int release_stderr(void **state)
{
	(void)state;
	log_setup(NULL, LOG_LEVEL_OFF);
	dup2(real_stderr, 2);
	close(real_stderr);
	close(catcher);
	memset(&fake_time, 0, sizeof(fake_time));
	return 0;
}

/* The next write, or NULL if there was none. */
static const char *caught(void)
{
	static char line[2UL * LOG_LINE_MAX];
	ssize_t n = recv(catcher, line, sizeof(line) - 1, MSG_DONTWAIT);

	if (n < 0)
		return NULL;
	line[n] = '\0';
	assert_int_equal(strlen(line), n); /* no zero byte in it */
	return line;
}

/* The next line without its newline and without what stands before the level. */
static const char *caught_text(void)
{
	static char text[2UL * LOG_LINE_MAX];
	const char *line = caught();
	char *end;

	assert_non_null(line);
	line = strstr(line, "] ");
	assert_non_null(line);
	snprintf(text, sizeof(text), "%s", line + 2);
	end = strchr(text, '\n');
	assert_non_null(end);
	assert_int_equal(end[1], '\0');
	*end = '\0';
	return text;
}

/* --------------------------------------------------------------------- lines */

static void a_line_is_one_write(void **state)
{
	(void)state;
	log_line(LOG_LEVEL_INFO, "one");
	log_line(LOG_LEVEL_ERROR, "two");
	log_line(LOG_LEVEL_DEBUG, "three");
	assert_string_equal(caught_text(), "info: one");
	assert_string_equal(caught_text(), "error: two");
	assert_string_equal(caught_text(), "debug: three");
	assert_null(caught());
}

/* time() is that of the last tick, and so may be of the second before. */
static time_t seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return now.tv_sec;
}

static void the_head_of_a_line(void **state)
{
	char want[128];
	struct tm tm = { 0 };
	const char *line, *end;
	time_t before, then;

	(void)state;
	before = seconds();
	log_line(LOG_LEVEL_INFO, "x");
	line = caught();
	assert_non_null(line);
	/* "2026-11-21T09:30:00.123Z curl[4711] info: ..." */
	end = strptime(line, "%Y-%m-%dT%H:%M:%S", &tm);
	assert_non_null(end);
	then = timegm(&tm);
	assert_in_range(then, before, seconds());
	assert_int_equal(end - line, 19);
	assert_int_equal(end[0], '.');
	assert_int_equal(strspn(end + 1, "0123456789"), 3);
	snprintf(want, sizeof(want), "Z %s[%d] info: x\n", program_invocation_short_name,
		 (int)getpid());
	assert_string_equal(end + 4, want);
}

static void assert_time(time_t t, long ns)
{
	char want[64];
	struct tm tm;
	const char *line;

	fake_time = (struct timespec){ t, ns };
	log_line(LOG_LEVEL_INFO, "x");
	line = caught();
	assert_non_null(line);
	strftime(want, sizeof(want), "%Y-%m-%dT%H:%M:%S", gmtime_r(&t, &tm));
	sprintf(want + 19, ".%03ldZ ", ns / 1000000);
	if (strncmp(line, want, 25) != 0)
		fail_msg("%.25s, not %s", line, want);
}

/* All days of four hundred years, at a time of day that moves; year ends to the second. */
static void the_calendar(void **state)
{
	(void)state;
	for (time_t day = 1; day < 400 * 366; day++)
		assert_time(day * 86400 + day * 7919 % 86400, day % 1000 * 1000000L);
	for (int year = 1971; year < 2400; year++) {
		struct tm tm = { .tm_year = year - 1900, .tm_mday = 1 };
		time_t t = timegm(&tm);

		assert_time(t - 1, 999999999);
		assert_time(t, 0);
	}
}

static void formats(void **state)
{
	const char *volatile no_text = NULL;

	(void)state;
	log_line(LOG_LEVEL_INFO, "%s|%d|%d|%u|%x|%zu|%%|%s", "text", -1, 2147483647, 4294967295U,
		 0xbeefU, (size_t)-1, "");
	assert_string_equal(caught_text(),
			    "info: text|-1|2147483647|4294967295|beef|18446744073709551615|%|");
	log_line(LOG_LEVEL_INFO, "%d %u %x %zu", (int)-2147483647 - 1, 0U, 0U, (size_t)0);
	assert_string_equal(caught_text(), "info: -2147483648 0 0 0");
	log_line(LOG_LEVEL_INFO, "%s", "%s %d %n");
	assert_string_equal(caught_text(), "info: %s %d %n");
	log_line(LOG_LEVEL_INFO, "100%%");
	assert_string_equal(caught_text(), "info: 100%");
	/* a mistake of ours must not be the end of somebody's program */
	log_line(LOG_LEVEL_INFO, "%s!", no_text);
	assert_string_equal(caught_text(), "info: (null)!");
}

/* F-19: nobody's data forges a line, moves the cursor or changes the terminal's colours. */
static void control_characters(void **state)
{
	(void)state;
	for (int c = 1; c < 256; c++) {
		char data[] = { 'a', (char)c, 'b', '\0' }, want[16];

		log_line(LOG_LEVEL_INFO, "%s", data);
		snprintf(want, sizeof(want), "info: a%cb", c >= 0x20 && c < 0x7f ? c : '?');
		assert_string_equal(caught_text(), want);
	}
	log_line(LOG_LEVEL_INFO, "%s", "x\n2026-11-21T09:30:00.123Z curl[1] info: forged");
	assert_string_equal(caught_text(), "info: x?2026-11-21T09:30:00.123Z curl[1] info: forged");
	assert_null(caught());
}

static void long_lines_are_cut(void **state)
{
	static char text[4UL * LOG_LINE_MAX];

	(void)state;
	for (size_t n = 0; n < 2 * LOG_LINE_MAX; n++) {
		const char *line;
		size_t len;

		memset(text, 'x', n);
		text[n] = '\0';
		log_line(LOG_LEVEL_INFO, "%s%s", text, "END");
		line = caught();
		assert_non_null(line);
		len = strlen(line);
		assert_true(len <= LOG_LINE_MAX);
		assert_int_equal(line[len - 1], '\n');
		assert_ptr_equal(strchr(line, '\n'), line + len - 1);
		if (n >= LOG_LINE_MAX)
			assert_int_equal(len, LOG_LINE_MAX);
		else if (strstr(line, "END\n"))
			assert_true(len < LOG_LINE_MAX || line[len - 2] == 'D');
	}
	/* digits and the format itself are cut in the same way */
	memset(text, 'y', LOG_LINE_MAX - 60);
	text[LOG_LINE_MAX - 60] = '\0';
	log_line(LOG_LEVEL_INFO, "%s%zu%zu%zu%zu%zu", text, (size_t)-1, (size_t)-1, (size_t)-1,
		 (size_t)-1, (size_t)-1);
	assert_int_equal(strlen(caught()), LOG_LINE_MAX);
	assert_null(caught());
}

static void levels(void **state)
{
	static const enum log_level all[] = { LOG_LEVEL_ERROR, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

	(void)state;
	for (int most = LOG_LEVEL_OFF; most <= LOG_LEVEL_DEBUG; most++) {
		log_setup("stderr", (enum log_level)most);
		for (size_t i = 0; i < 3; i++) {
			bool on = (int)all[i] <= most;

			assert_int_equal(log_is_on(all[i]), on);
			log_line(all[i], "x");
			assert_int_equal(caught() != NULL, on);
		}
	}
	log_setup(NULL, LOG_LEVEL_DEBUG);
	for (size_t i = 0; i < 3; i++) {
		assert_false(log_is_on(all[i]));
		log_line(all[i], "x");
	}
	assert_null(caught());
}

static void *log_many(void *name)
{
	for (int i = 0; i < 100; i++)
		log_line(LOG_LEVEL_INFO, "%s %d", (const char *)name, i);
	return NULL;
}

static void *drain(void *count)
{
	for (;;) {
		char line[LOG_LINE_MAX + 1];
		ssize_t n = recv(catcher, line, LOG_LINE_MAX, 0);

		if (n <= 0 || memchr(line, '\n', (size_t)n) != line + n - 1)
			break;
		++*(int *)count;
	}
	return NULL;
}

/* However slow the reader is: each line is there, whole, or not at all. */
static void threads(void **state)
{
	static char names[4][8] = { "a", "b", "c", "d" };
	pthread_t writers[4], reader;
	int count = 0;

	(void)state;
	assert_int_equal(pthread_create(&reader, NULL, drain, &count), 0);
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&writers[i], NULL, log_many, names[i]), 0);
	for (int i = 0; i < 4; i++)
		pthread_join(writers[i], NULL);
	shutdown(STDERR_FILENO, SHUT_WR);
	pthread_join(reader, NULL);
	assert_in_range(count, 1, 400);
}

/* --------------------------------------------------------------------- files */

static char directory[] = "/tmp/convert-log-XXXXXX";
static char path[64];

static int make_directory(void **state)
{
	(void)state;
	memset(directory + sizeof(directory) - 7, 'X', 6);
	if (!mkdtemp(directory))
		return -1;
	snprintf(path, sizeof(path), "%s/log", directory);
	return 0;
}

static int remove_directory(void **state)
{
	(void)state;
	log_setup(NULL, LOG_LEVEL_OFF);
	unlink(path);
	rmdir(path);
	return rmdir(directory);
}

static size_t read_file(char *out, size_t most)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t n = 0;
	ssize_t r;

	assert_true(fd >= 0);
	while (n < most - 1 && (r = read(fd, out + n, most - 1 - n)) > 0)
		n += (size_t)r;
	close(fd);
	out[n] = '\0';
	return n;
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

static void a_file_is_made_and_appended_to(void **state)
{
	unsigned int fds = open_descriptors();
	mode_t mask = umask(0);
	struct stat st;
	char text[1024];

	(void)state;
	log_setup(path, LOG_LEVEL_INFO);
	assert_int_equal(stat(path, &st), -1); /* not before there is something to say */
	log_line(LOG_LEVEL_INFO, "first");
	umask(mask);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode, S_IFREG | 0600);
	assert_int_equal(chmod(path, 0644), 0);
	log_line(LOG_LEVEL_INFO, "second");
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode, S_IFREG | 0644); /* the administrator's mode stays */
	read_file(text, sizeof(text));
	assert_non_null(strstr(text, "info: first\n"));
	assert_non_null(strstr(text, "info: second\n"));
	assert_true(strstr(text, "first") < strstr(text, "second"));
	assert_int_equal(open_descriptors(), fds); /* D7 */
	/* the file may be moved away under us */
	assert_int_equal(unlink(path), 0);
	log_line(LOG_LEVEL_INFO, "third");
	read_file(text, sizeof(text));
	assert_null(strstr(text, "first"));
	assert_non_null(strstr(text, "info: third\n"));
}

static void lines_of_several_processes_never_mix(void **state)
{
	static char text[4 * 100 * LOG_LINE_MAX];
	static char filler[300];
	unsigned int lines = 0;
	pid_t pids[4];

	(void)state;
	memset(filler, 'f', sizeof(filler) - 1);
	log_setup(path, LOG_LEVEL_INFO);
	for (int p = 0; p < 4; p++) {
		pids[p] = fork();
		assert_true(pids[p] >= 0);
		if (pids[p] == 0) {
			for (int i = 0; i < 100; i++)
				log_line(LOG_LEVEL_INFO, "%s", filler + i);
			_exit(0);
		}
	}
	for (int p = 0; p < 4; p++)
		waitpid(pids[p], NULL, 0);
	read_file(text, sizeof(text));
	for (char *line = text, *end; (end = strchr(line, '\n')); line = end + 1) {
		char *body;

		*end = '\0';
		body = strstr(line, " info: ");
		assert_non_null(body);
		assert_int_equal(strspn(body + 7, "f"), strlen(body + 7));
		assert_int_equal(line[4], '-');
		lines++;
	}
	assert_int_equal(lines, 400);
}

/* What cannot be written is not written, and nobody notices. */
static void unwritable_targets(void **state)
{
	static char too_long[2 * PATH_MAX];
	static const char *const targets[] = {
		"/nonexistent/dir/log", "/",	 "", "/dev/full", "nonexistent/log/",
		"/proc/self/mem/x",	too_long
	};
	unsigned int fds = open_descriptors();

	(void)state;
	memset(too_long, '/', sizeof(too_long) - 1);
	for (size_t i = 0; i < sizeof(targets) / sizeof(targets[0]); i++) {
		log_setup(targets[i], LOG_LEVEL_INFO);
		errno = 4711;
		log_line(LOG_LEVEL_INFO, "x");
		assert_int_equal(errno, 4711);
	}
	/* a FIFO that nobody reads must not hold the program up */
	assert_int_equal(mkfifo(path, 0600), 0);
	log_setup(path, LOG_LEVEL_INFO);
	errno = 4711;
	log_line(LOG_LEVEL_INFO, "x");
	assert_int_equal(errno, 4711);
	assert_int_equal(open_descriptors(), fds);
}

/* ------------------------------------------------------ root, and who else can write there */

#define OTHER 65534

static char folder[48], target[56], aim[48];

/* A folder for root's log, and beside it a file that he would not want it in. False: this is not root. */
static bool begin_as_root(uid_t owner, mode_t mode)
{
	if (geteuid() != 0)
		return false;
	snprintf(folder, sizeof(folder), "%s/web", directory);
	snprintf(target, sizeof(target), "%s/log", folder);
	snprintf(aim, sizeof(aim), "%s/aim", directory);
	assert_int_equal(mkdir(folder, 0755), 0);
	assert_int_equal(chmod(folder, mode), 0);
	assert_int_equal(chown(folder, owner, owner), 0);
	close(open(aim, O_CREAT | O_CLOEXEC | O_WRONLY, 0600));
	return true;
}

static int end_as_root(void **state)
{
	unlink(target);
	unlink(aim);
	if (unlink(folder) < 0)
		rmdir(folder);
	return remove_directory(state);
}

/* Does a line get into the file? */
static bool gets_a_line(const char *file)
{
	struct stat before = { .st_size = 0 }, after = { .st_size = 0 };
	unsigned int fds = open_descriptors();

	stat(file, &before);
	log_setup(target, LOG_LEVEL_INFO);
	errno = 4711;
	log_line(LOG_LEVEL_INFO, "x");
	assert_int_equal(errno, 4711);
	assert_int_equal(open_descriptors(), fds);
	stat(file, &after);
	return after.st_size > before.st_size;
}

static void assert_only_its_own(uid_t owner, mode_t mode)
{
	if (!begin_as_root(owner, mode))
		skip();
	assert_true(gets_a_line(target)); /* makes it */
	assert_true(gets_a_line(target));
	assert_int_equal(chown(target, OTHER, OTHER), 0);
	assert_false(gets_a_line(target));
	assert_int_equal(unlink(target), 0);
	assert_int_equal(symlink(aim, target), 0);
	assert_false(gets_a_line(aim));
	assert_int_equal(unlink(aim), 0);
	assert_false(gets_a_line(aim)); /* nor does it make one */
	assert_int_equal(access(aim, F_OK), -1);
	close(open(aim, O_CREAT | O_CLOEXEC | O_WRONLY, 0600));
	assert_int_equal(unlink(target), 0);
	assert_int_equal(link(aim, target), 0);
	assert_false(gets_a_line(aim));
}

static void in_the_folder_of_another(void **state)
{
	(void)state;
	assert_only_its_own(OTHER, 0755);
}

static void in_a_folder_of_a_group(void **state)
{
	(void)state;
	assert_only_its_own(0, 0775);
}

static void in_everybodys_folder(void **state)
{
	(void)state;
	assert_only_its_own(0, 0757);
}

/* As /dev/stderr is one, to another. */
static void in_roots_folder(void **state)
{
	char text[256];
	int fd;

	(void)state;
	if (!begin_as_root(0, 0755))
		skip();
	assert_int_equal(symlink(aim, target), 0);
	assert_true(gets_a_line(aim));
	assert_int_equal(chown(aim, OTHER, OTHER), 0);
	assert_true(gets_a_line(aim));
	assert_int_equal(unlink(aim), 0);
	assert_true(gets_a_line(aim)); /* makes it */
	fd = open(aim, O_RDWR | O_CLOEXEC);
	assert_int_equal(unlink(target), 0);
	snprintf(text, sizeof(text), "/proc/self/fd/%d", fd);
	assert_int_equal(symlink(text, target), 0);
	assert_true(gets_a_line(aim));
	close(fd);
	/* the folder itself is behind a link */
	assert_int_equal(unlink(target), 0);
	assert_int_equal(rmdir(folder), 0);
	assert_int_equal(symlink(directory, folder), 0);
	snprintf(target, sizeof(target), "%s//.//aim", folder);
	assert_true(gets_a_line(aim));
}

/* A FIFO may be anybody's: what reads it is what it is for. */
static void a_fifo_in_the_folder_of_another(void **state)
{
	char text[2UL * LOG_LINE_MAX];
	int fd;

	(void)state;
	if (!begin_as_root(OTHER, 0755))
		skip();
	assert_int_equal(mkfifo(target, 0600), 0);
	assert_int_equal(chown(target, OTHER, OTHER), 0);
	assert_false(gets_a_line(target));
	fd = open(target, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	assert_true(fd >= 0);
	gets_a_line(target);
	assert_true(read(fd, text, sizeof(text)) > 0);
	close(fd);
}

static void errno_stays(void **state)
{
	(void)state;
	log_setup(path, LOG_LEVEL_INFO);
	errno = EAGAIN;
	log_line(LOG_LEVEL_INFO, "x");
	assert_int_equal(errno, EAGAIN);
	log_line(LOG_LEVEL_DEBUG, "not written");
	assert_int_equal(errno, EAGAIN);
	errno = 0;
	log_line(LOG_LEVEL_INFO, "x");
	assert_int_equal(errno, 0);
}

/* ------------------------------------------- what must not happen to a program */

/* Runs `what` in a child and returns its wait status. */
static int in_child(void (*what)(void))
{
	int status = 0;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		/* not through libc: under the system-call filter only this one is left */
		what();
		syscall(SYS_exit_group, 0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void only_exit_is_allowed(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit_group, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
	};
	struct sock_fprog program = { sizeof(code) / sizeof(code[0]), code };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0)
		syscall(SYS_exit_group, 77);
}

static void log_while_off(void)
{
	log_setup(NULL, LOG_LEVEL_DEBUG);
	only_exit_is_allowed();
	for (int i = 0; i < 10; i++)
		log_line(LOG_LEVEL_ERROR, "%s %d", "x", i);
}

static void log_below_the_level(void)
{
	log_setup("stderr", LOG_LEVEL_INFO);
	only_exit_is_allowed();
	log_line(LOG_LEVEL_DEBUG, "x");
}

static void log_while_on(void)
{
	log_setup("stderr", LOG_LEVEL_INFO);
	only_exit_is_allowed();
	log_line(LOG_LEVEL_INFO, "x");
}

/* D3: a line that is not wanted costs no system call. */
static void off_is_no_system_call(void **state)
{
	int status = in_child(log_while_off);

	(void)state;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77) {
		print_message("skipped: this kernel has no system-call filters\n");
		skip();
	}
	assert_int_equal(status, 0);
	assert_int_equal(in_child(log_below_the_level), 0);
	/* and the filter does see one */
	assert_true(WIFSIGNALED(in_child(log_while_on)));
}

static void log_to_a_closed_pipe(void)
{
	int fds[2];

	if (pipe(fds) < 0)
		_exit(1);
	close(fds[0]);
	dup2(fds[1], 2);
	log_setup("stderr", LOG_LEVEL_INFO);
	errno = 4711;
	log_line(LOG_LEVEL_INFO, "x");
	if (errno != 4711)
		_exit(2);
	/* nothing is left behind that strikes when the program unblocks its signals */
	{
		sigset_t pending;

		sigpending(&pending);
		if (sigismember(&pending, SIGPIPE))
			_exit(3);
	}
}

/* Programs whose standard error is a pipe that nobody reads any more. */
static void a_closed_pipe_kills_nobody(void **state)
{
	(void)state;
	assert_int_equal(in_child(log_to_a_closed_pipe), 0);
}

static void log_above_the_file_limit(void)
{
	struct rlimit none = { 0, 0 };

	log_setup(path, LOG_LEVEL_INFO);
	if (setrlimit(RLIMIT_FSIZE, &none) < 0)
		_exit(1);
	log_line(LOG_LEVEL_INFO, "x");
}

/* Sandboxes set RLIMIT_FSIZE to 0; a write then raises SIGXFSZ. */
static void a_file_size_limit_kills_nobody(void **state)
{
	(void)state;
	assert_int_equal(in_child(log_above_the_file_limit), 0);
}

static void log_as_descriptor_0(void)
{
	char text[LOG_LINE_MAX];

	close(0);
	log_setup(path, LOG_LEVEL_INFO);
	log_line(LOG_LEVEL_INFO, "x");
	if (read_file(text, sizeof(text)) == 0)
		_exit(1);
}

static void without_standard_input(void **state)
{
	(void)state;
	assert_int_equal(in_child(log_as_descriptor_0), 0);
}

static void signals_keep_their_state(void)
{
	sigset_t block, before, after;
	int fds[2];

	sigemptyset(&block);
	sigaddset(&block, SIGPIPE);
	sigaddset(&block, SIGUSR1);
	sigprocmask(SIG_SETMASK, &block, NULL); /* whatever earlier tests have left */
	raise(SIGPIPE);				/* the program's own, blocked and pending */
	if (pipe(fds) < 0)
		_exit(1);
	close(fds[0]);
	dup2(fds[1], 2);
	sigprocmask(SIG_BLOCK, NULL, &before);
	log_setup("stderr", LOG_LEVEL_INFO);
	log_line(LOG_LEVEL_INFO, "x");
	sigprocmask(SIG_BLOCK, NULL, &after);
	for (int s = 1; s < 65; s++)
		if (sigismember(&before, s) != sigismember(&after, s))
			_exit(2);
	sigpending(&after);
	if (!sigismember(&after, SIGPIPE))
		_exit(3);
}

static void a_blocked_signal_is_not_left_waiting(void)
{
	sigset_t set;
	int fds[2];

	sigemptyset(&set);
	sigaddset(&set, SIGPIPE);
	sigprocmask(SIG_BLOCK, &set, NULL);
	if (pipe(fds) < 0)
		_exit(1);
	close(fds[0]);
	dup2(fds[1], 2);
	log_setup("stderr", LOG_LEVEL_INFO);
	log_line(LOG_LEVEL_INFO, "x");
	sigprocmask(SIG_UNBLOCK, &set, NULL);
}

static void signals_stay_as_they_are(void **state)
{
	(void)state;
	assert_int_equal(in_child(signals_keep_their_state), 0);
	assert_int_equal(in_child(a_blocked_signal_is_not_left_waiting), 0);
}

/* A daemon closes its standard error, and the next socket gets the number 2. */
static void no_line_into_a_tcp_stream(void **state)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), client, server;
	int saved = dup(2);
	socklen_t len = sizeof(in);
	char bytes[LOG_LINE_MAX];

	(void)state;
	assert_int_equal(bind(listener, (struct sockaddr *)&in, len), 0);
	assert_int_equal(listen(listener, 1), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&in, &len), 0);
	client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(client, (struct sockaddr *)&in, len), 0);
	server = accept(listener, NULL, NULL);
	assert_true(server >= 0);
	dup2(client, 2);
	log_setup("stderr", LOG_LEVEL_INFO);
	errno = 4711;
	log_line(LOG_LEVEL_INFO, "x");
	assert_int_equal(errno, 4711);
	dup2(saved, 2);
	assert_int_equal(recv(server, bytes, sizeof(bytes), MSG_DONTWAIT), -1);
	assert_int_equal(errno, EAGAIN);
	close(saved);
	close(client);
	close(server);
	close(listener);
}

/* ------------------------------------------------------------------------ for programs */

static int catch_json(void **state)
{
	int r = catch_stderr(state);

	log_as(LOG_FORMAT_JSON);
	return r;
}

/* Behind what every object begins with. */
static const char *caught_members(void)
{
	char *line = (char *)caught(), *at;

	assert_non_null(line);
	assert_int_equal(strncmp(line, "{\"time\":\"", 9), 0);
	at = strstr(line, "\"event\":");
	assert_non_null(at);
	at[strlen(at) - 1] = '\0'; /* the newline */
	return at;
}

#define FORMAT "{server:%s}{local: from %s,} after %d ms: {why:%s}{line: in line %d}{!us:%d}"

static void groups_as_text(void **state)
{
	const char *volatile none = NULL;

	(void)state;
	log_tell(LOG_LEVEL_INFO, LOG_DIRECT, FORMAT, "s", "l", 7, "w", 3, 5);
	assert_string_equal(caught_text(), "info: direct s from l, after 7 ms: w in line 3");
	log_tell(LOG_LEVEL_INFO, LOG_FALLS_BACK, FORMAT, "s", none, 7, "w", -1, -1);
	assert_string_equal(caught_text(), "info: falling back from s after 7 ms: w");
}

static void groups_as_json(void **state)
{
	const char *volatile none = NULL;

	(void)state;
	log_tell(LOG_LEVEL_INFO, LOG_DIRECT, FORMAT, "s", "l", 7, "w", 3, 5);
	assert_string_equal(caught_members(),
			    "\"event\":\"direct\",\"server\":\"s\",\"local\":\"l\","
			    "\"why\":\"w\",\"line\":3,\"us\":5}");
	log_tell(LOG_LEVEL_INFO, LOG_FALLS_BACK, FORMAT, "s", none, 7, "w", -1, -1);
	assert_string_equal(caught_members(),
			    "\"event\":\"fallback\",\"server\":\"s\",\"why\":\"w\"}");
	log_tell(LOG_LEVEL_INFO, LOG_CLOSED, "{n:%lld}{m:%u}", 1234567890123LL, 4294967295U);
	assert_string_equal(caught_members(),
			    "\"event\":\"closed\",\"n\":1234567890123,\"m\":4294967295}");
	log_line(LOG_LEVEL_ERROR, "%s:%u: a \"quoted\" thing", "a\\b", 3U);
	assert_string_equal(caught_members(),
			    "\"event\":\"note\",\"text\":\"a\\\\b:3: a \\\"quoted\\\" thing\"}");
}

/* Nobody's data ends a text, an object or a line. */
static void nothing_breaks_an_object(void **state)
{
	(void)state;
	for (int c = 1; c < 256; c++) {
		char data[] = { 'a', (char)c, 'b', '\0' }, want[64];

		log_tell(LOG_LEVEL_INFO, LOG_DIRECT, "{why:%s}", data);
		snprintf(want, sizeof(want), "\"event\":\"direct\",\"why\":\"a%s%cb\"}",
			 c == '"' || c == '\\' ? "\\" : "", c >= 0x20 && c < 0x7f ? c : '?');
		assert_string_equal(caught_members(), want);
	}
	assert_null(caught());
}

/* As many texts are begun as are ended, outside of which nothing but members is. */
static void assert_whole(const char *line)
{
	bool in_text = false;

	for (; line[1]; line++) {
		if (in_text && *line == '\\')
			line++;
		else if (*line == '"')
			in_text = !in_text;
	}
	assert_false(in_text);
	assert_int_equal(line[-1], '}');
	assert_int_equal(*line, '\n');
}

static void an_object_is_whole_however_long(void **state)
{
	static char text[2UL * LOG_LINE_MAX];

	(void)state;
	for (size_t n = 0; n < sizeof(text) - 1; n++) {
		const char *line;

		memset(text, n % 3 ? 'x' : '"', n);
		text[n] = '\0';
		log_tell(LOG_LEVEL_INFO, LOG_FAILED, "{server:%s}{why:%s}{us:%d}", "s", text, 3);
		line = caught();
		assert_non_null(line);
		assert_whole(line);
		assert_true(strlen(line) <= LOG_LINE_MAX);
		if (n >=
		    LOG_LINE_MAX) /* what does not fit is left out, and there is room for the rest */
			assert_non_null(strstr(line, "\"server\":\"s\",\"us\":3}\n"));
		log_line(LOG_LEVEL_INFO, "%s", text);
		assert_whole(caught());
	}
}

/* ------------------------------------------------------------------------- the receipt */

static void only_outcomes_go_to_the_receipt(void **state)
{
	char text[4UL * LOG_LINE_MAX];

	(void)state;
	log_setup(NULL, LOG_LEVEL_OFF);
	log_to_receipt(path);
	assert_true(log_is_on(LOG_LEVEL_INFO));
	assert_false(log_is_on(LOG_LEVEL_DEBUG));
	log_tell(LOG_LEVEL_INFO, LOG_DIRECT, "{server:%s}", "s");
	assert_int_equal(access(path, F_OK), -1); /* it is not made here */
	close(open(path, O_CREAT | O_CLOEXEC | O_WRONLY, 0600));
	log_tell(LOG_LEVEL_INFO, LOG_DIRECT, "{server:%s}", "s");
	log_tell(LOG_LEVEL_INFO, LOG_RETRY, "{server:%s}", "s");
	log_line(LOG_LEVEL_ERROR, "x");
	read_file(text, sizeof(text));
	assert_non_null(strstr(text, "\"event\":\"direct\",\"server\":\"s\"}\n"));
	assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
}

/* ------------------------------------------------------------- who does not read */

/* A full pipe is waited for once, for as long as somebody might need who is only slow. */
static void a_stuck_pipe_holds_nobody_up(void **state)
{
	char filler[4096] = { 0 };
	int fds[2], saved = dup(STDERR_FILENO);
	time_t begun = time(NULL);

	(void)state;
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	fcntl(fds[1], F_SETFL, O_NONBLOCK);
	while (write(fds[1], filler, sizeof(filler)) > 0)
		;
	fcntl(fds[1], F_SETFL, 0);
	dup2(fds[1], STDERR_FILENO);
	log_setup("stderr", LOG_LEVEL_INFO);
	for (int i = 0; i < 1000; i++)
		log_line(LOG_LEVEL_INFO, "x");
	dup2(saved, STDERR_FILENO);
	close(saved);
	close(fds[0]);
	close(fds[1]);
	assert_true(time(NULL) - begun < 30);
}

#define CAUGHT(test)  cmocka_unit_test_setup_teardown(test, catch_stderr, release_stderr)
#define AS_ROOT(test) cmocka_unit_test_setup_teardown(test, make_directory, end_as_root)
#define JSON(test)    cmocka_unit_test_setup_teardown(test, catch_json, release_stderr)
#define FILED(test)   cmocka_unit_test_setup_teardown(test, make_directory, remove_directory)

/* ----------------------------------------------------------------------------------- the write */

static volatile sig_atomic_t raised;

static void on_signal(int signal_number)
{
	(void)signal_number;
	raised++;
}

static bool is_waiting(int signal_number)
{
	sigset_t waiting;

	assert_int_equal(sigpending(&waiting), 0);
	return sigismember(&waiting, signal_number);
}

static bool is_blocked(int signal_number)
{
	sigset_t blocked;

	assert_int_equal(sigprocmask(SIG_BLOCK, NULL, &blocked), 0);
	return sigismember(&blocked, signal_number);
}

static void block(int how, int signal_number)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, signal_number);
	assert_int_equal(sigprocmask(how, &set, NULL), 0);
}

static int set_handlers(void **state)
{
	(void)state;
	raised = 0;
	signal(SIGPIPE, on_signal);
	signal(SIGXFSZ, on_signal);
	return 0;
}

static int pipe_without_reader(void)
{
	int ends[2];

	assert_int_equal(pipe(ends), 0);
	close(ends[0]);
	return ends[1];
}

static void nobody_reads(void **state)
{
	int fd = pipe_without_reader();

	(void)state;
	errno = 0;
	assert_int_equal(quiet_write(fd, "x", 1, QUIET_AT_END), -1);
	assert_int_equal(errno, EPIPE);
	assert_false(is_waiting(SIGPIPE) || is_blocked(SIGPIPE));
	assert_int_equal(raised, 0);
	close(fd);
}

static void the_program_has_one_waiting(void **state)
{
	int fd = pipe_without_reader();

	(void)state;
	block(SIG_BLOCK, SIGPIPE);
	raise(SIGPIPE);
	assert_int_equal(quiet_write(fd, "x", 1, QUIET_AT_END), -1);
	assert_int_equal(errno, EPIPE);
	assert_true(is_waiting(SIGPIPE) && is_blocked(SIGPIPE));
	assert_int_equal(raised, 0);
	block(SIG_UNBLOCK, SIGPIPE);
	assert_int_equal(raised, 1);
	close(fd);
}

static void the_program_blocks_it(void **state)
{
	int fd = pipe_without_reader();

	(void)state;
	block(SIG_BLOCK, SIGPIPE);
	assert_int_equal(quiet_write(fd, "x", 1, QUIET_AT_END), -1);
	assert_false(is_waiting(SIGPIPE));
	assert_true(is_blocked(SIGPIPE));
	block(SIG_UNBLOCK, SIGPIPE);
	assert_int_equal(raised, 0);
	close(fd);
}

static void over_the_limit(void **state)
{
	char name[] = "/tmp/test_log.XXXXXX", got[3] = { 0 };
	struct rlimit before, limit;
	int fd = mkstemp(name);

	(void)state;
	assert_true(fd >= 0);
	unlink(name);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	limit = (struct rlimit){ 8, before.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	assert_int_equal(quiet_write(fd, "ab", 2, 6), 2);
	assert_int_equal(quiet_write(fd, "cd", 2, 8), -1);
	assert_int_equal(errno, EFBIG);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
	assert_false(is_waiting(SIGXFSZ) || is_blocked(SIGXFSZ));
	assert_int_equal(raised, 0);
	assert_int_equal(pread(fd, got, sizeof(got), 6), 2);
	assert_memory_equal(got, "ab", 2);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CAUGHT(a_line_is_one_write),
		CAUGHT(the_head_of_a_line),
		CAUGHT(the_calendar),
		CAUGHT(formats),
		CAUGHT(control_characters),
		CAUGHT(long_lines_are_cut),
		CAUGHT(levels),
		CAUGHT(threads),
		FILED(a_file_is_made_and_appended_to),
		FILED(lines_of_several_processes_never_mix),
		FILED(unwritable_targets),
		AS_ROOT(in_the_folder_of_another),
		AS_ROOT(in_a_folder_of_a_group),
		AS_ROOT(in_everybodys_folder),
		AS_ROOT(in_roots_folder),
		AS_ROOT(a_fifo_in_the_folder_of_another),
		FILED(errno_stays),
		cmocka_unit_test(off_is_no_system_call),
		cmocka_unit_test(a_closed_pipe_kills_nobody),
		FILED(a_file_size_limit_kills_nobody),
		FILED(without_standard_input),
		cmocka_unit_test(signals_stay_as_they_are),
		cmocka_unit_test(no_line_into_a_tcp_stream),
		CAUGHT(groups_as_text),
		JSON(groups_as_json),
		JSON(nothing_breaks_an_object),
		JSON(an_object_is_whole_however_long),
		FILED(only_outcomes_go_to_the_receipt),
		cmocka_unit_test(a_stuck_pipe_holds_nobody_up),
		cmocka_unit_test_setup(nobody_reads, set_handlers),
		cmocka_unit_test_setup(the_program_has_one_waiting, set_handlers),
		cmocka_unit_test_setup(the_program_blocks_it, set_handlers),
		cmocka_unit_test_setup(over_the_limit, set_handlers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
