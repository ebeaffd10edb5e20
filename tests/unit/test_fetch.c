// SPDX-License-Identifier: MIT
/* The pure parts of fetch: the difference, what it hides, files that are named, the record. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "fetch.h"

#define SECRET "SECRET"

static char *diff_of(const char *old, const char *new, bool old_is_sound)
{
	struct fetch_text a = { "old", old, strlen(old), old_is_sound };
	struct fetch_text b = { "new", new, strlen(new), true };
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	assert_non_null(out);
	assert_int_equal(fetch_diff(out, &a, &b), 0);
	fclose(out);
	return text;
}

static void check_diff(const char *old, const char *new, const char *expected)
{
	char *text = diff_of(old, new, true);

	if (*expected) {
		assert_memory_equal(text, "--- old\n+++ new\n", 16);
		assert_string_equal(text + 16, expected);
	} else {
		assert_string_equal(text, "");
	}
	free(text);
}

/* What diff -u says of the same. */
static void differences(void **state)
{
	(void)state;
	check_diff("", "", "");
	check_diff("a\nb\n", "a\nb\n", "");
	check_diff("", "a\nb\n", "@@ -0,0 +1,2 @@\n+a\n+b\n");
	check_diff("a\n", "", "@@ -1 +0,0 @@\n-a\n");
	check_diff("a\n", "b\n", "@@ -1 +1 @@\n-a\n+b\n");
	check_diff("a\nb\nc\n", "a\nx\nc\n", "@@ -1,3 +1,3 @@\n a\n-b\n+x\n c\n");
	check_diff("a", "a\n", "@@ -1 +1 @@\n-a\n\\ No newline at end of file\n+a\n");
	check_diff("1\n2\n3\n4\n5\n6\n7\n8\n", "1\n2\n3\n4\n5\n6\n7\n8\nx\n",
		   "@@ -6,3 +6,4 @@\n 6\n 7\n 8\n+x\n");
	/* six lines between two changes: one hunk; seven: two */
	check_diff("a\n1\n2\n3\n4\n5\n6\nb\n", "x\n1\n2\n3\n4\n5\n6\ny\n",
		   "@@ -1,8 +1,8 @@\n-a\n+x\n 1\n 2\n 3\n 4\n 5\n 6\n-b\n+y\n");
	check_diff("a\n1\n2\n3\n4\n5\n6\n7\nb\n", "x\n1\n2\n3\n4\n5\n6\n7\ny\n",
		   "@@ -1,4 +1,4 @@\n-a\n+x\n 1\n 2\n 3\n@@ -6,4 +6,4 @@\n 5\n 6\n 7\n-b\n+y\n");
	/* the longest common part, not the first */
	check_diff("a\nb\nc\nd\n", "b\nc\na\nd\n", "@@ -1,4 +1,4 @@\n-a\n b\n c\n+a\n d\n");
}

#define SIDE_LINES 16
#define SIDE_LEN   (2 * SIDE_LINES) /* each line is a letter */

/* old with the difference applied to it; text is cut up. */
static void apply(char again[static 2 * SIDE_LEN], const char *old, char *text)
{
	const char *left = old;
	size_t n = 0;
	char *line;

	while ((line = strsep(&text, "\n")) && *line) {
		unsigned int at;

		if (strncmp(line, "---", 3) == 0 || strncmp(line, "+++", 3) == 0)
			continue;
		if (sscanf(line, "@@ -%u", &at) == 1)
			while (left < old + 2 * (at - 1))
				again[n++] = *left++;
		if (line[0] == '-' || line[0] == ' ') {
			assert_int_equal(line[1], left[0]);
			left += 2;
		}
		if (line[0] == '+' || line[0] == ' ') {
			again[n++] = line[1];
			again[n++] = '\n';
		}
	}
	snprintf(again + n, 2 * SIDE_LEN - n, "%s", left);
}

