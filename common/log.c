// SPDX-License-Identifier: MIT
#include "log.h"

#include "addr.h"
#include "clock.h"
#include "quiet.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#define PROGRAM_MAX 64 /* of its name, which may be anything */

static const char *log_target, *receipt, *log_program;
static char folder[512]; /* of that target, if it is a file: stacks have no room for it */
static enum log_level log_most, target_most;
static enum log_format log_format;

static const struct {
	const char *name, *words; /* for programs, and as a line of text begins */
} events[] = {
	[LOG_CONVERTED] = { "converted", "converted " },
	[LOG_FAILED] = { "failed", "failed " },
	[LOG_FALLS_BACK] = { "fallback", "falling back from " },
	[LOG_BYPASS] = { "bypass", "bypass " },
	[LOG_DIRECT] = { "direct", "direct " },
	[LOG_GIVEN_UP] = { "given-up", "given up " },
	[LOG_RETRY] = { "retry", "retrying " },
	[LOG_NEXT] = { "next-converter", "next converter after " },
	[LOG_ANSWERS] = { "answers-directly", "connected directly to " },
	[LOG_ACCEPTED] = { "accepted", "accepted " },
	[LOG_REFUSED] = { "refused", "refused " },
	[LOG_SENT] = { "sent", "sent for " },
	[LOG_RECEIVED] = { "received", "received for " },
	[LOG_CLOSED] = { "closed", "closed " },
	[LOG_NOTE] = { "note", "" },
};

struct text { /* a line being built; what does not fit is dropped */
	char bytes[LOG_LINE_MAX];
	size_t len, room;
	bool is_syslog, json, keyed; /* keyed: of the format only what has a key */
};

struct arguments {
	va_list list;
};

static void put_char(struct text *t, char c)
{
	if (t->len < t->room)
		t->bytes[t->len++] = c;
}

/* All but printable ASCII becomes '?': nobody's data may forge a second line or steer a
 * terminal, which control characters above 0x7f do too. */
static void put_text(struct text *t, const char *s, size_t most)
{
	for (s = s ? s : "(null)"; *s && most > 0; s++, most--) {
		if (t->json && (*s == '"' || *s == '\\')) {
			if (t->len + 1 < t->room)
				t->bytes[t->len++] = '\\';
			else
				return;
		}
		put_char(t, *s >= ' ' && *s <= '~' ? *s : '?');
	}
}

static void put_words(struct text *t, const char *s)
{
	put_text(t, s, SIZE_MAX);
}

static void put_raw(struct text *t, const char *s)
{
	while (*s)
		put_char(t, *s++);
}

static void put_number(struct text *t, uint64_t n, unsigned int base, unsigned int width)
{
	char digits[20];
	unsigned int d = 0;

	do
		digits[d++] = "0123456789abcdef"[n % base];
	while (n /= base);
	for (; width > d; width--)
		put_char(t, '0');
	while (d)
		put_char(t, digits[--d]);
}

/* UTC from seconds since 1970, by whole 400-year cycles; gmtime() may take locks. */
static void put_time(struct text *t)
{
	const struct clock_time now = clock_read(CLOCK_REALTIME);
	long days, secs, era, doe, yoe, doy, mp;

	days = (long)(now.s / 86400) + 719468; /* days since 0000-03-01 */
	secs = (long)(now.s % 86400);
	era = days / 146097;
	doe = days % 146097;
	yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
	mp = (5 * doy + 2) / 153; /* month, counted from March */
	put_number(t, (uint64_t)(yoe + era * 400 + (mp >= 10)), 10, 4);
	put_char(t, '-');
	put_number(t, (uint64_t)(mp < 10 ? mp + 3 : mp - 9), 10, 2);
	put_char(t, '-');
	put_number(t, (uint64_t)(doy - (153 * mp + 2) / 5 + 1), 10, 2);
	put_char(t, 'T');
	put_number(t, (uint64_t)(secs / 3600), 10, 2);
	put_char(t, ':');
	put_number(t, (uint64_t)(secs / 60 % 60), 10, 2);
	put_char(t, ':');
	put_number(t, (uint64_t)(secs % 60), 10, 2);
	put_char(t, '.');
	put_number(t, (uint64_t)(now.ns / 1000000), 10, 3);
	put_char(t, 'Z');
}

/* ------------------------------------------------------------------- the format */

struct value {
	const char *text; /* or an address, or a number: */
	const struct addr *addr;
	uint64_t n;
	unsigned int base;
	bool is_text, is_absent; /* is_text: has quotes as JSON */
	const char *behind;	 /* its conversion in the format */
};

