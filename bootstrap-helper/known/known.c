// SPDX-License-Identifier: MIT
/* status, flush, forget, pin - what programs have learned, and share in the state file. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "counts.h"
#include "base.h"
#include "health.h"
#include "json.h"
#include "map.h"
#include "paths.h"
#include "servers.h"
#include "state_file.h"
#include "text.h"

#define LINE_MAX_COLUMNS 80
#define TRIES		 50
#define TRY_MS		 10

static int64_t now_ms;

/* Which converters there are now, by their names; kept until the end. */
static struct config config;

/* The state file that programs use here. Returns a BOOTSTRAP_... status. */
static int find_state(const char *file)
{
	int status = load_config(&config, file);

	if (status == BOOTSTRAP_OK)
		config_use_state(&config);
	now_ms = state_now_ms();
	if (status != BOOTSTRAP_OK || state_is_kept())
		return status;
	if (!load_is_off(&config, "no state is used", "shows that of a file"))
		fputs("no state file: nothing is kept (CONVERT_STATE, [state] file)\n", stderr);
	return BOOTSTRAP_FAILED;
}

/* ------------------------------------------------------------------------------- status */

/* People's lines, or one JSON object (status.schema.json). */
static bool as_json;

static const char *dialect_text(const struct health *h)
{
	return h->dialect ? cvt_dialect_name((enum cvt_dialect)(h->dialect - 1)) : "unknown";
}

static const char *const ways[] = { [HEALTH_UNTRIED] = "untried",
				    [HEALTH_WORKS] = "works",
				    [HEALTH_LOSES] = "lost on the path",
				    [HEALTH_HOLDS] = "held back",
				    [HEALTH_PASSES] = "works over TCP" };
static const char *const verdicts
	[] = { [SERVERS_UNKNOWN] = "unknown", [SERVERS_MPTCP] = "mptcp", [SERVERS_TCP] = "tcp" };

static int64_t seconds_until(int64_t at_ms)
{
	return at_ms > now_ms ? (at_ms - now_ms + 999) / 1000 : 0;
}

static int64_t seconds_since(int64_t at_ms)
{
	return at_ms < now_ms ? (now_ms - at_ms) / 1000 : 0;
}

static json_t *address_as_json(const struct addr *a)
{
	char text[ADDR_TEXT_MAX];

	addr_format(a, text);
	return json_text(text);
}

static json_t *kinds_as_json(const uint8_t kinds[static 32])
{
	json_t *array = json_array();

	for (unsigned int kind = 0; kind < 256; kind++)
		if (health_has_kind(kinds, (uint8_t)kind))
			json_add(array, json_integer(kind));
	return array;
}

/* NULL: the configuration has none with this address. */
static const char *name_of(const struct addr *a)
{
	for (size_t i = 0; i < config.n_converters; i++)
		for (size_t k = 0; k < config.converters[i].n_addrs; k++)
			if (addr_equal(&config.converters[i].addrs[k], a))
				return config.converters[i].name;
	return NULL;
}

/* The interface, if this is the network by which it is reached now. What is kept of others is a hash. */
static bool is_here(const struct health_key *key, struct pol_route *route)
{
	return route_lookup(&key->converter, NULL, route) && health_network(route) == key->network;
}

static void converter_as_json(const struct health_key *key, const struct health *h, void *array)
{
	json_t *o = json_object();
	const char *name = name_of(&key->converter);
	struct pol_route route;
	char network[17];

	snprintf(network, sizeof(network), "%016" PRIx64, key->network);
	json_put(o, "address", address_as_json(&key->converter));
	json_put(o, "name", name ? json_text(name) : json_null());
	json_put(o, "network", json_text(network));
	json_put(o, "interface", is_here(key, &route) ? json_text(route.interface) : json_null());
	json_put(o, "dialect", json_text(dialect_text(h)));
	json_put(o, "failures", json_integer(h->failures));
	json_put(o, "left_alone_s", json_integer(seconds_until(h->alone_until_ms)));
	json_put(o, "rtt_us", h->rtt_us ? json_integer(h->rtt_us) : json_null());
	json_put(o, "age_s",
		 h->learned_ms ? json_integer(seconds_since(h->learned_ms)) : json_null());
	json_put(o, "syn_data", json_text(ways[h->way[HEALTH_SYN_DATA]]));
	json_put(o, "bare_syn_data", json_text(ways[h->way[HEALTH_BARE_DATA]]));
	json_put(o, "mptcp", json_text(ways[h->way[HEALTH_MPTCP]]));
	json_put(o, "convert_cookie", json_boolean(h->convert_cookie_len));
	json_put(o, "refuses", kinds_as_json(h->refuses));
	json_put(o, "offers", h->has_offers ? kinds_as_json(h->offers) : json_null());
	json_add(array, o);
}

