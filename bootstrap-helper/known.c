// SPDX-License-Identifier: MIT
/* status, flush, forget, pin - what programs have learned, and share in the state file. */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bootstrap.h"
#include "counts.h"
#include "health.h"
#include "load.h"
#include "servers.h"

static int64_t now_ms;

/* The state file that programs use here. Returns a BOOTSTRAP_... status. */
static int find_state(const char *file)
{
	struct config config;
	int status = load_config(&config, file);

	if (status == BOOTSTRAP_OK)
		state_setup(config.state_file);
	config_free(&config);
	now_ms = state_now_ms();
	if (status == BOOTSTRAP_OK && !*state_path()) {
		fputs("no state file: nothing is kept (CONVERT_STATE, [state] file)\n", stderr);
		status = BOOTSTRAP_FAILED;
	}
	return status;
}

/* ------------------------------------------------------------------------------- status */

/* People's lines, or one JSON object. What stands in it is numbers, addresses and our words. */
static bool as_json;
static unsigned int n_listed;

static const char *const dialects[] = { "unknown", "rfc8803", "draft-02", "hybrid" };
static const char *const ways[] = { [HEALTH_UNTRIED] = "untried",
				    [HEALTH_WORKS] = "works",
				    [HEALTH_LOSES] = "lost on the path",
				    [HEALTH_HOLDS] = "held back" };

static int64_t seconds_until(int64_t at_ms)
{
	return at_ms > now_ms ? (at_ms - now_ms + 999) / 1000 : 0;
}

static void show_kinds(const uint8_t kinds[static 32])
{
	const char *comma = "";

	for (unsigned int kind = 0; kind < 256; kind++)
		if (health_has_kind(kinds, (uint8_t)kind)) {
			printf("%s%u", comma, kind);
			comma = as_json ? "," : ", ";
		}
	if (!as_json && !*comma)
		fputs("none", stdout);
}

static void converter_as_json(const struct health_key *key, const struct health *h)
{
	char text[ADDR_TEXT_MAX];

	addr_format(&key->converter, text);
	printf("%s\n    {\"address\":\"%s\",\"network\":\"%016" PRIx64 "\",\"dialect\":\"%s\","
	       "\"failures\":%" PRIu32 ",\"left_alone_s\":%" PRId64 ",\"syn_data\":\"%s\","
	       "\"mptcp\":\"%s\",\"convert_cookie\":%s,\"refuses\":[",
	       n_listed++ ? "," : "", text, key->network, dialects[h->dialect], h->failures,
	       seconds_until(h->alone_until_ms), ways[h->way[HEALTH_SYN_DATA]],
	       ways[h->way[HEALTH_MPTCP]], h->convert_cookie_len ? "true" : "false");
	show_kinds(h->refuses);
	fputs("],\"offers\":", stdout);
	if (!h->has_offers) {
		fputs("null}", stdout);
		return;
	}
	putchar('[');
	show_kinds(h->offers);
	fputs("]}", stdout);
}

static void converter_as_text(const struct health_key *key, const struct health *h)
{
	char text[ADDR_TEXT_MAX];

	addr_format(&key->converter, text);
	printf("converter %s", text);
	if (key->network)
		printf("  in network %016" PRIx64, key->network);
	putchar('\n');
	if (h->failures && h->alone_until_ms > now_ms)
		printf("    failed     %" PRIu32 " in a row, left alone for %" PRId64 " s\n",
		       h->failures, seconds_until(h->alone_until_ms));
	else if (h->failures)
		printf("    failed     %" PRIu32 " in a row, the next connection tries it\n",
		       h->failures);
	printf("    dialect    %s\n", dialects[h->dialect]);
	printf("    SYN data   %s\n", ways[h->way[HEALTH_SYN_DATA]]);
	printf("    MPTCP      %s\n", ways[h->way[HEALTH_MPTCP]]);
	printf("    cookie     %s\n", h->convert_cookie_len ? "known" : "none");
	fputs("    refuses    ", stdout);
	show_kinds(h->refuses);
	if (h->has_offers) {
		fputs("\n    offers     ", stdout);
		show_kinds(h->offers);
	}
	putchar('\n');
	n_listed++;
}

static void show_converter(const struct health_key *key, const struct health *h, void *arg)
{
	(void)arg;
	if (as_json)
		converter_as_json(key, h);
	else
		converter_as_text(key, h);
}

static void show_server(const struct servers_entry *e, void *arg)
{
	static const char *const verdicts[] = { "unknown", "mptcp", "tcp" };
	int64_t age = e->learned_ms < now_ms ? (now_ms - e->learned_ms) / 1000 : 0;
	char text[ADDR_TEXT_MAX];

	(void)arg;
	addr_format(&e->server, text);
	if (as_json)
		printf("%s\n    "
		       "{\"address\":\"%s\",\"verdict\":\"%s\",\"pinned\":%s,\"age_s\":%" PRId64
		       ",\"tfo_cookie\":%s,\"withdrawals\":%u}",
		       n_listed++ ? "," : "", text, verdicts[e->verdict],
		       e->is_pinned ? "true" : "false", age, e->tfo_cookie_len ? "true" : "false",
		       e->withdrawals);
	else
		printf("server %-40s %s%s, %" PRId64 " s\n", text, verdicts[e->verdict],
		       e->is_pinned ? ", pinned" : "", age);
}

