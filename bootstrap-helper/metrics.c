// SPDX-License-Identifier: MIT
#include "metrics.h"

#include <linux/genetlink.h>
#include <linux/netlink.h>
#include <linux/tcp_metrics.h>
#include <string.h>
#include <unistd.h>

#define ROOM 2048 /* an answer has less than 300 bytes, that about the family less than 1200 */

#define HEAD sizeof(struct nlattr) /* NLA_HDRLEN is an int */

struct message {
	struct nlmsghdr header;
	struct genlmsghdr generic;
	uint8_t attributes[ROOM];
};

static void begin(struct message *m, uint16_t type, uint8_t command, uint8_t version)
{
	memset(m, 0, sizeof(*m));
	m->header.nlmsg_type = type;
	m->header.nlmsg_flags = NLM_F_REQUEST;
	m->header.nlmsg_len = NLMSG_LENGTH(GENL_HDRLEN);
	m->generic.cmd = command;
	m->generic.version = version;
}

static void put(struct message *m, uint16_t type, const void *value, uint16_t len)
{
	uint8_t *at = (uint8_t *)m + m->header.nlmsg_len;
	struct nlattr a = { .nla_len = (uint16_t)(HEAD + len), .nla_type = type };

	memcpy(at, &a, sizeof(a));
	memcpy(at + HEAD, value, len);
	m->header.nlmsg_len += (uint32_t)NLA_ALIGN(a.nla_len);
}

/* The kernel answers before send() returns. False: with an error, or not at all. */
static bool ask(int fd, struct message *m)
{
	uint16_t type = m->header.nlmsg_type;
	ssize_t n;

	if (send(fd, m, m->header.nlmsg_len, 0) < 0)
		return false;
	n = recv(fd, m, sizeof(*m), MSG_DONTWAIT);
	return n >= (ssize_t)NLMSG_LENGTH(GENL_HDRLEN) && m->header.nlmsg_len <= (size_t)n &&
	       m->header.nlmsg_type == type;
}

/* An attribute of the answer, or NULL. */
static const void *find(const struct message *m, uint16_t type, size_t *len)
{
	const uint8_t *at = m->attributes, *end = (const uint8_t *)m + m->header.nlmsg_len;
	struct nlattr a;

	for (; (size_t)(end - at) >= HEAD; at += NLA_ALIGN(a.nla_len)) {
		memcpy(&a, at, sizeof(a));
		if (a.nla_len < HEAD || a.nla_len > end - at)
			return NULL;
		*len = a.nla_len - HEAD;
		if ((a.nla_type & NLA_TYPE_MASK) == type)
			return at + HEAD;
		if (NLA_ALIGN(a.nla_len) > end - at)
			return NULL;
	}
	return NULL;
}

/* Generic netlink's families have numbers that change from boot to boot. 0: there is none. */
static uint16_t family(int fd)
{
	static const char name[] = TCP_METRICS_GENL_NAME;
	struct message m;
	const void *id;
	uint16_t number = 0;
	size_t len;

	begin(&m, GENL_ID_CTRL, CTRL_CMD_GETFAMILY, 1);
	put(&m, CTRL_ATTR_FAMILY_NAME, name, sizeof(name));
	if (!ask(fd, &m))
		return 0;
	id = find(&m, CTRL_ATTR_FAMILY_ID, &len);
	if (id && len == sizeof(number))
		memcpy(&number, id, len);
	return number;
}

static void put_address(struct message *m, const struct addr *a, uint16_t v4, uint16_t v6)
{
	if (addr_is_v4(a))
		put(m, v4, a->ip + 12, 4);
	else
		put(m, v6, a->ip, 16);
}

static bool look(int fd, const struct addr *to, const struct addr *source)
{
	static const struct addr any;
	uint16_t number = family(fd);
	struct message m;
	size_t len;

	begin(&m, number, TCP_METRICS_CMD_GET, TCP_METRICS_GENL_VERSION);
	put_address(&m, to, TCP_METRICS_ATTR_ADDR_IPV4, TCP_METRICS_ATTR_ADDR_IPV6);
	if (!addr_equal_ip(source, &any))
		put_address(&m, source, TCP_METRICS_ATTR_SADDR_IPV4, TCP_METRICS_ATTR_SADDR_IPV6);
	return number && ask(fd, &m) && find(&m, TCP_METRICS_ATTR_FOPEN_COOKIE, &len) && len > 0;
}

bool metrics_has_tfo_cookie(const struct addr *to, const struct addr *source)
{
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_GENERIC);
	bool has;

	if (fd < 0)
		return false;
	has = look(fd, to, source);
	close(fd);
	return has;
}
