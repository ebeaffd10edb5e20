// SPDX-License-Identifier: MIT
/* Text of any kind as JSON: what is no UTF-8 is replaced, all else comes back as it was. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_kept),
		cmocka_unit_test(what_is_replaced),
		cmocka_unit_test(any_bytes),
		cmocka_unit_test(order_and_nesting),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
