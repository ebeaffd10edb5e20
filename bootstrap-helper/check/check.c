// SPDX-License-Identifier: MIT
/* check - the doctor: looks at the host, the configuration, the converters and one request. */
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "check.h"
#include "map.h"
#include "paths.h"

/* A third SYN with MPTCP's option is out by then, and the kernel has not yet given it up for all
 * connections (LINUX-FACTS 1.10): a doctor must not do harm. */
#define PROBE_TIMEOUT_MS 2500

/* A request that is lost is repeated after three seconds. */
#define WAIT_MS 5000
#define TRIAL_S 120 /* what is made for a look does not stay long, whatever becomes of us */
#define END_MS	1000

struct options {
	const char *file, *library, *app, *host;
	bool as_json, config_only, explain;
};

const char check_usage[] =
	"Usage: convert-bootstrap check [-c FILE] [-j | --json] [--library FILE] [HOST[:PORT]]\n"
	"       convert-bootstrap check --explain [-c FILE] [-j | --json] [--app NAME] "
	"HOST[:PORT]\n"
	"       convert-bootstrap check --config [-c FILE]\n";

static bool parse(int argc, char **argv, struct options *o)
{
	static const struct option longer[] = { { "json", no_argument, NULL, 'j' },
						{ "config", no_argument, NULL, 'C' },
						{ "explain", no_argument, NULL, 'e' },
						{ "library", required_argument, NULL, 'l' },
						{ "app", required_argument, NULL, 'a' },
						{ 0 } };
	int option;

	*o = (struct options){ .file = NULL };
	while ((option = getopt_long(argc, argv, "c:j", longer, NULL)) != -1) {
		if (option == 'c')
			o->file = optarg;
		else if (option == 'j')
			o->as_json = true;
		else if (option == 'C')
			o->config_only = true;
		else if (option == 'e')
			o->explain = true;
		else if (option == 'l')
			o->library = optarg;
		else if (option == 'a')
			o->app = optarg;
		else
			return false;
	}
	if (optind < argc)
		o->host = argv[optind++];
	if (optind != argc || (o->file && !*o->file) || (o->library && !*o->library))
		return false;
	if (o->explain && (o->config_only || o->library || !o->host))
		return false;
	if (o->app && (!o->explain || !*o->app))
		return false;
	if (o->config_only)
		return !o->host && !o->as_json && !o->library;
	return !o->host || request_is_host(o->host) ||
	       option_is_wrong("check", "HOST", o->host,
			       "a name or an address alone, or with a port from 1 to 65535");
}

/* ------------------------------------------------------------------ the configuration */

static int check_config(const struct options *o)
{
	struct config config;
	int status = load_config(&config, o->file);

	if (status == BOOTSTRAP_OK)
		show_config(&config);
	config_free(&config);
	return status;
}

/* ---------------------------------------------------------------------- the converters */

static void probe(const struct judge_converter *j, const struct config_converter *converter,
		  bool mptcp, const struct health *known, struct probe *p)
{
	const struct probe_request q = { .to = *j->to,
					 .source = j->route.source,
					 .converter = converter,
					 .known = known,
					 .mptcp = mptcp,
					 .timeout_ms = j->timeout_ms,
					 .stop_fd = -1 };

	*p = (struct probe){ .err = 0 };
	probe_converter(&q, p);
}

/* Asked once more where the first answer leaves two explanations. */
static void ask_again(struct judge_converter *j, bool mptcp)
{
	struct config_converter automatic = *j->converter;
	const struct probe *p = &j->probe;

	j->has_plain = mptcp && p->verdict == PROBE_UNREACHABLE && p->err == ETIMEDOUT;
	if (j->has_plain)
		probe(j, j->converter, false, NULL, &j->plain);
	j->has_auto = !j->converter->dialect_is_auto &&
		      (p->verdict == PROBE_MUTE || p->verdict == PROBE_STRANGE ||
		       p->verdict == PROBE_REFUSES);
	j->has_again = p->tfo_cookie == PROBE_TFO_NONE && p->syn_data != PROBE_SYN_ACKED;
	if (j->has_again)
		probe(j, j->converter, mptcp, NULL, &j->again);
	automatic.dialect_is_auto = true;
	if (j->has_auto)
		probe(j, &automatic, mptcp, NULL, &j->automatic);
}

