// SPDX-License-Identifier: MIT
#include "converter.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LINE_MAX_BYTES 768

static int log_fd = STDERR_FILENO;
static bool log_verbose;

int log_open(const char *path, bool verbose)
{
	log_verbose = verbose;
	if (strcmp(path, "stderr") == 0)
		return 0;
	log_fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	return log_fd < 0 ? -errno : 0;
}

void log_close(void)
{
	if (log_fd > STDERR_FILENO)
		close(log_fd);
	log_fd = STDERR_FILENO;
}

__attribute__((format(printf, 2, 0))) static void write_line(const char *name, const char *fmt,
							     va_list ap)
{
	char line[LINE_MAX_BYTES];
	struct timespec ts;
	size_t n;
	int r;

	clock_gettime(CLOCK_REALTIME, &ts);
	r = snprintf(line, sizeof(line), "t=%lld.%06ld ev=%s ", (long long)ts.tv_sec,
		     ts.tv_nsec / 1000, name);
	n = r < 0 ? 0 : (size_t)r;
	r = vsnprintf(line + n, sizeof(line) - n - 1, fmt, ap);
	n += r < 0 ? 0 : (size_t)r;
	if (n > sizeof(line) - 2)
		n = sizeof(line) - 2;
	line[n++] = '\n';
	/* a full disk must not stop a converter, and there is nobody else to tell */
	if (write(log_fd, line, n) < 0)
		return;
}

void log_event(const char *name, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	write_line(name, fmt, ap);
	va_end(ap);
}

void log_detail(const char *name, const char *fmt, ...)
{
	va_list ap;

	if (!log_verbose)
		return;
	va_start(ap, fmt);
	write_line(name, fmt, ap);
	va_end(ap);
}
