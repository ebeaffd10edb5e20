// SPDX-License-Identifier: MIT
/*
 * The state in use, by servers, health and counts: how many system calls it costs to know things, counted by ptrace(2)
 * as strace does it; what is known when one fails; and a storm.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "counts.h"
#include "health.h"
#include "help.h"
#include "servers.h"
#include "state.h"
#include "state_file.h"

enum { SERVERS = 100, ROUNDS = 100 };

static int64_t now_ms;
static struct health_key converter_key;

static struct addr server(unsigned int i)
{
	return (struct addr){ .ip = { [0] = 0x20, [1] = 0x01, [15] = (uint8_t)i }, .port = 443 };
}

/* The system calls that a process makes in `what`; -1: it cannot be traced. */
static long calls_of(void (*what)(void))
{
	int status;
	long stops = 0;
	pid_t pid = fork();

	if (pid == 0) {
		if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0)
			_exit(77);
		raise(SIGSTOP);
		what();
		raise(SIGSTOP);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (!WIFSTOPPED(status))
		return -1;
	ptrace(PTRACE_SETOPTIONS, pid, NULL, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL);
	for (;;) {
		ptrace(PTRACE_SYSCALL, pid, NULL, NULL);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSTOPPED(status));
		if (WSTOPSIG(status) == SIGSTOP)
			break;
		stops += WSTOPSIG(status) == (SIGTRAP | 0x80);
	}
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	return stops / 2; /* going in and coming out */
}

static void nothing(void)
{
}

/* Without those of raise(). */
static long count(const char *name, void (*what)(void))
{
	static long others = -1;
	long n;

	if (IS_SANITIZED) {
		print_message("skipped: this build makes system calls of its own\n");
		skip();
	}
	if (others < 0)
		others = calls_of(nothing);
	if (others < 0) {
		print_message("skipped: ptrace is not allowed\n");
		skip();
	}
	n = calls_of(what) - others;
	print_message("# %s: %ld\n", name, n);
	return n;
}

static int start(void **state)
{
	const struct cvt_span no_cookie = { NULL, 0 };

	(void)state;
	unlink(state_file);
	state_setup(state_file);
	now_ms = state_now_ms();
	converter_key = (struct health_key){ .converter = server(0), .network = 1 };
	for (unsigned int i = 0; i < SERVERS; i++) {
		const struct addr a = server(i);

		servers_learn(&a, i % 2, no_cookie, now_ms);
	}
	servers_clear_table();
	health_clear_table();
	counts_in_child();
	return 0;
}

/* ------------------------------------------------------------------------------- servers */

static void look_up(unsigned int rounds, unsigned int n)
{
	for (unsigned int r = 0; r < rounds; r++) {
		for (unsigned int i = 0; i < n; i++) {
			const struct addr a = server(i);

			servers_lookup(&a, now_ms);
		}
	}
}

static void first_look(void)
{
	look_up(1, 1);
}

static void look_again(void)
{
	look_up(ROUNDS, SERVERS);
}

static void look_for_unknown(void)
{
	const struct addr a = server(255);

	for (unsigned int r = 0; r < ROUNDS; r++)
		servers_lookup(&a, now_ms);
}

/* For half an hour, each server once a second. */
static void look_for_long(void)
{
	for (unsigned int second = 0; second < 1800; second++) {
		look_up(1, SERVERS);
		now_ms += 1000;
	}
}

static void learn_the_same(void)
{
	const struct cvt_span no_cookie = { NULL, 0 };

	look_up(1, SERVERS);
	for (unsigned int r = 0; r < ROUNDS; r++) {
		for (unsigned int i = 0; i < SERVERS; i++) {
			const struct addr a = server(i);

			servers_learn(&a, i % 2, no_cookie, now_ms + r);
		}
	}
}

static void learn_something(void)
{
	const struct cvt_span no_cookie = { NULL, 0 };
	const struct addr a = server(200);

	servers_learn(&a, true, no_cookie, now_ms);
}

