// SPDX-License-Identifier: MIT
/* What a probe of a converter means. Middleboxes are called by their names. */
#include "check.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "text.h"

enum { KIND_MPTCP = 30 };

static double ms(uint32_t us)
{
	return us / 1000.0;
}

static bool offers(const struct probe *p, uint8_t kind)
{
	return p->has_offers && memchr(p->offers, kind, p->n_offers);
}

/* ------------------------------------------------------------------------ its network */

/* Of the two keys that which says otherwise, or both. */
static void mend_network(struct finding *found, const struct judge_converter *j, const char *source)
{
	struct config_converter only = *j->converter;

	only.n_from = 0;
	if (!pol_is_at_home(&only, &j->route))
		finding_mend(found, "interface = %s", j->route.interface);
	only = *j->converter;
	only.n_interfaces = 0;
	if (!pol_is_at_home(&only, &j->route))
		finding_mend(found, "from = %s", source);
}

/* False: it is not for here. */
static bool judge_network(struct findings *f, const struct judge_converter *j)
{
	struct finding *found;
	char source[ADDR_TEXT_MAX], to[ADDR_TEXT_MAX];

	judge_ip(j->to, to);
	judge_ip(&j->route.source, source);
	if (!j->has_route) {
		found = finding_add(f, "route", FINDING_PROBLEM, "there is no route to it");
		finding_mend_as_root(found, "ip route add %s via ROUTER", to);
		return false;
	}
	if (!j->is_at_home) {
		found = finding_add(
			f, "network", FINDING_NOTE,
			"not used here: packets to it leave by %s from %s, and \"from\" "
			"or \"interface\" says otherwise",
			j->route.interface, source);
		mend_network(found, j, source);
	} else if (j->converter->n_from == 0 && j->converter->n_interfaces == 0) {
		found = finding_add(f, "network", FINDING_NOTE,
				    "used in every network: nothing in the protocol proves that it "
				    "is the right converter");
		finding_mend(found, "interface = %s", j->route.interface);
	} else {
		found = finding_add(f, "network", FINDING_OK, "packets to it leave by %s from %s",
				    j->route.interface, source);
	}
	finding_word(found, "interface", j->route.interface);
	return j->is_at_home;
}

/* ------------------------------------------------------------------- does it answer? */

static void unreachable(struct findings *f, const struct judge_converter *j)
{
	char to[ADDR_TEXT_MAX], interface[FINDING_QUOTED];
	struct finding *found;

	judge_ip(j->to, to);
	if (j->has_plain && j->plain.verdict == PROBE_WORKS) {
		found = finding_add(
			f, "mptcp-dropped", FINDING_PROBLEM,
			"a middlebox drops SYNs with MPTCP's option: none was answered, "
			"and one without it was");
		finding_mend(found, "mptcp = off");
	} else if (j->probe.err == ECONNREFUSED) {
		found = finding_add(f, "reachable", FINDING_PROBLEM,
				    "refused: nobody listens there, or a firewall says so");
		finding_mend(found, "port = PORT");
	} else if (j->probe.err == ETIMEDOUT) {
		found = finding_add(
			f, "reachable", FINDING_PROBLEM,
			"no answer within %.1f s: it is down, its address is another one, "
			"or a firewall drops the packets",
			j->timeout_ms / 1000.0);
		finding_mend_as_root(found, "tcpdump -n -i %s host %s and tcp port %u",
				     finding_quote(j->route.interface, interface), to, j->to->port);
	} else {
		found = finding_add(f, "reachable", FINDING_PROBLEM, "not reachable: %s",
				    strerror(j->probe.err));
		finding_mend(found, "ip route get %s", to);
	}
	finding_word(found, "error", errno_name(j->probe.err) ?: "");
}

/* It did not answer in this dialect; has it answered in another one? */
static bool other_dialect(struct findings *f, const struct judge_converter *j)
{
	struct finding *found;

	if (!j->has_auto || j->automatic.verdict != PROBE_WORKS ||
	    j->automatic.dialect == j->converter->dialect)
		return false;
	found = finding_add(
		f, "dialect", FINDING_PROBLEM, "it speaks %s, and the configuration says %s",
		cvt_dialect_name(j->automatic.dialect), cvt_dialect_name(j->converter->dialect));
	finding_mend(found, "dialect = %s", cvt_dialect_name(j->automatic.dialect));
	finding_word(found, "dialect", cvt_dialect_name(j->automatic.dialect));
	return true;
}

