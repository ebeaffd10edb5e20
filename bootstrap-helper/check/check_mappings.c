// SPDX-License-Identifier: MIT
#include "check_mappings.h"

#include <poll.h>

#include "judge.h"
#include "map.h"

/* A request that is lost is repeated after three seconds. */
#define WAIT_MS 5000
#define TRIAL_S 120 /* what is made for a look does not stay long, whatever becomes of us */
#define END_MS	1000

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

void check_mappings(struct findings *f, const struct config *config)
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
