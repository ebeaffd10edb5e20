// SPDX-License-Identifier: MIT
/* map - keeps ports of this host open at the converters, by the Port Control Protocol (RFC 6887). */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "map.h"
#include "state.h"

#define END_MS 4000 /* a server is asked twice in it */

const char map_usage[] =
	"Usage: convert-bootstrap map [-c FILE] [-j | --json] [-v] [-s SERVER[:PORT]]\n"
	"                             [-t SECONDS] [PORT...]\n";

struct options {
	const char *file;
	struct addr server; /* port 0: the converters */
	struct map_show show;
	uint32_t lifetime_s;
	uint16_t ports[MAPPINGS_PORTS_MAX];
	size_t n_ports;
};

static bool parse_lifetime(struct options *o, const char *text)
{
	char *end;
	unsigned long n = *text >= '0' && *text <= '9' ? strtoul(text, &end, 10) : 0;

	o->lifetime_s = (uint32_t)n;
	return (n > 0 && n <= 86400 && !*end) ||
	       option_is_wrong("map", "-t", text, "1 to 86400 seconds");
}

/* Once, however often it is named. */
static bool take_port(struct options *o, const char *text)
{
	uint16_t port = endpoint_port(text);

	if (!port)
		return option_is_wrong("map", "PORT", text, "a number from 1 to 65535");
	for (size_t i = 0; i < o->n_ports; i++)
		if (o->ports[i] == port)
			return true;
	if (o->n_ports == MAPPINGS_PORTS_MAX)
		return option_is_wrong("map", "PORT", text, "no more than 64 of them");
	o->ports[o->n_ports++] = port;
	return true;
}

static bool parse(int argc, char **argv, struct options *o)
{
	static const struct option longer[] = { { "json", no_argument, NULL, 'j' },
						{ "verbose", no_argument, NULL, 'v' },
						{ "server", required_argument, NULL, 's' },
						{ "lifetime", required_argument, NULL, 't' },
						{ 0 } };
	bool ok = true;
	int option;

	*o = (struct options){ .lifetime_s = MAPPINGS_LIFETIME_S };
	while ((option = getopt_long(argc, argv, "c:jvs:t:", longer, NULL)) != -1) {
		if (option == 'c')
			o->file = optarg;
		else if (option == 's')
			ok &= endpoint_parse(&o->server, optarg, PCP_PORT) ||
			      option_is_wrong("map", "-s", optarg,
					      "a numeric ADDRESS or ADDRESS:PORT");
		else if (option == 't')
			ok &= parse_lifetime(o, optarg);
		o->show.as_json |= option == 'j';
		o->show.verbose |= option == 'v';
		ok &= option != '?';
	}
	for (; optind < argc && ok; optind++)
		ok = take_port(o, argv[optind]);
	return ok && (!o->file || *o->file);
}

/* ------------------------------------------------------------------- also for run --watch */

int map_keep_begin(struct mappings *m, struct watch *w)
{
	int err = mappings_keep(m);

	if (err == -EBUSY)
		return err;
	if (err < 0 && err != -ENOENT) {
		m->unwritten = err;
		fprintf(stderr, "%s.map: %s; mappings are known to this process alone\n",
			state_path(), strerror(-err));
	}
	w->also = m->ready;
	return 0;
}

void map_keep_end(struct mappings *m, struct watch *w)
{
	int64_t until_ms = mappings_now_ms() + END_MS;

	watch_again(w);
	mappings_end(m);
	do {
		int64_t left_ms = until_ms - mappings_now_ms(), ms = mappings_turn(m);

		if (mappings_are_settled(m) || left_ms <= 0)
			break;
		if (watch_wait(w, ms < left_ms ? ms : left_ms) == WATCH_STOP)
			break;
	} while (true);
	mappings_turn(m); /* writes what has come */
}

/* ------------------------------------------------------------------------------ the verb */

static int keep(struct mappings *m, struct watch *w)
{
	enum watch_event e = WATCH_NETWORK;

	do {
		if (e == WATCH_NETWORK)
			mappings_look(m);
		e = watch_wait(w, mappings_turn(m));
	} while (e != WATCH_STOP);
	map_keep_end(m, w);
	return m->unwritten ? BOOTSTRAP_FAILED : BOOTSTRAP_OK;
}

static int complain(const char *what)
{
	fprintf(stderr, "map: %s\n", what);
	return BOOTSTRAP_FAILED;
}

static int begin(struct mappings *m, struct watch *w)
{
	int err = watch_open(w, "");

	if (err)
		return complain(strerror(-err));
	err = map_keep_begin(m, w);
	return err ? complain("another convert-bootstrap keeps this user's mappings") :
		     BOOTSTRAP_OK;
}

/* What would have been in the configuration is not missing: nobody has read it. */
static bool is_off(const struct config *config)
{
	return load_is_off(config, "no port is mapped", "maps those of a file");
}

static int find_ports(struct options *o, const struct config *config)
{
	if (!o->n_ports)
		o->n_ports = mappings_ports(config, o->ports);
	if (!o->n_ports && is_off(config))
		return BOOTSTRAP_FAILED;
	if (!o->n_ports)
		return complain("no port is named, neither here nor by a rule in [incoming]");
	if (o->n_ports > MAPPINGS_PORTS_MAX)
		return complain(
			"[incoming] names more than 64 ports: name those that are meant here");
	return BOOTSTRAP_OK;
}

static int go(struct options *o, struct config *config, struct mappings *m, struct watch *w)
{
	struct mappings_wish wish = { .server = o->server.port ? &o->server : NULL,
				      .ports = o->ports,
				      .lifetime_s = o->lifetime_s,
				      .tell = map_show,
				      .arg = &o->show };
	int status = load_config(config, o->file), err;

	if (status == BOOTSTRAP_OK)
		status = find_ports(o, config);
	if (status != BOOTSTRAP_OK)
		return status;
	config_use_state(config);
	wish.n_ports = o->n_ports;
	err = mappings_open(m, config, &wish);
	if (err)
		return complain(strerror(-err));
	if (!m->n_servers && is_off(config))
		return BOOTSTRAP_FAILED;
	if (!m->n_servers)
		return complain("no converter is configured, and no server named (-s SERVER)");
	status = begin(m, w);
	return status == BOOTSTRAP_OK ? keep(m, w) : status;
}

int map_main(int argc, char **argv)
{
	struct mappings m = MAPPINGS_NONE;
	struct watch w = WATCH_NONE;
	struct config config = { .file = NULL };
	struct options o;
	int status;

	if (!parse(argc, argv, &o)) {
		fputs(map_usage, stderr);
		return BOOTSTRAP_USAGE;
	}
	status = go(&o, &config, &m, &w);
	watch_close(&w);
	mappings_close(&m);
	config_free(&config);
	return status;
}