static struct value number(long long n, const char *behind)
{
	return (struct value){ .n = n < 0 ? 0 - (uint64_t)n : (uint64_t)n,
			       .base = 10,
			       .is_absent = n < 0,
			       .behind = behind };
}

/* at: behind the % */
static struct value take(const char *at, struct arguments *args)
{
	struct value v = { .base = 10, .behind = at + 1 };

	switch (*at) {
	case 's':
		v.text = va_arg(args->list, const char *);
		v.is_text = true;
		v.is_absent = !v.text;
		return v;
	case 'p':
		v.addr = va_arg(args->list, const struct addr *);
		v.is_text = true;
		v.is_absent = !v.addr || !v.addr->port;
		return v;
	case 'd':
		return number(va_arg(args->list, int), at + 1);
	case 'l': /* %lld */
		return number(va_arg(args->list, long long), at + 3);
	case 'z': /* %zu */
		v.n = va_arg(args->list, size_t);
		v.behind = at + 2;
		return v;
	case 'x':
		v.base = 16;
		/* fallthrough */
	default:
		v.n = va_arg(args->list, unsigned int);
		return v;
	}
}

static void put_value(struct text *t, const struct value *v)
{
	char text[ADDR_TEXT_MAX];

	if (v->addr) {
		addr_format(v->addr, text);
		put_words(t, text);
		return;
	}
	if (v->is_text) {
		put_words(t, v->text);
		return;
	}
	if (v->is_absent)
		put_char(t, '-');
	put_number(t, v->n, v->base, 0);
}

static void put_member(struct text *t, const char *key, size_t key_len, const struct value *v)
{
	size_t before = t->len;

	put_raw(t, ",\"");
	put_text(t, key, key_len);
	put_raw(t, v->is_text ? "\":\"" : "\":");
	put_value(t, v);
	if (v->is_text)
		put_char(t, '"');
	if (t->len == t->room) /* a value that is cut is worse than none */
		t->len = before;
}

/* at: behind the {. Returns what is behind the }. */
static const char *put_group(struct text *t, const char *at, struct arguments *args)
{
	bool for_programs = *at == '!';
	const char *key = at + for_programs, *before = strchr(key, ':') + 1;
	const char *percent = strchr(before, '%');
	struct value v = take(percent + 1, args);
	const char *end = strchr(v.behind, '}');

	if (v.is_absent)
		return end + 1;
	if (t->keyed) {
		put_member(t, key, (size_t)(before - 1 - key), &v);
	} else if (!for_programs) {
		put_text(t, before, (size_t)(percent - before));
		put_value(t, &v);
		put_text(t, v.behind, (size_t)(end - v.behind));
	}
	return end + 1;
}

static void put_formatted(struct text *t, const char *at, struct arguments *args)
{
	while (*at) {
		if (*at == '{') {
			at = put_group(t, at + 1, args);
		} else if (*at == '%' && at[1] != '%') {
			struct value v = take(at + 1, args);

			if (!t->keyed)
				put_value(t, &v);
			at = v.behind;
		} else {
			at += *at == '%';
			if (!t->keyed)
				put_text(t, at, 1);
			at++;
		}
	}
}

static void put_name(struct text *t)
{
	put_text(t, log_program ? log_program : program_invocation_short_name, PROGRAM_MAX);
}

/* "curl[4711]" */
static void put_program(struct text *t)
{
	put_name(t);
	put_char(t, '[');
	put_number(t, (uint64_t)syscall(SYS_getpid), 10, 0);
	put_char(t, ']');
}

static const struct {
	const char *name;
	int priority; /* syslog's, of the facility "user" */
} levels[] = { { "off", 0 },
	       { "error", 8 + 3 },
	       { "info", 8 + 6 },
	       { "debug", 8 + 7 },
	       { "info", 0 } };

static void put_head(struct text *t, enum log_level level)
{
	put_time(t);
	put_char(t, ' ');
	put_program(t);
	put_char(t, ' ');
	put_words(t, levels[level].name);
}

/* What syslog(3) writes, but for the time, which its readers know themselves. */
static void put_head_of_syslog(struct text *t, enum log_level level)
{
	put_char(t, '<');
	put_number(t, (uint64_t)levels[level].priority, 10, 0);
	put_char(t, '>');
	put_program(t);
}

