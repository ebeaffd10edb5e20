// SPDX-License-Identifier: MIT
/* top - who is connected to what, now and again. */
#include "top.h"

#include <curses.h>
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base.h"
#include "clock.h"

#define DELAY_NS  3000000000
#define SHARE	  150 /* of the time between two looks one of so many parts may go into a look */
#define DELAY_MAX 3600.0
#define HEAD	  3    /* lines */
#define GONE	  (-2) /* no key of curses' */

static int failed(int err)
{
	fprintf(stderr, "the kernel cannot be asked for its sockets: %s\n", strerror(-err));
	return BOOTSTRAP_FAILED;
}

static int show_once(struct connections *c, const struct config *config, bool as_json)
{
	struct top_columns t;
	char line[TOP_LINE];
	int err = connections_look(c, config);

	if (err < 0)
		return failed(err);
	if (as_json) {
		top_json(c);
		return BOOTSTRAP_OK;
	}
	t = top_columns(c, 0);
	t.rate = false;
	top_summary(line, c);
	puts(line);
	top_limits(line, c);
	if (*line)
		puts(line);
	if (c->n)
		top_heading(line, t);
	if (c->n)
		puts(line);
	for (size_t i = 0; i < c->n; i++) {
		top_connection(line, t, &c->all[i]);
		puts(line);
		for (size_t k = 0; k < top_paths(&c->all[i]); k++) {
			top_path(line, t, c, &c->all[i].paths[k]);
			puts(line);
		}
	}
	return BOOTSTRAP_OK;
}

/* -------------------------------------------------------------------------- the screen */

static size_t lines_of(const struct connections *c)
{
	size_t n = c->n;

	for (size_t i = 0; i < c->n; i++)
		n += top_paths(&c->all[i]);
	return n;
}

static void put(int y, const char *line)
{
	mvaddnstr(y, 0, line, COLS);
	clrtoeol();
}

static void draw_head(const struct connections *c, struct top_columns t)
{
	char line[TOP_LINE], now[16];
	time_t s = time(NULL);

	top_summary(line, c);
	put(0, line);
	if (strftime(now, sizeof(now), "%T", localtime(&s)) &&
	    (size_t)COLS > strlen(line) + strlen(now))
		mvaddstr(0, COLS - (int)strlen(now), now);
	top_limits(line, c);
	put(1, line);
	top_heading(line, t);
	attron(A_REVERSE);
	mvprintw(2, 0, "%-*.*s", COLS, COLS, line);
	attroff(A_REVERSE);
}

/* from: the first line of all that is shown */
static void draw(const struct connections *c, size_t from)
{
	struct top_columns t = top_columns(c, COLS);
	char line[TOP_LINE];
	size_t at = 0, end = from + (size_t)(LINES > HEAD ? LINES - HEAD : 0);

	draw_head(c, t);
	move(HEAD, 0);
	clrtobot();
	if (c->n == 0)
		put(HEAD, "no program has a TCP connection to elsewhere");
	for (size_t i = 0; i < c->n && at < end; i++) {
		const struct connection *k = &c->all[i];
		size_t n = 1 + top_paths(k);

		for (size_t line_of_it = 0; line_of_it < n && at < end; line_of_it++, at++) {
			if (at < from)
				continue;
			if (line_of_it == 0)
				top_connection(line, t, k);
			else
				top_path(line, t, c, &k->paths[line_of_it - 1]);
			put(HEAD + (int)(at - from), line);
		}
	}
	move(0, 0); /* it is drawn, also where a terminal cannot hide its cursor */
	refresh();
}

static size_t scrolled(size_t from, int key, size_t lines)
{
	size_t page = LINES > HEAD + 1 ? (size_t)(LINES - HEAD) : 1,
	       most = lines > page ? lines - page : 0;

	switch (key) {
	case KEY_DOWN:
		from++;
		break;
	case KEY_UP:
		from -= from > 0;
		break;
	case KEY_NPAGE:
	case ' ':
		from += page;
		break;
	case KEY_PPAGE:
		from -= from < page ? from : page;
		break;
	case KEY_HOME:
		from = 0;
		break;
	case KEY_END:
		from = most;
		break;
	default:
		break;
	}
	return from < most ? from : most;
}

