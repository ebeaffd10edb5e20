// SPDX-License-Identifier: MIT
#include "run.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

const char *const receipt_outcomes[] = { "converted", "bypassed", "direct", "failed", "given_up" };

/* ------------------------------------------------------------------------------- the file */

static char *path;
static int file = -1; /* stays ours, whatever becomes of its name */

bool receipt_begin(void)
{
	const char *directory = getenv("TMPDIR");

	if (!directory || *directory != '/')
		directory = "/tmp";
	if (asprintf(&path, "%s/convert-receipt.XXXXXX", directory) < 0)
		return false;
	file = mkostemp(path, O_CLOEXEC);
	if (file < 0)
		return false;
	if (setenv("CONVERT_RECEIPT", path, 1) == 0)
		return true;
	receipt_cancel();
	return false;
}

void receipt_in_child(void)
{
	close(file);
}

void receipt_cancel(void)
{
	int err = errno;

	close(file);
	unlink(path);
	unsetenv("CONVERT_RECEIPT");
	errno = err;
}

/* ------------------------------------------------------------------------------ one line */

static void *need(void *memory)
{
	if (!memory)
		abort();
	return memory;
}

/* The value of a member, in place, without its quotes; NULL: not there. In a line of ours a quote within
 * a text stands behind a backslash, so that no text looks like a key. */
static const char *member(const char *line, const char *key, size_t *len)
{
	char pattern[32];
	const char *at, *end;

	snprintf(pattern, sizeof(pattern), ",\"%s\":", key);
	at = strstr(line, pattern);
	if (!at)
		return NULL;
	at += strlen(pattern);
	if (*at != '"') {
		*len = strspn(at, "-0123456789");
		return at;
	}
	for (end = ++at; *end && *end != '"'; end++)
		end += *end == '\\' && end[1];
	*len = (size_t)(end - at);
	return at;
}

static char *text_of(const char *line, const char *key)
{
	size_t len;
	const char *at = member(line, key, &len);

	return at ? need(strndup(at, len)) : NULL;
}

static bool number_of(const char *line, const char *key, uint64_t *n)
{
	size_t len;
	const char *at = member(line, key, &len);

	if (at)
		*n = strtoull(at, NULL, 10);
	return at;
}

static bool says(const char *line, const char *key, const char *value)
{
	size_t len;
	const char *at = member(line, key, &len);

	return at && strlen(value) == len && memcmp(at, value, len) == 0;
}

/* ------------------------------------------------------------------------------ counting */

static void extend(struct receipt_span *s, const char *line, const char *key)
{
	uint64_t n;

	if (!number_of(line, key, &n))
		return;
	s->least = !s->n || n < s->least ? n : s->least;
	s->most = n > s->most ? n : s->most;
	s->sum += n;
	s->n++;
}

static void count_why(struct receipt_counts *c, enum receipt_outcome outcome, const char *text)
{
	struct receipt_why *why = c->whys;

	for (; why < c->whys + c->n_whys; why++)
		if (why->outcome == outcome && strcmp(why->text, text) == 0)
			break;
	if (why == c->whys + c->n_whys) {
		c->whys = need(reallocarray(c->whys, c->n_whys + 1, sizeof(*why)));
		why = c->whys + c->n_whys++;
		*why = (struct receipt_why){ outcome, need(strdup(text)), 0 };
	}
	why->n++;
}

/* "rule in line 3", "Connection Reset, ECONNREFUSED" */
static void count_reason(struct receipt_counts *c, const char *line, enum receipt_outcome outcome)
{
	char *why = text_of(line, "why"), *error = text_of(line, "error"), *text;
	uint64_t n = 0;
	int len;

	if (number_of(line, "line", &n))
		len = asprintf(&text, "%s in line %llu", why, (unsigned long long)n);
	else
		len = asprintf(&text, "%s%s%s", why ? why : "?", error ? ", " : "",
			       error ? error : "");
	if (len < 0)
		abort();
	count_why(c, outcome, text);
	free(text);
	free(error);
	free(why);
}

static void count(struct receipt_counts *c, const char *line, enum receipt_outcome outcome)
{
	static const char *const messages[] = { "in the SYN", "behind the SYN", "lost in the SYN" };

	c->n++;
	c->outcomes[outcome]++;
	if (outcome != RECEIPT_CONVERTED) {
		count_reason(c, line, outcome);
		return;
	}
	for (int i = 0; i < RECEIPT_MESSAGES; i++)
		c->messages[i] += says(line, "message", messages[i]);
	c->mptcp += says(line, "protocol", "MPTCP");
	c->tcp += says(line, "protocol", "TCP");
	extend(&c->connect, line, "after_us");
	extend(&c->rtt, line, "rtt_us");
}

static struct receipt_counts *counts_of(struct receipt *r, char *server)
{
	struct receipt_counts *c;

	HASH_FIND_STR(r->servers, server, c);
	if (c) {
		free(server);
		return c;
	}
	c = need(calloc(1, sizeof(*c)));
	c->server = server;
	HASH_ADD_KEYPTR(hh, r->servers, c->server, strlen(c->server), c);
	return c;
}

static void count_process(struct receipt *r, uint64_t pid)
{
	struct receipt_process *p;

	HASH_FIND(hh, r->processes, &pid, sizeof(pid), p);
	if (p)
		return;
	p = need(calloc(1, sizeof(*p)));
	p->pid = pid;
	HASH_ADD(hh, r->processes, pid, sizeof(p->pid), p);
}

static void take(struct receipt *r, const char *line)
{
	static const struct {
		const char *event;
		enum receipt_outcome outcome;
	} known[] = { { "converted", RECEIPT_CONVERTED }, { "bypass", RECEIPT_BYPASSED },
		      { "direct", RECEIPT_DIRECT },	  { "fallback", RECEIPT_DIRECT },
		      { "failed", RECEIPT_FAILED },	  { "given-up", RECEIPT_GIVEN_UP } };
	char *server = text_of(line, "server");
	uint64_t pid = 0;

	for (size_t i = 0; server && i < sizeof(known) / sizeof(known[0]); i++) {
		if (!says(line, "event", known[i].event))
			continue;
		number_of(line, "pid", &pid);
		count_process(r, pid);
		count(&r->sum, line, known[i].outcome);
		count(counts_of(r, server), line, known[i].outcome);
		return;
	}
	free(server);
	r->n_lost++;
}

void receipt_end(struct receipt *r)
{
	FILE *lines = fdopen(file, "r");
	char *line = NULL, *next;
	struct stat st = { .st_nlink = 0 };
	size_t room = 0;
	ssize_t n;

	*r = (struct receipt){ .n_lost = 0 };
	while (lines && (n = getline(&line, &room, lines)) > 0) {
		const char *whole = line;

		while ((next = strstr(whole + 1, "{\"time\":"))) { /* it is cut before this one */
			r->n_lost++;
			whole = next;
		}
		if (n > 1 && strcmp(line + n - 2, "}\n") == 0)
			take(r, whole);
		else
			r->n_lost++;
	}
	free(line);
	r->is_whole = lines && !ferror(lines) && fstat(file, &st) == 0 && st.st_nlink > 0;
	if (st.st_nlink > 0) /* else what has its name is somebody else's */
		unlink(path);
	if (lines)
		fclose(lines);
}