static void server_as_json(const struct servers_entry *e, void *array)
{
	json_t *o = json_object();

	json_put(o, "address", address_as_json(&e->server));
	json_put(o, "verdict", json_text(verdicts[servers_verdict_of(e, now_ms)]));
	json_put(o, "pinned", json_boolean(e->is_pinned));
	json_put(o, "age_s", json_integer(seconds_since(e->learned_ms)));
	json_put(o, "tfo_cookie", json_boolean(e->tfo_cookie_len));
	json_put(o, "withdrawals", json_integer(e->withdrawals));
	json_add(array, o);
}

/* ---- mappings, whose moments are of another clock (mappings_now_ms()) */

/* NULL: no converter has this address, whatever the port. */
static const char *gateway_name(const struct addr *server)
{
	for (size_t i = 0; i < config.n_converters; i++)
		for (size_t k = 0; k < config.converters[i].n_addrs; k++)
			if (addr_equal_ip(&config.converters[i].addrs[k], server))
				return config.converters[i].name;
	return NULL;
}

static int64_t left_s(const struct mapping_record *r, int64_t at_ms)
{
	return r->until_ms > at_ms ? (r->until_ms - at_ms + 999) / 1000 : 0;
}

static void mapping_as_text(const struct mapping_record *r, const char *name, bool is_kept,
			    int64_t at_ms)
{
	char server[ADDR_TEXT_MAX], external[ADDR_TEXT_MAX], why[MAP_TEXT_MAX];
	int64_t s = left_s(r, at_ms);

	addr_format(&r->server, server);
	addr_format(&r->external, external);
	printf("mapping of port %u at %s%s%s\n", r->client.port, name ? name : "", name ? ", " : "",
	       server);
	printf("    external   %s\n", s ? external : "none");
	if (s)
		printf("    lifetime   %" PRId64 " s left%s\n", s,
		       is_kept ? "" : ", and nobody renews it");
	if (r->err || r->result == MAPPING_NO_ANSWER)
		map_text_no_answer(r->err, why);
	else if (r->result)
		map_text_result(r->result, why);
	if (r->err || r->result)
		printf("    server     %s\n", why);
}

static void mappings_as_text(void)
{
	size_t n;
	struct mapping_record *all = mappings_file_read(&n);
	int64_t at_ms = mappings_now_ms();
	bool is_kept = mappings_file_is_locked();

	for (size_t i = 0; i < n; i++) {
		bool kept = is_kept && !all[i].is_left;

		if (kept || left_s(&all[i], at_ms))
			mapping_as_text(&all[i], gateway_name(&all[i].server), kept, at_ms);
	}
	free(all);
}

static json_t *mapping_as_json(const struct mapping_record *r, const char *name, bool is_kept,
			       int64_t at_ms)
{
	json_t *o = json_object();
	bool answered = r->result != MAPPING_NO_ANSWER && !r->err;
	int64_t s = left_s(r, at_ms);

	json_put(o, "server", address_as_json(&r->server));
	json_put(o, "name", json_text(name));
	json_put(o, "client", address_as_json(&r->client));
	json_put(o, "external", s ? address_as_json(&r->external) : json_null());
	json_put(o, "lifetime_s", json_integer(s));
	json_put(o, "kept", json_boolean(is_kept));
	json_put(o, "result", answered ? json_integer(r->result) : json_null());
	json_put(o, "result_name",
		 json_text(answered ? pcp_result_name((uint8_t)r->result) : NULL));
	json_put(o, "error", json_text(r->err ? errno_name(r->err) : NULL));
	return o;
}

static json_t *mappings_as_json(void)
{
	size_t n;
	struct mapping_record *all = mappings_file_read(&n);
	int64_t at_ms = mappings_now_ms();
	bool is_kept = mappings_file_is_locked();
	json_t *array = json_array();

	for (size_t i = 0; i < n; i++) {
		bool kept = is_kept && !all[i].is_left;

		if (kept || left_s(&all[i], at_ms))
			json_add(array, mapping_as_json(&all[i], gateway_name(&all[i].server), kept,
							at_ms));
	}
	free(all);
	return array;
}

/* ---- all of it */

