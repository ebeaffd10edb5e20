// SPDX-License-Identifier: MIT
#include "paths.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/ethtool.h>
#include <linux/mptcp.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "genl.h"

#ifndef SOL_MPTCP
#define SOL_MPTCP 284
#endif

/* ------------------------------------------------------------------ what it was told */

static unsigned int number(const uint8_t *attributes, size_t len, uint16_t type)
{
	unsigned int n = 0;
	size_t has = 0;
	const void *value = genl_find(attributes, len, type, &has);

	if (value && has == sizeof(n))
		memcpy(&n, value, has);
	return n;
}

struct look {
	int fd;
	struct paths *paths;
};

static void take_endpoint(const uint8_t *attributes, size_t len, void *arg)
{
	const struct look *look = arg;
	struct paths_endpoint *e = &look->paths->endpoints[look->paths->n_endpoints];
	size_t in_len = 0, has = 0;
	const uint8_t *in = genl_find(attributes, len, MPTCP_PM_ATTR_ADDR, &in_len);
	unsigned int flags;
	const void *ip;

	if (!in || look->paths->n_endpoints == PATHS_MOST)
		return;
	*e = (struct paths_endpoint){ 0 };
	ip = genl_find(in, in_len, MPTCP_PM_ADDR_ATTR_ADDR4, &has);
	if (!ip)
		ip = genl_find(in, in_len, MPTCP_PM_ADDR_ATTR_ADDR6, &has);
	if (!ip || !addr_from_bytes(&e->address, ip, has))
		return;
	/* of itself fullmesh makes none, and backup is one that waits for the other to break */
	flags = number(in, in_len, MPTCP_PM_ADDR_ATTR_FLAGS);
	e->makes_subflows = flags & MPTCP_PM_ADDR_FLAG_SUBFLOW;
	e->is_backup = flags & MPTCP_PM_ADDR_FLAG_BACKUP;
	route_interface(look->fd, e->interface, (int)number(in, in_len, MPTCP_PM_ADDR_ATTR_IF_IDX));
	look->paths->n_endpoints++;
}

static __attribute__((noinline)) int ask_endpoints(int fd, uint16_t family, struct paths *paths)
{
	struct look look = { fd, paths };
	struct genl_message m;

	if (!family)
		return -ENOENT;
	genl_begin(&m, family, MPTCP_PM_CMD_GET_ADDR, MPTCP_PM_VER);
	return genl_dump(fd, &m, take_endpoint, &look);
}

static int ask_limits(int fd, uint16_t family, struct paths *paths)
{
	struct genl_message m;
	size_t len;
	int r;

	if (!family)
		return -ENOENT;
	genl_begin(&m, family, MPTCP_PM_CMD_GET_LIMITS, MPTCP_PM_VER);
	r = genl_ask(fd, &m);
	if (r < 0)
		return r;
	len = m.header.nlmsg_len - NLMSG_LENGTH(GENL_HDRLEN);
	paths->subflows = number(m.attributes, len, MPTCP_PM_ATTR_SUBFLOWS);
	paths->accepted = number(m.attributes, len, MPTCP_PM_ATTR_RCV_ADD_ADDRS);
	return 0;
}

void paths_look(struct paths *paths)
{
	int fd = genl_open();
	uint16_t family = fd < 0 ? 0 : genl_family(fd, MPTCP_PM_NAME);

	*paths = (struct paths){ .err = fd };
	if (fd < 0)
		return;
	paths->err = ask_limits(fd, family, paths);
	if (paths->err == 0)
		paths->err = ask_endpoints(fd, family, paths);
	genl_close(fd);
}

/* ---------------------------------------------------------------- what it would make */

/* An interface has many IPv6 addresses, all of one network. */
static bool is_another(const struct paths_endpoint *e, const struct pol_route *first)
{
	if (!e->makes_subflows || addr_is_v4(&e->address) != addr_is_v4(&first->source) ||
	    addr_equal_ip(&e->address, &first->source))
		return false;
	return addr_is_v4(&e->address) || strcmp(e->interface, first->interface) != 0;
}

