// SPDX-License-Identifier: MIT
/* convert-run - runs a program with its connections converted. See convert-run(1). */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "any.h"
#include "config.h"
#include "base.h"
#include "run.h"

#ifndef CONVERT_LIBRARY /* the Makefile says */
#define CONVERT_LIBRARY "/usr/local/lib/libconvert-preload.so"
#endif

#define ME	"convert-run"
#define LIBRARY "libconvert-preload.so"
#define LATE_S	2 /* a receipt */

enum { STATUS_NO_LIBRARY = 1, STATUS_USAGE = 2, STATUS_STRICT = 3, STATUS_EXEC = 126 };

static const char usage[] =
	"usage: " ME " [-qv] [--strict] [--any | --preload] [--receipt[=FILE]] [-c FILE]\n"
	"         [-a ADDRESS [-p PORT]] [--] PROGRAM [ARGUMENT...]\n"
	"       " ME " [--root DIR] [-v] [--strict] [-c FILE] [-a ADDRESS [-p PORT]] enable UNIT\n"
	"       " ME " [--root DIR] disable UNIT\n\n"
	"  -c FILE        configuration, instead of " CONFIG_DEFAULT_FILE "\n"
	"  -a ADDRESS     use this converter, no file needed (numeric IPv4 or IPv6)\n"
	"  -p PORT        its port, if not 5124\n"
	"  -v, --verbose  say on standard error what happens to each connection; twice: each step\n"
	"  -q, --quiet    do not say what stands in the way of converting them\n"
	"  --receipt      say when it has ended what became of its connections; =FILE: as JSON, "
	"there\n"
	"  --strict       not start if something does, and no connection is direct but by a rule\n"
	"  --any          by a supervisor, which reaches every program (Go, static ...)\n"
	"  --preload      by the library alone; else by whichever reaches the program\n"
	"  --root DIR     the system's files are below DIR (enable, disable)\n"
	"  -h, -V         this help; the version (--help, --version)\n\n"
	"enable has systemd start a service so, disable not any more. A program of one of these "
	"names\n"
	"wants a -- before it.\n";

/* As they were when we were started. We wait for what we start, and of whoever ignores SIGCHLD the kernel keeps no status;
 * and that nobody reads what we have to say is no reason to end. */
static struct sigaction children, pipes;
/* Of alarm() and setitimer(), which whoever is executed keeps, and whoever is forked does not. */
static struct {
	bool are_taken;
	struct itimerval real, virtual, prof;
} timers;

struct options {
	bool quiet, strict, verbose, receipt, any, preload;
	const char *receipt_path; /* NULL: standard error, for people */
	bool is_program;  /* words: it and its own; else "enable" or "disable", and a unit */
	const char *root; /* NULL: this system */
	char *const *words;
};

