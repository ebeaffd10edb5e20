// SPDX-License-Identifier: MIT
/* The three processes. */
#include "any.h"

#include "any_int.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define ME	    "convert-run"
#define LEAST_FILES 24 /* of the supervisor, to be of use */

static bool wants_names; /* of sockets, from the kernel */
static sigset_t mask;	 /* as it was when we were started */
static int was_reaper;	 /* likewise */

enum { STATUS_NONE = 1, STATUS_STRICT = 3 };

/* What the processes have to say to each other: a descriptor with it, or none. */
enum word { WORD_BEGUN, WORD_LISTENER, WORD_NO_LISTENER, WORD_GO, WORD_PROGRAM, WORD_ENDED };
struct message {
	enum word word;
	int number; /* an errno, a process, a status of waitpid()'s */
};

static bool say(int to, enum word word, int number, int fd)
{
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(sizeof(int))];
	} control = { .head = { .cmsg_len = CMSG_LEN(sizeof(int)),
				.cmsg_level = SOL_SOCKET,
				.cmsg_type = SCM_RIGHTS } };
	struct message m = { word, number };
	struct iovec piece = { &m, sizeof(m) };
	struct msghdr msg = { .msg_iov = &piece, .msg_iovlen = 1 };

	if (fd >= 0) {
		msg.msg_control = &control;
		msg.msg_controllen = sizeof(control);
		memcpy(CMSG_DATA(&control.head), &fd, sizeof(fd));
	}
	return sendmsg(to, &msg, MSG_NOSIGNAL) == (ssize_t)sizeof(m);
}

/* False: nobody is there any more. */
static bool hear(int from, struct message *m, int *fd)
{
	char control[CMSG_SPACE(sizeof(int))] __attribute__((aligned(sizeof(size_t))));
	struct iovec piece = { m, sizeof(*m) };
	struct msghdr msg = { .msg_iov = &piece,
			      .msg_iovlen = 1,
			      .msg_control = control,
			      .msg_controllen = sizeof(control) };
	struct cmsghdr *head;
	ssize_t n;

	do
		n = recvmsg(from, &msg, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n != (ssize_t)sizeof(*m))
		return false;
	*fd = -1;
	head = CMSG_FIRSTHDR(&msg);
	if (head && head->cmsg_type == SCM_RIGHTS)
		memcpy(fd, CMSG_DATA(head), sizeof(*fd));
	return true;
}

/* Whoever waits for the end of a pipe that the program was given shall not wait for ours. */
static void close_all_but(int a, int b)
{
	unsigned int low = (unsigned int)(a < b ? a : b), high = (unsigned int)(a < b ? b : a);

	if (low > 3)
		close_range(3, low - 1, 0);
	if (high > low + 1)
		close_range(low + 1, high - 1, 0);
	close_range(high + 1, ~0U, 0);
}

static void close_standard(int last)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	for (int fd = 0; null >= 0 && fd <= last; fd++)
		dup2(null, fd);
	close(null);
}

/* ------------------------------------------------------------------------------ the program */

static const char *why_not(int err)
{
	return err == EBUSY  ? "a supervisor is there already" :
	       err == EPERM  ? "the kernel does not let it look into the program (ptrace(2): Yama, "
			       "a container)" :
	       err == ENOENT ? "/proc is not there, or another PID namespace's" :
	       err == EMFILE ? "too few descriptors (RLIMIT_NOFILE)" :
	       err == EINVAL ? "the kernel is older than Linux 5.14" :
	       err == ENOSYS ? "the kernel has no seccomp" :
	       err == EOPNOTSUPP ? "not on this kind of machine" :
				   strerror(err);
}

static void complain(const struct any_program *p, int err)
{
	if (!p->quiet)
		fprintf(stderr, ME ": %s--any: %s\n", p->strict ? "not started: " : "",
			why_not(err));
}

__attribute__((noreturn)) static void be_program(const struct any_program *p, int supervisor)
{
	struct message m = { 0 };
	int listener, fd;

	if (!hear(supervisor, &m, &fd))
		_exit(STATUS_NONE);
	listener = m.number ? -m.number : filter_install(wants_names);
	if (listener < 0)
		complain(p, -listener);
	if (listener < 0 && p->strict) /* who is there already may be anybody's */
		_exit(STATUS_STRICT);
	if (!say(supervisor, listener < 0 ? WORD_NO_LISTENER : WORD_LISTENER, 0, listener) ||
	    !hear(supervisor, &m, &fd))
		_exit(STATUS_NONE);
	if (listener >= 0)
		close(listener);
	close(supervisor);
	sigprocmask(SIG_SETMASK, &mask, NULL);
	_exit(p->become(p));
}