static void put_object(struct text *t, enum log_level level, enum log_event event,
		       const char *format, struct arguments *args)
{
	t->json = true;
	put_raw(t, "{\"time\":\"");
	put_time(t);
	put_raw(t, "\",\"program\":\"");
	put_name(t);
	put_raw(t, "\",\"pid\":");
	put_number(t, (uint64_t)syscall(SYS_getpid), 10, 0);
	put_raw(t, ",\"level\":\"");
	put_raw(t, levels[level].name);
	put_raw(t, "\",\"event\":\"");
	put_raw(t, events[event].name);
	t->keyed = event != LOG_NOTE;
	put_raw(t, t->keyed ? "\"" : "\",\"text\":\"");
	put_formatted(t, format, args);
	if (!t->keyed)
		t->bytes[t->len++] = '"';
	t->bytes[t->len++] = '}';
}

enum shape { SHAPE_LINE, SHAPE_OBJECT, SHAPE_SYSLOG = 2, SHAPE_OBJECT_TO_SYSLOG };

/* Not inlined: nothing of its room is needed when the line is written. */
__attribute__((noinline)) static void build(struct text *t, enum shape shape, enum log_level level,
					    enum log_event event, const char *format,
					    struct arguments *args)
{
	const bool is_object = shape & SHAPE_OBJECT;

	t->len = 0;
	t->is_syslog = shape & SHAPE_SYSLOG;
	t->json = t->keyed = false;
	t->room = LOG_LINE_MAX - (is_object ? 3 : 1); /* what ends a text, the object, the line */
	if (t->is_syslog)
		put_head_of_syslog(t, level);
	else if (!is_object)
		put_head(t, level);
	if (t->is_syslog || !is_object)
		put_words(t, ": ");
	if (is_object) {
		put_object(t, level, event, format, args);
	} else {
		put_words(t, events[event].words);
		put_formatted(t, format, args);
	}
	t->bytes[t->len++] = '\n';
}

/* Raw system calls in all that follows: libc's are cancellation points, and some are
 * interposed by us. */

/* Then it is no standard error: the program has closed its own, and this is a connection that
 * was given the number. */
static bool is_internet_socket(int fd)
{
	int domain = 0;
	socklen_t len = sizeof(domain);

	return syscall(SYS_getsockopt, fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) == 0 &&
	       (domain == AF_INET || domain == AF_INET6);
}

/* Whoever reads a pipe may be slow, or not read any more; that costs the program STUCK_NS, once. */
#define STUCK_NS 100000000

static bool takes_more(int fd)
{
	static _Atomic bool is_stuck;
	/* the struct timespec of this call, which in 32 bits is not libc's any more */
	const long limit[2] = { 0, atomic_load(&is_stuck) ? 0 : STUCK_NS };
	struct pollfd poll = { .fd = fd, .events = POLLOUT };
	bool takes = syscall(SYS_ppoll, &poll, 1, limit, NULL, 8) == 1;

	atomic_store(&is_stuck, !takes);
	return takes;
}

static void write_to_stderr(const struct text *t)
{
	if (!is_internet_socket(STDERR_FILENO) && takes_more(STDERR_FILENO))
		quiet_write(STDERR_FILENO, t->bytes, t->len, QUIET_AT_END);
}

