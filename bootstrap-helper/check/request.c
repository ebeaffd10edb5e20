// SPDX-License-Identifier: MIT
/* The parent's side: the process is started, and what it says is taken. request_curl.c has the other side. */
#include "check.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "json.h"
#include "log.h"

#define OUTPUT_MAX 4096
#define ENV_MORE   6

/* ----------------------------------------------------------------------------- the URL */

/* NULL: there is none. */
static const char *port_of(const char *host)
{
	const char *colon = strrchr(host, ':'), *bracket = strrchr(host, ']');
	bool has_port = colon && (bracket ? colon > bracket : strchr(host, ':') == colon);

	return has_port ? colon + 1 : NULL;
}

bool request_is_host(const char *host)
{
	const char *port = port_of(host);

	return *host && *host != '-' && strlen(host) < 256 && !strpbrk(host, "/?#@\\ \t\n") &&
	       (!port || endpoint_port(port));
}

/* Without a port it is https. An IPv6 address may be without its brackets, which a URL needs. */
static void set_url(struct request *r, const char *host)
{
	const char *port = port_of(host);
	bool tls = !port || strcmp(port, "443") == 0;
	bool is_bare = !port && *host != '[' && strchr(host, ':');

	snprintf(r->url, sizeof(r->url), "%s://%s%s%s/", tls ? "https" : "http", is_bare ? "[" : "",
		 host, is_bare ? "]" : "");
}

/* --------------------------------------------------------------------- its environment */

static bool is_ours(const char *variable, bool all)
{
	static const char *const always[] = { "LD_PRELOAD=", "CONVERT_LOG=", "CONVERT_LOG_LEVEL=",
					      "CONVERT_LOG_FORMAT=" };
	static const char *const others[] = {
		"CONVERT_CONF=",  "CONVERT_ADDR=",    "CONVERT_PORT=",	"CONVERT_COOKIE=",
		"CONVERT_STATE=", "CONVERT_DISABLE=", "CONVERT_STRICT="
	};

	for (size_t i = 0; i < sizeof(always) / sizeof(always[0]); i++)
		if (strncmp(variable, always[i], strlen(always[i])) == 0)
			return true;
	for (size_t i = 0; all && i < sizeof(others) / sizeof(others[0]); i++)
		if (strncmp(variable, others[i], strlen(others[i])) == 0)
			return true;
	return false;
}

static char *assignment(const char *name, const char *value)
{
	char *text;

	return asprintf(&text, "%s=%s", name, value) < 0 ? NULL : text;
}

/* The one here, with the library or against it. NULL: no memory. In the child, which ends soon. */
static char **environment(const struct request_how *how)
{
	size_t n = 0, kept = 0;
	char **env;

	while (environ[n])
		n++;
	env = calloc(n + ENV_MORE, sizeof(*env));
	if (!env)
		return NULL;
	for (size_t i = 0; i < n; i++)
		if (!is_ours(environ[i], how->config_file || !how->library))
			env[kept++] = environ[i];
	if (how->library) {
		env[kept++] = assignment("LD_PRELOAD", how->library);
		env[kept++] = assignment("CONVERT_LOG", LOG_STDERR);
		env[kept++] = assignment("CONVERT_LOG_LEVEL", "info");
		env[kept++] = assignment("CONVERT_LOG_FORMAT", "text");
		if (how->config_file)
			env[kept++] = assignment("CONVERT_CONF", how->config_file);
	} else {
		env[kept++] = assignment("CONVERT_DISABLE", "1"); /* /etc/ld.so.preload */
	}
	return env;
}

/* ------------------------------------------------------------------------ the process */

struct stream {
	int fd;
	size_t len;
	char text[OUTPUT_MAX + 1];
};

static _Noreturn void become(const struct request *r, const struct request_how *how, int out,
			     int err)
{
	static char program[] = "convert-bootstrap", verb[] = "request";
	char to[ADDR_TEXT_MAX] = "";
	char *argv[] = { program, verb, (char *)r->url, NULL, NULL };
	char **env = environment(how);

	if (how->to) {
		addr_format(how->to, to);
		argv[3] = to;
	}
	dup2(out, STDOUT_FILENO);
	dup2(err, STDERR_FILENO);
	if (env)
		execve("/proc/self/exe", argv, env);
	_exit(127);
}

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* What does not fit is read and forgotten: its writer must not wait. False: the end. */
static bool take(struct stream *s)
{
	char rest[256];
	size_t room = OUTPUT_MAX - s->len;
	ssize_t n = room ? read(s->fd, s->text + s->len, room) : read(s->fd, rest, sizeof(rest));

	if (n <= 0)
		return n < 0 && errno == EINTR;
	s->len += room ? (size_t)n : 0;
	return true;
}

