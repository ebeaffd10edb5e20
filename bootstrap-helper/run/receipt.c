// SPDX-License-Identifier: MIT
#include "run.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uthash.h>

enum receipt_outcome {
	RECEIPT_CONVERTED,
	RECEIPT_BYPASSED,
	RECEIPT_DIRECT, /* by a rule, or after a converter has failed */
	RECEIPT_FAILED,
	RECEIPT_GIVEN_UP,
	RECEIPT_OUTCOMES,
};

/* Where the message was, of those that are converted. */
enum receipt_message { RECEIPT_IN_SYN, RECEIPT_BEHIND_SYN, RECEIPT_LOST_IN_SYN, RECEIPT_MESSAGES };

struct receipt_span { /* microseconds */
	uint64_t n, sum, least, most;
};

struct receipt_counts {
	UT_hash_handle hh;
	char *server; /* NULL: the sum of all; texts are as in JSON */
	uint64_t n, outcomes[RECEIPT_OUTCOMES], messages[RECEIPT_MESSAGES], mptcp, tcp;
	struct receipt_span connect, rtt;
	struct receipt_why {
		enum receipt_outcome outcome;
		char *text;
		uint64_t n;
	} * whys; /* of all but converted ones */
	size_t n_whys;
};

struct receipt_process {
	UT_hash_handle hh;
	uint64_t pid;
};

struct receipt {
	struct receipt_counts sum, *servers; /* by name, in the order of their first connections */
	struct receipt_process *processes;
	uint64_t n_lost;
	bool is_whole; /* false: the file was taken away, and nobody has what was written then */
};

static const char *const outcomes[] = { "converted", "bypassed", "direct", "failed", "given_up" };

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

const struct receipt *receipt_end(void)
{
	static struct receipt all;
	struct receipt *r = &all;
	FILE *lines = fdopen(file, "r");
	char *line = NULL, *next;
	struct stat st = { .st_nlink = 0 };
	size_t room = 0;
	ssize_t n;

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
	return r;
}

/* ----------------------------------------------------------------------------- for people */

static const char *plural(uint64_t n)
{
	return n == 1 ? "" : "s";
}

static void print_mean(const char *what, const struct receipt_span *s)
{
	double ms = s->n ? (double)s->sum / (double)s->n / 1000 : 0;

	if (s->n)
		fprintf(stderr, "%s %.*f ms", what, ms < 10 ? 2 : 0, ms);
}

static void print_converted(const struct receipt_counts *c)
{
	static const char *const messages[] = { "in the SYN", "behind it", "lost in it" };
	const char *comma = " (";

	for (int i = 0; i < RECEIPT_MESSAGES; i++)
		if (c->messages[i]) {
			fprintf(stderr, "%s%" PRIu64 " %s", comma, c->messages[i], messages[i]);
			comma = ", ";
		}
	comma = *comma == ',' ? "; " : comma;
	if (c->mptcp) {
		fprintf(stderr, "%s%" PRIu64 " MPTCP", comma, c->mptcp);
		comma = ", ";
	}
	if (c->tcp)
		fprintf(stderr, "%s%" PRIu64 " TCP", comma, c->tcp);
	print_mean("; connected in", &c->connect);
	print_mean(", round trip to the converter", &c->rtt);
	fputs(")", stderr);
}

static void print_whys(const struct receipt_counts *c, enum receipt_outcome outcome)
{
	const char *comma = " (";

	for (size_t i = 0; i < c->n_whys; i++)
		if (c->whys[i].outcome == outcome) {
			fprintf(stderr, "%s%" PRIu64 ": %s", comma, c->whys[i].n, c->whys[i].text);
			comma = "; ";
		}
	fputs(*comma == ';' ? ")" : "", stderr);
}

