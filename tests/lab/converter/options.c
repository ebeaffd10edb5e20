// SPDX-License-Identifier: MIT
/* One table holds every option's name, argument, help and setter; parser and --help read it. */
#include "converter.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pcp.h"

static int number(const char *text, unsigned int least, unsigned int most, unsigned int *out)
{
	unsigned long n;
	char *end;

	if (!isdigit((unsigned char)*text))
		return -EINVAL;
	errno = 0;
	n = strtoul(text, &end, 10);
	if (errno || *end || n < least || n > most)
		return -EINVAL;
	*out = (unsigned int)n;
	return 0;
}

/* The place of a word in a list that may have gaps; -EINVAL: it is not there. */
static int choose(const char *const *names, size_t n, const char *arg)
{
	for (size_t i = 0; i < n; i++)
		if (names[i] && strcmp(names[i], arg) == 0)
			return (int)i;
	return -EINVAL;
}

#define CHOOSE(names, arg) choose(names, sizeof(names) / sizeof((names)[0]), arg)

/* "[v6]:port", "[v6]", "v4:port", "v4", and "v6" bare: more than one colon, no bracket. port: the
 * default. */
static int parse_place(struct addr *a, const char *arg, unsigned int port)
{
	char ip[64];
	size_t len = strlen(arg);
	const char *colon = strrchr(arg, ':');

	if (arg[0] == '[' ? colon && colon[-1] == ']' : colon && strchr(arg, ':') == colon) {
		if (number(colon + 1, 1, 65535, &port) < 0)
			return -EINVAL;
		len = (size_t)(colon - arg);
	}
	if (arg[0] == '[') {
		if (arg[len - 1] != ']')
			return -EINVAL;
		arg++;
		len -= 2;
	}
	if (len >= sizeof(ip))
		return -EINVAL;
	memcpy(ip, arg, len);
	ip[len] = '\0';
	a->port = (uint16_t)port;
	return addr_parse(a, ip);
}

static int set_listen(struct options *o, const char *arg)
{
	int err = o->listens == OPT_LISTEN_MAX ? -ENOSPC :
						 parse_place(&o->listen[o->listens], arg, OPT_PORT);

	o->listens += err == 0;
	return err;
}

/* "PORT=CLIENT:PORT", or "ADDR:PORT=CLIENT:PORT" for one address alone. */
static int set_incoming(struct options *o, const char *arg)
{
	const char *equals = strchr(arg, '=');
	struct addr external = { .port = 0 }, client;
	char text[64];
	unsigned int port;

	if (o->n_incoming == OPT_LISTEN_MAX || !equals || (size_t)(equals - arg) >= sizeof(text))
		return -EINVAL;
	memcpy(text, arg, (size_t)(equals - arg));
	text[equals - arg] = '\0';
	if (number(text, 1, 65535, &port) == 0)
		external.port = (uint16_t)port;
	else if (parse_place(&external, text, 0) < 0 || !external.port)
		return -EINVAL;
	if (parse_place(&client, equals + 1, 0) < 0 || !client.port)
		return -EINVAL;
	o->incoming[o->n_incoming].external = external;
	o->incoming[o->n_incoming++].client = client;
	return 0;
}

static int set_pcp_external(struct options *o, const char *arg)
{
	struct addr a = { .port = 0 };
	int err = addr_parse(&a, arg);

	if (!err)
		o->pcp.external[addr_is_v4(&a) ? 0 : 1] = a;
	return err;
}

static int add_prefix(struct addr_prefix *list, size_t *n, const char *arg)
{
	int err;

	if (*n == OPT_PREFIX_MAX)
		return -ENOSPC;
	err = addr_parse_prefix(&list[*n], arg);
	*n += err == 0;
	return err;
}

static int set_allow(struct options *o, const char *arg)
{
	return add_prefix(o->allow, &o->allows, arg);
}

static int set_deny_to(struct options *o, const char *arg)
{
	return add_prefix(o->deny_to, &o->denies, arg);
}