static void show_counts(void)
{
	struct counts c;

	counts_read(&c, now_ms);
	printf(as_json ? "  \"counts\":{\"converted\":%" PRIu64 ",\"bypassed\":%" PRIu64
			 ",\"direct\":%" PRIu64 ",\"failed\":%" PRIu64 "}\n" :
			 "connections  %" PRIu64 " converted, %" PRIu64 " bypassed, %" PRIu64
			 " direct, %" PRIu64 " failures\n",
	       c.n[COUNTS_CONVERTED], c.n[COUNTS_BYPASSED], c.n[COUNTS_DIRECT], c.n[COUNTS_FAILED]);
}

static void show(void)
{
	fputs(as_json ? "{\n  \"converters\":[" : "", stdout);
	health_each(now_ms, show_converter, NULL);
	n_listed = 0;
	fputs(as_json ? "],\n  \"servers\":[" : "", stdout);
	servers_each(now_ms, show_server, NULL);
	fputs(as_json ? "],\n" : "", stdout);
	show_counts();
	fputs(as_json ? "}\n" : "", stdout);
}

/* --------------------------------------------------------------------- the command lines */

struct arguments {
	const char *file;
	char **rest;
	int n_rest;
};

/* False: the command line is not as usage says, which has been written. */
static bool parse(int argc, char **argv, int n_rest, bool json, const char *usage,
		  struct arguments *a)
{
	static const struct option longer[] = { { "json", no_argument, NULL, 'j' }, { 0 } };
	bool ok = true;
	int option;

	*a = (struct arguments){ .file = NULL };
	while ((option = getopt_long(argc, argv, json ? "c:j" : "c:", longer, NULL)) != -1) {
		if (option == 'c')
			a->file = optarg;
		else if (option == 'j' && json)
			as_json = true;
		else
			ok = false;
	}
	a->rest = argv + optind;
	a->n_rest = argc - optind;
	if (ok && a->n_rest == n_rest && (!a->file || *a->file))
		return true;
	fprintf(stderr, "Usage: convert-bootstrap %s\n", usage);
	return false;
}

/* "192.0.2.1:443" or "[2001:db8::1]:443" */
static bool parse_server(struct addr *server, const char *text)
{
	const char *colon = strrchr(text, ':');
	size_t len = colon ? (size_t)(colon - text) : 0;
	char ip[ADDR_TEXT_MAX], *end;
	unsigned long port;

	if (colon && len >= 2 && text[0] == '[' && text[len - 1] == ']') {
		text++;
		len -= 2;
	} else if (colon && memchr(text, ':', len)) {
		colon = NULL; /* an IPv6 address alone */
	}
	if (colon && len > 0 && len < sizeof(ip) && colon[1] >= '0' && colon[1] <= '9') {
		memcpy(ip, text, len);
		ip[len] = '\0';
		port = strtoul(colon + 1, &end, 10);
		if (!*end && port > 0 && port < 65536 && addr_parse(server, ip) == 0) {
			server->port = (uint16_t)port;
			return true;
		}
	}
	fputs("expected a server as 192.0.2.1:443 or [2001:db8::1]:443\n", stderr);
	return false;
}

static int written(bool ok)
{
	if (ok)
		return BOOTSTRAP_OK;
	fprintf(stderr, "%s cannot be written\n", state_path());
	return BOOTSTRAP_FAILED;
}

int status_main(int argc, char **argv)
{
	struct arguments a;
	int status;

	if (!parse(argc, argv, 0, true, "status [-c FILE] [-j | --json]", &a))
		return BOOTSTRAP_USAGE;
	status = find_state(a.file);
	if (status == BOOTSTRAP_OK)
		show();
	return status;
}

int flush_main(int argc, char **argv)
{
	struct arguments a;
	int status, err;

	if (!parse(argc, argv, 0, false, "flush [-c FILE]", &a))
		return BOOTSTRAP_USAGE;
	status = find_state(a.file);
	if (status != BOOTSTRAP_OK)
		return status;
	err = state_clear();
	return err == -ENOENT ? BOOTSTRAP_OK : written(err == 0);
}

int forget_main(int argc, char **argv)
{
	struct arguments a;
	struct addr server;
	int status;

	if (!parse(argc, argv, 1, false, "forget [-c FILE] SERVER", &a) ||
	    !parse_server(&server, a.rest[0]))
		return BOOTSTRAP_USAGE;
	status = find_state(a.file);
	return status == BOOTSTRAP_OK ? written(servers_forget(&server, now_ms)) : status;
}

int pin_main(int argc, char **argv)
{
	struct arguments a;
	struct addr server;
	bool mptcp;
	int status;

	if (!parse(argc, argv, 2, false, "pin [-c FILE] SERVER mptcp|tcp", &a) ||
	    !parse_server(&server, a.rest[0]))
		return BOOTSTRAP_USAGE;
	mptcp = strcmp(a.rest[1], "mptcp") == 0;
	if (!mptcp && strcmp(a.rest[1], "tcp") != 0) {
		fputs("expected mptcp or tcp\n", stderr);
		return BOOTSTRAP_USAGE;
	}
	status = find_state(a.file);
	return status == BOOTSTRAP_OK ?
		       written(servers_pin(&server, mptcp ? SERVERS_MPTCP : SERVERS_TCP, now_ms)) :
		       status;
}
