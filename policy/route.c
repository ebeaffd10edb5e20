// SPDX-License-Identifier: MIT
#include "paths.h"

#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define REPLY_MAX 768 /* a route with all its metrics has less than 300 bytes */

struct request {
	struct nlmsghdr header;
	struct rtmsg route;
	uint8_t attributes[2 * RTA_SPACE(16) + 2 * RTA_SPACE(4)];
};

struct answer {
	const void *source;
	size_t source_len;
	int interface_index;
};

static void add(struct request *r, unsigned short type, const void *value, size_t len)
{
	const struct rtattr a = { .rta_type = type, .rta_len = (uint16_t)RTA_LENGTH(len) };
	uint8_t *at = (uint8_t *)r + r->header.nlmsg_len;

	memcpy(at, &a, sizeof(a));
	memcpy(at + RTA_LENGTH(0), value, len);
	r->header.nlmsg_len += (uint32_t)RTA_SPACE(len);
}

/* A source of the other family is not the packets'. */
static bool has_source(const struct pol_binding *by, const struct addr *to)
{
	return by && addr_classify(&by->source) != ADDR_UNSPECIFIED &&
	       addr_is_v4(&by->source) == addr_is_v4(to);
}

static void add_binding(struct request *r, const struct addr *to, const struct pol_binding *by)
{
	size_t len = addr_is_v4(to) ? 4 : 16;

	if (has_source(by, to)) {
		r->route.rtm_src_len = r->route.rtm_dst_len;
		add(r, RTA_SRC, by->source.ip + 16 - len, len);
	}
	if (by && by->interface)
		add(r, RTA_OIF, &by->interface, sizeof(by->interface));
	if (by && by->mark)
		add(r, RTA_MARK, &by->mark, sizeof(by->mark));
}

static int send_request(int fd, const struct addr *to, const struct pol_binding *by)
{
	bool v4 = addr_is_v4(to);
	size_t len = v4 ? 4 : 16;
	struct request r = {
		.header = {
			.nlmsg_len = offsetof(struct request, attributes),
			.nlmsg_type = RTM_GETROUTE,
			.nlmsg_flags = NLM_F_REQUEST,
		},
		.route = {
			.rtm_family = v4 ? AF_INET : AF_INET6,
			.rtm_dst_len = v4 ? 32 : 128,
		},
	};
	const struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	long sent;

	add(&r, RTA_DST, to->ip + 16 - len, len);
	add_binding(&r, to, by);
	sent = syscall(SYS_sendto, fd, &r, r.header.nlmsg_len, MSG_DONTWAIT | MSG_NOSIGNAL, &kernel,
		       sizeof(kernel));
	return sent < 0 ? -errno : 0;
}

/* Prohibited and unreachable destinations have a route too. */
static bool is_usable(const struct rtmsg *route)
{
	return route->rtm_type == RTN_UNICAST || route->rtm_type == RTN_LOCAL;
}

static bool parse_reply(const struct nlmsghdr *h, size_t len, struct answer *a)
{
	const struct rtmsg *route = NLMSG_DATA(h);
	const struct rtattr *at;
	size_t rest;

	if (len < NLMSG_LENGTH(sizeof(*route)) || h->nlmsg_len > len ||
	    h->nlmsg_len < NLMSG_LENGTH(sizeof(*route)) || h->nlmsg_type != RTM_NEWROUTE ||
	    !is_usable(route))
		return false;
	rest = h->nlmsg_len - NLMSG_LENGTH(sizeof(*route));
	for (at = RTM_RTA(route); RTA_OK(at, rest); at = RTA_NEXT(at, rest)) {
		if (at->rta_type == RTA_PREFSRC) {
			a->source = RTA_DATA(at);
			a->source_len = RTA_PAYLOAD(at);
		} else if (at->rta_type == RTA_OIF && RTA_PAYLOAD(at) == sizeof(int)) {
			memcpy(&a->interface_index, RTA_DATA(at), sizeof(int));
		}
	}
	return true;
}

/* Any socket answers SIOCGIFNAME, so the one at hand does. */
void route_interface(int fd, char name[16], int index)
{
	struct ifreq request = { .ifr_ifindex = index };

	memset(name, 0, 16);
	if (index > 0 && syscall(SYS_ioctl, fd, SIOCGIFNAME, &request) == 0)
		memcpy(name, request.ifr_name, 15);
}

/* The kernel answers before sendto() returns: no answer now means no answer. */
static bool ask(int fd, const struct addr *to, const struct pol_binding *by,
		struct pol_route *route)
{
	union {
		struct nlmsghdr header;
		uint8_t bytes[REPLY_MAX];
	} reply;
	struct answer a = { 0 };
	long n;

	if (send_request(fd, to, by) < 0)
		return false;
	n = syscall(SYS_recvfrom, fd, &reply, sizeof(reply), MSG_DONTWAIT | MSG_TRUNC, NULL, NULL);
	if (n < 0 || (size_t)n > sizeof(reply) || !parse_reply(&reply.header, (size_t)n, &a))
		return false;
	/* of IPv6 with a source the answer may be another device's */
	if (has_source(by, to) && !addr_is_v4(to) && by->interface &&
	    by->interface != (uint32_t)a.interface_index)
		return false;
	addr_from_bytes(&route->source, a.source, a.source_len);
	if (has_source(by, to)) /* the answer does not repeat it */
		route->source = by->source;
	route_interface(fd, route->interface, a.interface_index);
	return true;
}

bool route_lookup(const struct addr *to, const struct pol_binding *by, struct pol_route *route)
{
	int saved_errno = errno;
	int fd = (int)syscall(SYS_socket, AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	bool found = false;

	if (fd >= 0) {
		found = ask(fd, to, by, route);
		syscall(SYS_close, fd);
	}
	errno = saved_errno;
	return found;
}