static void ask(struct judge_converter *j)
{
	bool mptcp = j->config->mptcp != CONFIG_MPTCP_OFF;
	int64_t now_ms = state_now_ms();
	struct health_key key;
	struct health known;

	j->has_route = route_lookup(j->to, NULL, &j->route);
	j->is_at_home = j->has_route && pol_is_at_home(j->converter, &j->route);
	if (!j->is_at_home)
		return;
	health_where(j->to, route_lookup, now_ms, &key);
	health_find(&key, now_ms, &known);
	j->gain = multipath(&(struct multipath_facts){
		.setting = j->config->mptcp,
		.is_lost = known.way[HEALTH_MPTCP] == HEALTH_LOSES,
		.paths = paths_to(j->to, route_lookup, now_ms, NULL),
	});
	j->is_known_to_lose = known.way[HEALTH_SYN_DATA] == HEALTH_LOSES;
	j->left_alone_ms = known.alone_until_ms - now_ms;
	j->asked = known.asked;
	j->mute = known.mute;
	probe(j, j->converter, mptcp, &known, &j->probe);
	j->is_open = probe_is_open(&j->probe, &known);
	ask_again(j, mptcp);
	explicit_bzero(&known, sizeof(known)); /* it may hold a Convert cookie */
}

/* All addresses of all converters; NULL: there are none, or there is no memory. */
static struct judge_converter *ask_all(const struct config *config, size_t *n)
{
	struct judge_converter *all, *j;

	*n = 0;
	for (size_t i = 0; i < config->n_converters; i++)
		*n += config->converters[i].n_addrs;
	all = j = *n ? calloc(*n, sizeof(*all)) : NULL;
	for (size_t i = 0; all && i < config->n_converters; i++) {
		const struct config_converter *c = &config->converters[i];

		for (size_t k = 0; k < c->n_addrs; k++, j++) {
			*j = (struct judge_converter){ .config = config,
						       .converter = c,
						       .to = &c->addrs[k],
						       .timeout_ms = PROBE_TIMEOUT_MS };
			ask(j);
		}
	}
	return all;
}

/* ------------------------------------------------------------------------- one request */

struct requests {
	struct request direct, converted;
};

/* The second goes to the address that the first has found behind the name. */
static void try_request(struct requests *r, const struct options *o, const struct host *h)
{
	struct request_how how = { .host = o->host, .config_file = o->file };

	if (!o->host)
		return;
	request_run(&r->direct, &how);
	if (h->library[0]) {
		how.library = h->library;
		how.to = r->direct.error[0] ? NULL : &r->direct.to;
		request_run(&r->converted, &how);
	}
}

static bool came_through(const struct request *r, const struct addr *converter)
{
	return r->has_run && !r->error[0] && r->has_peer && addr_equal(&r->peer, converter) &&
	       !addr_equal(&r->to, converter);
}

/* The converters are asked before the request, and judged after it: what a Connect has shown of one
 * outweighs what Info has. */
static void check_converters(struct findings *f, const struct config *config,
			     const struct options *o, const struct host *h)
{
	struct requests r = { .converted = { .has_run = false } };
	struct judge_converter *all;
	size_t n;

	all = ask_all(config, &n);
	try_request(&r, o, h);
	for (size_t i = 0; all && i < n; i++) {
		all[i].converts = came_through(&r.converted, all[i].to);
		judge_converter(f, &all[i]);
	}
	if (o->host)
		judge_requests(f, &r.direct, &r.converted);
	if (all)
		explicit_bzero(all, n * sizeof(*all)); /* Convert cookies */
	free(all);
}

/* ------------------------------------------------------------------------- the mappings */