enum paths_found paths_beside(const struct paths *paths, const struct pol_route *first,
			      bool is_tunnel)
{
	bool is_one_itself = false, has_another = false;

	for (unsigned int i = 0; i < paths->n_endpoints; i++) {
		const struct paths_endpoint *e = &paths->endpoints[i];

		is_one_itself |= addr_equal_ip(&e->address, &first->source);
		has_another |= is_another(e, first);
	}
	if (paths->subflows == 0)
		return PATHS_ONE;
	if (has_another) /* whoever has named the tunnel an endpoint means it to be one of several */
		return is_tunnel && !is_one_itself ? PATHS_AROUND : PATHS_SEVERAL;
	return paths->accepted ? PATHS_SEVERAL : PATHS_ONE; /* the converter may tell of others */
}

/* Any socket answers. */
static __attribute__((noinline)) bool is_tunnel(int fd, const char *interface)
{
	static const char *const kinds[] = { "tun",  "wireguard", "xfrm",   "vti",   "vti6",
					     "ipip", "gre",	  "ip6tnl", "ip6gre" };
	struct ethtool_drvinfo info = { .cmd = ETHTOOL_GDRVINFO };
	struct ifreq request = { .ifr_data = (void *)&info };

	memcpy(request.ifr_name, interface, strnlen(interface, IFNAMSIZ - 1));
	if (syscall(SYS_ioctl, fd, SIOCETHTOOL, &request) < 0)
		return false;
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (strcmp(info.driver, kinds[i]) == 0)
			return true;
	return false;
}

/* ------------------------------------------------------------------------- asking it */

/* In user space (mptcpd) a path manager tells the kernel what to do, and us nothing. */
static bool is_manager_elsewhere(void)
{
	int fd = (int)syscall(SYS_openat, AT_FDCWD, "/proc/sys/net/mptcp/pm_type",
			      O_RDONLY | O_CLOEXEC);
	char type = '0';

	if (fd < 0)
		return false;
	if (syscall(SYS_read, fd, &type, 1) != 1)
		type = '0';
	syscall(SYS_close, fd);
	return type != '0';
}

/* The numbers of this network namespace, which an unconnected MPTCP socket knows (LINUX-FACTS 5.5). False:
 * there is no MPTCP, or an older kernel's, which does not say. */
static bool ask_numbers(struct mptcp_info *info, const struct paths_socket *from)
{
	socklen_t len = sizeof(*info);
	int fd = from ? from->open(from->arg) :
			(int)syscall(SYS_socket, AF_INET, SOCK_STREAM | SOCK_CLOEXEC,
				     IPPROTO_MPTCP);
	long r;

	if (fd < 0)
		return false;
	r = syscall(SYS_getsockopt, fd, SOL_MPTCP, MPTCP_INFO, info, &len);
	if (!from)
		syscall(SYS_close, fd);
	return r == 0 && len > offsetof(struct mptcp_info, mptcpi_local_addr_max);
}

/* Where there are endpoints: which, and where does the first subflow go? */
static enum paths_found ask_of(const struct addr *to, pol_route_fn *route,
			       const struct mptcp_info *info)
{
	struct paths paths = { .subflows = info->mptcpi_subflows_max,
			       .accepted = info->mptcpi_add_addr_accepted_max };
	enum paths_found found = PATHS_SEVERAL;
	struct pol_route first;
	int fd = genl_open();

	if (fd < 0) /* for want of a descriptor nothing shall be risked */
		return fd == -EMFILE || fd == -ENFILE ? PATHS_ONE : found;
	if (ask_endpoints(fd, genl_family(fd, MPTCP_PM_NAME), &paths) == 0 &&
	    route(to, NULL, &first)) {
		enum paths_found by_tunnel = paths_beside(&paths, &first, true);

		found = paths_beside(&paths, &first, false);
		if (found != by_tunnel && is_tunnel(fd, first.interface))
			found = by_tunnel;
	}
	genl_close(fd);
	return found;
}

