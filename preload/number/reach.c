// SPDX-License-Identifier: MIT
#include "reach.h"

#include "notes.h"
#include "sock.h"
#include "twin.h"

#include <netinet/in.h>

bool reach_is_only_v6(int fd)
{
	int on = 0;
	socklen_t len = sizeof(on);

	if (!note_has_twin(fd))
		return sock_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0);
	return twin_getsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, &len) == 0 && on;
}

bool reach_is_bound_elsewhere(int fd, const struct addr *to)
{
	const struct note *n = note_at(fd);
	struct addr own;

	if (n && n->family && !atomic_load(&n->bound))
		return false;
	return sock_addr(fd, SYS_getsockname, &own) && addr_classify(&own) != ADDR_UNSPECIFIED &&
	       addr_is_v4(&own) != addr_is_v4(to);
}
