// SPDX-License-Identifier: MIT
#include "converter.h"

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

static int set_late(struct fault *f, char *value)
{
	unsigned long n;
	int err = number(value, 600000, &n);

	f->late_ms = err ? 0 : (unsigned int)n;
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

static int set_keep_syn(struct fault *f, char *value)
{
	f->keep_syn = true;
	return value ? -EINVAL : 0;
}

static int set_unread(struct fault *f, char *value)
{
	f->unread = true;
	return value ? -EINVAL : 0;
}

static int set_eager(struct fault *f, char *value)
{
	f->eager = true;
	return value ? -EINVAL : 0;
}

static int set_random(struct fault *f, char *value)
{
	f->random = true;
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
	{ "split", set_split },	      { "gap", set_gap },	  { "delay", set_delay },
	{ "error", set_error },	      { "raw", set_raw },	  { "raw-relay", set_raw_relay },
	{ "silence", set_silence },   { "close", set_close },	  { "rst", set_rst },
	{ "cut", set_cut },	      { "cut-rst", set_cut_rst }, { "drop-after", set_drop_after },
	{ "keep-syn", set_keep_syn }, { "eager", set_eager },	  { "random", set_random },
	{ "late", set_late },	      { "unread", set_unread },
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

static unsigned int up_to(unsigned int *seed, unsigned int most)
{
	return (unsigned int)rand_r(seed) % (most + 1);
}

static void draw_bytes(struct fault *f, unsigned int *seed, unsigned int most)
{
	f->n_bytes = up_to(seed, most);
	for (size_t i = 0; i < f->n_bytes; i++)
		f->bytes[i] = (uint8_t)up_to(seed, 255);
}

static void draw_error(struct fault *f, unsigned int *seed)
{
	static const uint8_t codes[] = { 0, 1, 2, 3, 32, 33, 64, 65 };

	f->has_error = true;
	f->error = codes[up_to(seed, sizeof(codes) - 1)];
	draw_bytes(f, seed, 12);
}

static void draw_end(struct fault *f, unsigned int *seed)
{
	f->has_cut = true;
	f->cut = up_to(seed, 1) ? up_to(seed, 30) : 0;
	f->end = up_to(seed, 1) ? FAULT_END_FIN : FAULT_END_RST;
}

void fault_draw(struct fault *f, unsigned int *seed)
{
	*f = (struct fault){ .active = true };
	switch (up_to(seed, 15)) {
	case 0:
		f->silence = true;
		break;
	case 1:
	case 2:
		draw_end(f, seed);
		break;
	case 3:
		draw_error(f, seed);
		break;
	case 4:
		f->raw = true;
		f->end = FAULT_END_FIN;
		draw_bytes(f, seed, 40);
		break;
	case 5:
		f->split = 1 + up_to(seed, 3);
		f->gap_ms = up_to(seed, 20);
		break;
	case 6:
		f->delay_ms = up_to(seed, 200);
		break;
	case 7:
		f->drop_after = 1 + up_to(seed, 400000);
		break;
	default:
		break;
	}
}
