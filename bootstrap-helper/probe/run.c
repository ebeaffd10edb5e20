// SPDX-License-Identifier: MIT
/* run - asks the converters what they are, from each network, before programs have to. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base.h"
#include "map.h"
#include "policy.h"
#include "probe.h"
#include "paths.h"

/* --watch: when it looks again although nothing has changed. */
#define EARLY_MS (3600 * 1000) /* before what is known expires (HEALTH_KEEP_MS) */
#define CHECK_MS (30 * 1000)   /* is what was found still there, and do programs find it so? */
#define OPEN_MS	 (600 * 1000)  /* what Info did not tell */
#define LEAST_MS 1000

#define LINE_MAX_LEN (PROBE_TEXT_MAX + 16)

/* One of the converters' addresses, with the network that it is reached by from here. */
struct target {
	const struct config_converter *converter;
	struct addr to;
	bool has_route, at_home; /* at_home: `from` and `interface` let it be used */
	struct pol_route route;
	uint64_t network; /* health_network(); 0: no route */
};

struct job {
	struct target target;
	bool failed, tfo_held;
	bool is_open;	   /* programs will find out what Info did not tell */
	bool is_kept;	   /* what was found could be written */
	int64_t due_ms;	   /* CLOCK_REALTIME; INT64_MAX: only when the network changes */
	int64_t looked_ms; /* the last time that it was due */
	char told[LINE_MAX_LEN];
};

struct run {
	struct config config;
	struct job *jobs;
	size_t n;
	bool verbose, watches, stopped, unwritable;
	bool waits_to_map; /* as long as somebody else keeps this user's mappings */
	struct watch watch;
	struct mappings mappings; /* with --watch; n_servers 0: none */
	struct map_show show;
};

/* Asks for the route again. Returns whether it leads through another network, or may be used now and
 * was not before. */
static bool look(struct target *t)
{
	struct target before = *t;

	t->has_route = route_lookup(&t->to, NULL, &t->route);
	t->at_home = t->has_route && pol_is_at_home(t->converter, &t->route);
	t->network = t->has_route ? health_network(&t->route) : 0;
	return t->network != before.network || t->at_home != before.at_home;
}

/* Of the same thing once: --watch tries a dead converter every minute. */
static bool is_news(struct job *j, const char *text)
{
	if (strcmp(j->told, text) == 0)
		return false;
	snprintf(j->told, sizeof(j->told), "%s", text);
	return true;
}

static void print(const struct job *j, const char *text)
{
	char address[ADDR_TEXT_MAX];

	addr_format(&j->target.to, address);
	printf("%s %s", j->target.converter->name, address);
	if (j->target.has_route)
		printf(" by %s", j->target.route.interface);
	printf(": %s\n", text);
}

/* Is it to be asked from here at all? */
static bool is_usable(struct job *j)
{
	const struct target *t = &j->target;
	const char *text = t->has_route ? "not used in this network (\"from\", \"interface\")" :
					  "no route";

	if (t->at_home)
		return true;
	if (is_news(j, text))
		print(j, text);
	return false;
}

static void tell(const struct run *run, struct job *j, const struct probe *p)
{
	char summary[PROBE_TEXT_MAX], text[LINE_MAX_LEN];
	bool works = !j->failed && !j->is_open;

	probe_summary(p, summary);
	snprintf(text, sizeof(text), "%s%s",
		 j->failed  ? "FAILS: " :
		 j->is_open ? "NOT KNOWN: " :
			      "",
		 summary);
	if (works || is_news(j, text)) {
		print(j, text);
		if (run->verbose)
			probe_print_details(p);
	}
	if (works)
		j->told[0] = '\0';
}

/* Others have written to the file since; without one the process is all that remembers. */
static void find_known(const struct health_key *key, struct health *known)
{
	if (state_is_kept())
		health_clear_table();
	health_find(key, state_now_ms(), known);
}

static void look_what_is_kept(struct run *run, struct job *j, const struct health_key *key)
{
	struct health h;

	find_known(key, &h);
	j->is_kept = h.learned_ms > 0 || h.failures > 0;
	if (!j->is_kept && !run->unwritable)
		unwritten_complain(0);
	run->unwritable |= !j->is_kept;
	explicit_bzero(&h, sizeof(h));
}

static void set_due(const struct run *run, struct job *j, const struct health_key *key)
{
	int64_t now_ms = state_now_ms();
	struct health h;

	health_find(key, now_ms, &h);
	if (!j->failed && !probe_wants_patience(&h, now_ms))
		j->due_ms = now_ms + (j->is_open ? OPEN_MS : HEALTH_KEEP_MS - EARLY_MS);
	else if (!j->is_kept || h.alone_until_ms <= now_ms)
		j->due_ms = now_ms + run->config.retry_ms + LEAST_MS;
	else
		j->due_ms = h.alone_until_ms > now_ms + LEAST_MS ? h.alone_until_ms :
								   now_ms + LEAST_MS;
}