/* Applied to the old one, each difference gives the new one. */
static void differences_can_be_applied(void **state)
{
	char old[SIDE_LEN + 1] = "", new[SIDE_LEN + 1], again[2 * SIDE_LEN];

	(void)state;
	srand(1);
	for (int round = 0; round < 2000; round++) {
		char *text;

		for (size_t i = 0; i < SIDE_LINES; i++)
			memcpy(old + 2 * i, rand() % 2 ? "a\n" : rand() % 2 ? "b\n" : "c\n", 3);
		memcpy(new, old, sizeof(new));
		for (int change = rand() % 5; change > 0; change--)
			new[2 * (rand() % SIDE_LINES)] = (char)('a' + rand() % 4);
		text = diff_of(old, new, true);
		apply(again, old, text);
		assert_string_equal(again, new);
		free(text);
	}
}

static void check_large(size_t lines)
{
	char *old = malloc(3 * lines + 1), *new = malloc(3 * lines + 1), *text, head[100];

	assert_non_null(old);
	assert_non_null(new);
	for (size_t i = 0; i < lines; i++) {
		memcpy(old + 3 * i, i % 2 ? "a1\n" : "a2\n", 4);
		memcpy(new + 3 * i, i % 3 ? "b1\n" : "b2\n", 4);
	}
	snprintf(head, sizeof(head), "--- old\n+++ new\n@@ -1,%zu +1,%zu @@\n", lines, lines);
	text = diff_of(old, new, true);
	assert_memory_equal(text, head, strlen(head));
	assert_int_equal(strlen(text), strlen(head) + 2 * 4 * lines);
	free(text);
	free(old);
	free(new);
}

/* Too large a table: between the common ends all is changed, and it takes no time. 2^16 by 2^16 cells are none where
 * a size_t has 32 bits (test_32bit.py). */
static void a_large_difference(void **state)
{
	(void)state;
	check_large(300000);
	check_large(65535);
}

static void check_hidden(const char *line, bool is_sound, const char *shown)
{
	char *text = diff_of(line, "x\n", is_sound), expected[128];

	assert_null(strstr(text, SECRET));
	snprintf(expected, sizeof(expected), "@@ -1 +1 @@\n-%s\n", shown);
	assert_non_null(strstr(text, expected));
	free(text);
}

static void what_is_hidden(void **state)
{
	(void)state;
	check_hidden("cookie = " SECRET "\n", true, "cookie = (not shown)");
	check_hidden("  cookie:" SECRET " ; mine\n", true, "  cookie:(not shown)");
	check_hidden("Cookie " SECRET "\n", true, "Cookie(not shown)");
	check_hidden("cookie = @/etc/home " SECRET "\n", true, "cookie = @/etc/home(not shown)");
	check_hidden("cookie = @/etc/home\r\n", true, "cookie = @/etc/home");
	check_hidden("# my cookie: " SECRET "\n", true, "# (not shown)");
	check_hidden("port = 1 ; " SECRET " is my COOKIE\n", true, "port = 1 ; (not shown)");
	check_hidden("cokie = " SECRET "\n", false, "cokie = (not shown)");
	check_hidden(SECRET "\n", false, "(not shown)");
	check_hidden("\tcookie = @" SECRET "\n", false, "\tcookie = (not shown)");
}

static void what_is_shown(void **state)
{
	(void)state;
	check_hidden("port = 5124 ; ours\n", true, "port = 5124 ; ours");
	check_hidden("fast-open = no-cookie\n", true, "fast-open = no-cookie");
	check_hidden("[converter home]\n", false, "[converter home]");
	check_hidden("# a comment\n", false, "# a comment");
	check_hidden("\n", false, "");
	check_hidden("log\x1b[31m = \xc2\x9b\x7f\xc3\xa4\n", true, "log?[31m = ??\xc3\xa4");
}

static void check_path(const char *old, const char *new, unsigned int line, const char *text)
{
	struct fetch_path found = fetch_new_path(old, strlen(old), new, strlen(new));

	assert_int_equal(found.line, line);
	assert_string_equal(found.text, text);
}

