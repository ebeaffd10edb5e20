// SPDX-License-Identifier: MIT
/* What events mean, and whose fault a silence is. All of it pure. */
#include "health.h"

#include "handshake.h"

#include <string.h>

#define MOST_FAILURES 30 /* beyond that they are not counted */

static int64_t at_most(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

/* Half or twice what was known is worth a write; the middle, so that jitter soon ends in silence. */
static bool measured(struct health *h, uint32_t rtt_us)
{
	if (rtt_us == 0 || (h->rtt_us && rtt_us / 2 <= h->rtt_us && h->rtt_us / 2 <= rtt_us))
		return false;
	h->rtt_us = h->rtt_us ? h->rtt_us / 2 + rtt_us / 2 : rtt_us;
	return true;
}

/* A converter that has asked for patience goes on answering what it took on before (P-29). */
static bool answered(struct health *h, const struct health_event *e, int64_t now_ms)
{
	bool is_news = h->failures > 0 || h->alone_until_ms > 0;

	if (h->asked && now_ms < h->alone_until_ms && e->started_ms <= h->failed_ms)
		return measured(h, e->rtt_us);
	if (e->info && h->mute && h->failures > 0)
		return measured(h, e->rtt_us);
	h->failures = 0;
	h->failed_ms = 0;
	h->alone_until_ms = 0;
	h->probe_until_ms = 0;
	h->prober = 0;
	h->asked = 0;
	h->mute = 0;
	return measured(h, e->rtt_us) || is_news;
}

/* No failure of its own, but it holds. The same a hundred times in a second is no news. */
static bool prolonged(struct health *h, int64_t until_ms)
{
	bool is_news = !h->asked || until_ms - h->alone_until_ms >= HEALTH_FIRST_MS;

	if (!is_news)
		return false;
	h->asked = 1;
	if (h->alone_until_ms < until_ms)
		h->alone_until_ms = until_ms;
	return true;
}

static bool failed(struct health *h, const struct health_event *e, int64_t now_ms)
{
	int64_t delay = e->delay_s > 0	? at_most(e->delay_s * 1000LL, HEALTH_DELAY_MAX) :
			e->delay_s == 0 ? HEALTH_DELAY_MS :
					  0;

	if (h->failures > 0 && e->started_ms <= h->failed_ms)
		return delay > 0 && prolonged(h, now_ms + delay);
	/* by a process that did not know yet that it is left alone: no news, and no longer for it */
	if (h->failures > 0 && delay == 0 && e->started_ms < h->alone_until_ms)
		return false;
	if (h->failures < MOST_FAILURES)
		h->failures++;
	h->asked = delay > 0;
	h->mute = e->info;
	if (delay == 0)
		delay = at_most((int64_t)HEALTH_FIRST_MS << (h->failures - 1), e->retry_ms);
	h->failed_ms = now_ms;
	h->alone_until_ms = now_ms + delay;
	h->probe_until_ms = 0;
	h->prober = 0;
	return true;
}

static bool set_byte(uint8_t *byte, unsigned int to)
{
	bool changed = *byte != to;

	*byte = (uint8_t)to;
	return changed;
}

static bool offers(struct health *h, struct cvt_span kinds)
{
	uint8_t now_offers[32] = { 0 };
	bool is_news = !h->has_offers;

	for (size_t i = 0; i < kinds.len; i++)
		now_offers[kinds.p[i] / 8] |= (uint8_t)(1U << kinds.p[i] % 8);
	now_offers[0] &= (uint8_t)~1U; /* padding */
	is_news |= memcmp(h->offers, now_offers, sizeof(now_offers)) != 0;
	memcpy(h->offers, now_offers, sizeof(now_offers));
	h->has_offers = 1;
	for (size_t i = 0; i < sizeof(h->refuses); i++) {
		is_news |= (h->refuses[i] & now_offers[i]) != 0;
		h->refuses[i] &= (uint8_t)~now_offers[i];
	}
	return is_news;
}

static bool refuses(struct health *h, struct cvt_span kinds)
{
	bool is_news = false;

	for (size_t i = 0; i < kinds.len; i++) {
		uint8_t kind = kinds.p[i];

		is_news |= kind && !health_has_kind(h->refuses, kind);
		h->refuses[kind / 8] |= (uint8_t)(kind ? 1U << kind % 8 : 0);
	}
	return is_news;
}

static bool keep_cookie(struct health *h, struct cvt_span cookie)
{
	size_t len = cookie.len <= HEALTH_COOKIE_MAX ? cookie.len : 0;

	if (h->convert_cookie_len == len &&
	    (len == 0 || memcmp(h->convert_cookie, cookie.p, len) == 0))
		return false;
	memset(h->convert_cookie, 0, sizeof(h->convert_cookie));
	if (len)
		memcpy(h->convert_cookie, cookie.p, len);
	h->convert_cookie_len = (uint16_t)len;
	return true;
}

/* A SYN that had to be sent again says nothing of that. */
static bool is_stripped(struct health *h, const struct health_event *e)
{
	if (e->path == HEALTH_MPTCP || (e->way == HEALTH_LOSES && !e->stripped))
		return false;
	return set_byte(&h->stripped, e->way == HEALTH_LOSES);
}

static bool went(struct health *h, const struct health_event *e)
{
	enum health_path path = e->path;
	enum health_way way = e->way, was;
	bool is_news;

	if (path >= HEALTH_N_PATHS)
		return false;
	was = (enum health_way)h->way[path];
	is_news = is_stripped(h, e);
	if (way == HEALTH_PASSES && (was == HEALTH_WORKS || was == HEALTH_HOLDS))
		way = was;

	if (way == HEALTH_LOSES && h->lost[path] < HEALTH_LOST_MAX) {
		h->lost[path]++;
		if (h->lost[path] < HEALTH_LOST_MAX)
			return true; /* once is an accident */
		is_news = true;
	} else {
		is_news |= way != HEALTH_LOSES && set_byte(&h->lost[path], 0);
	}
	return set_byte(&h->way[path], way) || is_news;
}

static bool probed(struct health *h, const struct health_event *e, int64_t now_ms)
{
	if (health_advise(h, now_ms) != HEALTH_PROBE &&
	    !(e->again && now_ms >= h->probe_until_ms && health_may_again(h, now_ms)))
		return false;
	h->probe_until_ms = now_ms + at_most(e->probe_ms, HEALTH_DELAY_MAX);
	return true;
}

static bool unprobed(struct health *h)
{
	bool is_news = h->probe_until_ms > 0;

	h->probe_until_ms = 0;
	h->prober = 0;
	return is_news;
}

bool health_apply(struct health *h, const struct health_event *e, int64_t now_ms)
{
	health_age(h, now_ms);
	if (h->learned_ms == 0 && e->kind != HEALTH_FAILED && e->kind != HEALTH_PROBED &&
	    e->kind != HEALTH_UNPROBED)
		h->learned_ms = now_ms; /* knowledge that was empty is of today */
	switch (e->kind) {
	case HEALTH_ANSWERED:
		return answered(h, e, now_ms);
	case HEALTH_FAILED:
		return failed(h, e, now_ms);
	case HEALTH_SPEAKS:
		return set_byte(&h->dialect, 1U + e->dialect);
	case HEALTH_OFFERS:
		return offers(h, e->bytes);
	case HEALTH_REFUSES:
		return refuses(h, e->bytes);
	case HEALTH_COOKIE:
		return keep_cookie(h, e->bytes);
	case HEALTH_WAY:
		return went(h, e);
	case HEALTH_SEEN:
		h->learned_ms = now_ms;
		return true;
	case HEALTH_TAKES:
		return set_byte(&h->takes_options, 1);
	case HEALTH_PROBED:
		return probed(h, e, now_ms);
	case HEALTH_UNPROBED:
		return unprobed(h);
	}
	return false;
}

int64_t health_share_ns(int64_t left_ns, unsigned int n, uint32_t rtt_us)
{
	int64_t share_ns = left_ns / (1 + (int64_t)n), least_ns = 3000LL * rtt_us;

	return at_most(share_ns > least_ns ? share_ns : least_ns, left_ns);
}

int health_delay_s(uint8_t code, struct cvt_span value)
{
	uint8_t as = hs_error_as(code);
	uint64_t delay = 0;

	if (as != CVT_ERR_RESOURCE && as != CVT_ERR_NETWORK)
		return HEALTH_NO_DELAY;
	if (as != code) /* nobody knows what that value is */
		return 0;
	for (size_t i = 0; i < value.len; i++)
		delay = delay > HEALTH_DELAY_MAX ? delay : delay << 8 | value.p[i];
	return delay > HEALTH_DELAY_MAX / 1000 ? HEALTH_DELAY_MAX / 1000 : (int)delay;
}

void health_age(struct health *h, int64_t now_ms)
{
	if (h->failed_ms > now_ms)
		h->failed_ms = 0;
	if (h->alone_until_ms > now_ms + HEALTH_DELAY_MAX)
		h->alone_until_ms = 0;
	if (h->probe_until_ms > now_ms + HEALTH_DELAY_MAX)
		h->probe_until_ms = 0;
	if (h->learned_ms <= now_ms && now_ms - h->learned_ms < HEALTH_KEEP_MS)
		return;
	*h = (struct health){
		.failed_ms = h->failed_ms,
		.alone_until_ms = h->alone_until_ms,
		.probe_until_ms = h->probe_until_ms,
		.failures = h->failures,
		.prober = h->prober,
		.rtt_us = h->rtt_us,
		.asked = h->asked,
		.mute = h->mute,
	};
}

bool health_is_sane(const struct health *h)
{
	for (int i = 0; i < HEALTH_N_PATHS; i++) {
		if (h->way[i] > HEALTH_PASSES || h->lost[i] > HEALTH_LOST_MAX)
			return false;
	}
	/* no moment before 1970, so that differences fit */
	return h->failed_ms >= 0 && h->alone_until_ms >= 0 && h->probe_until_ms >= 0 &&
	       h->learned_ms >= 0 && h->failures <= MOST_FAILURES &&
	       h->convert_cookie_len <= HEALTH_COOKIE_MAX && h->dialect <= 1 + CVT_DIALECT_HYBRID &&
	       h->has_offers <= 1 && h->stripped <= 1 && h->takes_options <= 1 && h->asked <= 1 &&
	       h->mute <= 1;
}

enum health_advice health_advise(const struct health *h, int64_t now_ms)
{
	if (now_ms < h->alone_until_ms)
		return HEALTH_LEAVE;
	if (h->failures == 0)
		return HEALTH_USE;
	return now_ms < h->probe_until_ms ? HEALTH_LEAVE : HEALTH_PROBE;
}

bool health_may_again(const struct health *h, int64_t now_ms)
{
	return h->failures > 0 && !h->asked && now_ms - h->failed_ms >= HEALTH_FIRST_MS;
}

bool health_may_send(const struct health *h, uint8_t kind)
{
	return !health_has_kind(h->refuses, kind) &&
	       (!h->has_offers || health_has_kind(h->offers, kind));
}

/* ------------------------------------------------------------- whose fault is it? */

enum blame blame(const struct blame_facts *f)
{
	if (f->has_begun) /* whoever begins to answer knows what to say */
		return BLAME_CONVERTER;
	if (f->has_syn_ack && !f->has_sent)
		return BLAME_NOBODY;
	if (!f->has_sent || (f->has_syn_ack && !f->has_ack))
		return f->is_alive ? BLAME_NOBODY : BLAME_PATH;
	if (f->is_alive) /* without a SYN+ACK, too: it may be holding it */
		return BLAME_SERVER;
	if (!f->was_asked)
		return BLAME_UNCLEAR;
	return f->has_syn_ack ? BLAME_CONVERTER : BLAME_PATH;
}

bool blame_counts(enum blame b)
{
	return b != BLAME_SERVER && b != BLAME_NOBODY;
}

const char *blame_text(enum blame b)
{
	static const char *const texts[] = {
		[BLAME_NOBODY] = "no reply in time",
		[BLAME_SERVER] = "no reply in time, by the server's silence",
		[BLAME_CONVERTER] = "no reply in time",
		[BLAME_PATH] = "no reply in time, and nothing else from there",
		[BLAME_UNCLEAR] = "no reply in time",
	};

	return texts[b];
}
