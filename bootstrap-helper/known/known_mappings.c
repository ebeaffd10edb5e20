// SPDX-License-Identifier: MIT
#include "known.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "text.h"
#include "map.h"

/* NULL: no converter has this address. */
static const char *name_of(const struct config *config, const struct addr *server)
{
	for (size_t i = 0; i < config->n_converters; i++)
		for (size_t k = 0; k < config->converters[i].n_addrs; k++)
			if (addr_equal_ip(&config->converters[i].addrs[k], server))
				return config->converters[i].name;
	return NULL;
}

static int64_t left_s(const struct mapping_record *r, int64_t now_ms)
{
	return r->until_ms > now_ms ? (r->until_ms - now_ms + 999) / 1000 : 0;
}

static void print_one(const struct mapping_record *r, const char *name, bool is_kept,
		      int64_t now_ms)
{
	char server[ADDR_TEXT_MAX], external[ADDR_TEXT_MAX], why[MAP_TEXT_MAX];
	int64_t s = left_s(r, now_ms);

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

void known_mappings_print(const struct config *config)
{
	size_t n;
	struct mapping_record *all = mappings_file_read(&n);
	int64_t now_ms = mappings_now_ms();
	bool is_kept = mappings_file_is_locked();

	for (size_t i = 0; i < n; i++) {
		bool kept = is_kept && !all[i].is_left;

		if (kept || left_s(&all[i], now_ms))
			print_one(&all[i], name_of(config, &all[i].server), kept, now_ms);
	}
	free(all);
}

static json_t *address(const struct addr *a)
{
	char text[ADDR_TEXT_MAX];

	addr_format(a, text);
	return json_text(text);
}

static json_t *one_as_json(const struct mapping_record *r, const char *name, bool is_kept,
			   int64_t now_ms)
{
	json_t *o = json_object();
	bool answered = r->result != MAPPING_NO_ANSWER && !r->err;
	int64_t s = left_s(r, now_ms);

	json_put(o, "server", address(&r->server));
	json_put(o, "name", json_text(name));
	json_put(o, "client", address(&r->client));
	json_put(o, "external", s ? address(&r->external) : json_null());
	json_put(o, "lifetime_s", json_integer(s));
	json_put(o, "kept", json_boolean(is_kept));
	json_put(o, "result", answered ? json_integer(r->result) : json_null());
	json_put(o, "result_name",
		 json_text(answered ? pcp_result_name((uint8_t)r->result) : NULL));
	json_put(o, "error", json_text(r->err ? errno_name(r->err) : NULL));
	return o;
}

json_t *known_mappings_json(const struct config *config)
{
	size_t n;
	struct mapping_record *all = mappings_file_read(&n);
	int64_t now_ms = mappings_now_ms();
	bool is_kept = mappings_file_is_locked();
	json_t *array = json_array();

	for (size_t i = 0; i < n; i++) {
		bool kept = is_kept && !all[i].is_left;

		if (kept || left_s(&all[i], now_ms))
			json_add(array, one_as_json(&all[i], name_of(config, &all[i].server), kept,
						    now_ms));
	}
	free(all);
	return array;
}