static void servers(void **state)
{
	const long uid = geteuid() != 0; /* whose is the file? root's is anybody's */
	long one;

	(void)state;
	one = count("a server's first look-up", first_look);
	assert_int_equal(one, 4 + uid);
	assert_int_equal(count("100 servers, 10,000 look-ups", look_again), SERVERS * one);
	assert_int_equal(count("an unknown server, 100 look-ups", look_for_unknown), one);
	assert_int_equal(count("100 servers, 180,000 look-ups in half an hour", look_for_long),
			 SERVERS * one * 1800 / (SERVERS_REREAD_MS / 1000));
	assert_int_equal(count("100 servers, the same news 10,000 times", learn_the_same),
			 SERVERS * one);
	assert_int_equal(count("news, with the look-up before", learn_something), 14 + 2 * uid);
	unlink(state_file);
	assert_int_equal(count("no state_file, 100 look-ups", look_for_unknown), 1);
	state_setup(NULL);
	assert_int_equal(count("no state, 10,000 look-ups", look_again), 0);
}

/* ---------------------------------------------------------------- health and counts */

static bool no_route(const struct addr *to, const struct pol_binding *by, struct pol_route *route)
{
	(void)to;
	(void)by;
	(void)route;
	return false;
}

static void ask(void)
{
	const struct health_event e = { .kind = HEALTH_ANSWERED };
	struct health_key where;

	for (unsigned int r = 0; r < ROUNDS; r++) {
		health_where(&converter_key.converter, no_route, now_ms, &where);
		health_ask(&converter_key, now_ms, 1000, false);
		health_report(&converter_key, &e, now_ms);
	}
}

static void fail_together(void)
{
	struct health_event e = { .kind = HEALTH_FAILED,
				  .delay_s = HEALTH_NO_DELAY,
				  .retry_ms = 60000 };

	for (unsigned int r = 0; r < ROUNDS; r++) {
		e.started_ms = now_ms - r;
		health_report(&converter_key, &e, now_ms + r % 2);
	}
}

static void converters(void **state)
{
	const long uid = geteuid() != 0;

	(void)state;
	assert_int_equal(count("a converter that works, 100 connections", ask), 7 + uid);
	assert_int_equal(count("a converter that fails, 100 connections at once", fail_together),
			 7 + uid + 13 + uid);
}

static void count_direct(void)
{
	for (unsigned int r = 0; r < ROUNDS; r++)
		counts_add(COUNTS_DIRECT, now_ms);
}

static void count_converted(void)
{
	for (unsigned int r = 0; r < ROUNDS; r++)
		counts_add(COUNTS_CONVERTED, now_ms + r);
}

static void counted(void **state)
{
	long uid = geteuid() != 0;

	(void)state;
	assert_int_equal(count("100 direct connections counted", count_direct), 0);
	assert_in_range(count("100 converted connections counted", count_converted), 1, 13 + uid);
}

/* ------------------------------------------------------------------------------- faults */
/*
 * Each system call that the state makes fails with each errno, by a seccomp filter in a child: as
 * under a sandbox, on a file system without locks, on a disk that has gone. A miss or a lost write,
 * and nothing else: no signal, no errno, no descriptor left, and what is found is right.
 */

static const struct call {
	long number;
	const char *name;
	bool closes; /* a close() that fails would leave the descriptor, here but not in Linux */
} calls[] = {
	{ SYS_openat, "openat", false },	 { SYS_mkdirat, "mkdirat", false },
	{ SYS_newfstatat, "newfstatat", false },
#ifdef SYS_fstat
	{ SYS_fstat, "fstat", false },
#endif
	{ SYS_pread64, "pread64", false },	 { SYS_pwrite64, "pwrite64", false },
	{ SYS_fcntl, "fcntl", false },		 { SYS_rt_sigprocmask, "rt_sigprocmask", false },
	{ SYS_ftruncate, "ftruncate", false },	 { SYS_close, "close", true },
};

static const int errors[] = { EPERM,  ENOSYS, EINTR,  EIO,   EAGAIN, ENOMEM, EACCES,
			      ENOSPC, EDQUOT, EMFILE, EROFS, EBADF,  EINVAL, ENOLCK };

enum { RIGHT, WRONG_ERRNO, WRONG_VALUE, DESCRIPTOR, NO_FILTER };

static bool refuse(long number, int err)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)number, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (uint32_t)err),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	const struct sock_fprog program = { sizeof(code) / sizeof(code[0]), code };

	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
	       prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