static void wrong_cookie(struct findings *f)
{
	struct finding *found = finding_add(f, "convert-cookie", FINDING_PROBLEM,
					    "the Convert cookie is not the right one");

	finding_mend(found, "cookie = @FILE");
	finding_flag(found, "known", true);
}

static void refuses(struct findings *f, const struct judge_converter *j)
{
	uint8_t code = j->probe.error_code, as = hs_error_as(code);
	struct finding *found;

	if (other_dialect(f, j))
		return;
	if (j->probe.cookie_refused) {
		wrong_cookie(f);
		return;
	}
	found = finding_add(f, "refuses", FINDING_PROBLEM, "it refuses: %s (%u)",
			    cvt_err_name(code), code);
	finding_number(found, "error_code", code);
	if (as == CVT_ERR_NOT_AUTHORIZED || as == CVT_ERR_MISSING_COOKIE)
		finding_mend(found, "cookie = @FILE");
	else if (as == CVT_ERR_RESOURCE || as == CVT_ERR_NETWORK)
		finding_mend(found, "sleep %d; convert-bootstrap check%s",
			     j->probe.delay_s > 0 ? j->probe.delay_s : HEALTH_DELAY_MS / 1000,
			     f->again);
	else
		finding_mend(found, "dialect = auto");
}

/* Nothing but a Connect can say, and none was tried by way of it. */
static void may_convert(struct findings *f, const struct judge_converter *j)
{
	struct finding *found = finding_add(
		f, "reply", FINDING_NOTE,
		"it takes the connection and sends no reply to Info (%s): it does not serve that, "
		"or no converter is behind that port. A request shows which",
		strerror(j->probe.err));

	finding_mend(found, "convert-bootstrap check%s HOST", f->again);
	if (!j->converter->dialect_is_auto)
		finding_mend(found, "dialect = auto");
}

static void no_reply(struct findings *f, const struct judge_converter *j)
{
	struct finding *found;

	if (other_dialect(f, j))
		return;
	if (j->is_open) {
		may_convert(f, j);
		return;
	}
	if (j->probe.verdict == PROBE_STRANGE)
		found = finding_add(f, "reply", FINDING_PROBLEM,
				    "what answers there is no converter: its reply is no Convert "
				    "message (%s)",
				    cvt_verdict_name(j->probe.parse));
	else
		found = finding_add(f, "reply", FINDING_PROBLEM,
				    "it takes the connection and sends no reply (%s): no converter "
				    "is behind that port, or it wants something else",
				    strerror(j->probe.err));
	finding_mend(found, "port = PORT");
	if (!j->converter->dialect_is_auto)
		finding_mend(found, "dialect = auto");
}

/* The request that has come through it is the better witness. */
static void converts_all_the_same(struct findings *f, const struct judge_converter *j)
{
	char text[PROBE_TEXT_MAX];

	probe_failure(&j->probe, text);
	finding_add(f, "reply", FINDING_OK, "it converts, although it does not serve Info (%s)",
		    text);
}

static bool judge_answer(struct findings *f, const struct judge_converter *j)
{
	struct finding *found;

	if (j->converts && j->probe.verdict != PROBE_WORKS &&
	    j->probe.verdict != PROBE_UNREACHABLE) {
		converts_all_the_same(f, j);
		return true;
	}
	switch (j->probe.verdict) {
	case PROBE_WORKS:
		found = finding_add(f, "reachable", FINDING_OK,
				    "answers: handshake %.1f ms, reply %.1f ms after the request",
				    ms(j->probe.handshake_us), ms(j->probe.reply_us));
		finding_number(found, "handshake_us", j->probe.handshake_us);
		finding_number(found, "reply_us", j->probe.reply_us);
		finding_number(found, "connections", j->probe.connections);
		return true;
	case PROBE_UNREACHABLE:
		unreachable(f, j);
		return false;
	case PROBE_REFUSES:
		refuses(f, j);
		return false;
	case PROBE_MUTE:
	case PROBE_STRANGE:
		no_reply(f, j);
		return false;
	case PROBE_STOPPED:
		break;
	}
	return false;
}

/* --------------------------------------------------------------------- what it speaks */