static void ask(struct run *run, struct job *j)
{
	const struct target *t = &j->target;
	const struct health_key key = { .converter = t->to, .network = t->network };
	int64_t started_ms = state_now_ms();
	struct health known;
	struct probe_request q = {
		.to = t->to,
		.source = t->route.source,
		.converter = t->converter,
		.known = &known,
		.mptcp = run->config.mptcp != CONFIG_MPTCP_OFF,
		.timeout_ms = run->config.timeout_ms,
		.stop_fd = run->watches ? run->watch.signals : -1,
	};
	struct probe p;

	find_known(&key, &known);
	probe_converter(&q, &p);
	run->stopped = p.verdict == PROBE_STOPPED;
	if (!run->stopped) {
		j->is_open = probe_is_open(&p, &known);
		j->failed = p.verdict != PROBE_WORKS && !j->is_open;
		j->tfo_held = p.tfo_cookie == PROBE_TFO_HELD;
		j->is_kept = true;
		tell(run, j, &p);
		if (probe_record(&q, &p, &key, run->config.retry_ms, started_ms))
			look_what_is_kept(run, j, &key);
		set_due(run, j, &key);
	}
	explicit_bzero(&known, sizeof(known));
	explicit_bzero(&p, sizeof(p));
}

static void ask_those_that_are_due(struct run *run)
{
	for (size_t i = 0; i < run->n && !run->stopped; i++) {
		struct job *j = &run->jobs[i];
		int64_t now_ms = state_now_ms();

		if (!probe_is_due(j->due_ms, j->looked_ms, now_ms))
			continue;
		j->looked_ms = now_ms;
		j->due_ms = INT64_MAX;
		j->failed = j->is_open = false;
		if (is_usable(j))
			ask(run, j);
		fflush(stdout);
	}
}

static bool has_route(const struct run *run, const struct config_converter *c)
{
	for (size_t i = 0; i < run->n; i++)
		if (run->jobs[i].target.converter == c && run->jobs[i].target.has_route)
			return true;
	return false;
}

/* To have no route is a failure for a converter, not for one of its addresses, IPv6's say. */
static int verdict(const struct run *run)
{
	if (run->unwritable)
		return BOOTSTRAP_FAILED;
	for (size_t i = 0; i < run->n; i++)
		if (run->jobs[i].failed || !has_route(run, run->jobs[i].target.converter))
			return BOOTSTRAP_FAILED;
	return BOOTSTRAP_OK;
}

/* ------------------------------------------------------------------------------ --watch */

/* Somebody may have made the kernel forget its cookie, or the file all that is known; and for programs
 * the converter may have stopped working. */
static bool is_out_of_date(const struct job *j)
{
	const struct target *t = &j->target;
	const struct health_key key = { .converter = t->to, .network = t->network };
	struct health known;
	bool fails;

	if (j->due_ms == INT64_MAX || j->failed || !j->is_kept)
		return false;
	find_known(&key, &known);
	/* one that answers Info and no Connect would say so again, and again */
	fails = known.failures > 0 && !known.mute && !probe_wants_patience(&known, state_now_ms());
	return (known.learned_ms == 0 && !j->is_open) || fails ||
	       (j->tfo_held && !metrics_has_tfo_cookie(&t->to, &t->route.source));
}

static void look_again(struct run *run)
{
	for (size_t i = 0; i < run->n; i++) {
		struct job *j = &run->jobs[i];

		if (look(&j->target) || is_out_of_date(j))
			j->due_ms = 0;
	}
}

static int64_t time_until_due(struct run *run)
{
	int64_t turn_ms = mappings_turn(&run->mappings);
	int64_t now_ms = state_now_ms(), soonest = now_ms + CHECK_MS;

	if (now_ms + turn_ms < soonest)
		soonest = now_ms + turn_ms;
	for (size_t i = 0; i < run->n; i++)
		if (run->jobs[i].due_ms < soonest)
			soonest = run->jobs[i].due_ms;
	return soonest > now_ms ? soonest - now_ms : 0;
}

