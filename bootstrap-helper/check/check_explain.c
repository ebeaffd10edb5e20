// SPDX-License-Identifier: MIT
/* check --explain - where would a connection go, and why? The library's own code decides. */
#include "check.h"

#include <netdb.h>
#include <string.h>
#include <sys/socket.h>

#include "health.h"
#include "policy.h"
#include "paths.h"
#include "servers.h"

/* Cuts "HOST", "HOST:PORT", "[ADDRESS]:PORT" and "ADDRESS"; without a port it is HTTPS. */
static void split(const char *text, char host[static 256], char port[static 8])
{
	const char *colon = strrchr(text, ':'), *bracket = strrchr(text, ']');
	bool has_port = colon && (bracket ? colon > bracket : strchr(text, ':') == colon);
	size_t len = has_port ? (size_t)(colon - text) : strlen(text);

	snprintf(port, 8, "%.7s", has_port ? colon + 1 : "443");
	if (len >= 2 && text[0] == '[' && text[len - 1] == ']') {
		text++;
		len -= 2;
	}
	snprintf(host, 256, "%.*s", (int)len, text);
}

struct asked {
	const struct config *config;
	bool despite; /* of a converter that has failed, too: nothing else will do */
};

/* As a program's connection would ask, only that nobody becomes the one that tries it. */
static enum pol_reason usable(const struct addr *via, void *arg)
{
	const struct asked *asked = arg;
	int64_t now_ms = state_now_ms();
	struct health_key key;
	struct health h;
	bool stripped, left;

	health_where(via, route_lookup, now_ms, &key);
	health_find(&key, now_ms, &h);
	stripped = asked->config->strict && h.stripped;
	left = !asked->despite && health_advise(&h, now_ms) == HEALTH_LEAVE;
	explicit_bzero(&h, sizeof(h)); /* it may hold a Convert cookie */
	return stripped ? POL_STRIPPED : left ? POL_LEFT_ALONE : POL_DEFAULT;
}

static struct pol_verdict choose(const struct config *config, const struct addr *to,
				 struct pol_verdict rule, bool despite)
{
	struct asked asked = { .config = config, .despite = despite };

	return pol_choose(
		config, to, addr_is_v4(to) ? AF_INET : AF_INET6, rule,
		(struct pol_facts){ .route = route_lookup, .usable = usable, .arg = &asked });
}

/* Only from where a converter could be used, too. */
static bool is_bypassed(const struct config *config, const struct addr *to, struct pol_verdict rule)
{
	return config->bypass && config->mptcp != CONFIG_MPTCP_OFF &&
	       servers_lookup(to, state_now_ms()) == SERVERS_MPTCP &&
	       choose(config, to, rule, true).action == POL_CONVERT;
}

static void explain_mptcp(struct findings *f, const struct config *config, const struct addr *via)
{
	int64_t now_ms = state_now_ms();
	struct health_key key;
	struct health h;
	enum multipath gain;
	const char *why;
	struct finding *found;

	health_where(via, route_lookup, now_ms, &key);
	health_find(&key, now_ms, &h);
	gain = multipath(&(struct multipath_facts){
		.setting = config->mptcp,
		.is_lost = h.way[HEALTH_MPTCP] == HEALTH_LOSES,
		.paths = paths_to(via, route_lookup, now_ms, NULL),
	});
	explicit_bzero(&h, sizeof(h));
	why = gain == MULTIPATH_ON    ? "mptcp = on" :
	      gain == MULTIPATH_OFF   ? "mptcp = off" :
	      gain == MULTIPATH_GAINS ? "mptcp = auto, and there are several paths" :
					multipath_text(gain);
	found = finding_add(f, "would-multipath", FINDING_OK, "%s: %s",
			    multipath_is(gain) ? "MPTCP" : "TCP", why);
	finding_flag(found, "mptcp", multipath_is(gain));
}

static void explain_rule(struct findings *f, const struct config *config, struct pol_verdict rule)
{
	struct finding *found;

	if (rule.reason == POL_RULE)
		found = finding_add(f, "would-match", FINDING_OK, "%s:%u: this rule says %s",
				    config->file, rule.rule_line,
				    rule.action == POL_CONVERT ? "convert" : "direct");
	else
		found = finding_add(f, "would-match", FINDING_OK, "%s: %s",
				    pol_reason_text(rule.reason),
				    rule.action == POL_CONVERT ? "convert" : "direct");
	finding_number(found, "line", rule.rule_line);
}

static void explain_converter(struct findings *f, const struct config *config,
			      const struct pol_verdict *v)
{
	char text[ADDR_TEXT_MAX];
	struct finding *found;

	addr_format(&v->via, text);
	found = finding_add(f, "would-use", FINDING_OK, "by converter %s, %s", v->converter->name,
			    text);
	finding_word(found, "way", "converter");
	finding_word(found, "converter", v->converter->name);
	finding_word(found, "via", text);
	explain_mptcp(f, config, &v->via);
}

static void explain_way(struct findings *f, const struct config *config, const struct addr *to,
			struct pol_verdict rule)
{
	bool alone = config->fallback == CONFIG_FALLBACK_NONE; /* nothing but a converter will do */
	/* and what no rule says is direct is not made */
	bool fails = config->is_strict && (rule.action == POL_CONVERT || !config->n_converters);
	struct pol_verdict v = rule;
	struct finding *found;

	if (rule.action == POL_CONVERT && is_bypassed(config, to, rule)) {
		found = finding_add(f, "would-use", FINDING_OK,
				    "direct, past the converter: the server speaks MPTCP");
		finding_word(found, "way", "bypass");
		explain_mptcp(f, config, to);
		return;
	}
	if (rule.action == POL_CONVERT)
		v = choose(config, to, rule, false);
	if (v.reason == POL_LEFT_ALONE && alone)
		v = choose(config, to, rule, true);
	if (v.action == POL_CONVERT) {
		explain_converter(f, config, &v);
		return;
	}
	alone &= v.reason == POL_STRIPPED;
	found = finding_add(f, "would-use", FINDING_OK, "%s: %s",
			    fails ? "not at all (CONVERT_STRICT)" :
			    alone ? "not at all" :
				    "direct",
			    pol_reason_text(v.reason));
	finding_word(found, "way", fails || alone ? "none" : "direct");
}

void check_explain(struct findings *f, const struct config *config, const char *to)
{
	const struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
	struct addrinfo *all = NULL;
	char host[256], port[8], text[ADDR_TEXT_MAX];
	int err;

	findings_about(f, "configuration");
	judge_converters(f, config);
	split(to, host, port);
	err = getaddrinfo(host, port, &hints, &all);
	findings_about(f, "%s", to);
	if (err)
		finding_advise(finding_add(f, "would-resolve", FINDING_PROBLEM, "%s: %s", host,
					   gai_strerror(err)),
			       "a name that can be looked up, or an address");
	for (const struct addrinfo *one = all; one; one = one->ai_next) {
		struct pol_verdict rule;
		struct addr a;

		if (addr_from_sockaddr(&a, one->ai_addr, one->ai_addrlen) < 0)
			continue;
		addr_format(&a, text);
		findings_about(f, "to %s", text);
		rule = pol_rule(config, &a);
		explain_rule(f, config, rule);
		explain_way(f, config, &a, rule);
	}
	if (all)
		freeaddrinfo(all);
}
