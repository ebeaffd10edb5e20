// SPDX-License-Identifier: MIT
#include "genl.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define HEAD sizeof(struct nlattr) /* NLA_HDRLEN is an int */

/* libc's functions would be our own, in a program that the library is in. */
static long result(long r, int saved_errno)
{
	int err = errno;

	errno = saved_errno;
	return r < 0 ? -err : r;
}

int genl_open(void)
{
	int saved_errno = errno;

	return (int)result(
		syscall(SYS_socket, AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_GENERIC),
		saved_errno);
}

void genl_close(int fd)
{
	int saved_errno = errno;

	result(syscall(SYS_close, fd), saved_errno);
}

static int put(int fd, const struct genl_message *m)
{
	int saved_errno = errno;

	return (int)result(syscall(SYS_sendto, fd, m, m->header.nlmsg_len,
				   MSG_DONTWAIT | MSG_NOSIGNAL, NULL, 0),
			   saved_errno);
}

static int get(int fd, struct genl_message *m)
{
	int saved_errno = errno;

	return (int)result(syscall(SYS_recvfrom, fd, m, sizeof(*m), MSG_DONTWAIT, NULL, NULL),
			   saved_errno);
}

void genl_begin(struct genl_message *m, uint16_t type, uint8_t command, uint8_t version)
{
	memset(m, 0, sizeof(*m));
	m->header.nlmsg_type = type;
	m->header.nlmsg_flags = NLM_F_REQUEST;
	m->header.nlmsg_len = NLMSG_LENGTH(GENL_HDRLEN);
	m->generic.cmd = command;
	m->generic.version = version;
}

void genl_put(struct genl_message *m, uint16_t type, const void *value, uint16_t len)
{
	uint8_t *at = (uint8_t *)m + m->header.nlmsg_len;
	struct nlattr a = { .nla_len = (uint16_t)(HEAD + len), .nla_type = type };

	memcpy(at, &a, sizeof(a));
	memcpy(at + HEAD, value, len);
	m->header.nlmsg_len += (uint32_t)NLA_ALIGN(a.nla_len);
}

/* The kernel's -errno in the message at h, of which left bytes are there. */
static int error_in(const struct nlmsghdr *h, size_t left)
{
	const struct nlmsgerr *e = NLMSG_DATA(h);

	return left < NLMSG_LENGTH(sizeof(e->error)) || e->error >= 0 ? -EBADMSG : e->error;
}

int genl_ask(int fd, struct genl_message *m)
{
	uint16_t type = m->header.nlmsg_type;
	int n = put(fd, m);

	if (n < 0)
		return n;
	n = get(fd, m);
	if (n < 0)
		return n;
	if (n < NLMSG_HDRLEN || m->header.nlmsg_len > (size_t)n)
		return -EBADMSG;
	if (m->header.nlmsg_type == NLMSG_ERROR)
		return error_in(&m->header, (size_t)n);
	return m->header.nlmsg_type == type && m->header.nlmsg_len >= NLMSG_LENGTH(GENL_HDRLEN) ?
		       0 :
		       -EBADMSG;
}

/* One datagram of a dump. */
static int take(const uint8_t *bytes, size_t len, uint16_t type, genl_each_fn *each, void *arg)
{
	struct nlmsghdr h;

	for (size_t at = 0; len - at >= sizeof(h); at += NLMSG_ALIGN(h.nlmsg_len)) {
		memcpy(&h, bytes + at, sizeof(h));
		if (h.nlmsg_len < sizeof(h))
			return -EBADMSG;
		if (h.nlmsg_len > len - at || h.nlmsg_type == NLMSG_DONE) /* cut, or over */
			return 0;
		if (h.nlmsg_type == NLMSG_ERROR)
			return error_in((const void *)(bytes + at), len - at);
		if (h.nlmsg_type == type && h.nlmsg_len >= NLMSG_LENGTH(GENL_HDRLEN))
			each(bytes + at + NLMSG_LENGTH(GENL_HDRLEN),
			     h.nlmsg_len - NLMSG_LENGTH(GENL_HDRLEN), arg);
		if (NLMSG_ALIGN(h.nlmsg_len) > len - at)
			break;
	}
	return 0;
}

int genl_dump(int fd, struct genl_message *m, genl_each_fn *each, void *arg)
{
	uint16_t type = m->header.nlmsg_type;
	int r, n;

	m->header.nlmsg_flags |= NLM_F_DUMP;
	r = put(fd, m);
	if (r < 0)
		return r;
	n = get(fd, m);
	if (n <= 0)
		return n < 0 ? n : -EBADMSG;
	return take((const uint8_t *)m, (size_t)n, type, each, arg);
}

const void *genl_find(const uint8_t *attributes, size_t in_len, uint16_t type, size_t *len)
{
	const uint8_t *at = attributes, *end = attributes + in_len;
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

const void *genl_find_in(const struct genl_message *m, uint16_t type, size_t *len)
{
	return genl_find(m->attributes, m->header.nlmsg_len - NLMSG_LENGTH(GENL_HDRLEN), type, len);
}

uint16_t genl_family(int fd, const char *name)
{
	struct genl_message m;
	const void *id;
	uint16_t number = 0;
	size_t len;

	genl_begin(&m, GENL_ID_CTRL, CTRL_CMD_GETFAMILY, 1);
	genl_put(&m, CTRL_ATTR_FAMILY_NAME, name, (uint16_t)(strlen(name) + 1));
	if (genl_ask(fd, &m) < 0)
		return 0;
	id = genl_find_in(&m, CTRL_ATTR_FAMILY_ID, &len);
	if (id && len == sizeof(number))
		memcpy(&number, id, len);
	return number;
}