/* Of the ports that [incoming] names. What hinders that is said, and is no reason not to watch. */
static void begin_mapping(struct run *run)
{
	uint16_t ports[MAPPINGS_PORTS_MAX];
	size_t n = mappings_ports(&run->config, ports);
	const struct mappings_wish wish = { .ports = ports,
					    .n_ports = n > MAPPINGS_PORTS_MAX ? 0 : n,
					    .lifetime_s = MAPPINGS_LIFETIME_S,
					    .tell = map_show,
					    .arg = &run->show };
	int err;

	run->show.verbose = run->verbose;
	if (n > MAPPINGS_PORTS_MAX)
		fputs("[incoming] names more than 64 ports: none is mapped\n", stderr);
	if (!wish.n_ports)
		return;
	err = mappings_open(&run->mappings, &run->config, &wish);
	if (!err)
		err = map_keep_begin(&run->mappings, &run->watch);
	if (err == -EBUSY && !run->waits_to_map)
		fputs("another convert-bootstrap keeps this user's mappings\n", stderr);
	else if (err && err != -EBUSY)
		fprintf(stderr, "no mappings: %s\n", strerror(-err));
	run->waits_to_map = err == -EBUSY;
	if (err)
		mappings_close(&run->mappings);
}

static int watch(struct run *run)
{
	enum watch_event e = WATCH_NETWORK;

	do {
		bool begins = run->waits_to_map;

		if (begins)
			begin_mapping(run);
		if (begins || e == WATCH_NETWORK)
			mappings_look(&run->mappings);
		mappings_turn(&run->mappings); /* the others may take seconds */
		ask_those_that_are_due(run);
		if (!run->stopped)
			e = watch_wait(&run->watch, time_until_due(run));
		if (!run->stopped && e != WATCH_STOP && e != WATCH_ALSO)
			look_again(run);
	} while (!run->stopped && e != WATCH_STOP);
	map_keep_end(&run->mappings, &run->watch);
	return BOOTSTRAP_OK;
}

static int begin_watching(struct run *run)
{
	int err = watch_open(&run->watch, state_path());

	if (err == 0)
		return BOOTSTRAP_OK;
	if (err == -EBUSY)
		fprintf(stderr, "another convert-bootstrap run --watch writes to %s\n",
			state_path());
	else
		fprintf(stderr, "--watch: %s%s%s\n", state_path(), *state_path() ? ".watch: " : "",
			strerror(-err));
	return BOOTSTRAP_FAILED;
}

/* ---------------------------------------------------------------------- the command line */

/* All addresses of all converters. */
static int find_jobs(struct run *run)
{
	const struct config *config = &run->config;
	size_t most = 0;

	for (size_t i = 0; i < config->n_converters; i++)
		most += config->converters[i].n_addrs;
	run->jobs = most ? calloc(most, sizeof(*run->jobs)) : NULL;
	for (size_t i = 0; run->jobs && i < config->n_converters; i++) {
		const struct config_converter *c = &config->converters[i];

		for (size_t k = 0; k < c->n_addrs; k++) {
			struct target *t = &run->jobs[run->n++].target;

			*t = (struct target){ .converter = c, .to = c->addrs[k] };
			look(t);
		}
	}
	if (!run->jobs)
		fprintf(stderr,
			config->n_converters ? "no memory\n" :
					       "%s: no converter is configured: expected "
					       "[converter NAME] with an address\n",
			config->file ? config->file : CONFIG_DEFAULT_FILE);
	return run->jobs ? BOOTSTRAP_OK : BOOTSTRAP_FAILED;
}

static int go(struct run *run, const char *file)
{
	int status = load_config(&run->config, file);

	if (status == BOOTSTRAP_OK &&
	    load_is_off(&run->config, "no converter is asked", "asks those of a file"))
		status = BOOTSTRAP_FAILED;
	if (status == BOOTSTRAP_OK)
		config_use_state(&run->config);
	if (status == BOOTSTRAP_OK && run->watches)
		status = begin_watching(run);
	if (status == BOOTSTRAP_OK)
		status = find_jobs(run);
	if (status == BOOTSTRAP_OK && run->watches) {
		begin_mapping(run);
		status = watch(run);
	} else if (status == BOOTSTRAP_OK) {
		ask_those_that_are_due(run);
		status = verdict(run);
	}
	return status;
}

const char run_usage[] = "Usage: convert-bootstrap run [-c FILE] [-v] [-w | --watch]\n";

int run_main(int argc, char **argv)
{
	static const struct option longer[] = { { "watch", no_argument, NULL, 'w' },
						{ "verbose", no_argument, NULL, 'v' },
						{ 0 } };
	struct run run = { .watch = WATCH_NONE, .mappings = MAPPINGS_NONE };
	const char *file = NULL;
	bool ok = true;
	int option, status;

	while ((option = getopt_long(argc, argv, "c:vw", longer, NULL)) != -1) {
		if (option == 'c')
			file = optarg;
		ok &= option != '?';
		run.verbose |= option == 'v';
		run.watches |= option == 'w';
	}
	if (!ok || optind != argc || (file && !*file)) {
		fputs(run_usage, stderr);
		return BOOTSTRAP_USAGE;
	}
	status = go(&run, file);
	watch_close(&run.watch);
	mappings_close(&run.mappings);
	free(run.jobs);
	config_free(&run.config);
	return status;
}