/* False: the time is over. */
static bool read_all(struct stream *out, struct stream *err)
{
	int64_t until_ms = now_ms() + REQUEST_LIMIT_MS;
	struct pollfd fds[] = { { .fd = out->fd, .events = POLLIN },
				{ .fd = err->fd, .events = POLLIN } };

	while (fds[0].fd >= 0 || fds[1].fd >= 0) {
		int64_t left_ms = until_ms - now_ms();
		int n = left_ms > 0 ? poll(fds, 2, (int)left_ms) : 0;

		if (n == 0)
			return false;
		if (n > 0 && fds[0].revents && !take(out))
			fds[0].fd = -1;
		if (n > 0 && fds[1].revents && !take(err))
			fds[1].fd = -1;
	}
	return true;
}

static bool start(const struct request *r, const struct request_how *how, struct stream *out,
		  struct stream *err, pid_t *pid)
{
	int o[2] = { -1, -1 }, e[2] = { -1, -1 };

	*pid = -1;
	if (pipe2(o, O_CLOEXEC) == 0 && pipe2(e, O_CLOEXEC) == 0)
		*pid = fork();
	if (*pid == 0)
		become(r, how, o[1], e[1]);
	close(o[1]);
	close(e[1]);
	out->fd = o[0];
	err->fd = e[0];
	return *pid > 0;
}

/* ------------------------------------------------------------------------ what it says */

static void take_address(const json_t *o, const char *name, struct addr *a, bool *has)
{
	const char *ip = json_string_value(json_object_get(o, name));
	char port_name[16];

	snprintf(port_name, sizeof(port_name), "%s_port", name);
	a->port = (uint16_t)json_integer_value(json_object_get(o, port_name));
	*has = ip && addr_parse(a, ip) == 0;
}

static void take_text(const json_t *o, const char *name, char *to, size_t size)
{
	const char *text = json_string_value(json_object_get(o, name));

	snprintf(to, size, "%s", text ? text : "");
}

static bool take_answer(struct request *r, const char *text)
{
	json_t *o = json_loads(text, 0, NULL);
	bool has;

	if (!o)
		return false;
	take_text(o, "error", r->error, sizeof(r->error));
	take_text(o, "server", r->server, sizeof(r->server));
	r->connect_us = json_integer_value(json_object_get(o, "connect_us"));
	r->first_byte_us = json_integer_value(json_object_get(o, "first_byte_us"));
	r->status = (long)json_integer_value(json_object_get(o, "status"));
	r->is_mptcp = json_is_true(json_object_get(o, "mptcp"));
	take_address(o, "to", &r->to, &has);
	take_address(o, "peer", &r->peer, &r->has_peer);
	json_decref(o);
	return true;
}

/* The library's last word on where a connection went. */
static void take_log(struct request *r, char *text)
{
	static const char *const words[] = { "converted ", "bypass ", "falling back ", "direct " };
	char *line;

	while ((line = strsep(&text, "\n"))) {
		char *what = strstr(line, "] "); /* and the level */

		what = what ? strstr(what, ": ") : NULL;
		if (!what)
			continue;
		what += strlen(": ");
		for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
			if (strncmp(what, words[i], strlen(words[i])) == 0)
				snprintf(r->log, sizeof(r->log), "%s", what);
	}
}

static void run(struct request *r, const struct request_how *how, struct stream *out,
		struct stream *err)
{
	bool in_time;
	pid_t pid;

	r->has_run = start(r, how, out, err, &pid);
	if (!r->has_run) {
		snprintf(r->error, sizeof(r->error), "no process could be started");
		return;
	}
	in_time = read_all(out, err);
	if (!in_time)
		kill(pid, SIGKILL);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	if (!take_answer(r, out->text))
		snprintf(r->error, sizeof(r->error),
			 in_time ? "the program ended without a word" : "no answer within %d s",
			 REQUEST_LIMIT_MS / 1000);
	take_log(r, err->text);
}

void request_run(struct request *r, const struct request_how *how)
{
	struct stream out = { .fd = -1 }, err = { .fd = -1 };

	*r = (struct request){ .has_run = false };
	set_url(r, how->host);
	run(r, how, &out, &err);
	close(out.fd);
	close(err.fd);
}
