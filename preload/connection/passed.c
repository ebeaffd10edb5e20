// SPDX-License-Identifier: MIT
#include "passed.h"

#include "record.h"
#include "sock.h"

#include <stdlib.h>
#include <string.h>

struct passed {
	uint64_t sock_cookie;
	struct addr peer;
	_Atomic bool adopted; /* and so its record says whether it goes on from here */
};

static struct passed left[PASSED_MOST];
_Atomic int passed_left;
_Atomic bool passed_any;

static void put_hex(char *text, const void *bytes, size_t n)
{
	for (size_t i = 0; i < 2 * n; i++)
		text[i] =
			"0123456789abcdef"[((const uint8_t *)bytes)[i / 2] >> (i % 2 ? 0 : 4) & 15];
}

static bool take_hex(void *bytes, const char *text, size_t n)
{
	for (size_t i = 0; i < 2 * n; i++) {
		uint8_t *to = (uint8_t *)bytes + i / 2;
		char c = text[i];

		if (!(c >= '0' && c <= '9') && !(c >= 'a' && c <= 'f'))
			return false;
		*to = (uint8_t)(*to << 4 | (c <= '9' ? c - '0' : c - 'a' + 10));
	}
	return true;
}

static bool read_one(struct passed *p, const char *text)
{
	return take_hex(&p->sock_cookie, text, 8) && take_hex(p->peer.ip, text + 16, 16) &&
	       take_hex(&p->peer.port, text + 48, 2) && p->sock_cookie;
}

AT_START void passed_keep_environment(void)
{
	static char name[] WRITTEN = "CONVERT_PEERS";
	const char *text = secure_getenv(name);
	int n = 0;

	while (text && n < PASSED_MOST && read_one(&left[n], text)) {
		text += PASSED_HEX;
		n++;
	}
	if (n)
		atomic_store(&passed_left, n);
}

bool passed_adopt(int fd)
{
	struct conn *c;
	uint64_t cookie;

	if (sock_ask_cookie(fd, &cookie) < 0 || fd >= MARK_MAX || !conn_is_owner())
		return false;
	for (int i = 0; i < PASSED_MOST; i++) {
		if (left[i].sock_cookie != cookie || !(c = conn_at(fd, true)))
			continue;
		conn_fill(c, cookie, &left[i].peer,
			  (uint8_t)sock_int(fd, SOL_SOCKET, SO_DOMAIN, AF_INET));
		c->accepted = true;
		atomic_store(&left[i].adopted, true);
		atomic_store(&passed_any, true);
		conn_raise_highest(fd);
		mark_set(fd, MARK_UP);
		return true;
	}
	return false;
}

static char *write_one(char *at, const struct passed *p)
{
	put_hex(at, &p->sock_cookie, 8);
	put_hex(at + 16, p->peer.ip, 16);
	put_hex(at + 48, &p->peer.port, 2);
	return at + PASSED_HEX;
}

/* By hand, as strncmp() would be one name more that each process looks up at its start. */
bool passed_is_variable(const char *text)
{
	const char *name = PASSED_NAME;

	while (*name && *name == *text)
		name++, text++;
	return !*name;
}

bool passed_write(char text[static PASSED_ROOM], bool all)
{
	char *at = text + sizeof(PASSED_NAME) - 1, *end = text + PASSED_ROOM - 1;
	uint64_t last = 0;

	memcpy(text, PASSED_NAME, sizeof(PASSED_NAME));
	for (int fd = 0; atomic_load(&passed_any) && fd <= conn_highest() && at < end; fd++) {
		const struct conn *c = mark_get(fd) == MARK_UP ? conn_peek(fd) : NULL;
		struct passed p;

		/* duplicates are neighbours, mostly */
		if (!c || !c->accepted || c->sock_cookie == last ||
		    (!all && sys_fcntl(fd, F_GETFD, 0) != 0))
			continue;
		p = (struct passed){ .sock_cookie = last = c->sock_cookie, .peer = c->server };
		at = write_one(at, &p);
	}
	for (int i = 0; i < atomic_load(&passed_left) && at < end; i++)
		if (!atomic_load(&left[i].adopted))
			at = write_one(at, &left[i]);
	*at = '\0';
	return at > text + sizeof(PASSED_NAME) - 1;
}