static int set_dialect(struct options *o, const char *arg)
{
	static const char *const names[] = { [CVT_DIALECT_RFC8803] = "rfc8803",
					     [CVT_DIALECT_DRAFT02] = "draft-02",
					     [CVT_DIALECT_HYBRID] = "hybrid" };
	int i = CHOOSE(names, arg);

	if (i < 0)
		return i;
	o->dialect = (enum cvt_dialect)i;
	return 0;
}

static int set_supported_type(struct options *o, const char *arg)
{
	unsigned int n;
	int err = number(arg, CVT_TLV_SUPPORTED, CVT_TLV_COOKIE, &n);

	o->supported_type = err ? CVT_TLV_SUPPORTED : (uint8_t)n;
	return err;
}

static int set_fast_open(struct options *o, const char *arg)
{
	static const char *const names[] = { [FAST_OPEN_NO_COOKIE] = "no-cookie",
					     [FAST_OPEN_COOKIE] = "cookie",
					     [FAST_OPEN_OFF] = "off" };
	int i = CHOOSE(names, arg);

	if (i < 0)
		return i;
	o->fast_open = (enum opt_fast_open)i;
	return 0;
}

static int set_no_fast_open(struct options *o, const char *arg)
{
	(void)arg;
	o->fast_open = FAST_OPEN_OFF;
	return 0;
}

static int set_wrong_word(struct options *o, const char *arg)
{
	static const char *const names[] = { [WRONG_WORD_ERROR] = "error",
					     [WRONG_WORD_RESET] = "reset",
					     [WRONG_WORD_SILENCE] = "silence" };
	int i = CHOOSE(names, arg);

	if (i < 0)
		return i;
	o->wrong_word = (enum opt_wrong_word)i;
	return 0;
}

static int set_ext_header(struct options *o, const char *arg)
{
	static const char *const names[] = { [EXT_HEADER_REQUIRED] = "required",
					     [EXT_HEADER_ALWAYS] = "always",
					     [EXT_HEADER_NEVER] = "never" };
	int i = CHOOSE(names, arg);

	if (i < 0)
		return i;
	o->ext_header = (enum opt_ext_header)i;
	return 0;
}

static int set_no_info(struct options *o, const char *arg)
{
	static const char *const names[] = {
		[ANSWER_ERROR2] = "error", [ANSWER_SILENCE] = "silent"
	};
	int i = CHOOSE(names, arg);

	if (i < 0)
		return i;
	o->info = (enum opt_answer)i;
	return 0;
}

static int set_base_only(struct options *o, const char *arg)
{
	static const char *const names[] = { [ANSWER_ERROR1] = "error1",
					     [ANSWER_ERROR2] = "error2",
					     [ANSWER_CLOSE] = "close",
					     [ANSWER_SILENCE] = "silent" };
	int i = CHOOSE(names, arg);

	if (i < 0)
		return i;
	o->extended = (enum opt_answer)i;
	return 0;
}

/* 0-3, 5 and 29 must not be announced (S-03, S-08), but a test may want a converter that does. */
static int set_kinds(struct options *o, const char *arg)
{
	char *copy = strdup(arg), *save = NULL;
	unsigned int kind;
	int err = copy ? 0 : -ENOMEM;

	o->n_kinds = 0;
	if (strcmp(arg, "none") != 0)
		for (char *s = copy ? strtok_r(copy, ",", &save) : NULL; s && !err;
		     s = strtok_r(NULL, ",", &save)) {
			err = o->n_kinds == OPT_KINDS_MAX ? -ENOSPC : number(s, 0, 255, &kind);
			if (!err)
				o->kinds[o->n_kinds++] = (uint8_t)kind;
		}
	free(copy);
	return err;
}

static int set_cookie(struct options *o, const char *arg)
{
	size_t len = strlen(arg);

	if (len == 0 || len > OPT_COOKIE_MAX)
		return -EINVAL;
	/* on the wire a cookie is whole words (PROTOCOL 1.4) */
	memset(o->cookie, 0, sizeof(o->cookie));
	memcpy(o->cookie, arg, len);
	o->cookie_len = (len + 3) / 4 * 4;
	if (o->cookie_mode == COOKIE_NONE)
		o->cookie_mode = COOKIE_PROVISIONED;
	return 0;
}