/* -------------------------------------------------------------------- remembering it */

/* Each is a whole answer, so that nobody waits: whose (32 bits), when (seconds, 30), what (2). Whose is 0
 * for all, and odd for an address. */
#define N_KNOWN 32
static _Atomic uint64_t known[N_KNOWN];

static bool recall(uint32_t whose, int64_t now_ms, enum paths_found *found)
{
	uint64_t word = atomic_load_explicit(&known[whose % N_KNOWN], memory_order_relaxed);
	uint32_t age_s = ((uint32_t)(now_ms / 1000) - (uint32_t)(word >> 2)) & 0x3fffffff;

	*found = (enum paths_found)(word & 3);
	return word && word >> 32 == whose && age_s < PATHS_MS / 1000;
}

static void remember(uint32_t whose, int64_t now_ms, enum paths_found found)
{
	uint64_t s = (uint64_t)(now_ms / 1000) & 0x3fffffff;

	atomic_store_explicit(&known[whose % N_KNOWN], (uint64_t)whose << 32 | s << 2 | found,
			      memory_order_relaxed);
}

enum paths_found paths_to(const struct addr *to, pol_route_fn *route, int64_t now_ms,
			  const struct paths_socket *from)
{
	struct mptcp_info info = { .mptcpi_subflows = 0 };
	enum paths_found found = PATHS_SEVERAL;
	uint32_t whose = addr_hash(to) | 1;
	int saved_errno = errno;

	if (recall(0, now_ms, &found) || recall(whose, now_ms, &found))
		return found;
	if (!ask_numbers(&info, from)) {
		found = PATHS_SEVERAL;
	} else if (info.mptcpi_subflows_max && info.mptcpi_local_addr_max) {
		found = ask_of(to, route, &info);
	} else {
		whose = 0;
		if (info.mptcpi_subflows_max == 0)
			found = is_manager_elsewhere() ? PATHS_SEVERAL : PATHS_ONE;
		else
			found = info.mptcpi_add_addr_accepted_max ? PATHS_SEVERAL : PATHS_ONE;
	}
	remember(whose, now_ms, found);
	errno = saved_errno;
	return found;
}

/* ---------------------------------------------------------------------- what it gains */

enum multipath multipath(const struct multipath_facts *f)
{
	static const enum multipath by_paths[] = {
		[PATHS_UNASKED] = MULTIPATH_UNCLEAR,
		[PATHS_ONE] = MULTIPATH_ONE,
		[PATHS_SEVERAL] = MULTIPATH_GAINS,
		[PATHS_AROUND] = MULTIPATH_AROUND,
	};

	if (f->is_own)
		return MULTIPATH_OWN;
	if (f->setting == CONFIG_MPTCP_OFF)
		return MULTIPATH_OFF;
	if (f->setting == CONFIG_MPTCP_ON)
		return f->is_bound ? MULTIPATH_ON_BOUND : MULTIPATH_ON;
	if (f->is_bound)
		return MULTIPATH_BOUND;
	if (f->is_watched)
		return MULTIPATH_WATCHED;
	if (f->is_lost)
		return MULTIPATH_LOST;
	return by_paths[f->paths];
}

const char *multipath_text(enum multipath m)
{
	static const char *const texts[] = {
		[MULTIPATH_ON_BOUND] = "mptcp = on, although the program has bound it to a network",
		[MULTIPATH_BOUND] = "the program has bound it to a network",
		[MULTIPATH_WATCHED] = "the program's keepalive shall find a dead path soon",
		[MULTIPATH_LOST] = "the converter, or the network, has no MPTCP",
		[MULTIPATH_ONE] = "there is one path",
		[MULTIPATH_AROUND] = "another path would go around the tunnel",
		[MULTIPATH_UNCLEAR] = NULL,
	};

	return texts[m];
}
