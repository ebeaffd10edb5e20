// SPDX-License-Identifier: MIT
/* What the note of a number says of the twin under it, and the names that a twin of another family has. */
#include "twin_int.h"

#include "sock.h"

#include <string.h>

void twin_accepted(int fd, uint64_t cookie, int family)
{
	struct note *n;

	note_begin(fd, family, 0, false);
	n = note_at(fd);
	if (!n)
		return;
	n->twin_family = (uint8_t)family;
	n->twin_is_mptcp = true;
	note_set_twin(n, cookie);
}

/* What was accepted on a twin. Another thread may put something else under the number while the kernel is asked: so
 * what is written down is of the same socket, and that it is TCP's only where there is no other. */
static bool adopt(int fd)
{
	uint64_t cookie = sock_cookie(fd);

	if (sock_int(fd, SOL_SOCKET, SO_PROTOCOL, 0) != IPPROTO_MPTCP) {
		if (libc_is_single_threaded())
			note_not_accepted(fd);
		return false;
	}
	if (!cookie || sock_cookie(fd) != cookie || !note_is_accepted(fd))
		return false;
	twin_accepted(fd, cookie, sock_int(fd, SOL_SOCKET, SO_DOMAIN, AF_INET));
	return note_has_twin(fd);
}

bool twin_may_be(int fd)
{
	return note_has_twin(fd) || note_is_accepted(fd);
}

bool twin_is(int fd)
{
	const struct note *n = note_at(fd);
	uint64_t cookie = n ? note_twin(n) : 0;

	return (cookie && cookie == sock_cookie(fd)) || (note_is_accepted(fd) && adopt(fd));
}

bool twin_became_tcp(int fd)
{
	struct note *n = note_at(fd);
	int state, is_mptcp = 1;

	if (!n || atomic_load(&n->checked))
		return false;
	if (!twin_is_answered(fd)) {
		state = sock_tcp_state(fd);
		if (!state || state == TCP_CLOSE || state == TCP_SYN_SENT)
			return false;
		is_mptcp = sock_int(fd, IPPROTO_TCP, TCP_IS_MPTCP, -1);
	}
	return is_mptcp >= 0 && !atomic_exchange(&n->checked, true) && !is_mptcp;
}

bool twin_is_foreign(int fd)
{
	const struct note *n = note_at(fd);

	return n && note_twin(n) && n->twin_family != n->family && twin_is(fd);
}

bool twin_own_is_bound_elsewhere(int fd, const struct addr *to)
{
	const struct note *n = note_at(fd);
	struct addr own;

	if (n && n->family && !atomic_load(&n->bound))
		return false;
	return sock_addr(fd, SYS_getsockname, &own) && addr_classify(&own) != ADDR_UNSPECIFIED &&
	       addr_is_v4(&own) != addr_is_v4(to);
}

int twin_name(long call, int fd, struct sockaddr *out, socklen_t *len)
{
	struct sockaddr_storage name;
	socklen_t size = sizeof(name), room = *len;
	long r = sys_result(syscall(call, fd, &name, &size));
	struct addr a;

	if (r < 0 || (int)room < 0)
		return r < 0 ? (int)r : -EINVAL;
	if (addr_from_sockaddr(&a, (struct sockaddr *)&name, size) == 0) {
		sock_show_name(&a, AF_INET, out, room, len);
		return 0;
	}
	memcpy(out, &name, room < size ? room : size); /* the number is another one's by now */
	*len = size;
	return 0;
}

const struct sockaddr *twin_address(int fd, const struct sockaddr *sa, socklen_t *len,
				    struct sockaddr_storage *room)
{
	struct addr a;

	if (!note_has_twin(fd) || !sa || *len < (socklen_t)sizeof(sa->sa_family) ||
	    sa->sa_family != AF_INET || !twin_is_foreign(fd) ||
	    addr_from_sockaddr(&a, sa, *len) < 0)
		return sa;
	if (addr_classify(&a) == ADDR_UNSPECIFIED)
		memset(a.ip, 0, sizeof(a.ip));
	*len = addr_to_sockaddr(&a, AF_INET6, room);
	return (struct sockaddr *)room;
}