static void show_as_json(const struct counts *c)
{
	json_t *o = json_object(), *converters = json_array(), *servers = json_array();
	json_t *counts = json_object();

	health_each(now_ms, converter_as_json, converters);
	servers_each(now_ms, server_as_json, servers);
	json_put(counts, "since_s",
		 c->since_ms ? json_integer(seconds_since(c->since_ms)) : json_null());
	json_put(counts, "converted", json_integer((json_int_t)c->n[COUNTS_CONVERTED]));
	json_put(counts, "bypassed", json_integer((json_int_t)c->n[COUNTS_BYPASSED]));
	json_put(counts, "direct", json_integer((json_int_t)c->n[COUNTS_DIRECT]));
	json_put(counts, "failed", json_integer((json_int_t)c->n[COUNTS_FAILED]));
	json_put(o, "state", json_text(state_path()));
	json_put(o, "converters", converters);
	json_put(o, "servers", servers);
	json_put(o, "mappings", mappings_as_json());
	json_put(o, "counts", counts);
	json_print(o);
}

/* As many to a line as there is room for. */
static void show_kinds(const char *key, const uint8_t kinds[static 32])
{
	int column = printf("    %-10s ", key);
	bool any = false;

	for (unsigned int kind = 0; kind < 256; kind++) {
		char text[KINDS_TEXT_MAX];
		int len;

		if (!health_has_kind(kinds, (uint8_t)kind))
			continue;
		len = kinds_format((uint8_t)kind, text);
		if (any && column + len + 3 > LINE_MAX_COLUMNS)
			column = printf(",\n%15s", "") - 2;
		else if (any)
			column += printf(", ");
		column += printf("%s", text);
		any = true;
	}
	puts(any ? "" : "none");
}

static void converter_as_text(const struct health_key *key, const struct health *h, void *arg)
{
	const char *name = name_of(&key->converter);
	char text[ADDR_TEXT_MAX];
	struct pol_route route;

	(void)arg;
	addr_format(&key->converter, text);
	printf("converter %s%s%s\n", name ? name : "", name ? ", " : "", text);
	if (is_here(key, &route))
		printf("    network    this one, by %s\n", route.interface);
	else if (key->network)
		printf("    network    another, %016" PRIx64 "\n", key->network);
	if (h->failures && h->alone_until_ms > now_ms)
		printf("    failed     %" PRIu32 " in a row, left alone for %" PRId64 " s\n",
		       h->failures, seconds_until(h->alone_until_ms));
	else if (h->failures)
		printf("    failed     %" PRIu32 " in a row, the next connection tries it\n",
		       h->failures);
	printf("    dialect    %s\n", dialect_text(h));
	printf("    SYN data   %s\n", ways[h->way[HEALTH_SYN_DATA]]);
	if (h->way[HEALTH_BARE_DATA] != HEALTH_UNTRIED)
		printf("    no cookie  %s\n", ways[h->way[HEALTH_BARE_DATA]]);
	printf("    MPTCP      %s\n", ways[h->way[HEALTH_MPTCP]]);
	printf("    cookie     %s\n", h->convert_cookie_len ? "known" : "none");
	if (h->rtt_us)
		printf("    handshake  %.1f ms\n", h->rtt_us / 1000.0);
	show_kinds("refuses", h->refuses);
	if (h->has_offers)
		show_kinds("offers", h->offers);
}

static void server_as_text(const struct servers_entry *e, void *arg)
{
	char text[ADDR_TEXT_MAX];

	(void)arg;
	addr_format(&e->server, text);
	printf("server %-40s %s%s, %" PRId64 " s\n", text, verdicts[servers_verdict_of(e, now_ms)],
	       e->is_pinned ? ", pinned" : "", seconds_since(e->learned_ms));
}

static void show_as_text(const struct counts *c)
{
	health_each(now_ms, converter_as_text, NULL);
	servers_each(now_ms, server_as_text, NULL);
	mappings_as_text();
	printf("connections  %" PRIu64 " converted, %" PRIu64 " bypassed, %" PRIu64
	       " direct, %" PRIu64 " failures\n",
	       c->n[COUNTS_CONVERTED], c->n[COUNTS_BYPASSED], c->n[COUNTS_DIRECT],
	       c->n[COUNTS_FAILED]);
}

static void show(void)
{
	struct counts c;

	counts_read(&c, now_ms);
	if (as_json)
		show_as_json(&c);
	else
		show_as_text(&c);
}

/* --------------------------------------------------------------------- the command lines */