/* Everything that can be done with the state. What is odd speaks MPTCP, before and after. */
static int use(void)
{
	const struct cvt_span no_cookie = { NULL, 0 };
	const struct health_event speaks = { .kind = HEALTH_SPEAKS, .dialect = CVT_DIALECT_HYBRID },
				  failed = { .kind = HEALTH_FAILED,
					     .started_ms = now_ms,
					     .delay_s = HEALTH_NO_DELAY,
					     .retry_ms = 1000 };
	const struct health_key other = { .converter = server(1), .network = 1 };
	struct health h;
	int verdict = RIGHT;

	errno = 77;
	for (unsigned int i = 0; i < 8; i++) {
		const struct addr a = server(i);
		enum servers_verdict v = servers_lookup(&a, now_ms);

		if (v != SERVERS_UNKNOWN && v != (i % 2 ? SERVERS_MPTCP : SERVERS_TCP))
			verdict = WRONG_VALUE;
		servers_learn(&a, i % 2, no_cookie, now_ms);
		/* the process knows what it has learned, wherever it could not be written */
		if (servers_lookup(&a, now_ms) != (i % 2 ? SERVERS_MPTCP : SERVERS_TCP))
			verdict = WRONG_VALUE;
		servers_clear_table();
		v = servers_lookup(&a, now_ms);
		if (v != SERVERS_UNKNOWN && v != (i % 2 ? SERVERS_MPTCP : SERVERS_TCP))
			verdict = WRONG_VALUE;
	}
	health_report(&other, &speaks, now_ms);
	health_report(&other, &failed, now_ms);
	health_find(&other, now_ms, &h);
	if (h.dialect != 1 + CVT_DIALECT_HYBRID || h.failures != 1 ||
	    health_ask(&other, now_ms, 1000, false) != HEALTH_LEAVE ||
	    health_ask(&other, now_ms + 1000, 1000, false) != HEALTH_PROBE ||
	    health_ask(&other, now_ms + 1000, 1000, false) != HEALTH_LEAVE)
		verdict = WRONG_VALUE;
	counts_add(COUNTS_CONVERTED, now_ms);
	state_clear();
	return errno == 77 ? verdict : WRONG_ERRNO;
}

static int lowest_free(void)
{
	int fd = (int)syscall(SYS_dup, STDIN_FILENO);

	return fd;
}

static int child(const struct call *call, int err)
{
	int before = lowest_free(), verdict;

	if (!refuse(call->number, err))
		return NO_FILTER;
	verdict = use();
	if (verdict == RIGHT && !call->closes && lowest_free() != before + 1)
		return DESCRIPTOR;
	return verdict;
}

static void each_call_fails(void **state)
{
	unsigned int n = 0;
	int status;

	(void)state;
	now_ms = state_now_ms();
	for (size_t c = 0; c < sizeof(calls) / sizeof(calls[0]); c++) {
		for (size_t e = 0; e < 2 * sizeof(errors) / sizeof(errors[0]); e++) {
			const int err = errors[e / 2];
			const bool has_file = e % 2;
			pid_t pid;

			/* a lock's own word: another process is the one that tries */
			if (calls[c].number == SYS_fcntl && err == EAGAIN)
				continue;
			unlink(state_file);
			state_setup(state_file);
			servers_clear_table();
			if (has_file)
				use();
			servers_clear_table();
			health_clear_table();
			counts_in_child();
			n++;
			pid = fork();
			if (pid == 0)
				_exit(child(&calls[c], err));
			assert_int_equal(waitpid(pid, &status, 0), pid);
			if (WIFEXITED(status) && WEXITSTATUS(status) == NO_FILTER) {
				print_message("skipped: no seccomp filters here\n");
				skip();
			}
			if (status != 0)
				fail_msg("%s fails with %s%s: %s %d", calls[c].name, strerror(err),
					 has_file ? "" : ", no file yet",
					 WIFEXITED(status) ? "wrong in way" : "signal",
					 WIFEXITED(status) ? WEXITSTATUS(status) :
							     WTERMSIG(status));
		}
	}
	print_message("# %u faults\n", n);
}

/* ------------------------------------------------------------------------------------- a storm */
/*
 * 64 processes change the state 1,000 times each, while others cut the file, fill it with noise,
 * remove and replace it, make it read-only and leave the file system no room. Asserted: no
 * process dies or waits, the file never grows past its bound, and what is found is right.
 */

enum { WORKERS = 64, UPDATES = 1000, KEYS = 300 };

enum act { CUT, NOISE, NOISE_IN_HEADER, REMOVE, REPLACE, READ_ONLY, FULL, N_ACTS };

