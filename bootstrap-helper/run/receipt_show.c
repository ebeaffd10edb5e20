// SPDX-License-Identifier: MIT
/* A receipt, for people and for programs. */
#include <inttypes.h>
#include <sys/wait.h>

#include "run.h"

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
		fprintf(to, ", \"%s\": %" PRIu64, receipt_outcomes[i], c->outcomes[i]);
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
			i ? ", " : "", receipt_outcomes[c->whys[i].outcome], c->whys[i].text,
			c->whys[i].n);
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
