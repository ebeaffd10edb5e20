// SPDX-License-Identifier: MIT
#include "targets.h"

#include <stdlib.h>

#include "health.h"
#include "route.h"

bool targets_look(struct target *t)
{
	struct target before = *t;

	t->has_route = route_lookup(&t->to, NULL, &t->route);
	t->at_home = t->has_route && pol_is_at_home(t->converter, &t->route);
	t->network = t->has_route ? health_network(&t->route) : 0;
	return t->network != before.network || t->at_home != before.at_home;
}

struct target *targets_find(const struct config *config, size_t *n)
{
	struct target *all;
	size_t most = 0;

	*n = 0;
	for (size_t i = 0; i < config->n_converters; i++)
		most += config->converters[i].n_addrs;
	all = most ? calloc(most, sizeof(*all)) : NULL;
	for (size_t i = 0; all && i < config->n_converters; i++) {
		const struct config_converter *c = &config->converters[i];

		for (size_t k = 0; k < c->n_addrs; k++) {
			all[*n] = (struct target){ .converter = c, .to = c->addrs[k] };
			targets_look(&all[(*n)++]);
		}
	}
	return all;
}
