// SPDX-License-Identifier: MIT
#include "begin.h"

#include "notes.h"
#include "sock.h"

#include <net/if.h>
#include <string.h>

#define HOPS 64 /* that packets have of hosts that say nothing of it */

/* Linux before 5.0 tells of the device by its name alone. */
static uint32_t device_of(int fd)
{
	struct ifreq request = { .ifr_ifindex = 0 };
	char name[IFNAMSIZ] = "";
	socklen_t len = sizeof(name);
	int index = sock_int(fd, SOL_SOCKET, SO_BINDTOIFINDEX, -1);

	if (index >= 0)
		return (uint32_t)index;
	if (sys_result(syscall(SYS_getsockopt, fd, SOL_SOCKET, SO_BINDTODEVICE, name, &len)) < 0 ||
	    !name[0])
		return 0;
	memcpy(request.ifr_name, name, sizeof(name));
	if (sys_result(syscall(SYS_ioctl, fd, SIOCGIFINDEX, &request)) < 0)
		return 0;
	return (uint32_t)request.ifr_ifindex;
}

/* IP_UNICAST_IF and IPV6_UNICAST_IF are nothing to TCP (LINUX-FACTS 8.7). */
void bound_ask(int fd, struct pol_binding *by)
{
	sock_addr(fd, SYS_getsockname, &by->source);
	by->interface = device_of(fd);
	by->mark = (uint32_t)sock_int(fd, SOL_SOCKET, SO_MARK, 0);
	by->few_hops = false;
}

static bool has_few_hops(int fd)
{
	return sock_int(fd, IPPROTO_IP, IP_TTL, HOPS) < HOPS ||
	       sock_int(fd, IPPROTO_IP, IP_MINTTL, 0) > 0 ||
	       sock_int(fd, IPPROTO_IPV6, IPV6_UNICAST_HOPS, HOPS) < HOPS ||
	       sock_int(fd, IPPROTO_IPV6, IPV6_MINHOPCOUNT, 0) > 0;
}

void bound_to(int fd, struct pol_binding *by)
{
	const struct note *n = note_at(fd);

	*by = (struct pol_binding){ .interface = 0 };
	if (note_obstacle(n) || atomic_load(&n->copied) || note_names_network(n) ||
	    (note_is_special(n) && note_limits_hops(n))) {
		bound_ask(fd, by);
		by->few_hops = has_few_hops(fd);
	}
}
