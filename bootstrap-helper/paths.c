// SPDX-License-Identifier: MIT
#include "paths.h"

#include <errno.h>
#include <linux/mptcp.h>
#include <net/if.h>
#include <netinet/in.h>
#include <string.h>
#include <unistd.h>

#include "genl.h"

#ifndef MPTCP_PM_ADDR_FLAG_FULLMESH
#define MPTCP_PM_ADDR_FLAG_FULLMESH (1 << 3)
#endif

static unsigned int number(const uint8_t *attributes, size_t len, uint16_t type)
{
	unsigned int n = 0;
	size_t has = 0;
	const void *value = genl_find(attributes, len, type, &has);

	if (value && has == sizeof(n))
		memcpy(&n, value, has);
	return n;
}

static void take_endpoint(const uint8_t *attributes, size_t len, void *arg)
{
	struct paths *paths = arg;
	struct paths_endpoint *e = &paths->endpoints[paths->n_endpoints];
	size_t in_len = 0, has = 0;
	const uint8_t *in = genl_find(attributes, len, MPTCP_PM_ATTR_ADDR, &in_len);
	struct sockaddr_in v4 = { .sin_family = AF_INET };
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6 };
	const void *ip;

	if (!in || paths->n_endpoints == PATHS_MOST)
		return;
	*e = (struct paths_endpoint){ 0 };
	if ((ip = genl_find(in, in_len, MPTCP_PM_ADDR_ATTR_ADDR4, &has)) && has == 4) {
		memcpy(&v4.sin_addr, ip, has);
		addr_from_sockaddr(&e->address, (struct sockaddr *)&v4, sizeof(v4));
	} else if ((ip = genl_find(in, in_len, MPTCP_PM_ADDR_ATTR_ADDR6, &has)) && has == 16) {
		memcpy(&v6.sin6_addr, ip, has);
		addr_from_sockaddr(&e->address, (struct sockaddr *)&v6, sizeof(v6));
	} else {
		return;
	}
	e->makes_subflows = number(in, in_len, MPTCP_PM_ADDR_ATTR_FLAGS) &
			    (MPTCP_PM_ADDR_FLAG_SUBFLOW | MPTCP_PM_ADDR_FLAG_FULLMESH);
	if (!if_indextoname(number(in, in_len, MPTCP_PM_ADDR_ATTR_IF_IDX), e->interface))
		e->interface[0] = '\0';
	paths->n_endpoints++;
}

static int look(int fd, struct paths *paths)
{
	uint16_t family = genl_family(fd, MPTCP_PM_NAME);
	struct genl_message m;
	size_t len;
	int r;

	if (family == 0)
		return -ENOENT;
	genl_begin(&m, family, MPTCP_PM_CMD_GET_LIMITS, MPTCP_PM_VER);
	r = genl_ask(fd, &m);
	if (r < 0)
		return r;
	len = m.header.nlmsg_len - NLMSG_LENGTH(GENL_HDRLEN);
	paths->subflows = number(m.attributes, len, MPTCP_PM_ATTR_SUBFLOWS);
	paths->accepted = number(m.attributes, len, MPTCP_PM_ATTR_RCV_ADD_ADDRS);
	genl_begin(&m, family, MPTCP_PM_CMD_GET_ADDR, MPTCP_PM_VER);
	return genl_dump(fd, &m, take_endpoint, paths);
}

void paths_look(struct paths *paths)
{
	int fd = genl_open();

	*paths = (struct paths){ .err = fd };
	if (fd < 0)
		return;
	paths->err = look(fd, paths);
	close(fd);
}
