// SPDX-License-Identifier: MIT
#include "probe.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const char *sign_text(enum hs_sign sign)
{
	static const char *const texts[] = {
		[HS_SIGN_NONE] = "nothing",
		[HS_SIGN_MAGIC] = "the magic number in its header",
		[HS_SIGN_TYPE_22] = "a Supported TLV of type 22",
		[HS_SIGN_DRAFT_ECHO] = "where the echo in its error begins",
		[HS_SIGN_RFC_ERROR] = "an error as only the RFC has it, behind a zero header word",
		[HS_SIGN_ZERO_WORD] = "the zero header word; draft-02 and hybrid have that",
	};

	return texts[sign];
}

/* "0-RTT", or why not. */
static const char *zero_rtt_text(const struct probe *p)
{
	if (p->holds)
		return "0-RTT, but not with MPTCP";
	if (p->tfo_cookie == PROBE_TFO_OFF)
		return "no 0-RTT: Fast Open is off in this kernel";
	switch (p->syn_data) {
	case PROBE_SYN_ACKED:
		return p->syn_data_bare ? "0-RTT without a cookie" : "0-RTT";
	case PROBE_SYN_NOT_ACKED:
		return p->tfo_cookie == PROBE_TFO_NONE ? "no 0-RTT: no Fast Open cookie is given" :
							 "no 0-RTT: SYN data is not acknowledged";
	case PROBE_SYN_LOST:
		return "no 0-RTT: SYNs with data are lost";
	case PROBE_SYN_UNTRIED:
		break;
	}
	return p->tfo_cookie == PROBE_TFO_NONE ? "no 0-RTT: no Fast Open cookie is given" :
						 "0-RTT not tried";
}

static const char *mptcp_text(const struct probe *p)
{
	static const char *const texts[] = {
		[PROBE_MPTCP_UNTRIED] = "TCP",
		[PROBE_MPTCP_OFF] = "TCP: this kernel has no MPTCP",
		[PROBE_MPTCP_WORKS] = "MPTCP",
		[PROBE_MPTCP_FALLBACK] = "TCP: MPTCP is not answered",
	};

	return texts[p->mptcp];
}

void probe_failure(const struct probe *p, char out[static PROBE_TEXT_MAX])
{
	switch (p->verdict) {
	case PROBE_UNREACHABLE:
		snprintf(out, PROBE_TEXT_MAX, "no connection: %s", strerror(p->err));
		break;
	case PROBE_STRANGE:
		snprintf(out, PROBE_TEXT_MAX, "what it says is no Convert message: %s",
			 cvt_verdict_name(p->parse));
		break;
	case PROBE_REFUSES:
		snprintf(out, PROBE_TEXT_MAX, "it refuses: %s%s%s%s", cvt_err_name(p->error_code),
			 p->cookie_refused ? ", the cookie is not right" : "",
			 p->has_dialect ? ", dialect " : "",
			 p->has_dialect ? cvt_dialect_name(p->dialect) : "");
		break;
	case PROBE_MUTE:
		snprintf(out, PROBE_TEXT_MAX, "connected, but no reply to Info: %s",
			 p->err == ECONNRESET ? "it closes the connection" : strerror(p->err));
		break;
	case PROBE_WORKS:
	case PROBE_STOPPED:
		snprintf(out, PROBE_TEXT_MAX, "stopped");
		break;
	}
}

/* What replies that are held back cost: none is waited for, or it is. */
uint32_t probe_held_us(const struct probe *p)
{
	return p->holds ? p->handshake_us : p->held_us;
}

void probe_summary(const struct probe *p, char out[static PROBE_TEXT_MAX])
{
	char held[80] = "";

	if (probe_held_us(p))
		snprintf(held, sizeof(held),
			 ", where replies to SYN data are held back: %.0f ms more",
			 probe_held_us(p) / 1000.0);
	if (p->verdict == PROBE_WORKS)
		snprintf(out, PROBE_TEXT_MAX, "%s, %.*f ms, %s, %s%s%s",
			 cvt_dialect_name(p->dialect), p->handshake_us < 10000 ? 2 : 0,
			 p->handshake_us / 1000.0, zero_rtt_text(p), mptcp_text(p), held,
			 p->no_info ? ", Info is not served" : "");
	else
		probe_failure(p, out);
}

static void print_offers(const struct probe *p)
{
	fputs("    offers        ", stdout);
	for (unsigned int i = 0; i < p->n_offers; i++)
		printf("%s%u", i ? ", " : "", p->offers[i]);
	puts(!p->has_offers ? "not told" : p->n_offers ? "" : "none");
}

void probe_print_details(const struct probe *p)
{
	static const char *const cookies[] = {
		[PROBE_TFO_UNKNOWN] = "no cookie asked for",
		[PROBE_TFO_HELD] = "the kernel holds a cookie",
		[PROBE_TFO_NONE] = "asked for a cookie, no TFO option came back",
		[PROBE_TFO_OFF] = "off, net.ipv4.tcp_fastopen has not bit 1",
	};
	static const char *const data[] = {
		[PROBE_SYN_UNTRIED] = "not sent",
		[PROBE_SYN_ACKED] = "acknowledged by the SYN+ACK",
		[PROBE_SYN_NOT_ACKED] = "not acknowledged: refused, or stripped on the way",
		[PROBE_SYN_LOST] = "lost with its SYN; one without data came through",
	};

	if (p->has_dialect) {
		printf("    dialect       %s, by %s\n", cvt_dialect_name(p->dialect),
		       sign_text(p->sign));
		print_offers(p);
		printf("    cookie        %s\n", p->convert_cookie_len ? "known" : "none");
	}
	printf("    Fast Open     %s\n", cookies[p->tfo_cookie]);
	printf("    SYN data      %s\n", data[p->syn_data]);
	if (p->reply_us)
		printf("    reply         after %.*f ms\n", p->reply_us < 10000 ? 2 : 0,
		       p->reply_us / 1000.0);
	printf("    connections   %u, %u of them for the dialect\n", p->connections, p->probes);
}