/* Whoever reads /dev/log may be slow, or gone: then the line is. */
static void write_to_syslog(const struct text *t)
{
	static const struct sockaddr_un there = { .sun_family = AF_UNIX, .sun_path = "/dev/log" };
	int fd = (int)syscall(SYS_socket, AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return;
	syscall(SYS_sendto, fd, t->bytes, t->len - 1, MSG_DONTWAIT | MSG_NOSIGNAL, &there,
		sizeof(there));
	syscall(SYS_close, fd);
}

#define APPENDING (O_WRONLY | O_APPEND | O_NOCTTY | O_NONBLOCK)

static int open_at(int in, const char *name, int flags)
{
	return (int)syscall(SYS_openat, in, name, flags | O_CLOEXEC, 0600);
}

static int close_it(int fd)
{
	syscall(SYS_close, fd);
	return -1;
}

/* fstat(), which ThreadSanitizer has in its account of descriptors, where ours are none. */
static bool look_at(int fd, struct stat *st)
{
	return fstatat(fd, "", st, AT_EMPTY_PATH) == 0;
}

/* A FIFO or a device has whatever owner. Not inlined, as build(): its room is not needed when the line is written. */
__attribute__((noinline)) static bool is_file_of(int fd, uid_t user, bool or_no_file)
{
	struct stat st;

	return look_at(fd, &st) &&
	       (S_ISREG(st.st_mode) ? st.st_uid == user && st.st_nlink == 1 : or_no_file);
}

/* The receipt's name lives as long as the last program that was started with it, the file does not: another
 * user may have made another one since. */
static int open_receipt(const char *path)
{
	int fd = open_at(AT_FDCWD, path, APPENDING | O_NOFOLLOW);

	return fd < 0 || is_file_of(fd, geteuid(), false) ? fd : close_it(fd);
}

/* Can nobody but root put anything into it? Root of a user namespace alone is not whose the system's directories are, and
 * who owns the highest one can do everything. */
__attribute__((noinline)) static bool is_roots_alone(int directory)
{
	struct stat st;
	uid_t owner;

	if (!look_at(directory, &st) || st.st_mode & 022)
		return false;
	owner = st.st_uid;
	return owner == 0 || (fstatat(AT_FDCWD, "/", &st, 0) == 0 && st.st_uid == owner);
}

static int open_in_folder(const char *path)
{
	const char *slash = strrchr(path, '/');
	int in = open_at(AT_FDCWD, folder, O_PATH | O_DIRECTORY), fd;
	bool is_safe = in >= 0 && is_roots_alone(in);

	if (in < 0)
		return -1;
	fd = open_at(in, slash ? slash + 1 : path,
		     APPENDING | O_CREAT | (is_safe ? 0 : O_NOFOLLOW));
	close_it(in);
	return fd < 0 || is_safe || is_file_of(fd, 0, true) ? fd : close_it(fd);
}

/* Where others can write, what has the log's name may be a link to any file, or one of theirs: root makes a file
 * there, and appends to his own. Which it is mostly, and then nothing more is looked at. */
static int open_as_root(const char *path)
{
	int fd = open_at(AT_FDCWD, path, APPENDING | O_NOFOLLOW);

	if (fd >= 0 && is_file_of(fd, 0, true))
		return fd;
	if (fd >= 0)
		close_it(fd);
	else if (errno != ENOENT && errno != ELOOP)
		return -1;
	return open_in_folder(path);
}

static int open_log(const char *path)
{
	return geteuid() == 0 ? open_as_root(path) : open_at(AT_FDCWD, path, APPENDING | O_CREAT);
}

static void write_to_file(int fd, const struct text *t)
{
	if (fd < 0)
		return;
	quiet_write(fd, t->bytes, t->len, QUIET_AT_END);
	close_it(fd);
}

static void write_line(const struct text *t)
{
	if (strcmp(log_target, LOG_STDERR) == 0)
		write_to_stderr(t);
	else if (t->is_syslog)
		write_to_syslog(t);
	else
		write_to_file(open_log(log_target), t);
}

static void keep_folder(const char *path)
{
	const char *slash = strrchr(path, '/');
	size_t len = slash ? (size_t)(slash - path) + 1 : 1;

	if (len >= sizeof(folder)) /* then root appends to his own file alone */
		len = 0;
	memcpy(folder, slash ? path : ".", len);
	folder[len] = '\0';
}

void log_setup(const char *target, enum log_level level)
{
	if (target)
		keep_folder(target);
	log_target = target;
	target_most = log_most = target ? level : LOG_LEVEL_OFF;
	log_format = LOG_FORMAT_TEXT;
	receipt = NULL;
}

void log_as(enum log_format format)
{
	log_format = format;
}

void log_of(const char *program)
{
	log_program = program;
}

void log_to_receipt(const char *path)
{
	receipt = path;
	if (path && log_most < LOG_LEVEL_INFO)
		log_most = LOG_LEVEL_INFO;
}

bool log_is_on(enum log_level level)
{
	return level <= log_most;
}

static enum shape shape_of_target(void)
{
	return (enum shape)((log_format == LOG_FORMAT_JSON ? SHAPE_OBJECT : SHAPE_LINE) |
			    (strcmp(log_target, LOG_SYSLOG) == 0 ? SHAPE_SYSLOG : SHAPE_LINE));
}

static bool is_for_receipt(enum log_event event)
{
	return receipt && event <= LOG_LAST_OUTCOME;
}

void log_tell(enum log_level level, enum log_event event, const char *format, ...)
{
	int saved_errno = errno;
	struct arguments args;
	struct text t;

	if (level > target_most && !is_for_receipt(event))
		return;
	if (level <= target_most) {
		va_start(args.list, format);
		build(&t, shape_of_target(), level, event, format, &args);
		va_end(args.list);
		write_line(&t);
	}
	if (is_for_receipt(event)) {
		va_start(args.list, format);
		build(&t, SHAPE_OBJECT, level, event, format, &args);
		va_end(args.list);
		write_to_file(open_receipt(receipt), &t);
	}
	errno = saved_errno;
}