const char status_usage[] = "Usage: convert-bootstrap status [-c FILE] [-j | --json]\n";
const char flush_usage[] = "Usage: convert-bootstrap flush [-c FILE]\n";
const char forget_usage[] = "Usage: convert-bootstrap forget [-c FILE] SERVER\n";
const char pin_usage[] = "Usage: convert-bootstrap pin [-c FILE] SERVER mptcp|tcp\n";

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
	fputs(usage, stderr);
	return false;
}

static bool parse_server(struct addr *server, const char *verb, const char *text)
{
	return endpoint_parse(server, text, 0) ||
	       option_is_wrong(verb, "SERVER", text, "one as 192.0.2.1:443 or [2001:db8::1]:443");
}

static enum host_file look_at_state(const char *file, struct host_written *w)
{
	const char *said = file ? NULL : getenv("CONVERT_STATE");

	host_state_file(w, &config, said && *said);
	return w->file;
}

/* As check says it, if it knows. err: as unwritten_complain() has it. */
static int complain_of_state(const char *file, int err)
{
	struct findings f = { .all = NULL };
	struct host_written w;

	look_at_state(file, &w);
	findings_for(&f, geteuid() == 0, file);
	findings_about(&f, "configuration");
	judge_state(&f, &w);
	if (findings_count(&f, FINDING_PROBLEM))
		finding_print_line(stderr, &f.all[0]);
	else
		unwritten_complain(err);
	findings_free(&f);
	return BOOTSTRAP_FAILED;
}

static int written(const struct arguments *a, int err)
{
	return err ? complain_of_state(a->file, err) : BOOTSTRAP_OK;
}

/* Of a program that is just writing what it has learned; it holds the lock for microseconds. */
static bool is_locked(int err, unsigned int *tries)
{
	const struct timespec moment = { .tv_nsec = TRY_MS * 1000000 };

	if (err != -EAGAIN || (*tries)++ == TRIES)
		return false;
	nanosleep(&moment, NULL);
	return true;
}

/* That there is none yet is well. */
static int readable(const struct arguments *a)
{
	int fd = state_place_open(O_RDONLY);
	struct host_written w;

	if (fd >= 0)
		close(fd);
	if (fd == -ENOENT || (fd >= 0 && look_at_state(a->file, &w) != HOST_FILE_STRANGE))
		return BOOTSTRAP_OK;
	return complain_of_state(a->file, fd < 0 ? fd : 0);
}

int status_main(int argc, char **argv)
{
	struct arguments a;
	int status;

	if (!parse(argc, argv, 0, true, status_usage, &a))
		return BOOTSTRAP_USAGE;
	status = find_state(a.file);
	if (status != BOOTSTRAP_OK)
		return status;
	show();
	return readable(&a);
}

int flush_main(int argc, char **argv)
{
	struct arguments a;
	int status, err;

	if (!parse(argc, argv, 0, false, flush_usage, &a))
		return BOOTSTRAP_USAGE;
	status = find_state(a.file);
	if (status != BOOTSTRAP_OK)
		return status;
	err = state_clear();
	return written(&a, err == -ENOENT ? 0 : err);
}

int forget_main(int argc, char **argv)
{
	struct arguments a;
	struct addr server;
	unsigned int tries = 0;
	int status, err;

	if (!parse(argc, argv, 1, false, forget_usage, &a) ||
	    !parse_server(&server, argv[0], a.rest[0]))
		return BOOTSTRAP_USAGE;
	status = find_state(a.file);
	if (status != BOOTSTRAP_OK)
		return status;
	do
		err = servers_forget(&server, now_ms);
	while (is_locked(err, &tries));
	return written(&a, err);
}

int pin_main(int argc, char **argv)
{
	struct arguments a;
	struct addr server;
	unsigned int tries = 0;
	int status, err;
	bool mptcp;

	if (!parse(argc, argv, 2, false, pin_usage, &a) ||
	    !parse_server(&server, argv[0], a.rest[0]))
		return BOOTSTRAP_USAGE;
	mptcp = strcmp(a.rest[1], "mptcp") == 0;
	if (!mptcp && strcmp(a.rest[1], "tcp") != 0) {
		option_is_wrong("pin", "", a.rest[1], "mptcp or tcp");
		return BOOTSTRAP_USAGE;
	}
	status = find_state(a.file);
	if (status != BOOTSTRAP_OK)
		return status;
	do
		err = servers_pin(&server, mptcp ? SERVERS_MPTCP : SERVERS_TCP, now_ms);
	while (is_locked(err, &tries));
	return written(&a, err);
}
