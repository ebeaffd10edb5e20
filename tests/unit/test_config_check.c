// SPDX-License-Identifier: MIT
/* config_check(): every mistake with its line, and the first one is the one that programs see. */
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

#include "config.h"
#include "rules.h"

#define MOST 64

static char file[] = "/tmp/test_config_check.XXXXXX";
static struct config config;

static struct found {
	struct config_error all[MOST];
	size_t n;
} found;

static void each(const struct config_error *err, void *arg)
{
	assert_ptr_equal(arg, &found);
	assert_true(found.n < MOST);
	found.all[found.n++] = *err;
}

static int check(const struct config_env *env)
{
	found.n = 0;
	return config_check(&config, env, NULL, each, &found);
}

static int check_text(const char *text)
{
	const struct config_env env = { .conf = file, .state = CONFIG_NO_STATE };
	int fd = open(file, O_WRONLY | O_TRUNC | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
	return check(&env);
}

static void assert_mistake(size_t i, unsigned int line, const char *words)
{
	assert_true(i < found.n);
	assert_int_equal(found.all[i].line, line);
	if (!strstr(found.all[i].what, words))
		fail_msg("%u: %s (wanted: %s)", line, found.all[i].what, words);
	assert_string_equal(found.all[i].file, file);
}

static void no_mistake(void **state)
{
	(void)state;
	assert_int_equal(check_text("[converter a]\naddress = 192.0.2.1\n"), 0);
	assert_int_equal(found.n, 0);
	assert_int_equal(config.n_converters, 1);
	config_free(&config);
}

static void all_of_them(void **state)
{
	(void)state;
	assert_true(check_text("timeout = 5s\n" /* 1: before any section */
			       "[converter one]\n"
			       "address = example.com\n" /* 3 */
			       "port = 0\n"		 /* 4 */
			       "dialect = rfc\n"	 /* 5 */
			       "colour = green\n"	 /* 6 */
			       "[converter one]\n"	 /* 7: twice */
			       "address = 192.0.2.1\n"
			       "fast-open = maybe\n"  /* 9 */
			       "cookie = @relative\n" /* 10 */
			       "[polcy]\n"	      /* 11: what follows it is not judged */
			       "timeout = ever\n"
			       "[policy]\n"
			       "rule = convert to nowhere\n" /* 14 */
			       "a line without its sign\n"   /* 15 */
			       "timeout = 5x\n"		     /* 16 */
			       "timeout = 5s\n"		     /* 17: twice */
			       "fallback =\n"		     /* 18 */
			       "[policy]\n"		     /* 19 */
			       "mptcp = often\n"	     /* 20 */
			       "[log\n"			     /* 21 */
			       "[log]\n"
			       "file = \x01\n"	     /* 23 */
			       "level = loud") < 0); /* 24, at the very end */
	assert_mistake(0, 1, "before any section");
	assert_mistake(1, 3, "address = example.com");
	assert_mistake(2, 4, "port = 0");
	assert_mistake(3, 5, "dialect = rfc");
	assert_mistake(4, 6, "unknown key \"colour\"");
	assert_mistake(5, 7, "a second [converter one]");
	assert_mistake(6, 9, "fast-open = maybe");
	assert_mistake(7, 10, "cookie");
	assert_mistake(8, 11, "unknown section [polcy]");
	assert_mistake(9, 14, "nowhere");
	assert_mistake(10, 15, "expected [section]");
	assert_mistake(11, 16, "timeout = 5x");
	assert_mistake(12, 17, "given twice");
	assert_mistake(13, 18, "expected a value");
	assert_mistake(14, 19, "a second [policy]");
	assert_mistake(15, 20, "mptcp = often");
	assert_mistake(16, 21, "expected ]");
	assert_mistake(17, 23, "control character");
	assert_mistake(18, 24, "level = loud");
	assert_int_equal(found.n, 19);
	assert_int_equal(config.n_converters, 0);
	assert_null(config.rules);
	config_free(&config);
}

/* One mistake alone is the same for programs and for people. */
static void the_first_one(void **state)
{
	static const char *const texts[] = {
		"x",
		"[",
		"[a b]",
		"[converter ]",
		"[converter a]",
		"[converter a]\nport=1\n[log]",
		"[log]\nlevel",
		"[log]\n\x7f\nlevel=info",
		"[policy]\nrule=convert to",
		"=\n[log]",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct config_error first;
		struct config other;
		int ret = config_parse(&other, file, texts[i], strlen(texts[i]), NULL, &first);

		assert_true(ret < 0);
		assert_int_equal(check_text(texts[i]), ret);
		assert_true(found.n >= 1);
		assert_mistake(0, first.line, first.what);
		config_free(&other);
		config_free(&config);
	}
}

static void the_environment(void **state)
{
	const struct config_env env = { .conf = "/nowhere/convert.conf",
					.addr = "somewhere",
					.port = "many",
					.convert_cookie = "@there",
					.state = "here" };
	static const char *const words[] = { "such file", "CONVERT_ADDR", "CONVERT_PORT",
					     "CONVERT_COOKIE", "CONVERT_STATE" };

	(void)state;
	assert_true(check(&env) < 0);
	assert_int_equal(found.n, 5);
	for (size_t i = 1; i < 5; i++) {
		assert_non_null(strstr(found.all[i].what, words[i]));
		assert_string_equal(found.all[i].file, "environment");
	}
	assert_string_equal(found.all[0].file, "/nowhere/convert.conf");
	config_free(&config);
}

static int start(void **state)
{
	int fd = mkstemp(file);

	(void)state;
	return fd < 0 ? -1 : close(fd);
}

static int end(void **state)
{
	(void)state;
	return unlink(file);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_mistake),
		cmocka_unit_test(all_of_them),
		cmocka_unit_test(the_first_one),
		cmocka_unit_test(the_environment),
	};

	return cmocka_run_group_tests(tests, start, end);
}
