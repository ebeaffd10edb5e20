// SPDX-License-Identifier: MIT
/*
 * middlebox - a wire with somebody on it who does not like what is new:
 *
 *     middlebox [--delay MS] [--port N] IF1 IF2 [RULE...]
 *
 * It hands every frame of one interface to the other, as delay-line does (line.h), and applies the
 * rules to the TCP segments among them, IPv4 and IPv6, in both directions:
 *
 *     strip-tfo          the Fast Open option of a SYN or SYN+ACK becomes NOPs, as kind 34 and in its
 *                        experimental form, which Linux tries when 34 is not answered
 *     strip-tfo-34       only the former
 *     strip-mptcp        the MPTCP option (30) of any segment becomes NOPs
 *     strip-syn-data     a SYN loses its data
 *     drop-mptcp         a SYN with the MPTCP option is lost
 *     drop-syn-data      a SYN with data is lost
 *     drop-syn-ack-data  a SYN+ACK with data is lost
 *
 * in this order, whatever that of the command line. --port N: only those from or to that port. Lengths
 * and checksums are set right, and a checksum that the virtio header leaves to the interface stays
 * left to it. Prints "ready", and for everything that it did a line "RULE FROM > TO".
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "line.h"
#include "segment.h"

static bool strip_tfo_34(struct segment *s)
{
	return (segment_is_syn(s) || segment_is_syn_ack(s)) &&
	       segment_strip_option(s, SEGMENT_FAST_OPEN);
}

static bool strip_tfo(struct segment *s)
{
	bool found = strip_tfo_34(s);

	return ((segment_is_syn(s) || segment_is_syn_ack(s)) &&
		segment_strip_experiment(s, SEGMENT_FAST_OPEN_EXPERIMENT)) ||
	       found;
}

static bool strip_mptcp(struct segment *s)
{
	return segment_strip_option(s, SEGMENT_MPTCP);
}

static bool strip_syn_data(struct segment *s)
{
	return segment_is_syn(s) && segment_strip_data(s);
}

static bool is_mptcp(struct segment *s)
{
	return segment_is_syn(s) && segment_has_option(s, SEGMENT_MPTCP);
}

static bool is_syn_data(struct segment *s)
{
	return segment_is_syn(s) && s->end > s->data;
}

static bool is_syn_ack_data(struct segment *s)
{
	return segment_is_syn_ack(s) && s->end > s->data;
}

static struct rule {
	const char *name;
	bool (*apply)(struct segment *s); /* whether it was meant, and what it strips is gone */
	bool drops;
	bool is_on;
} rules[] = {
	{ "strip-tfo", strip_tfo, false, false },
	{ "strip-tfo-34", strip_tfo_34, false, false },
	{ "strip-mptcp", strip_mptcp, false, false },
	{ "strip-syn-data", strip_syn_data, false, false },
	{ "drop-mptcp", is_mptcp, true, false },
	{ "drop-syn-data", is_syn_data, true, false },
	{ "drop-syn-ack-data", is_syn_ack_data, true, false },
};

#define N_RULES (sizeof(rules) / sizeof(rules[0]))

static uint16_t only_port;

static bool touch(uint8_t *frame, size_t *len)
{
	char text[SEGMENT_TEXT_MAX];
	struct segment s;
	bool changed = false;

	if (!segment_find(&s, frame, *len) || (only_port && !segment_has_port(&s, only_port)))
		return true;
	for (size_t i = 0; i < N_RULES; i++) {
		if (!rules[i].is_on || !rules[i].apply(&s))
			continue;
		segment_text(&s, text);
		printf("%s %s\n", rules[i].name, text);
		if (rules[i].drops)
			return false;
		changed = true;
	}
	if (changed) {
		segment_mend(&s);
		*len = s.end;
	}
	return true;
}

static _Noreturn void usage(void)
{
	fputs("usage: middlebox [--delay MS] [--port N] INTERFACE INTERFACE [RULE...]\nrules:",
	      stderr);
	for (size_t i = 0; i < N_RULES; i++)
		fprintf(stderr, " %s", rules[i].name);
	fputc('\n', stderr);
	exit(2);
}

static void switch_on(const char *name)
{
	for (size_t i = 0; i < N_RULES; i++) {
		if (strcmp(rules[i].name, name) == 0) {
			rules[i].is_on = true;
			return;
		}
	}
	usage();
}

int main(int argc, char **argv)
{
	static const struct option options[] = { { "delay", required_argument, NULL, 'd' },
						 { "port", required_argument, NULL, 'p' },
						 { 0 } };
	int64_t delay_ns = 0;
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 'd')
			delay_ns = atol(optarg) * 1000000;
		else if (option == 'p')
			only_port = (uint16_t)atoi(optarg);
		else
			usage();
	}
	if (argc - optind < 2)
		usage();
	for (int i = optind + 2; i < argc; i++)
		switch_on(argv[i]);
	setvbuf(stdout, NULL, _IOLBF, 0);
	line_run(argv[optind], argv[optind + 1], delay_ns, touch);
}