static void judge_dialect(struct findings *f, const struct judge_converter *j)
{
	const struct probe *p = &j->probe;
	struct finding *found;

	if (!p->has_dialect)
		return;
	if (!j->converter->dialect_is_auto && p->dialect != j->converter->dialect) {
		found = finding_add(f, "dialect", FINDING_PROBLEM,
				    "it speaks %s, and the configuration says %s",
				    cvt_dialect_name(p->dialect),
				    cvt_dialect_name(j->converter->dialect));
		finding_mend(found, "dialect = %s", cvt_dialect_name(p->dialect));
	} else {
		found = finding_add(f, "dialect", FINDING_OK, "speaks %s",
				    cvt_dialect_name(p->dialect));
	}
	finding_word(found, "dialect", cvt_dialect_name(p->dialect));
	finding_number(found, "probes", p->probes);
}

static void judge_cookie(struct findings *f, const struct judge_converter *j)
{
	bool known = j->probe.convert_cookie_len > 0;
	struct finding *found;

	if (!j->probe.has_dialect)
		return;
	if (j->probe.cookie_refused) {
		wrong_cookie(f);
		return;
	}
	found = finding_add(f, "convert-cookie", FINDING_OK,
			    known ? "wants a Convert cookie, which is known" :
				    "wants no Convert cookie");
	finding_flag(found, "known", known);
}

static void judge_offers(struct findings *f, const struct judge_converter *j)
{
	char list[240] = "";
	size_t len = 0;

	if (j->probe.no_info)
		finding_add(f, "extensions", FINDING_OK,
			    "does not say which TCP options it offers: Info is not served");
	if (!j->probe.has_offers)
		return;
	for (size_t i = 0; i < j->probe.n_offers && len + KINDS_TEXT_MAX + 6 < sizeof(list); i++) {
		char kind[KINDS_TEXT_MAX];

		kinds_format(j->probe.offers[i], kind);
		len += (size_t)snprintf(list + len, sizeof(list) - len, "%s%s", len ? ", " : "",
					kind);
	}
	finding_add(f, "extensions", FINDING_OK, "offers %s", len ? list : "no TCP option");
}

/* --------------------------------------------------------------------------- 0-RTT */

static void no_cookie_came(struct findings *f)
{
	struct finding *found = finding_add(
		f, "tfo-stripped", FINDING_PROBLEM,
		"no 0-RTT: the SYN asked for a Fast Open cookie and none came back. A "
		"middlebox strips the Fast Open option (34), or the converter has Fast "
		"Open switched off");

	finding_mend(found, "sysctl -w net.ipv4.tcp_fastopen=3   # in the converter");
	finding_mend(found, "fast-open = no-cookie   # if it takes data without");
}

/* The path stays as it is; what can be mended is what programs do about it. */
static enum finding_verdict lost_verdict(const struct judge_converter *j)
{
	return j->is_known_to_lose ? FINDING_OK : FINDING_PROBLEM;
}

static const char *lost_words(const struct judge_converter *j)
{
	return j->is_known_to_lose ? ". Programs know it, and do not try" : "";
}

static void mend_lost(const struct findings *f, struct finding *found)
{
	if (found->verdict != FINDING_OK)
		finding_mend(found, "convert-bootstrap run%s   # tells programs not to try",
			     f->again);
}

static void data_not_acked(struct findings *f, const struct judge_converter *j)
{
	struct finding *found;

	if (j->probe.syn_data_bare) {
		found = finding_add(
			f, "syn-data-refused", FINDING_PROBLEM,
			"no 0-RTT: data in a SYN without a Fast Open cookie is not taken");
		finding_mend(found, "fast-open = cookie");
		return;
	}
	found = finding_add(
		f, "syn-data-stripped", lost_verdict(j),
		"no 0-RTT: the converter gives Fast Open cookies, and yet what was in the "
		"SYN was not acknowledged, %u times in a row. A middlebox strips the data "
		"of a SYN, or the cookie's option (34)%s",
		j->probe.syn_data_lost, lost_words(j));
	mend_lost(f, found);
	finding_number(found, "times", j->probe.syn_data_lost);
}

static void data_lost(struct findings *f, const struct judge_converter *j)
{
	struct finding *found = finding_add(
		f, "syn-data-dropped", lost_verdict(j),
		"no 0-RTT: a SYN with data got no answer, the same one sent again without "
		"data did, %u times in a row. A middlebox drops SYNs with data, and each "
		"costs a second%s",
		j->probe.syn_data_lost, lost_words(j));

	mend_lost(f, found);
	finding_number(found, "times", j->probe.syn_data_lost);
}