static int set_cookie_required(struct options *o, const char *arg)
{
	(void)arg;
	o->cookie_mode = COOKIE_REQUIRED;
	return 0;
}

static int set_hold_error(struct options *o, const char *arg)
{
	o->hold_error_tlv = strcmp(arg, "tlv") == 0;
	return o->hold_error_tlv || strcmp(arg, "rst") == 0 ? 0 : -EINVAL;
}

static int set_ready_fd(struct options *o, const char *arg)
{
	unsigned int n;
	int err = number(arg, 0, 1 << 20, &n);

	o->ready_fd = err ? -1 : (int)n;
	return err;
}

static int set_fault(struct options *o, const char *arg)
{
	return fault_parse(&o->fault, arg);
}

/* A member that needs no code of its own: exactly one of flag, number and text is set. */
#define SET(fn)	  .set = (fn)
#define FLAG(m)	  .flag = offsetof(struct options, m) + 1
#define NUMBER(m) .number = offsetof(struct options, m) + 1
#define TEXT(m)	  .text = offsetof(struct options, m) + 1

static const struct option_row {
	const char *name, *arg, *help;
	int (*set)(struct options *o, const char *arg);
	size_t flag, number, text; /* offset + 1, or 0 */
	unsigned int least, most;
} rows[] = {
	{ "listen", "ADDR[:PORT]", "serve clients here; [IPv6]:PORT; repeatable; port 5124",
	  SET(set_listen) },
	{ "allow", "PREFIX", "serve only clients in PREFIX; repeatable; at least one is needed",
	  SET(set_allow) },
	{ "deny-to", "PREFIX", "refuse targets in PREFIX with Error 32; repeatable",
	  SET(set_deny_to) },
	{ "allow-loopback", NULL, "let a Connect name a loopback target (else Error 1)",
	  FLAG(allow_loopback) },
	{ "incoming", "[ADDR:]PORT=CLIENT:PORT",
	  "connections to this port of ours go to a client's; repeatable", SET(set_incoming) },
	{ "pcp", NULL,
	  "serve PCP on each --listen (RFC 6887, UDP 5351): clients open external TCP ports",
	  FLAG(pcp.on) },
	{ "pcp-external", "ADDR", "where those are; one of IPv4 and one of IPv6, at least one",
	  SET(set_pcp_external) },
	{ "pcp-port", "N", "another UDP port", NUMBER(pcp.port), .least = 1, .most = 65535 },
	{ "pcp-least", "SECONDS", "shortest lifetime of a mapping (default 120)",
	  NUMBER(pcp.least_s), .least = 1, .most = 86400 },
	{ "pcp-most", "SECONDS", "longest (default 3600)", NUMBER(pcp.most_s), .least = 1,
	  .most = 86400 },
	{ "pcp-quota", "N", "mappings of a client, then USER_EX_QUOTA (default 16)",
	  NUMBER(pcp.quota), .least = 0, .most = OPT_PCP_MAPPINGS },
	{ "pcp-result", "CODE", "each MAP request is refused with this result", NUMBER(pcp.result),
	  .least = 1, .most = 255 },
	{ "pcp-error-lifetime", "SECONDS", "of every error (default 30 or 1800, by its kind)",
	  NUMBER(pcp.error_s), .least = 1, .most = 86400 },
	{ "pcp-version", "N", "another than 2: each request gets UNSUPP_VERSION",
	  NUMBER(pcp.version), .least = 0, .most = 255 },
	{ "pcp-epoch", "SECONDS", "where the epoch begins (default 0)", NUMBER(pcp.epoch_s),
	  .least = 0, .most = 1000000 },
	{ "pcp-drop", "N", "the first N requests get no answer", NUMBER(pcp.drop), .least = 0,
	  .most = 1000000 },
	{ "pcp-quiet", NULL, "no ANNOUNCE to all hosts at the start", FLAG(pcp.quiet) },
	{ "dialect", "NAME", "rfc8803 (default), draft-02 or hybrid", SET(set_dialect) },
	{ "lenient", NULL, "accept either header word; answer in the own dialect", FLAG(lenient) },
	{ "wrong-word", "ANSWER",
	  "to the other header word, if not lenient: error (Error 1, default), reset, silence",
	  SET(set_wrong_word) },
	{ "supported-type", "21|22", "type of the Supported TLV in draft-02 (default 21)",
	  SET(set_supported_type) },
	{ "draft-rst", NULL, "draft-02: fail with a bare RST, not an Error TLV and FIN",
	  FLAG(draft_rst) },
	{ "kinds", "K,K,...|none", "TCP option kinds that are announced (default 30,34)",
	  SET(set_kinds) },
	{ "ext-header", "WHEN",
	  "Extended TCP Header TLV: required (by the dialect, default), always, never",
	  SET(set_ext_header) },
	{ "fastopen", "MODE", "no-cookie (default), cookie or off", SET(set_fast_open) },
	{ "no-fastopen", NULL, "the same as --fastopen off", SET(set_no_fast_open) },
	{ "mptcp", NULL, "listen with MPTCP; bind to a wildcard if subflows shall join",
	  FLAG(mptcp) },
	{ "mptcp-down", NULL, "connect to servers with MPTCP always", FLAG(mptcp_down) },
	{ "cookie-required", NULL, "demand a Cookie TLV: absent Error 3, wrong Error 32",
	  SET(set_cookie_required) },
	{ "cookie", "TEXT", "this cookie, not one computed per client; alone: absent is Error 32",
	  SET(set_cookie) },
	{ "cookie-at", "BYTE",
	  "look for the Cookie TLV only at this byte of the message: 24 is right behind a Connect "
	  "without options; elsewhere it counts as absent",
	  NUMBER(cookie_at), .least = CVT_HEADER_LEN, .most = CVT_MSG_MAX - CVT_HEADER_LEN },
	{ "no-info", "error|silent",
	  "serve no Info (Bootstrap) TLV: the message gets Error 2, or no answer at all",
	  SET(set_no_info) },
	{ "base-only", "error1|error2|close|silent",
	  "serve no Connect with TCP options: Error 1 or 2, FIN, or no answer at all",
	  SET(set_base_only) },
	{ "max-connections", "N", "then Error 64 (default 4096)", NUMBER(max_connections),
	  .least = 1, .most = 100000 },
	{ "max-pending", "N",
	  "unanswered requests per client address, then Error 64 (default 1024)",
	  NUMBER(max_pending), .least = 1, .most = 100000 },
	{ "max-errors", "N",
	  "error messages per second and client address, then only RST (default 0: no limit)",
	  NUMBER(max_errors), .least = 0, .most = 100000 },
	{ "retry-after", "SECONDS", "value of Error 64 and 65 (default 0: as the client likes)",
	  NUMBER(retry_after), .least = 0, .most = 255 },
	{ "request-timeout", "MS", "for the whole Convert message (default 10000)",
	  NUMBER(request_timeout_ms), .least = 1, .most = 3600000 },
	{ "connect-timeout", "MS",
	  "then Error 97 code 1, of IPv6 code 3 (default 0: the kernel's, minutes)",
	  NUMBER(connect_timeout_ms), .least = 0, .most = 3600000 },
	{ "idle-timeout", "SECONDS",
	  "RST to both sides after so long without a byte (default 7200)", NUMBER(idle_timeout_s),
	  .least = 1, .most = 1000000 },
	{ "hold", NULL, "hold the client's SYN (NFQUEUE) until the server has answered; needs root",
	  FLAG(hold) },
	{ "hold-queue", "N", "NFQUEUE number (default 5124)", NUMBER(hold_queue), .least = 0,
	  .most = 65535 },
	{ "hold-error", "rst|tlv", "a held SYN's failure: RST (default), or accept and Error TLV",
	  SET(set_hold_error) },
	{ "no-capture", NULL, "do not look at the server's SYN+ACK; rebuild it from TCP_INFO",
	  FLAG(no_capture) },
	{ "fault", "SPEC", "what goes wrong with the reply, see below; repeatable",
	  SET(set_fault) },
	{ "pid-file", "FILE", "write the process id there; removed at exit", TEXT(pid_file) },
	{ "ready-fd", "N", "write \"ready\\n\" to this descriptor once listening, and close it",
	  SET(set_ready_fd) },
	{ "ready-file", "FILE", "the same into a file", TEXT(ready_file) },
	{ "log", "FILE|stderr", "events, one line each (default stderr)", TEXT(log) },
	{ "verbose", NULL, "also what is only of interest when something is wrong; -v",
	  FLAG(verbose) },
	{ "help", NULL, "this text; -h", SET(NULL) },
};

