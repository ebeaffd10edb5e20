// SPDX-License-Identifier: MIT
#include "fault.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int number(const char *text, unsigned long most, unsigned long *out)
{
	char *end;

	if (!text || !isdigit((unsigned char)*text))
		return -EINVAL;
	errno = 0;
	*out = strtoul(text, &end, 0);
	return errno || *end || *out > most ? -EINVAL : 0;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)tolower((unsigned char)c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static int hex(struct fault *f, const char *text)
{
	size_t n = 0;

	if (!text)
		return -EINVAL;
	for (; text[0]; text += 2) {
		int high = hex_digit(text[0]), low = high < 0 ? -1 : hex_digit(text[1]);

		if (low < 0 || n == sizeof(f->bytes))
			return -EINVAL;
		f->bytes[n++] = (uint8_t)(high << 4 | low);
	}
	f->n_bytes = n;
	return 0;
}

static int set_split(struct fault *f, char *value)
{
	unsigned long n;
	int err = number(value, CVT_MSG_MAX, &n);

	f->split = err ? 0 : n;
	return err || n == 0 ? -EINVAL : 0;
}

static int set_gap(struct fault *f, char *value)
{
	unsigned long n;
	int err = number(value, 600000, &n);

	f->gap_ms = err ? 0 : (unsigned int)n;
	return err;
}

static int set_delay(struct fault *f, char *value)
{
	unsigned long n;
	int err = number(value, 600000, &n);

	f->delay_ms = err ? 0 : (unsigned int)n;
	return err;
}

static int set_error(struct fault *f, char *value)
{
	char *colon = value ? strchr(value, ':') : NULL;
	unsigned long n;

	if (colon)
		*colon = '\0';
	if (number(value, 255, &n) < 0 || (colon && hex(f, colon + 1) < 0))
		return -EINVAL;
	f->has_error = true;
	f->error = (uint8_t)n;
	return 0;
}

static int set_raw(struct fault *f, char *value)
{
	f->raw = true;
	f->end = FAULT_END_FIN;
	return hex(f, value);
}

static int set_raw_relay(struct fault *f, char *value)
{
	f->raw = f->raw_relay = true;
	return hex(f, value);
}

static int set_cut_to(struct fault *f, char *value, enum fault_end end)
{
	unsigned long n;
	int err = number(value, CVT_MSG_MAX, &n);

	f->has_cut = true;
	f->cut = err ? 0 : n;
	f->end = end;
	return err;
}

static int set_cut(struct fault *f, char *value)
{
	return set_cut_to(f, value, FAULT_END_FIN);
}

static int set_cut_rst(struct fault *f, char *value)
{
	return set_cut_to(f, value, FAULT_END_RST);
}

static int set_silence(struct fault *f, char *value)
{
	f->silence = true;
	return value ? -EINVAL : 0;
}

/* Instead of the reply: a reply of which nothing is sent. */
static int set_close(struct fault *f, char *value)
{
	char zero[] = "0";

	return value ? -EINVAL : set_cut_to(f, zero, FAULT_END_FIN);
}

static int set_rst(struct fault *f, char *value)
{
	char zero[] = "0";

	return value ? -EINVAL : set_cut_to(f, zero, FAULT_END_RST);
}

static int set_drop_after(struct fault *f, char *value)
{
	unsigned long n;
	int err = number(value, 1UL << 40, &n);

	f->drop_after = err ? 0 : n;
	return err || n == 0 ? -EINVAL : 0;
}

static const struct fault_name {
	const char *name;
	int (*set)(struct fault *f, char *value); /* value: NULL if none was given */
} names[] = {
	{ "split", set_split },	    { "gap", set_gap },		{ "delay", set_delay },
	{ "error", set_error },	    { "raw", set_raw },		{ "raw-relay", set_raw_relay },
	{ "silence", set_silence }, { "close", set_close },	{ "rst", set_rst },
	{ "cut", set_cut },	    { "cut-rst", set_cut_rst }, { "drop-after", set_drop_after },
};

static int parse_one(struct fault *f, char *item)
{
	char *value = strchr(item, '=');

	if (value)
		*value++ = '\0';
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strcmp(names[i].name, item) == 0)
			return names[i].set(f, value);
	return -EINVAL;
}

int fault_parse(struct fault *f, const char *spec)
{
	char *copy = strdup(spec), *save = NULL;
	int err = copy ? 0 : -ENOMEM;

	for (char *item = copy ? strtok_r(copy, ",", &save) : NULL; item && !err;
	     item = strtok_r(NULL, ",", &save))
		err = parse_one(f, item);
	free(copy);
	f->active = true;
	return err;
}
