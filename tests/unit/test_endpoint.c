// SPDX-License-Identifier: MIT
/* An address and a port as people write them. */
#include "base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

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
		cmocka_unit_test(endpoints),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
