// SPDX-License-Identifier: MIT
#include "log.h"

#include "clock.h"
#include "quiet.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static const char *log_target;
static enum log_level log_most;

struct text { /* a line being built; what does not fit is dropped */
	char bytes[LOG_LINE_MAX];
	size_t len;
};

static void put_char(struct text *t, char c)
{
	if (t->len < LOG_LINE_MAX - 1) /* keeps room for the newline */
		t->bytes[t->len++] = c;
}

/* All but printable ASCII becomes '?': nobody's data may forge a second line or steer a
 * terminal, which control characters above 0x7f do too. */
static void put_text(struct text *t, const char *s)
{
	for (s = s ? s : "(null)"; *s; s++)
		put_char(t, *s >= ' ' && *s <= '~' ? *s : '?');
}

static void put_number(struct text *t, unsigned long n, unsigned int base, unsigned int width)
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
	put_number(t, (unsigned long)(yoe + era * 400 + (mp >= 10)), 10, 4);
	put_char(t, '-');
	put_number(t, (unsigned long)(mp < 10 ? mp + 3 : mp - 9), 10, 2);
	put_char(t, '-');
	put_number(t, (unsigned long)(doy - (153 * mp + 2) / 5 + 1), 10, 2);
	put_char(t, 'T');
	put_number(t, (unsigned long)(secs / 3600), 10, 2);
	put_char(t, ':');
	put_number(t, (unsigned long)(secs / 60 % 60), 10, 2);
	put_char(t, ':');
	put_number(t, (unsigned long)(secs % 60), 10, 2);
	put_char(t, '.');
	put_number(t, (unsigned long)(now.ns / 1000000), 10, 3);
	put_char(t, 'Z');
}

static void put_signed(struct text *t, int n)
{
	if (n < 0)
		put_char(t, '-');
	put_number(t, n < 0 ? 0UL - (unsigned long)n : (unsigned long)n, 10, 0);
}

static void put_formatted(struct text *t, const char *format, va_list args)
{
	for (; *format; format++) {
		if (*format != '%') {
			put_char(t, *format);
			continue;
		}
		switch (*++format) {
		case 's':
			put_text(t, va_arg(args, const char *));
			break;
		case 'd':
			put_signed(t, va_arg(args, int));
			break;
		case 'u':
			put_number(t, va_arg(args, unsigned int), 10, 0);
			break;
		case 'x':
			put_number(t, va_arg(args, unsigned int), 16, 0);
			break;
		case 'z':
			put_number(t, va_arg(args, size_t), 10, 0);
			format++;
			break;
		default:
			put_char(t, *format);
			break;
		}
	}
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

static void write_line(const struct text *t)
{
	int fd;

	if (strcmp(log_target, "stderr") == 0) {
		if (!is_internet_socket(STDERR_FILENO))
			quiet_write(STDERR_FILENO, t->bytes, t->len, QUIET_AT_END);
		return;
	}
	fd = (int)syscall(SYS_openat, AT_FDCWD, log_target,
			  O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0600);
	if (fd < 0)
		return;
	quiet_write(fd, t->bytes, t->len, QUIET_AT_END);
	syscall(SYS_close, fd);
}

void log_setup(const char *target, enum log_level level)
{
	log_target = target;
	log_most = target ? level : LOG_LEVEL_OFF;
}

bool log_is_on(enum log_level level)
{
	return level <= log_most;
}

void log_line(enum log_level level, const char *format, ...)
{
	static const char *const names[] = { "off", "error", "info", "debug" };
	int saved_errno = errno;
	struct text t;
	va_list args;

	if (!log_is_on(level))
		return;
	t.len = 0;
	put_time(&t);
	put_char(&t, ' ');
	put_text(&t, program_invocation_short_name);
	put_char(&t, '[');
	put_number(&t, (unsigned long)syscall(SYS_getpid), 10, 0);
	put_text(&t, "] ");
	put_text(&t, names[level]);
	put_text(&t, ": ");
	va_start(args, format);
	put_formatted(&t, format, args);
	va_end(args);
	t.bytes[t.len++] = '\n';
	write_line(&t);
	errno = saved_errno;
}