#define N_ROWS (sizeof(rows) / sizeof(rows[0]))

static void print_help(void)
{
	printf("Usage: lab-converter --listen ADDR[:PORT] --allow PREFIX [OPTION...]\n\n"
	       "A Transport Converter (0-RTT TCP Convert Protocol) for tests, on kernel "
	       "sockets.\n\n");
	for (size_t i = 0; i < N_ROWS; i++)
		printf("  --%s%s%s\n          %s\n", rows[i].name, rows[i].arg ? " " : "",
		       rows[i].arg ? rows[i].arg : "", rows[i].help);
	fputs("\nFaults, comma-joined:\n"
	      "  split=N gap=MS         the reply in pieces of N bytes, MS apart\n"
	      "  delay=MS               the reply comes later\n"
	      "  late=MS                a SYN that is not held: the server is asked later\n"
	      "  error=CODE[:HEX]       an Error TLV in place of a successful reply\n"
	      "  raw=HEX raw-relay=HEX  these bytes in place of the reply; then FIN, or relay\n"
	      "  silence close rst      no reply; FIN or RST in place of it\n"
	      "  unread                 closed unread when it is accepted: FIN, or RST if it has "
	      "bytes\n"
	      "  random                 another fault for each connection, often none\n"
	      "  keep-syn               with --hold: a held SYN is not let in when its server "
	      "accepts\n"
	      "  eager                  the reply is sent before the third ACK: Linux keeps it "
	      "back\n"
	      "  cut=N cut-rst=N        only N bytes of the reply, then FIN or RST\n"
	      "  drop-after=N           RST after N bytes of the server's data\n"
	      "\nEvents in the log, t=SECONDS ev=NAME conn=ID key=value...\n"
	      "  start    listen dialect mptcp fastopen hold capture pid (one per listener)\n"
	      "  held     client local bytes (a SYN that waits; --hold)\n"
	      "  accept   client local syn_data=yes|no mptcp=yes|no held=yes|no\n"
	      "  request  info cookie connect=yes|no target opts=KINDS|- not_sent=KINDS|- bytes\n"
	      "           (not_sent: options that user space cannot put into a SYN)\n"
	      "  down     target mptcp=yes|no fastopen=no|ask|data early (the downstream SYN; "
	      "early:\n"
	      "           bytes of user data in it)\n"
	      "  reply    bytes header=captured|rebuilt|none supported mp_capable "
	      "down_mptcp=yes|no\n"
	      "  error    code name why icmp=TYPE|- bytes (the request failed)\n"
	      "  ignored  conn why (there will be no answer)\n"
	      "  close    outcome c2s s2c ms (bytes each way, life in ms)\n"
	      "  incoming remote external client in_syn mptcp=yes|no (in_syn: bytes of the message "
	      "in\n"
	      "           the SYN to the client)\n"
	      "  answer   bytes (the client has accepted it)\n"
	      "  pcp      opcode client port asked result lifetime external (a request; "
	      "result=none: "
	      "dropped)\n"
	      "  unmap    client external why=expired|deleted|stop\n"
	      "  refuse   open (more than --max-connections and the spare ones: RST)\n"
	      "  note     what\n"
	      "  stop     connections replies errors open\n"
	      "outcome of a close: ok error info fault silence not-served client-gone client-reset "
	      "server-reset\n"
	      "  idle request-timeout no-request hold-refused hold-gone local remote-gone "
	      "no-answer\n",
	      stdout);
}

