// SPDX-License-Identifier: MIT
#include "endpoint.h"

#include <stdlib.h>
#include <string.h>

uint16_t endpoint_port(const char *text)
{
	char *end;
	unsigned long n = text[0] >= '0' && text[0] <= '9' ? strtoul(text, &end, 10) : 0;

	return n > 0 && n < 65536 && !*end ? (uint16_t)n : 0;
}

bool endpoint_parse(struct addr *a, const char *text, uint16_t port)
{
	const char *bracket = text[0] == '[' ? strchr(text, ']') : NULL;
	const char *colon = bracket ? bracket[1] == ':' ? bracket + 1 : NULL : strchr(text, ':');
	const char *start = text + (bracket != NULL), *end;
	char ip[ADDR_TEXT_MAX];

	if (!bracket && colon && strchr(colon + 1, ':'))
		colon = NULL; /* an IPv6 address alone */
	end = bracket ? bracket : colon ? colon : text + strlen(text);
	if ((bracket && bracket[1] && !colon) || (size_t)(end - start) >= sizeof(ip))
		return false;
	memcpy(ip, start, (size_t)(end - start));
	ip[end - start] = '\0';
	a->port = colon ? endpoint_port(colon + 1) : port;
	return a->port && (!bracket || strchr(ip, ':')) && addr_parse(a, ip) == 0;
}