static struct results {
	_Atomic unsigned long written, lost, hits, misses, wrong, longest;
	_Atomic unsigned long acts[N_ACTS];
	_Atomic unsigned int done; /* workers */
} * results;

static char dir[] = "/tmp/test_state_use.XXXXXX";
static char file[80], filler[80], decoy[80];
static const char treasure[] = "not the state";
static uint32_t seed;

static uint32_t below(uint32_t n) /* xorshift32 */
{
	seed ^= seed << 13;
	seed ^= seed >> 17;
	seed ^= seed << 5;
	return seed % n;
}

/* ------------------------------------------------------------------------------- workers */

/* The value for key i begins with a number of its own, which the rest of it follows from. */
static void fill(uint8_t *value, unsigned int i, uint32_t nonce, size_t len)
{
	memcpy(value, &nonce, sizeof(nonce));
	for (size_t k = sizeof(nonce); k < len; k++)
		value[k] = (uint8_t)((nonce ^ i * 2654435761) >> k % 24);
}

static bool is_right(const uint8_t *value, unsigned int i, size_t len)
{
	uint8_t right[STATE_CONVERTER_VALUE];
	uint32_t nonce;

	memcpy(&nonce, value, sizeof(nonce));
	fill(right, i, nonce, len);
	return memcmp(value, right, len) == 0;
}

struct put {
	unsigned int i;
	size_t len;
	int64_t until_ms;
};

static bool put(void *value, struct state_times *times, bool found, void *arg)
{
	const struct put *p = arg;

	if (found && !is_right(value, p->i, p->len))
		results->wrong++;
	fill(value, p->i, seed, p->len);
	times->until_ms = p->until_ms;
	return true;
}

static void use_slots(enum state_kind kind, unsigned int i, int64_t now)
{
	uint8_t key[STATE_CONVERTER_KEY], value[STATE_CONVERTER_VALUE];
	struct put p = { i, state_shape(kind)->value_len, now + 60000 };
	struct state_times times;

	memset(key, 0xee, sizeof(key)); /* no key of policy's has this */
	memcpy(key, &i, sizeof(i));
	if (state_get(kind, key, now, value, &times)) {
		results->hits++;
		results->wrong += !is_right(value, i, p.len);
	} else {
		results->misses++;
	}
	if (state_update(kind, key, now, put, &p) == 0)
		results->written++;
	else
		results->lost++;
}

/* Which way a server or converter is follows from its number too. */
static void use_policy(unsigned int i, int64_t now)
{
	struct addr server = { .ip = { [10] = 0xff, [11] = 0xff, [12] = 192, [15] = (uint8_t)i },
			       .port = (uint16_t)(1000 + i) };
	const struct health_key key = { .converter = server, .network = i };
	const struct health_event e = { .kind = HEALTH_SPEAKS, .dialect = i % 3 };
	const struct cvt_span no_cookie = { NULL, 0 };
	enum servers_verdict v = servers_lookup(&server, now);
	struct health h;

	results->wrong += v != SERVERS_UNKNOWN && v != (i % 2 ? SERVERS_MPTCP : SERVERS_TCP);
	servers_learn(&server, i % 2, no_cookie, now);
	health_find(&key, now, &h);
	results->wrong += h.dialect && h.dialect != 1 + i % 3;
	health_report(&key, &e, now);
	health_ask(&key, now, 1000, false);
	counts_add(COUNTS_CONVERTED, now);
	if (below(4) == 0) { /* somebody else */
		servers_clear_table();
		health_clear_table();
		counts_in_child();
	}
}

static void limit_something(unsigned int worker)
{
	const struct rlimit little = { below(STATE_FILE_MAX), STATE_FILE_MAX }, none = { 3, 3 };

	if (worker % 8 == 1)
		setrlimit(RLIMIT_FSIZE, &little);
	if (worker % 16 == 2) { /* and then it can but fail */
		close(0);
		setrlimit(RLIMIT_NOFILE, &none);
	}
}

static int64_t monotonic_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void work(unsigned int worker)
{
	seed = 1 + worker * 7919;
	limit_something(worker);
	for (unsigned int i = 0; i < UPDATES; i++) {
		int64_t now = state_now_ms(), started = monotonic_ms();
		unsigned long took;

		errno = 77;
		if (i % 4 == 3)
			use_policy(below(KEYS), now);
		else
			use_slots(below(4) ? STATE_SERVER : STATE_CONVERTER, below(KEYS), now);
		results->wrong += errno != 77;
		took = (unsigned long)(monotonic_ms() - started);
		if (took > results->longest)
			results->longest = took;
		usleep(below(4000)); /* time for the vandal */
	}
	results->done++;
	_exit(0);
}

