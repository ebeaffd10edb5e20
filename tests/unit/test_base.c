// SPDX-License-Identifier: MIT
/* What the helper says: findings as people and as programs get them, mistakes in a configuration among them, text of
 * any kind as JSON; and addresses with a port as people write them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base.h"
#include "finding.h"
#include "json.h"

/* ------------------------------------------------------------------------------------ findings */

static char file[] = "/tmp/test_base.XXXXXX";
static char shown[16384];
static struct findings f;

/* What print writes to standard output. */
static const char *printed(void (*print)(const struct findings *f))
{
	int saved = dup(STDOUT_FILENO), to = open(file, O_RDWR | O_TRUNC | O_CLOEXEC);
	ssize_t n;

	assert_true(saved >= 0 && to >= 0);
	fflush(stdout);
	dup2(to, STDOUT_FILENO);
	print(&f);
	fflush(stdout);
	dup2(saved, STDOUT_FILENO);
	n = pread(to, shown, sizeof(shown) - 1, 0);
	assert_true(n > 0);
	shown[n] = '\0';
	close(saved);
	close(to);
	return shown;
}

static int end(void **state)
{
	(void)state;
	findings_free(&f);
	return 0;
}

static void for_people(void **state)
{
	struct finding *found;

	(void)state;
	findings_about(&f, "host");
	finding_add(&f, "one", FINDING_OK, "all is well");
	found = finding_add(&f, "two", FINDING_PROBLEM,
			    "a \x1b[31mbell\a and\nmore \xc2\x9b\x33\x31m\xc3\xa9\xc2\xa0");
	finding_mend(found, "first --line %d", 1);
	finding_mend(found, "second line");
	findings_about(&f, "converter");
	found = finding_add(&f, "three", FINDING_NOTE, "words");
	finding_advise(found, "advice");
	assert_string_equal(printed(findings_print),
			    "host\n"
			    "  ok       all is well\n"
			    "  problem  a ?[31mbell? and?more ?31m\xc3\xa9\xc2\xa0\n"
			    "               first --line 1\n"
			    "               second line\n"
			    "converter\n"
			    "  note     words\n"
			    "               advice\n"
			    "1 problem, 1 note\n");
}

/* Commands as they are written are those that were meant, on one line, too. */
static void on_a_line(void **state)
{
	struct finding *found;
	char *line = NULL;
	size_t len;
	FILE *out = open_memstream(&line, &len);

	(void)state;
	findings_about(&f, "state\xc2\x80");
	found = finding_add(&f, "x", FINDING_PROBLEM, "it\nis bad");
	finding_mend(found, "rm -rf one");
	finding_mend(found, "mkdir two");
	finding_print_line(out, found);
	fclose(out);
	assert_string_equal(line, "state?: it is bad; mend: rm -rf one; mkdir two\n");
	free(line);
}

/* Words of every length: no line is too long, and no word is broken that need not be. */
static void no_long_line(void **state)
{
	(void)state;
	for (int width = 1; width < 100; width++) {
		struct finding *found;
		char words[320] = "";
		const char *line;

		while (strlen(words) + (size_t)width + 2 < 300)
			sprintf(words + strlen(words), "%0*d ", width, width);
		words[strlen(words) - 1] = '\0';
		findings_free(&f);
		found = finding_add(&f, "x", FINDING_NOTE, "%s", words);
		finding_advise(found, words);
		line = printed(findings_print);
		assert_non_null(strstr(line, words));
		f.is_for_eyes = true;
		line = printed(findings_print);
		while (*line) {
			size_t len = strcspn(line, "\n");

			assert_true(len <= 80);
			assert_true(len == 0 || line[len - 1] != ' ');
			if (width <= 65 && *line == ' ') /* it ends with a whole word */
				assert_int_equal(atoi(line + len - width), width);
			line += len + 1;
		}
	}
}

/* What is there to be copied is not broken. */
static void long_commands(void **state)
{
	struct finding *found = finding_add(&f, "x", FINDING_NOTE, "y");
	char command[200];

	(void)state;
	memset(command, 'c', sizeof(command) - 1);
	command[sizeof(command) - 1] = '\0';
	finding_mend(found, "%s", command);
	assert_non_null(strstr(printed(findings_print), command));
}

