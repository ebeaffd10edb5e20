// SPDX-License-Identifier: MIT
/*
 * Memory that ends: each allocation of a configuration fails, one at a time. It says so, is empty,
 * and gives all back. The linker sends policy/'s malloc() here (Makefile).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "rules.h"

/* NOLINTBEGIN(bugprone-reserved-identifier) the names that ld's --wrap wants */
void *__real_malloc(size_t size);
void *__real_realloc(void *old, size_t size);
void __real_free(void *p);
void *__wrap_malloc(size_t size);
void *__wrap_realloc(void *old, size_t size);
void __wrap_free(void *p);
/* NOLINTEND(bugprone-reserved-identifier) */

static long until_failure = -1; /* allocations that still succeed; negative: all */
static long held;

static int fails(void)
{
	return until_failure >= 0 && until_failure-- == 0;
}

void *__wrap_malloc(size_t size)
{
	void *p = fails() ? NULL : __real_malloc(size);

	held += p != NULL;
	return p;
}

void *__wrap_realloc(void *old, size_t size)
{
	void *p = fails() ? NULL : __real_realloc(old, size);

	held += p != NULL && old == NULL;
	return p;
}

void __wrap_free(void *p)
{
	held -= p != NULL;
	__real_free(p);
}

static const char text[] =
	"[converter a]\n"
	"address = 192.0.2.1\naddress = 2001:db8::1\naddress = 192.0.2.2\n"
	"cookie = secret\nfrom = 10.0.0.0/8\nfrom = 10.1.0.0/16\n"
	"interface = wwan0\ninterface = wwan1\n"
	"[converter b]\naddress = 192.0.2.3\n"
	"[policy]\nrule = direct to 10.0.0.0/8,10.1.0.0/16 port 22,80-90\n"
	"rule = convert app curl port 80\nrule = direct to ::/0\n"
	/* more than there is room for at first */
	"rule = direct to 1::,2::,3::,4::,5::,6::,7::,8:: port 1,3,5,7,9,11,13,15,17\n"
	"rule = direct to 1::,2::,3::,4::,5::,6::,7::,8::,9::,a::,b::,c::,d::,e::,f::\n"
	"rule = direct to 1::,2::,3::,4::,5::,6::,7::,8::,9::,a::,b::,c::,d::,e::,f::\n"
	"rule = direct to 1::,2::,3::,4::,5::,6::,7::,8::,9::,a::,b::,c::,d::,e::,f::\n"
	"rule = direct port 1,3,5,7,9,11,13,15,17\nrule = direct port 80\n"
	"[incoming]\nrule = accept port 80\n"
	"[state]\nfile = /run/state\n[log]\nfile = /var/log/convert\n";

static int load(const struct config_env *env, struct config *config, struct config_error *err)
{
	return env ? config_load(config, env, "curl", err) :
		     config_parse(config, "text", text, sizeof(text) - 1, "curl", err);
}

/* Returns how many allocations there are. */
static long fail_each(const struct config_env *env, size_t n_converters)
{
	struct config_error err;
	struct config config;
	long n = 0;
	int ret;

	for (;; n++) {
		held = 0;
		until_failure = n;
		ret = load(env, &config, &err);
		if (until_failure >= 0) /* it was not reached */
			break;
		/* only where to log may be missing in silence: nobody could be told */
		assert_true(ret == -ENOMEM || (ret == 0 && env && env->log && !config.log_target));
		if (ret == -ENOMEM) {
			assert_string_equal(err.what, "out of memory");
			assert_int_equal(config.n_converters, 0);
			assert_null(config.rules);
		}
		config_free(&config);
		assert_int_equal(held, 0);
	}
	until_failure = -1;
	assert_int_equal(ret, 0);
	assert_int_equal(config.n_converters, n_converters);
	config_free(&config);
	assert_int_equal(held, 0);
	return n;
}

static void a_file(void **state)
{
	(void)state;
	assert_true(fail_each(NULL, 2) > 15);
}

static void the_environment(void **state)
{
	const struct config_env env = { .addr = "192.0.2.1",
					.convert_cookie = "secret",
					.log = "stderr",
					.runtime_dir = "/run/user/1" };

	(void)state;
	assert_true(fail_each(&env, 1) >= 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_file),
		cmocka_unit_test(the_environment),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