/* ------------------------------------------------------------------------------- vandals */

static void scribble(bool in_header)
{
	uint8_t noise[4096];
	int fd = open(file, O_WRONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

	if (fd < 0)
		return;
	for (size_t i = 0; i < sizeof(noise); i++)
		noise[i] = (uint8_t)below(256);
	if (in_header) {
		results->acts[NOISE_IN_HEADER] += pwrite(fd, noise, 40, 0) > 0;
	} else { /* whole slots in their right places too, of other keys and times */
		off_t at = STATE_BLOCK + below(STATE_FILE_MAX - STATE_BLOCK - sizeof(noise));

		results->acts[NOISE] += pwrite(fd, noise, 1 + below(sizeof(noise)), at) > 0;
	}
	close(fd);
}

/* A vandal follows no symbolic link: what it leads to is for the code under test to spare. */
static void cut(off_t len)
{
	int fd = open(file, O_WRONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

	if (fd < 0)
		return;
	results->acts[CUT] += ftruncate(fd, len) == 0;
	close(fd);
}

static void change_mode(mode_t mode)
{
	int fd = open(file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

	if (fd < 0)
		return;
	fchmod(fd, mode);
	close(fd);
}

static void replace(void)
{
	unlink(file);
	rmdir(file);
	switch (below(4)) {
	case 0:
		results->acts[REPLACE] += symlink(decoy, file) == 0;
		break;
	case 1:
		results->acts[REPLACE] += mkfifo(file, 0600) == 0;
		break;
	case 2:
		results->acts[REPLACE] += mkdir(file, 0700) == 0;
		break;
	default:
		results->acts[REMOVE]++;
		break;
	}
}

static void fill_up(void)
{
	static const uint8_t zeros[4096];
	int fd = open(filler, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

	if (fd < 0)
		return;
	while (write(fd, zeros, sizeof(zeros)) > 0)
		;
	results->acts[FULL] += errno == ENOSPC;
	close(fd);
	usleep(2000);
	unlink(filler);
}

static void read_only(void)
{
	for (int i = 0; i < 500; i++) { /* until nobody is just writing */
		if (mount(NULL, dir, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL) == 0) {
			results->acts[READ_ONLY]++;
			usleep(2000);
			mount(NULL, dir, NULL, MS_REMOUNT | MS_BIND, NULL);
			return;
		}
	}
}

static void vandal(void)
{
	seed = 4711;
	for (;;) { /* until it is killed */
		switch (below(12)) {
		case 0:
			cut(below(STATE_FILE_MAX));
			break;
		case 1:
			cut(0);
			break;
		case 2:
			scribble(true);
			break;
		case 3:
			replace();
			break;
		case 4:
			fill_up();
			break;
		case 5:
			read_only();
			break;
		case 6:
			change_mode(below(2) ? 0400 : 0600);
			break;
		default:
			scribble(false);
			break;
		}
		usleep(2000);
		if (below(3) == 0) { /* or most of the time nothing would be there to damage */
			unlink(file);
			rmdir(file);
			usleep(10000);
		}
	}
}

/* ---------------------------------------------------------------------------- the stage */

static bool hide_treasure(void)
{
	int fd = open(decoy, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	bool ok = fd >= 0 && write(fd, treasure, sizeof(treasure)) == sizeof(treasure);

	close(fd);
	return ok;
}

static bool is_treasure_there(void)
{
	char bytes[sizeof(treasure) + 1];
	int fd = open(decoy, O_RDONLY | O_CLOEXEC);
	ssize_t n = read(fd, bytes, sizeof(bytes));

	close(fd);
	return n == sizeof(treasure) && memcmp(bytes, treasure, sizeof(treasure)) == 0;
}

static void write_map(const char *map, unsigned int id)
{
	FILE *f = fopen(map, "we");

	if (f) {
		fprintf(f, "0 %u 1", id);
		fclose(f);
	}
}

/* A small file system of our own. */
static bool enter(void)
{
	unsigned int uid = geteuid(), gid = getegid();
	FILE *f;

	if (unshare(CLONE_NEWNS) < 0) {
		if (unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0)
			return false;
		f = fopen("/proc/self/setgroups", "we");
		if (f) {
			fputs("deny", f);
			fclose(f);
		}
		write_map("/proc/self/uid_map", uid);
		write_map("/proc/self/gid_map", gid);
	}
	return mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
	       mount("none", dir, "tmpfs", 0, "size=1m,nr_inodes=100,mode=700") == 0 &&
	       hide_treasure();
}

/* True: all processes have ended well, and the file was never too long. */
static bool run(void)
{
	pid_t pids[WORKERS + 1];
	unsigned int running = 0;
	struct stat st;
	bool well = true;
	int status;

	for (unsigned int i = 0; i <= WORKERS; i++) {
		pids[i] = fork();
		if (pids[i] == 0 && i == WORKERS)
			vandal();
		if (pids[i] == 0)
			work(i);
		running += pids[i] > 0;
	}
	well = running == WORKERS + 1;
	while (running > 1) {
		pid_t pid = waitpid(-1, &status, WNOHANG);

		if (pid > 0) {
			running--;
			well &= WIFEXITED(status) && WEXITSTATUS(status) == 0;
		} else {
			usleep(500);
		}
		well &= lstat(file, &st) < 0 || !S_ISREG(st.st_mode) ||
			st.st_size <= STATE_FILE_MAX;
	}
	kill(pids[WORKERS], SIGKILL);
	waitpid(pids[WORKERS], NULL, 0);
	mount(NULL, dir, NULL, MS_REMOUNT | MS_BIND, NULL); /* it may have been just at that */
	unlink(filler);
	return well;
}

/* And when the storm is over all is as it should be. */
static bool works(void)
{
	uint8_t key[STATE_CONVERTER_KEY] = { 1 }, value[STATE_CONVERTER_VALUE];
	const int64_t now = state_now_ms();
	struct put p = { 1, STATE_SERVER_VALUE, now + 60000 };
	struct state_times times;

	unlink(file);
	rmdir(file);
	if (!is_treasure_there())
		return false;
	return state_update(STATE_SERVER, key, now, put, &p) == 0 &&
	       state_get(STATE_SERVER, key, now, value, &times) &&
	       is_right(value, 1, STATE_SERVER_VALUE);
}

static void a_storm(void **state)
{
	int status;
	pid_t pid = fork();

	(void)state;
	if (pid == 0) {
		if (!enter())
			_exit(77);
		state_setup(file);
		if (!run())
			_exit(1);
		_exit(works() ? 0 : 2);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == 77) {
		print_message("skipped: no mount namespace of our own\n");
		skip();
	}
	print_message("# written %lu, lost %lu, hits %lu, misses %lu, longest %lu ms; acts",
		      results->written, results->lost, results->hits, results->misses,
		      results->longest);
	for (int i = 0; i < N_ACTS; i++)
		print_message(" %lu", results->acts[i]);
	print_message("\n");
	assert_int_equal(WEXITSTATUS(status), 0);
	assert_int_equal(results->wrong, 0);
	assert_int_equal(results->done, WORKERS);
	/* or it was no storm, or nobody was out in it */
	assert_true(results->written > UPDATES && results->lost > UPDATES);
	assert_true(results->hits > UPDATES && results->misses > UPDATES);
	for (int i = 0; i < N_ACTS; i++)
		assert_true(results->acts[i] > 0);
}

static int make_dir(void **state)
{
	(void)state;
	results = mmap(NULL, sizeof(*results), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		       -1, 0);
	if (results == MAP_FAILED || !mkdtemp(dir))
		return -1;
	snprintf(file, sizeof(file), "%s/state", dir);
	snprintf(filler, sizeof(filler), "%s/filler", dir);
	snprintf(decoy, sizeof(decoy), "%s/decoy", dir);
	return 0;
}

static int remove_dir(void **state)
{
	(void)state;
	return rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest calls_made[] = {
		cmocka_unit_test_setup(servers, start),
		cmocka_unit_test_setup(converters, start),
		cmocka_unit_test_setup(counted, start),
		cmocka_unit_test(each_call_fails),
	};
	const struct CMUnitTest all_at_once[] = {
		cmocka_unit_test(a_storm),
	};
	int failed = 0;

	failed |= cmocka_run_group_tests(calls_made, state_dir_make, state_dir_remove);
	failed |= cmocka_run_group_tests(all_at_once, make_dir, remove_dir);
	return failed;
}