static void settle(struct mappings *m, int64_t for_ms)
{
	int64_t until_ms = mappings_now_ms() + for_ms, left_ms;

	do {
		int64_t ms = mappings_turn(m);
		struct pollfd p = { .fd = m->ready, .events = POLLIN };

		left_ms = until_ms - mappings_now_ms();
		if (mappings_are_settled(m) || left_ms <= 0)
			return;
		poll(&p, 1, (int)(ms < left_ms ? ms : left_ms));
	} while (true);
}

static void judge_all(struct findings *f, const struct mappings *m)
{
	for (size_t i = 0; i < m->n_servers * m->n_ports; i++) {
		const struct mappings_server *s = &m->servers[i / m->n_ports];
		const struct mapping *p = &m->all[i];
		const struct judge_mapping j = {
			.server = s->to,
			.port = p->client.port,
			.result = p->result,
			.err = s->err,
			.external = p->external,
			.lifetime_s = (p->until_ms - p->granted_ms) / 1000,
			.is_kept = p->is_anothers,
		};

		if (s->has_route && s->at_home) /* else that is said of the converter */
			judge_mapping(f, &j);
	}
}

/* Can the ports that [incoming] names be reached from outside? Of a mapping that another process keeps the server is
 * asked whether it is there; one that nobody keeps is made, and ended again. Some seconds at most. */
static void check_mappings(struct findings *f, const struct config *config)
{
	uint16_t ports[MAPPINGS_PORTS_MAX];
	size_t n = mappings_ports(config, ports);
	const struct mappings_wish wish = { .ports = ports, .n_ports = n, .lifetime_s = TRIAL_S };
	struct mappings m = MAPPINGS_NONE;

	if (n > MAPPINGS_PORTS_MAX)
		judge_mapping_ports(f, n, MAPPINGS_PORTS_MAX);
	if (n == 0 || n > MAPPINGS_PORTS_MAX)
		return;
	if (mappings_open(&m, config, &wish) == 0) {
		mappings_borrow(&m);
		mappings_look(&m);
		settle(&m, WAIT_MS);
		judge_all(f, &m);
		mappings_end(&m);
		settle(&m, END_MS);
	}
	mappings_close(&m);
}

/* --------------------------------------------------------------------------- all of it */

/* With a file alone the environment says nothing. */
static bool says(const struct options *o, const char *variable)
{
	const char *value = getenv(variable);

	return !o->file && value && *value;
}

static void check_written(struct findings *f, const struct options *o, const struct config *config)
{
	struct host_written state, log;

	host_state_file(&state, config, says(o, "CONVERT_STATE"));
	host_log_file(&log, config->log_target, says(o, "CONVERT_LOG"));
	judge_config(f, config, &state, &log);
}

static void look_at_all(struct findings *f, const struct config *config, const struct options *o,
			bool is_valid)
{
	struct host h;

	host_look(&h, o->library, config);
	if (is_valid)
		check_written(f, o, config);
	judge_host(f, &h, config);
	check_converters(f, config, o, &h);
	if (is_valid)
		check_mappings(f, config);
}

static int check_all(const struct options *o)
{
	struct findings f = { .all = NULL };
	struct config config;
	int status;

	findings_for(&f, geteuid() == 0, o->file);
	f.is_for_eyes = isatty(STDOUT_FILENO);
	status = load_check(&config, o->file, o->app, &f);
	if (status == BOOTSTRAP_OK)
		config_use_state(&config);
	if (!o->explain)
		look_at_all(&f, &config, o, status == BOOTSTRAP_OK);
	else if (status == BOOTSTRAP_OK)
		check_explain(&f, &config, o->host);
	if (o->as_json)
		findings_print_json(&f);
	else
		findings_print(&f);
	status = findings_count(&f, FINDING_PROBLEM) ? BOOTSTRAP_FAILED : BOOTSTRAP_OK;
	findings_free(&f);
	config_free(&config);
	return status;
}

int check_main(int argc, char **argv)
{
	struct options o;

	if (!parse(argc, argv, &o)) {
		fputs(check_usage, stderr);
		return BOOTSTRAP_USAGE;
	}
	return o.config_only ? check_config(&o) : check_all(&o);
}
