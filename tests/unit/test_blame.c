// SPDX-License-Identifier: MIT
#include "blame.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static enum blame of(const char *facts)
{
	struct blame_facts f = {
		.has_syn_ack = strchr(facts, 'e'), /* established */
		.has_sent = strchr(facts, 's'),
		.has_ack = strchr(facts, 'a'),
		.has_begun = strchr(facts, 'b'),
		.is_alive = strchr(facts, 'l'),
		.was_asked = strchr(facts, 'q'),
	};

	return blame(&f);
}

static void what_is_known(void **state)
{
	(void)state;
	/* the converter has the message, and answers others or a question, or not */
	assert_int_equal(of("esal"), BLAME_SERVER);
	assert_int_equal(of("esalq"), BLAME_SERVER);
	assert_int_equal(of("esa"), BLAME_UNCLEAR);
	assert_int_equal(of("esaq"), BLAME_CONVERTER);
	/* the message went with a SYN to which nothing has come: held, or lost */
	assert_int_equal(of("sl"), BLAME_SERVER);
	assert_int_equal(of("s"), BLAME_UNCLEAR);
	assert_int_equal(of("sq"), BLAME_PATH);
	/* an empty SYN needs no server to be answered */
	assert_int_equal(of(""), BLAME_PATH);
	assert_int_equal(of("l"), BLAME_NOBODY);
	/* the message does not get there */
	assert_int_equal(of("es"), BLAME_PATH);
	assert_int_equal(of("esq"), BLAME_PATH);
	assert_int_equal(of("esl"), BLAME_NOBODY);
	/* nobody has sent it */
	assert_int_equal(of("e"), BLAME_NOBODY);
	assert_int_equal(of("eq"), BLAME_NOBODY);
	/* half a reply */
	assert_int_equal(of("esab"), BLAME_CONVERTER);
	assert_int_equal(of("esabl"), BLAME_CONVERTER);
}

static void texts(void **state)
{
	(void)state;
	for (int b = BLAME_NOBODY; b <= BLAME_UNCLEAR; b++)
		assert_non_null(strstr(blame_text((enum blame)b), "no reply in time"));
	assert_non_null(strstr(blame_text(BLAME_SERVER), "server"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_known),
		cmocka_unit_test(texts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