/* Until the next look. Without a wish: as top(1), and as much less often as it takes to stay below a
 * hundredth of a processor. */
static int64_t delay_ns(double wish_s)
{
	static int64_t before_ns;
	int64_t used_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
	int64_t least_ns = before_ns ? (used_ns - before_ns) * SHARE :
				       0; /* the first look is dear */

	before_ns = used_ns;
	if (wish_s > 0)
		return (int64_t)(wish_s * 1e9);
	return least_ns > DELAY_NS ? least_ns : DELAY_NS;
}

/* Of a terminal that is gone curses says at once, and for ever, that there is no key. */
static int wait_key(int64_t ns)
{
	struct pollfd fds[] = { { .fd = STDIN_FILENO, .events = POLLIN },
				{ .fd = STDOUT_FILENO, .events = 0 } };
	int key = getch(), n; /* what it has read already */

	if (key != ERR)
		return key;
	n = poll(fds, 2, (int)(ns / 1000000) + 1);
	key = getch();
	return key == ERR && n > 0 ? GONE : key;
}

static int watch_screen(struct connections *c, const struct config *config, double delay_s)
{
	int64_t next_ns = 0, left_ns;
	size_t from = 0;
	int key = ERR, err = 0;

	timeout(0);
	while (key != 'q' && key != 'Q') {
		if (key == GONE)
			return -ENOTTY;
		left_ns = next_ns - clock_ns(CLOCK_MONOTONIC);
		if (left_ns <= 0) {
			err = connections_look(c, config);
			if (err < 0)
				return err;
			left_ns = delay_ns(delay_s);
			next_ns = clock_ns(CLOCK_MONOTONIC) + left_ns;
		}
		from = scrolled(from, key, lines_of(c));
		draw(c, from);
		key = wait_key(left_ns);
	}
	return 0;
}

static int show_live(struct connections *c, const struct config *config, double delay_s)
{
	SCREEN *screen = newterm(NULL, stdout, stdin);
	int err;

	if (!screen) {
		fprintf(stderr, "this terminal is not known (TERM); --once needs none\n");
		return BOOTSTRAP_FAILED;
	}
	cbreak();
	noecho();
	keypad(stdscr, true);
	curs_set(0);
	err = watch_screen(c, config, delay_s);
	endwin();
	delscreen(screen);
	if (err == -ENOTTY) {
		fputs("the terminal is gone: expected one that stays, or --once\n", stderr);
		return BOOTSTRAP_FAILED;
	}
	return err < 0 ? failed(err) : BOOTSTRAP_OK;
}

/* ---------------------------------------------------------------------- the command line */

const char top_usage[] = "Usage: convert-bootstrap top [-c FILE] [-d SECONDS | --delay SECONDS | "
			 "--once | -j | --json]\n";

static bool parse_delay(const char *text, double *delay_s)
{
	char *end;

	*delay_s = strtod(text, &end);
	return (*text && !*end && *delay_s >= 0.1 && *delay_s <= DELAY_MAX) ||
	       option_is_wrong("top", "-d", text, "0.1 to 3600 seconds");
}

int top_main(int argc, char **argv)
{
	static const struct option longer[] = { { "json", no_argument, NULL, 'j' },
						{ "once", no_argument, NULL, '1' },
						{ "delay", required_argument, NULL, 'd' },
						{ 0 } };
	struct connections c = { .all = NULL };
	bool ok = true, once = !isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO), as_json = false;
	const char *file = NULL;
	double delay_s = 0;
	struct config config;
	int option, status;

	while ((option = getopt_long(argc, argv, "c:d:j", longer, NULL)) != -1) {
		if (option == 'c')
			file = optarg;
		else if (option == 'd')
			ok &= parse_delay(optarg, &delay_s);
		ok &= option != '?';
		as_json |= option == 'j';
		once |= option == 'j' || option == '1';
	}
	if (!ok || optind != argc || (file && !*file)) {
		fputs(top_usage, stderr);
		return BOOTSTRAP_USAGE;
	}
	status = load_config(&config, file);
	if (status == BOOTSTRAP_OK) {
		config_use_state(&config);
		status = once ? show_once(&c, &config, as_json) : show_live(&c, &config, delay_s);
	}
	connections_free(&c);
	config_free(&config);
	return status;
}