/* Of all that falls to us (options: as of waitpid()), has the program ended? Who was left by his parent is waited for
 * as well, or he would be a zombie for as long as we live. */
static bool has_ended(pid_t program, int options, int *status)
{
	pid_t pid;

	do
		pid = waitpid(-1, status, options);
	while ((pid > 0 && pid != program) || (pid < 0 && errno == EINTR));
	return pid == program;
}

/* --------------------------------------------------------------------------- the supervisor */

static void ended(int outside, int status)
{
	say(outside, WORD_ENDED, status, -1);
}

/* What keeps us from it, while the program can still do without: 0 or an errno. */
static int obstacle(pid_t program, int number)
{
	int err = filter_obstacle(), theirs;
	struct rlimit files;
	char byte = 0;
	bool reads;

	if (err)
		return err;
	if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < LEAST_FILES)
		return EMFILE;
	theirs = target_fd(program, number);
	target_done();
	reads = target_read(program, (uintptr_t)&mask, &byte, 1);
	if (theirs < 0 || !reads)
		err = EPERM;
	else if (!target_is_in_proc(program, number, theirs))
		err = ENOENT;
	if (theirs >= 0)
		close(theirs);
	return err;
}

/* We may have as many as there may be: a program that may raise its own limit has them, too. */
static void raise_limit(void)
{
	struct rlimit files, most = { 0, 0 };
	FILE *f = fopen("/proc/sys/fs/nr_open", "re");
	unsigned long n = 0;

	if (f && fscanf(f, "%lu", &n) == 1)
		most.rlim_cur = most.rlim_max = n;
	if (f)
		fclose(f);
	if (getrlimit(RLIMIT_NOFILE, &files) < 0 ||
	    (n > files.rlim_max && setrlimit(RLIMIT_NOFILE, &most) == 0))
		return;
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
}

/* Not through the filter: it stays the program's child's parent's, whatever becomes of the others. */
__attribute__((noreturn)) static void be_supervisor(const struct any_program *p, int outside)
{
	struct supervise s = { .outside = outside, .ended = ended };
	struct message m;
	int pair[2], status;

	/* daemons stay our descendants, whom Yama lets us look at */
	prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0 ||
	    (s.program = fork()) < 0) {
		say(outside, WORD_BEGUN, errno, -1);
		_exit(STATUS_NONE);
	}
	if (s.program == 0) {
		close(outside);
		close(pair[0]); /* or it would never hear of our end */
		be_program(p, pair[1]);
	}
	say(outside, WORD_BEGUN, 0, -1);
	close_all_but(pair[0], outside);
	close_standard(1); /* the log may go to the third */
	raise_limit();
	s.outside = outside = aside(outside);
	setsid();
	say(pair[0], WORD_GO, obstacle(s.program, pair[1]), -1);
	if (hear(pair[0], &m, &s.listener) && m.word == WORD_LISTENER &&
	    say(outside, WORD_PROGRAM, s.program, s.listener)) {
		s.listener = aside(s.listener);
		listener_begin(s.listener);
		say(pair[0], WORD_GO, 0, -1);
		close(pair[0]);
		supervise(&s);
		_exit(0);
	}
	say(outside, WORD_PROGRAM, s.program, -1);
	say(pair[0], WORD_GO, 0, -1);
	if (has_ended(s.program, 0, &status))
		ended(outside, status);
	_exit(0);
}

/* ------------------------------------------------------------------- who stands for the program */

/* Not those of a fault, nor those that stop and go on: they are ours. */
void any_passed_on(sigset_t *signals)
{
	static const int some[] = { SIGHUP,  SIGINT,   SIGQUIT,	  SIGABRT, SIGUSR1,
				    SIGUSR2, SIGALRM,  SIGTERM,	  SIGPROF, SIGIO,
				    SIGPWR,  SIGWINCH, SIGVTALRM, 0 };

	sigemptyset(signals);
	for (const int *each = some; *each; each++)
		sigaddset(signals, *each);
	for (int each = SIGRTMIN; each <= SIGRTMAX; each++)
		sigaddset(signals, each);
}

/* What the terminal sends, the program gets from it, too; but for its hanging up, of which the kernel tells who leads the
 * session alone, and has him go on if he is stopped. What else is the kernel's (an alarm from before) nobody else gets. */
void any_pass_on(pid_t program, int number, int code, union sigval value)
{
	bool is_terminals = code == SI_KERNEL && (number == SIGINT || number == SIGQUIT ||
						  number == SIGHUP || number == SIGWINCH);
	bool hangs_up = is_terminals && number == SIGHUP && getsid(0) == getpid();

	if (is_terminals && !hangs_up)
		return;
	if (code == SI_QUEUE)
		sigqueue(program, number, value);
	else
		kill(program, number);
	if (hangs_up)
		kill(program, SIGCONT);
}