static void files_that_are_named(void **state)
{
	static const char log[] = "[log]\nfile = /var/log/c\n";

	(void)state;
	check_path("", "", 0, "");
	check_path("", "[log]\nfile = stderr\n[state]\nfile=none", 0, "");
	check_path("", log, 2, "file = /var/log/c");
	check_path(log, log, 0, "");
	check_path("\xef\xbb\xbf [ log ] ; x\r\n\tfile:/var/log/c # here\r\n", log, 0, "");
	check_path("[state]\nfile = /var/log/c\n", log, 2, "file = /var/log/c");
	check_path("#[log]\nfile = /var/log/c\n", log, 2, "file = /var/log/c");
	check_path("", "[converter a]\ncookie = /text\ncookie = @/etc/a", 3, "cookie = @/etc/a");
	check_path("[converter b]\ncookie=@/etc/a", "[converter a]\ncookie = @/etc/a", 0, "");
	check_path("", "# file = /a\n[policy]\nrule = direct to 10.0.0.0/8\n", 0, "");
	/* what the server has written goes to a terminal */
	check_path("", "[log]\nfile = /a\x1b[2J\x7f\a-\xc2\x9b-\xc3\xa4\n", 2,
		   "file = /a?[2J?\?-?\?-\xc3\xa4");
	check_path("", "[log]\n\x1b]0;x\a = /a\n", 2, "?]0;x? = /a");
}

static void the_record(void **state)
{
	FILE *file = tmpfile();
	struct fetch_record r = { 1, 2, 3, "W/\"a b\"", "Wed, 25 Nov 2026 18:30:00 GMT" }, again;
	char text[512];
	ssize_t len;

	(void)state;
	assert_non_null(file);
	fetch_record_read(&again, -1);
	assert_int_equal(again.url, 0);
	assert_int_equal(fetch_record_write(&r, fileno(file)), 0);
	fetch_record_read(&again, fileno(file));
	assert_memory_equal(&again, &r, sizeof(r));
	/* whatever is missing at its end, it is none */
	len = pread(fileno(file), text, sizeof(text), 0);
	for (size_t n = 0; n < (size_t)len - 1; n++) {
		fetch_record_parse(&again, text, n);
		assert_int_equal(again.url, 0);
		assert_string_equal(again.etag, "");
	}
	r.etag[0] = '\0';
	assert_int_equal(fetch_record_write(&r, fileno(file)), 0);
	fetch_record_read(&again, fileno(file));
	assert_string_equal(again.etag, "");
	assert_string_equal(again.last_modified, r.last_modified);
	fclose(file);
	assert_int_equal(fetch_record_write(&r, -1), -EBADF);
}

static void what_a_server_may_say(void **state)
{
	(void)state;
	assert_true(fetch_record_takes("\"x\"", 3, 4));
	assert_false(fetch_record_takes("\"x\"", 3, 3));
	assert_false(fetch_record_takes("", 0, 4));
	assert_false(fetch_record_takes("a\nb", 3, 16));
	assert_false(fetch_record_takes("a\x80", 2, 16));
}

/* As one that was built without. */
static bool has_no_tls;

CURLUcode __real_curl_url_set(CURLU *u, CURLUPart part, const char *text, unsigned int flags);
CURLUcode __wrap_curl_url_set(CURLU *u, CURLUPart part, const char *text, unsigned int flags);

CURLUcode __wrap_curl_url_set(CURLU *u, CURLUPart part, const char *text, unsigned int flags)
{
	if (has_no_tls && strncasecmp(text, "https:", 6) == 0)
		return CURLUE_UNSUPPORTED_SCHEME;
	return __real_curl_url_set(u, part, text, flags);
}

static void a_libcurl_without_tls(void **state)
{
	const char *why = "";
	char *label;

	(void)state;
	for (int without = 0; without <= 1; without++) {
		has_no_tls = without;
		label = fetch_label("HTTPS://example.com/x?y", &why);
		if (without)
			assert_null(label);
		else
			assert_string_equal(label, "https://example.com/x");
		free(label);
		assert_int_equal(strstr(why, "TLS") != NULL, without);
		assert_null(fetch_label("http://example.com/x", &why));
		assert_null(strstr(why, "TLS"));
	}
	has_no_tls = false;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(differences),
		cmocka_unit_test(differences_can_be_applied),
		cmocka_unit_test(a_large_difference),
		cmocka_unit_test(what_is_hidden),
		cmocka_unit_test(what_is_shown),
		cmocka_unit_test(files_that_are_named),
		cmocka_unit_test(the_record),
		cmocka_unit_test(what_a_server_may_say),
		cmocka_unit_test(a_libcurl_without_tls),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