static int store(struct options *o, const struct option_row *row, const char *arg)
{
	char *base = (char *)o;

	if (row->set)
		return row->set(o, arg);
	if (row->number)
		return number(arg, row->least, row->most,
			      (unsigned int *)(void *)(base + row->number - 1));
	if (row->text)
		*(const char **)(void *)(base + row->text - 1) = arg;
	else
		*(bool *)(void *)(base + row->flag - 1) = true;
	return 0;
}

static int complain(const char *name, const char *arg, const char *expected)
{
	fprintf(stderr, "lab-converter: --%s%s%s: expected %s\n", name, arg ? " " : "",
		arg ? arg : "", expected);
	return -EINVAL;
}

static void set_defaults(struct options *o)
{
	memset(o, 0, sizeof(*o));
	o->supported_type = CVT_TLV_SUPPORTED;
	o->kinds[0] = CVT_OPT_MPTCP;
	o->kinds[1] = CVT_OPT_FAST_OPEN;
	o->n_kinds = 2;
	addr_parse(&o->pcp.external[0], "0.0.0.0");
	o->pcp.port = PCP_PORT;
	o->pcp.version = PCP_VERSION;
	o->pcp.least_s = 120;
	o->pcp.most_s = 3600;
	o->pcp.quota = 16;
	o->max_connections = 4096;
	o->max_pending = 1024;
	o->request_timeout_ms = 10000;
	o->idle_timeout_s = 7200;
	o->hold_queue = OPT_PORT;
	o->ready_fd = -1;
	o->log = "stderr";
}