static void for_programs(void **state)
{
	struct finding *found;
	json_t *o;
	char *compact;

	(void)state;
	findings_about(&f, "a\x80");
	found = finding_add(&f, "x", FINDING_PROBLEM, "\"what\"\n");
	finding_mend(found, "first");
	finding_mend(found, "second");
	finding_number(found, "n", INT64_MIN);
	finding_flag(found, "f", true);
	finding_word(found, "w", "word");
	finding_add(&f, "y", FINDING_OK, "%s", "");
	o = json_loads(printed(findings_print_json), 0, NULL);
	assert_non_null(o);
	compact = json_dumps(json_object_get(o, "findings"), JSON_COMPACT);
	assert_string_equal(compact,
			    "[{\"id\":\"x\",\"verdict\":\"problem\",\"about\":\"a\xef\xbf\xbd\","
			    "\"what\":\"\\\"what\\\"\\n\",\"mend\":[\"first\",\"second\"],"
			    "\"values\":{\"n\":-9223372036854775808,\"f\":true,\"w\":\"word\"}},"
			    "{\"id\":\"y\",\"verdict\":\"ok\",\"about\":\"a\xef\xbf\xbd\","
			    "\"what\":\"\",\"mend\":[],\"values\":{}}]");
	assert_int_equal(json_integer_value(json_object_get(o, "problems")), 1);
	assert_int_equal(json_integer_value(json_object_get(o, "notes")), 0);
	free(compact);
	json_decref(o);
}

/* Too long is cut, and nothing else. */
static void cut(void **state)
{
	struct finding *found;
	char words[sizeof(found->what) + 100];

	(void)state;
	memset(words, 'w', sizeof(words) - 1);
	words[sizeof(words) - 1] = '\0';
	findings_about(&f, "%s", words);
	found = finding_add(&f, "x", FINDING_NOTE, "%s", words);
	for (int i = 0; i < 3; i++)
		finding_mend(found, "%s", words);
	finding_word(found, "w", words);
	assert_int_equal(strlen(found->about), sizeof(found->about) - 1);
	assert_int_equal(strlen(found->what), sizeof(found->what) - 1);
	assert_int_equal(strlen(found->mend), sizeof(found->mend) - 1);
	assert_string_equal(found->id, "x");
	assert_int_equal(found->n_values, 1);
}

static int start_all(void **state)
{
	int fd = mkstemp(file);

	(void)state;
	return fd < 0 ? -1 : close(fd);
}

static int end_all(void **state)
{
	(void)state;
	return unlink(file);
}

/* ------------------------------------------------------- mistakes in a configuration */

static void mistake(unsigned int line, const char *what)
{
	struct config_error err = { .file = "/etc/convert.conf", .line = line };

	snprintf(err.what, sizeof(err.what), "%s", what);
	mistake_found(&err, &f);
}

static void mistakes_in_the_order_of_lines(void **state)
{
	(void)state;
	mistake(3, "port = 0: expected a port from 1 to 65535");
	mistake(7, "a line");
	mistake(2, "[converter a] has no address: expected \"address = ...\"");
	mistake(5, "timeout = 5x: expected a number");
	assert_int_equal(f.n, 4);
	assert_string_equal(f.all[0].what, "/etc/convert.conf:2: [converter a] has no address");
	assert_string_equal(f.all[0].mend, "expected \"address = ...\"");
	assert_string_equal(f.all[1].what, "/etc/convert.conf:3: port = 0");
	assert_string_equal(f.all[2].what, "/etc/convert.conf:5: timeout = 5x");
	assert_string_equal(f.all[3].what, "/etc/convert.conf:7: a line");
	mistake(0, "no such file");
	assert_int_equal(findings_count(&f, FINDING_PROBLEM), 5);
	for (size_t i = 0; i < f.n; i++) {
		assert_true(strlen(f.all[i].what) < sizeof(f.all[i].what) - 1);
		assert_true(strlen(f.all[i].mend) < sizeof(f.all[i].mend) - 1);
		assert_true(f.all[i].mend[0] != '\0');
	}
}

/* --------------------------- JSON: what is no UTF-8 is replaced, all else comes back as it was */

#define R "\xef\xbf\xbd"

/* By way of bytes: what another program's parser would read. */
static void assert_text(const char *text, const char *expected)
{
	json_t *value = json_text(text), *again;
	char *bytes = json_dumps(value, JSON_ENCODE_ANY);

	assert_non_null(bytes);
	for (const char *c = bytes; *c; c++)
		assert_true((unsigned char)*c >= ' ');
	again = json_loads(bytes, JSON_DECODE_ANY, NULL);
	assert_non_null(again);
	assert_string_equal(json_string_value(again), expected);
	json_decref(again);
	json_decref(value);
	free(bytes);
}

static void the_same(const char *text)
{
	assert_text(text, text);
}

static void what_is_kept(void **state)
{
	(void)state;
	the_same("");
	the_same("\"\\/ \b\f\n\r\t\x01\x1b\x1f\x7f");
	the_same("\xc2\x80 \xdf\xbf"); /* the ends of each length */
	the_same("\xe0\xa0\x80 \xed\x9f\xbf \xee\x80\x80 \xef\xbf\xbf");
	the_same("\xf0\x90\x80\x80 \xf4\x8f\xbf\xbf");
	assert_true(json_is_null(json_text(NULL)));
}