static void pass_all_on(int signals, pid_t program)
{
	struct signalfd_siginfo info;
	union sigval value;

	while (read(signals, &info, sizeof(info)) == sizeof(info)) {
		/* NOLINTNEXTLINE(performance-no-int-to-ptr) */
		value.sival_ptr = (void *)(uintptr_t)info.ssi_ptr;
		if (info.ssi_signo != SIGCHLD)
			any_pass_on(program, (int)info.ssi_signo, info.ssi_code, value);
	}
}

int any_end_as(int status)
{
	const struct rlimit none = { 0, 0 };
	sigset_t only;

	if (!WIFSIGNALED(status))
		return WEXITSTATUS(status);
	setrlimit(RLIMIT_CORE, &none); /* the program's is enough */
	signal(WTERMSIG(status), SIG_DFL);
	kill(getpid(), WTERMSIG(status));
	sigemptyset(&only); /* another one that has come meanwhile is none of it */
	sigaddset(&only, WTERMSIG(status));
	sigprocmask(SIG_UNBLOCK, &only, NULL);
	return 128 + WTERMSIG(status);
}

/* The supervisor is no more. Somebody has to answer for it, for whatever the program has started, too: a process for
 * that alone, and we while there can be none. */
static bool let_through(const struct any_program *p, int listener)
{
	pid_t child;

	listener_begin(listener);
	child = fork();
	if (child != 0)
		return child > 0;
	setsid();
	listener_let_through(p->strict);
	_exit(0);
}

static int stand_for_it(const struct any_program *p, int supervisor, int signals)
{
	struct pollfd fds[] = { { .fd = supervisor, .events = POLLIN },
				{ .fd = -1, .events = POLLIN },
				{ .fd = -1, .events = POLLIN } };
	int listener = -1, fd, status;
	pid_t program = 0;
	struct message m;

	for (;;) {
		/* a child of ours once its parent is no more */
		if (program && has_ended(program, WNOHANG, &status))
			return any_end_as(status);
		if (poll(fds, 3, -1) < 0)
			continue;
		if (program)
			pass_all_on(signals, program);
		if (fds[2].revents && !listener_let_next(p->strict))
			fds[2].fd = -1;
		if (!fds[0].revents)
			continue;
		if (!hear(supervisor, &m, &fd)) {
			if (!program)
				return STATUS_NONE;
			if (listener >= 0 && !let_through(p, listener)) {
				listener_let_go(p->strict);
				fds[2].fd = listener;
			}
			fds[0].fd = -1;
		} else if (m.word == WORD_ENDED) {
			return any_end_as(m.number);
		} else {
			program = m.number;
			listener = fd;
			fds[1].fd = signals; /* what has come before waits there */
		}
	}
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* All as it was: the program needs nothing that there is not enough of. */
static int go_without(const struct any_program *p, int err)
{
	complain(p, err);
	if (p->strict)
		return STATUS_STRICT;
	prctl(PR_SET_CHILD_SUBREAPER, was_reaper, 0, 0, 0);
	sigprocmask(SIG_SETMASK, &mask, NULL);
	return p->become(p);
}

/* 0: there is a supervisor, and a program; or an errno: there is neither. */
static int begin(const struct any_program *p, int signals, int *outside)
{
	struct message m = { .number = ECANCELED };
	int pair[2], none;
	pid_t supervisor;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return errno;
	supervisor = fork();
	if (supervisor < 0)
		return errno;
	if (supervisor == 0) {
		close(signals);
		close(pair[0]);
		be_supervisor(p, pair[1]);
	}
	close(pair[1]);
	*outside = pair[0];
	hear(pair[0], &m, &none);
	if (m.number)
		waitpid(supervisor, NULL, 0);
	return m.number;
}

int any_run(const struct any_program *p)
{
	int outside = -1, signals, err;
	sigset_t mine;

	if (!supervise_configure(base_name(p->words[0]), &wants_names))
		return p->become(p);
	any_passed_on(&mine);
	sigaddset(&mine, SIGCHLD);
	sigprocmask(SIG_BLOCK, &mine, &mask);
	prctl(PR_GET_CHILD_SUBREAPER, &was_reaper, 0, 0, 0);
	prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	signals = signalfd(-1, &mine, SFD_CLOEXEC | SFD_NONBLOCK);
	err = signals < 0 || !listener_share() ? errno : begin(p, signals, &outside);
	if (err)
		return go_without(p, err);
	close_all_but(outside, signals);
	close_standard(2);
	return stand_for_it(p, outside, signals);
}