/* What no single option can know. */
static int check_together(const struct options *o)
{
	if (!o->listens)
		return complain("listen", NULL, "at least one ADDR[:PORT] to serve");
	if (!o->allows)
		return complain("allow", NULL, "at least one client PREFIX: this is no open proxy");
	if (o->pcp.on && addr_classify(&o->pcp.external[0]) == ADDR_UNSPECIFIED &&
	    addr_classify(&o->pcp.external[1]) == ADDR_UNSPECIFIED)
		return complain("pcp", NULL, "a --pcp-external as well");
	if (o->pcp.least_s > o->pcp.most_s)
		return complain("pcp-least", NULL, "no more than --pcp-most");
	if (o->cookie_mode != COOKIE_NONE && o->dialect == CVT_DIALECT_DRAFT02)
		return complain("cookie", NULL, "no draft-02: it has no Cookie TLV");
	if (o->cookie_at && o->cookie_mode == COOKIE_NONE)
		return complain("cookie-at", NULL, "--cookie or --cookie-required");
	if (o->draft_rst && o->dialect != CVT_DIALECT_DRAFT02)
		return complain("draft-rst", NULL, "--dialect draft-02");
	if (o->supported_type != CVT_TLV_SUPPORTED && o->dialect != CVT_DIALECT_DRAFT02)
		return complain("supported-type", "22", "--dialect draft-02");
	if (o->hold && o->fast_open == FAST_OPEN_OFF)
		return complain("hold", NULL, "Fast Open: without it no SYN carries a message");
	return 0;
}

int options_parse(struct options *o, int argc, char **argv)
{
	struct option table[N_ROWS + 1] = { 0 };
	int c, index = 0;

	set_defaults(o);
	for (size_t i = 0; i < N_ROWS; i++) {
		table[i].name = rows[i].name;
		table[i].has_arg = rows[i].arg ? required_argument : no_argument;
		table[i].val = (int)i + 256;
	}
	while ((c = getopt_long(argc, argv, "hv", table, &index)) != -1) {
		const struct option_row *row = c >= 256 ? &rows[c - 256] : NULL;

		if (c == 'h' || (row && strcmp(row->name, "help") == 0)) {
			print_help();
			return 1;
		}
		if (c == 'v')
			o->verbose = true;
		else if (!row)
			return -EINVAL; /* getopt_long has said which */
		else if (store(o, row, optarg) < 0)
			return complain(row->name, optarg, row->help);
	}
	if (optind < argc) {
		fprintf(stderr, "lab-converter: '%s': expected only options, see --help\n",
			argv[optind]);
		return -EINVAL;
	}
	return check_together(o);
}
