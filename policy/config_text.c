// SPDX-License-Identifier: MIT
#include "config_int.h"
#include "text.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define QUOTE_MAX 48 /* bytes of somebody's text inside a message */

/* Appends at most `most` bytes of text; control characters become '?', as in the log. */
static size_t put_text(char *what, size_t size, size_t n, const char *text, size_t most)
{
	bool cut = strlen(text) > most;

	for (; *text && most > 0 && n < size - 1; text++, most--) {
		const size_t control = control_at(text);

		what[n++] = control ? '?' : *text;
		text += control == 2;
	}
	for (unsigned int dots = 0; cut && dots < 3 && n < size - 1; dots++)
		what[n++] = '.';
	what[n] = '\0';
	return n;
}

int config_mistake(struct config_error *err, unsigned int line, const char *part, ...)
{
	va_list parts;
	size_t n = 0;

	err->line = line;
	err->what[0] = '\0';
	va_start(parts, part);
	while (part) {
		const char *next = va_arg(parts, const char *);

		n = put_text(err->what, sizeof(err->what), n, part,
			     next ? QUOTE_MAX : sizeof(err->what));
		part = next;
	}
	va_end(parts);
	if (err->each)
		err->each(err, err->arg);
	return -EINVAL;
}

int config_expected(struct config_parser *p, const char *value, const char *expected)
{
	return config_mistake(p->err, p->line, p->key, " = ", value, ": expected ", expected, NULL);
}

int config_no_memory(struct config_error *err, unsigned int line)
{
	config_mistake(err, line, "out of memory", NULL);
	return -ENOMEM;
}

void *config_grow(void *array, size_t n, size_t size)
{
	if ((n & (n - 1)) != 0)
		return array;
	return realloc(array, (n ? 2 * n : 1) * size);
}

char *config_copy(const char *text, size_t len)
{
	char *copy = malloc(len + 1);

	if (!copy)
		return NULL;
	memcpy(copy, text, len);
	copy[len] = '\0';
	return copy;
}

bool config_number(const char *text, size_t len, unsigned int most, unsigned int *number)
{
	unsigned int n = 0;

	if (len == 0 || len > 9) /* nine digits always fit */
		return false;
	for (size_t i = 0; i < len; i++) {
		if (text[i] < '0' || text[i] > '9')
			return false;
		n = n * 10 + (unsigned int)(text[i] - '0');
	}
	*number = n;
	return n <= most;
}
