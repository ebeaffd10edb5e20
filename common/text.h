/* SPDX-License-Identifier: MIT */
/*
 * text.h - what is shown to people: an errno by its name, and nothing that a terminal would obey.
 */
#ifndef CVT_TEXT_H
#define CVT_TEXT_H

#include <stddef.h>

/* ECONNREFUSED and its like, which musl has no function for. Of one that Linux does not have: NULL. */
const char *errno_name(int err);

/* How many bytes of text the control character has with which it begins: one of ASCII's, or of U+0080 to U+009F in
 * UTF-8, which some terminals take for ESC and a letter. 0: it begins with something else, or is at its end. */
static inline size_t control_at(const char *text)
{
	const unsigned char *c = (const unsigned char *)text;

	if (c[0] == 0xc2 && (c[1] & 0xe0) == 0x80)
		return 2;
	return c[0] && (c[0] < ' ' || c[0] == 0x7f);
}

/* What a terminal would obey becomes question marks, for each byte one. */
static inline void control_hide(char *text)
{
	for (; *text; text++)
		for (size_t n = control_at(text); n; n--)
			text[n - 1] = '?';
}

#endif