static void what_is_replaced(void **state)
{
	(void)state;
	assert_text("\x80", R);
	assert_text("a\xff"
		    "b",
		    "a" R "b");
	assert_text("\xc3", R); /* ends too early */
	assert_text("\xe2\x82", R R);
	assert_text("\xf0\x9f\x98", R R R);
	assert_text("\xc3(", R "(");
	assert_text("\xe2\x82\xc3\xa9", R R "\xc3\xa9");
	assert_text("\xc0\x80 \xc1\xbf", R R " " R R); /* longer than needed */
	assert_text("\xe0\x9f\xbf \xf0\x8f\xbf\xbf", R R R " " R R R R);
	assert_text("\xed\xa0\x80 \xed\xbf\xbf", R R R " " R R R); /* UTF-16 */
	assert_text("\xf4\x90\x80\x80 \xf5\x80\x80\x80", R R R R " " R R R R);
}

/* Nothing that is read from somewhere can make a string that jansson's parser refuses. */
static void any_bytes(void **state)
{
	char text[5];

	(void)state;
	for (uint32_t i = 0; i < 0x10000; i++) {
		json_t *value, *again;
		char *bytes;

		text[0] = (char)(0xc0 | (i & 0x3f));
		text[1] = (char)(i >> 4);
		text[2] = (char)(0x80 | (i >> 8 & 0x7f));
		text[3] = (char)(i >> 8);
		text[4] = '\0';
		value = json_text(text);
		bytes = json_dumps(value, JSON_ENCODE_ANY);
		again = json_loads(bytes, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
		assert_true(json_equal(value, again));
		json_decref(again);
		json_decref(value);
		free(bytes);
	}
}

static void order_and_nesting(void **state)
{
	json_t *object = json_object(), *array = json_array();
	char *bytes;

	(void)state;
	json_put(object, "z", json_integer(INT64_MAX));
	json_put(object, "a", array);
	json_add(array, json_text("1"));
	json_add(array, json_object());
	bytes = json_dumps(object, JSON_COMPACT);
	assert_string_equal(bytes, "{\"z\":9223372036854775807,\"a\":[\"1\",{}]}");
	free(bytes);
	json_decref(object);
}

/* ----------------------------------------------------------------------- an address and a port */

static void endpoints(void **state)
{
	static const struct {
		const char *text;
		uint16_t port;
		const char *parsed; /* NULL: it is none */
	} cases[] = {
		{ "192.0.2.1:443", 0, "192.0.2.1:443" },
		{ "192.0.2.1:443", 5351, "192.0.2.1:443" },
		{ "[2001:db8::1]:443", 0, "[2001:db8::1]:443" },
		{ "192.0.2.1", 5351, "192.0.2.1:5351" },
		{ "[2001:db8::1]", 5351, "[2001:db8::1]:5351" },
		{ "2001:db8::1", 5351, "[2001:db8::1]:5351" },
		{ "192.0.2.1", 0, NULL },
		{ "2001:db8::1", 0, NULL },
		{ "[2001:db8::1]", 0, NULL },
		{ "[192.0.2.1]:443", 0, NULL },
		{ "[2001:db8::1]443", 5351, NULL },
		{ "[2001:db8::1", 5351, NULL },
		{ "192.0.2.1:", 5351, NULL },
		{ "192.0.2.1:0", 5351, NULL },
		{ "192.0.2.1:65536", 5351, NULL },
		{ "192.0.2.1:4x", 5351, NULL },
		{ "192.0.2.1:+4", 5351, NULL },
		{ "localhost:443", 5351, NULL },
		{ ":443", 5351, NULL },
		{ "", 5351, NULL },
		{ "[]:1", 5351, NULL },
		{ "11111111111111111111111111111111111111111111111111111111111111111:1", 1, NULL },
	};
	char text[ADDR_TEXT_MAX];
	struct addr a;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		bool ok = endpoint_parse(&a, cases[i].text, cases[i].port);

		if (ok != (cases[i].parsed != NULL))
			fail_msg("%s", cases[i].text);
		if (!ok)
			continue;
		addr_format(&a, text);
		assert_string_equal(text, cases[i].parsed);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(for_people, end),
		cmocka_unit_test_teardown(on_a_line, end),
		cmocka_unit_test_teardown(no_long_line, end),
		cmocka_unit_test_teardown(long_commands, end),
		cmocka_unit_test_teardown(for_programs, end),
		cmocka_unit_test_teardown(cut, end),
		cmocka_unit_test_teardown(mistakes_in_the_order_of_lines, end),
		cmocka_unit_test(what_is_kept),
		cmocka_unit_test(what_is_replaced),
		cmocka_unit_test(any_bytes),
		cmocka_unit_test(order_and_nesting),
		cmocka_unit_test(endpoints),
	};

	return cmocka_run_group_tests(tests, start_all, end_all);
}