static void judge_syn_data(struct findings *f, const struct judge_converter *j)
{
	const struct probe *p = &j->probe;
	struct finding *found;

	if (p->tfo_cookie == PROBE_TFO_OFF) {
		found = finding_add(f, "0-rtt", FINDING_PROBLEM,
				    "no 0-RTT: this kernel's Fast Open is switched off");
		finding_mend_as_root(found, "sysctl -w net.ipv4.tcp_fastopen=1");
	} else if (p->syn_data == PROBE_SYN_ACKED) {
		found = finding_add(f, "0-rtt", FINDING_OK,
				    "0-RTT: data in the SYN was acknowledged%s",
				    p->syn_data_bare ? ", without a Fast Open cookie" : "");
		finding_flag(found, "bare", p->syn_data_bare);
	} else if (p->syn_data == PROBE_SYN_LOST) {
		data_lost(f, j);
	} else if (j->has_again && j->again.syn_data == PROBE_SYN_ACKED &&
		   !j->again.syn_data_bare) {
		/* RFC 7413, 4.1.1; Linux tries it when 34 was not answered */
		found = finding_add(f, "0-rtt", FINDING_OK,
				    "0-RTT, from the second connection on and by Fast Open's "
				    "experimental option (254): a middlebox strips option 34");
		finding_flag(found, "bare", false);
	} else if (p->tfo_cookie == PROBE_TFO_NONE) {
		no_cookie_came(f);
	} else if (p->syn_data == PROBE_SYN_NOT_ACKED) {
		data_not_acked(f, j);
	} else {
		found = finding_add(f, "0-rtt", FINDING_NOTE,
				    "0-RTT was not tried: there is no Fast Open cookie yet");
		finding_mend(found, "convert-bootstrap check%s", f->again);
	}
}

/* --------------------------------------------------------------------------- MPTCP */

static void judge_mptcp(struct findings *f, const struct judge_converter *j)
{
	const struct probe *p = &j->probe;
	const char *why = multipath_text(j->gain);
	struct finding *found;

	if (p->mptcp == PROBE_MPTCP_WORKS) {
		found = finding_add(f, "converter-mptcp", FINDING_OK, "speaks Multipath TCP%s%s",
				    why ? "; connections to it are TCP, as " : "", why ? why : "");
		finding_flag(found, "gains", !why);
	} else if (p->mptcp == PROBE_MPTCP_FALLBACK && offers(p, KIND_MPTCP)) {
		found = finding_add(
			f, "mptcp-stripped", FINDING_PROBLEM,
			"offers Multipath TCP, and yet the connection is TCP: a middlebox "
			"strips MPTCP's option (30)");
		finding_mend(found, "mptcp = off   # unless it can be told not to");
	} else if (p->mptcp == PROBE_MPTCP_FALLBACK) {
		found = finding_add(f, "converter-mptcp", FINDING_NOTE,
				    "speaks no Multipath TCP: connections to it are TCP");
		finding_mend(found, "mptcp = off");
	}
	if (!probe_held_us(p) || why)
		return;
	found = finding_add(
		f, "reply-held", FINDING_NOTE,
		"over Multipath TCP its reply to data in a SYN is held back, as Linux does it%s: "
		"%.1f ms more for each connection",
		p->holds ? ", so programs send none there" : "", ms(probe_held_us(p)));
	finding_number(found, "held_us", probe_held_us(p));
	finding_mend(found, "mptcp = off   # if the round trip matters more");
}

static void judge_left_alone(struct findings *f, const struct judge_converter *j)
{
	struct finding *found;

	if (j->left_alone_ms <= 0)
		return;
	found = finding_add(f, "left-alone", FINDING_NOTE,
			    "programs leave it alone for %lld s more, as it has %s",
			    (long long)(j->left_alone_ms + 999) / 1000,
			    j->asked ? "asked for that itself (error 64 or 65)" : "failed them");
	if (j->asked)
		finding_advise(found,
			       "nothing has to be done: they use it again when that is over");
	else if (j->mute)
		finding_advise(found,
			       "it answers this and no program: has it a way to the servers?");
	else
		finding_mend(found, "convert-bootstrap run%s", f->again);
}

void judge_converter(struct findings *f, const struct judge_converter *j)
{
	char to[ADDR_TEXT_MAX];

	addr_format(j->to, to);
	findings_about(f, "converter %s, %s", j->converter->name, to);
	if (!judge_network(f, j) || !judge_answer(f, j))
		return;
	judge_dialect(f, j);
	judge_cookie(f, j);
	judge_offers(f, j);
	judge_syn_data(f, j);
	judge_mptcp(f, j);
	judge_left_alone(f, j);
}