static void print_counts(const struct receipt_counts *c)
{
	static const char *const words[] = { "converted", "bypassed", "direct", "failed",
					     "given up by the program" };
	const char *comma = ": ";

	fprintf(stderr, "convert-run: %s: %" PRIu64 " connection%s", c->server ? c->server : "sum",
		c->n, plural(c->n));
	for (int i = 0; i < RECEIPT_OUTCOMES; i++) {
		if (!c->outcomes[i])
			continue;
		fprintf(stderr, "%s%" PRIu64 " %s", comma, c->outcomes[i], words[i]);
		comma = ", ";
		if (i == RECEIPT_CONVERTED)
			print_converted(c);
		else
			print_whys(c, (enum receipt_outcome)i);
	}
	fputc('\n', stderr);
}

void receipt_print(const struct receipt *r)
{
	for (const struct receipt_counts *c = r->servers; c; c = c->hh.next)
		print_counts(c);
	if (r->sum.n)
		print_counts(&r->sum);
	else
		fputs("convert-run: no connection was seen\n", stderr);
	if (r->n_lost)
		fprintf(stderr,
			"convert-run: %" PRIu64 " connection%s not counted: a line was cut\n",
			r->n_lost, plural(r->n_lost));
	if (!r->is_whole)
		fputs("convert-run: the file in which they are collected was taken away: what came "
		      "then "
		      "is not counted\n",
		      stderr);
}

/* --------------------------------------------------------------------------- for programs */

static void put_span(FILE *to, const char *key, const struct receipt_span *s)
{
	if (s->n)
		fprintf(to,
			", \"%s\": {\"least\": %" PRIu64 ", \"mean\": %" PRIu64
			", \"most\": %" PRIu64 "}",
			key, s->least, s->sum / s->n, s->most);
	else
		fprintf(to, ", \"%s\": null", key);
}

static void put_counts(FILE *to, const struct receipt_counts *c)
{
	fputs("{", to);
	if (c->server)
		fprintf(to, "\"server\": \"%s\", ", c->server);
	fprintf(to, "\"connections\": %" PRIu64, c->n);
	for (int i = 0; i < RECEIPT_OUTCOMES; i++)
		fprintf(to, ", \"%s\": %" PRIu64, outcomes[i], c->outcomes[i]);
	fprintf(to,
		", \"in_syn\": %" PRIu64 ", \"behind_syn\": %" PRIu64 ", \"lost_in_syn\": %" PRIu64
		", \"mptcp\": %" PRIu64 ", \"tcp\": %" PRIu64,
		c->messages[RECEIPT_IN_SYN], c->messages[RECEIPT_BEHIND_SYN],
		c->messages[RECEIPT_LOST_IN_SYN], c->mptcp, c->tcp);
	put_span(to, "connect_us", &c->connect);
	put_span(to, "rtt_us", &c->rtt);
	fputs(", \"why\": [", to);
	for (size_t i = 0; i < c->n_whys; i++)
		fprintf(to,
			"%s{\"outcome\": \"%s\", \"why\": \"%s\", \"connections\": %" PRIu64 "}",
			i ? ", " : "", outcomes[c->whys[i].outcome], c->whys[i].text, c->whys[i].n);
	fputs("]}", to);
}

/* What is not ASCII may be no UTF-8 either. */
static void put_text(FILE *to, const char *text)
{
	for (; *text; text++)
		if (*text < ' ' || *text > '~')
			fputc('?', to);
		else
			fprintf(to, *text == '"' || *text == '\\' ? "\\%c" : "%c", *text);
}

void receipt_print_json(const struct receipt *r, const char *program, int status, FILE *to)
{
	fputs("{\"program\": \"", to);
	put_text(to, program);
	if (WIFSIGNALED(status))
		fprintf(to, "\", \"status\": null, \"signal\": %d", WTERMSIG(status));
	else
		fprintf(to, "\", \"status\": %d, \"signal\": null", WEXITSTATUS(status));
	fprintf(to, ", \"processes\": %u, \"not_counted\": %" PRIu64 ", \"whole\": %s,\n \"sum\": ",
		HASH_COUNT(r->processes), r->n_lost, r->is_whole ? "true" : "false");
	put_counts(to, &r->sum);
	fputs(",\n \"servers\": [", to);
	for (const struct receipt_counts *c = r->servers; c; c = c->hh.next) {
		fputs(c != r->servers ? ",\n  " : "\n  ", to);
		put_counts(to, c);
	}
	fputs("]}\n", to);
}