__attribute__((noreturn, format(printf, 2, 3))) static void fail(int status, const char *format,
								 ...)
{
	va_list args;

	fputs(ME ": ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	exit(status);
}

__attribute__((noreturn)) static void end_with(const char *text)
{
	sigaction(SIGPIPE, &pipes, NULL);
	fputs(text, stdout);
	exit(file_flush_output() ? 0 : STATUS_NO_LIBRARY);
}

static void set(const char *variable, const char *value)
{
	if (setenv(variable, value, 1) < 0)
		fail(STATUS_NO_LIBRARY, "%s: %s", variable, strerror(errno));
}

/* ------------------------------------------------------------------------- the command line */

static void take(int option, const char *value, struct options *o)
{
	static const char *const variables[] = {
		['c'] = "CONVERT_CONF", ['a'] = "CONVERT_ADDR", ['p'] = "CONVERT_PORT"
	};

	switch (option) {
	case 'c':
	case 'a':
	case 'p':
		if (!*value)
			fail(STATUS_USAGE, "-%c needs a value; see " ME " -h", option);
		set(variables[option], value);
		return;
	case 'v':
		set("CONVERT_LOG", LOG_STDERR);
		set("CONVERT_LOG_LEVEL", o->verbose ? "debug" : "info");
		set("CONVERT_LOG_FORMAT", "text");
		o->verbose = true;
		return;
	case 'q':
		o->quiet = true;
		return;
	case 'R':
		o->receipt = true;
		o->receipt_path = value;
		return;
	case 's':
		set("CONVERT_STRICT", "1");
		return;
	case 'r':
		o->root = value;
		return;
	case 'A':
	case 'P':
		o->any = option == 'A';
		o->preload = option == 'P';
		return;
	case 'h':
		end_with(usage);
	case 'V':
		end_with(ME " " CONVERT_VERSION "\n");
	default:
		fail(STATUS_USAGE, "see " ME " -h");
	}
}

static bool is_about_units(const char *word)
{
	return strcmp(word, "enable") == 0 || strcmp(word, "disable") == 0;
}

/* Behind enable and disable is nothing but a unit: who asks for help is not to find one of that name. */
static void parse_unit(char *const *words)
{
	for (char *const *word = words + 1; *word; word++) {
		if (strcmp(*word, "--help") == 0 || strcmp(*word, "-h") == 0)
			end_with(usage);
		if (**word == '-')
			fail(STATUS_USAGE, "%s %s: options stand before %s; see " ME " -h", *words,
			     *word, *words);
	}
	if (!words[1] || words[2])
		fail(STATUS_USAGE, "%s UNIT; see " ME " -h", *words);
}

static void parse(int argc, char **argv, struct options *o)
{
	static const struct option longer[] = { { "verbose", no_argument, NULL, 'v' },
						{ "quiet", no_argument, NULL, 'q' },
						{ "strict", no_argument, NULL, 's' },
						{ "any", no_argument, NULL, 'A' },
						{ "preload", no_argument, NULL, 'P' },
						{ "receipt", optional_argument, NULL, 'R' },
						{ "help", no_argument, NULL, 'h' },
						{ "version", no_argument, NULL, 'V' },
						{ "root", required_argument, NULL, 'r' },
						{ 0 } };
	bool has_port = false;
	int option;

	*o = (struct options){ .quiet = false };
	while ((option = getopt_long(argc, argv, "+c:a:p:vqhV", longer, NULL)) != -1) {
		has_port |= option == 'p';
		take(option, optarg, o);
	}
	if (has_port && !getenv("CONVERT_ADDR"))
		fail(STATUS_USAGE, "-p is the port of -a ADDRESS; see " ME " -h");
	o->words = argv + optind;
	o->strict = config_is_on(getenv("CONVERT_STRICT"));
	if (optind == argc) {
		fputs(usage, stderr);
		exit(STATUS_USAGE);
	}
	o->is_program = !is_about_units(o->words[0]) || strcmp(argv[optind - 1], "--") == 0;
	if (!o->is_program)
		parse_unit(o->words);
	if (!o->is_program && (o->receipt || o->any || o->preload || o->quiet))
		fail(STATUS_USAGE, "%s is of a program; see " ME " -h",
		     o->receipt ? "--receipt" :
		     o->any	? "--any" :
		     o->preload ? "--preload" :
				  "-q");
	if (o->is_program && o->root)
		fail(STATUS_USAGE, "--root is for enable and disable; see " ME " -h");
}

/* The program may change its directory before it reads; and another system has other ones. */
static void make_absolute(const char *variable, const struct options *o)
{
	const char *path = getenv(variable);
	char *whole;

	if (!path || !*path || *path == '/')
		return;
	if (o->root)
		fail(STATUS_USAGE, "%s=%s: expected a name from / on, as --root has another",
		     variable, path);
	whole = file_absolute(path);
	if (!whole)
		fail(STATUS_NO_LIBRARY, "%s: %s", path, strerror(errno));
	set(variable, whole);
	free(whole);
}

static void make_all_absolute(const struct options *o)
{
	const char *log = getenv("CONVERT_LOG");

	make_absolute("CONVERT_PRELOAD", o);
	make_absolute("CONVERT_CONF", o);
	if (!log || (strcmp(log, LOG_STDERR) != 0 && strcmp(log, LOG_SYSLOG) != 0))
		make_absolute("CONVERT_LOG", o);
}

/* -------------------------------------------------------------------------------- the library */

/* Beside this program in a build tree, else where it was installed. NULL: it is not there. */
static const char *find_library(void)
{
	static char path[PATH_MAX + sizeof("/" LIBRARY)];
	const char *said = getenv("CONVERT_PRELOAD");
	ssize_t n = readlink("/proc/self/exe", path, PATH_MAX - 1);

	if (said && *said)
		return access(said, R_OK) == 0 ? said : NULL;
	if (n > 0) {
		path[n] = '\0';
		memcpy(strrchr(path, '/'), "/" LIBRARY, sizeof("/" LIBRARY));
		if (access(path, R_OK) == 0)
			return path;
	}
	return access(CONVERT_LIBRARY, R_OK) == 0 ? CONVERT_LIBRARY : NULL;
}

/* Of another system, where this program is not: by its name there. */
static const char *find_library_below(const char *root)
{
	const char *said = getenv("CONVERT_PRELOAD");
	char path[PATH_MAX];

	if (!said || !*said)
		said = CONVERT_LIBRARY;
	snprintf(path, sizeof(path), "%s%s", root, said);
	return access(path, R_OK) == 0 ? said : NULL;
}

static bool is_preloaded(const char *preload, const char *library)
{
	const size_t len = strlen(library);

	for (const char *at = preload; (at = strstr(at, library)); at += len)
		if ((at == preload || strchr(": ", at[-1])) && strchr(": ", at[len]))
			return true;
	return false;
}

/* Ours goes behind what is there already, and only once. */
static void preload(const char *library)
{
	const char *before = getenv("LD_PRELOAD");
	char *all;

	if (!before || !*before) {
		set("LD_PRELOAD", library);
	} else if (!is_preloaded(before, library)) {
		if (asprintf(&all, "%s:%s", before, library) < 0)
			fail(STATUS_NO_LIBRARY, "%s", strerror(ENOMEM));
		set("LD_PRELOAD", all);
		free(all);
	}
}

/* ---------------------------------------------------------------------------------- to the end */

static void tell(const struct options *o, const struct finding *worst)
{
	if (o->quiet)
		return;
	fputs(o->strict ? ME ": not started: " : ME ": ", stderr);
	finding_print_line(stderr, worst);
}

/* Before a fork(): they are for the program, which another process becomes. */
static void take_timers(void)
{
	const struct itimerval none = { .it_value = { 0, 0 } };

	if (timers.are_taken)
		return;
	setitimer(ITIMER_REAL, &none, &timers.real);
	setitimer(ITIMER_VIRTUAL, &none, &timers.virtual);
	setitimer(ITIMER_PROF, &none, &timers.prof);
	timers.are_taken = true;
}

static void give_timers(void)
{
	if (!timers.are_taken)
		return;
	setitimer(ITIMER_REAL, &timers.real, NULL);
	setitimer(ITIMER_VIRTUAL, &timers.virtual, NULL);
	setitimer(ITIMER_PROF, &timers.prof, NULL);
}

/* Returns only if that has failed: the status. */
static int become(char *const *words, const struct finding *why)
{
	int err;

	sigaction(SIGCHLD, &children, NULL);
	sigaction(SIGPIPE, &pipes, NULL);
	give_timers();
	execvp(words[0], words);
	err = errno;
	signal(SIGPIPE, SIG_IGN);
	if (why)
		fprintf(stderr, ME ": %s: %s\n", why->about, why->what);
	else
		fprintf(stderr, ME ": %s: %s\n", words[0], strerror(err));
	return err == ENOENT ? STATUS_EXEC + 1 : STATUS_EXEC;
}

static int become_program(const struct any_program *p)
{
	return become(p->words, NULL);
}

/* Returns only if the program could not be started, or there was a supervisor: the status. */
static int start(const struct options *o, const struct finding *why)
{
	const struct any_program p = {
		.words = o->words, .strict = o->strict, .quiet = o->quiet, .become = become_program
	};

	if (!o->any || why)
		return become(o->words, why);
	take_timers();
	return any_run(&p);
}

/* Whoever has asked for a receipt is not served without; if only the configuration does, the program is started. */
static int without_receipt(const struct options *o, const struct finding *why, const char *what)
{
	fprintf(stderr, ME ": no receipt: %s%s\n", what, strerror(errno));
	return o->receipt ? STATUS_NO_LIBRARY : start(o, why);
}

/* Does the program write to that file, too? By which descriptor; -1: it does not. */
static int find_output(int fd)
{
	struct stat file, output;

	if (fstat(fd, &file) < 0 || !S_ISREG(file.st_mode))
		return -1;
	for (int n = STDOUT_FILENO; n <= STDERR_FILENO; n++)
		if (fstat(n, &output) == 0 && output.st_dev == file.st_dev &&
		    output.st_ino == file.st_ino && (fcntl(n, F_GETFL) & O_ACCMODE) != O_RDONLY)
			return n;
	return -1;
}

/* What is in it, of a run before, stays until there is something to be put in its place. What the program
 * writes there stays for good: its descriptor knows where that ends. */
static FILE *open_receipt(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOCTTY, 0666);
	int output = fd < 0 ? -1 : find_output(fd);
	FILE *to;

	if (output >= 0) {
		close(fd);
		fd = fcntl(output, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
	}
	to = fd < 0 ? NULL : fdopen(fd, "w");
	if (!to)
		fail(STATUS_USAGE, "--receipt=%s: %s", path, strerror(errno));
	return to;
}

static void write_receipt(const struct receipt *r, const struct options *o, int status, FILE *to)
{
	int err = 0;

	/* EINVAL: that is a pipe, or a device */
	if (find_output(fileno(to)) < 0 && ftruncate(fileno(to), 0) < 0 && errno != EINVAL)
		err = errno;
	if (!err) {
		receipt_print_json(r, o->words[0], status, to);
		err = fflush(to) != 0 ? errno : ferror(to) ? EIO : 0;
	}
	if (fclose(to) != 0 && !err)
		err = errno;
	if (err)
		fprintf(stderr, ME ": the receipt is not whole: %s\n", strerror(err));
}

/* ---- the program that we wait for: signals that are meant for it reach it, and we end as it did */

static sigset_t awaited; /* while it runs */
static sigset_t blocked; /* when we were started */

/* From waitid(), which leaves it its number. */
static bool has_ended(pid_t child)
{
	siginfo_t info = { .si_pid = 0 };

	return waitid(P_PID, (id_t)child, &info, WEXITED | WNOHANG | WNOWAIT) < 0 ||
	       info.si_pid != 0;
}

/* Those, too, that we were to ignore (nohup), or that are blocked: so does the program, or has them so, unless it has
 * changed that by then. */
static void pass_signals(pid_t child)
{
	const struct timespec now = { 0, 0 };
	siginfo_t info;

	while (!has_ended(child))
		if (sigwaitinfo(&awaited, &info) > 0 && info.si_signo != SIGCHLD)
			any_pass_on(child, info.si_signo, info.si_code, info.si_value);
	while (sigtimedwait(&awaited, NULL, &now) > 0) /* were for it as well */
		;
}

/* Should we be killed, who stand for it, so is the program. The kernel does it when the thread that has started it
 * ends, and we have one; it spares a program that has another user or group, or more privileges, by then. What that was to get at its parent's end
 * (PR_SET_PDEATHSIG) it gets at ours, who pass it on. */
static void die_with(pid_t parent, int number)
{
	prctl(PR_SET_PDEATHSIG, number ? number : SIGKILL, 0, 0, 0);
	if (getppid() != parent && getppid() != 0) /* 0: it is outside of our PID namespace */
		kill(getpid(), SIGKILL);
}

/* SIGCHLD must not be ignored. True in the child. Else it has ended, and what we await is still blocked: *status as
 * waitpid() has it; -1: there was none, errno. */
static bool child_start(int *status)
{
	const pid_t ourselves = getpid();
	int death = 0;
	pid_t child;

	take_timers();
	prctl(PR_GET_PDEATHSIG, &death, 0, 0, 0);
	any_passed_on(&awaited);
	sigaddset(&awaited, SIGCHLD);
	sigprocmask(SIG_BLOCK, &awaited, &blocked);
	child = fork();
	if (child == 0)
		die_with(ourselves, death);
	if (child <= 0)
		sigprocmask(SIG_SETMASK, &blocked, NULL);
	if (child == 0)
		return true;
	*status = child < 0 ? -1 : 1 << 8; /* as of exit(1) */
	if (child > 0) {
		pass_signals(child);
		waitpid(child, status, 0);
	}
	return false;
}

static void let_in(int number)
{
	int saved_errno = errno;

	(void)number;
	sigprocmask(SIG_SETMASK, &blocked, NULL); /* until we return */
	errno = saved_errno;
}

/* Once it has ended signals are for us. But what comes right then was meant for it, and it was quicker: who sends one to
 * each of its processes, or twice. So we end by none unless the receipt is late, as nobody reads it. */
static void be_ended_if_late(void)
{
	const struct itimerval time = { .it_value = { LATE_S, 0 }, .it_interval = { 0, 100000 } };
	const struct sigaction action = { .sa_handler = let_in, .sa_flags = SA_RESTART };
	sigset_t alarm;

	sigaction(SIGALRM, &action, NULL);
	sigemptyset(&alarm);
	sigaddset(&alarm, SIGALRM);
	sigprocmask(SIG_UNBLOCK, &alarm, NULL);
	setitimer(ITIMER_REAL, &time, NULL);
}

static int run(const struct options *o, const struct finding *why, bool wants_receipt)
{
	const struct receipt *r;
	FILE *to = NULL;
	int status;

	if (why || (!o->receipt && !wants_receipt)) /* of what will not be there; its file stays */
		return start(o, why);
	if (o->receipt_path)
		to = open_receipt(o->receipt_path);
	if (!receipt_begin())
		return without_receipt(o, why, "no file for it in TMPDIR: ");
	if (child_start(&status)) {
		receipt_in_child();
		_exit(start(o, why));
	}
	if (status < 0) {
		receipt_cancel();
		return without_receipt(o, why, "");
	}
	r = receipt_end();
	be_ended_if_late();
	if (to)
		write_receipt(r, o, status, to);
	else
		receipt_print(r);
	return any_end_as(status);
}

/* The supervisor has all that the program starts, too, so the environment is as it was (before: of
 * LD_PRELOAD, or NULL). */
static void be_supervised(struct options *o, const struct findings *found, const char *before)
{
	const struct finding *past = o->any ? NULL : ask_past(found);
	const struct finding *loses = geteuid() == 0 ? NULL : ask_privileges(found);

	o->any = true;
	if (before)
		set("LD_PRELOAD", before);
	else
		unsetenv("LD_PRELOAD");
	if (past && !o->quiet)
		fprintf(stderr, ME ": %s: %s; so it is supervised (--any)\n", past->about,
			past->what);
	if (loses && !o->quiet)
		fprintf(stderr,
			ME ": %s: it gains no privileges under a supervisor (no_new_privs)\n",
			loses->about);
}

static int enable_or_disable(const struct options *o, const char *library)
{
	struct unit unit = { .root = NULL };

	if (!unit_init(&unit, o->root ? o->root : "", o->words[1]))
		return STATUS_USAGE;
	return *o->words[0] == 'e' ? unit_enable(&unit, library) : unit_disable(&unit);
}

int main(int argc, char **argv)
{
	const struct sigaction as_usual = { .sa_handler = SIG_DFL },
			       ignored = { .sa_handler = SIG_IGN };
	struct findings found = { .all = NULL };
	const struct finding *worst, *never;
	const char *library;
	static char *before; /* kept for the program */
	struct options o;
	bool any, wants_receipt = false;

	standard_take();
	sigaction(SIGCHLD, &as_usual, &children);
	sigaction(SIGPIPE, &ignored, &pipes);
	if (argc == 3 && strcmp(argv[1], ASK_LOADED) == 0)
		return !ask_is_loaded(argv[2]);
	parse(argc, argv, &o);
	if (o.is_program || *o.words[0] == 'e')
		make_all_absolute(&o);
	library = o.root ? find_library_below(o.root) : find_library();
	if (!library && (o.is_program ? !o.any : *o.words[0] == 'e'))
		fail(o.strict ? STATUS_STRICT : STATUS_NO_LIBRARY,
		     LIBRARY ": not there; is convert-preload installed?");
	if (!o.is_program)
		return enable_or_disable(&o, library);
	before = getenv("LD_PRELOAD");
	before = before ? strdup(before) : NULL;
	if (!o.any)
		preload(library);
	findings_for(&found, geteuid() == 0, NULL);
	ask_first(&found, o.any ? NULL : library, o.words, &wants_receipt);
	any = o.any || (!o.preload && ask_past(&found));
	worst = ask_worst(&found, o.strict, any);
	never = ask_no_program(&found);
	if (worst && worst != never) {
		tell(&o, worst);
		if (o.strict)
			return STATUS_STRICT;
	}
	if (any && !never)
		be_supervised(&o, &found, before);
	return run(&o, never, wants_receipt);
}
