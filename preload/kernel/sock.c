// SPDX-License-Identifier: MIT
#include "sock.h"

#include "wait.h"

#include <stddef.h>
#include <string.h>

int sock_int(int fd, int level, int name, int otherwise)
{
	int value = otherwise;
	socklen_t len = sizeof(value);

	return sys_getsockopt(fd, level, name, &value, &len) < 0 ? otherwise : value;
}

int sock_set_int(int fd, int level, int name, int value)
{
	return sys_setsockopt(fd, level, name, &value, sizeof(value));
}

int sock_try_option(int level, int name, const void *value, socklen_t len)
{
	int fd = (int)sys_result(syscall(SYS_socket, AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)), r;

	if (fd < 0)
		return 0;
	r = sys_setsockopt(fd, level, name, value, len);
	syscall(SYS_close, fd);
	return r;
}

int sock_ask_cookie(int fd, uint64_t *cookie)
{
	socklen_t len = sizeof(*cookie);

	return sys_getsockopt(fd, SOL_SOCKET, SO_COOKIE, cookie, &len);
}

uint64_t sock_cookie(int fd)
{
	uint64_t cookie = 0;

	return sock_ask_cookie(fd, &cookie) < 0 ? 0 : cookie;
}

bool sock_is_nonblocking(int fd)
{
	int flags = sys_fcntl(fd, F_GETFL, 0);

	return flags >= 0 && flags & O_NONBLOCK;
}

short sock_events(int fd, short events)
{
	struct pollfd p = { .fd = fd, .events = events };
	struct timespec now = { .tv_sec = 0 };

	return syscall(SYS_ppoll, &p, 1, &now, NULL, 0) > 0 ? p.revents : 0;
}

bool sock_addr(int fd, long call, struct addr *a)
{
	struct sockaddr_storage name;
	socklen_t len = sizeof(name);

	*a = (struct addr){ .port = 0 };
	return sys_result(syscall(call, fd, &name, &len)) == 0 &&
	       addr_from_sockaddr(a, (struct sockaddr *)&name, len) == 0;
}

void sock_show_name(const struct addr *a, int family, struct sockaddr *out, socklen_t room,
		    socklen_t *len)
{
	struct sockaddr_storage name;
	struct addr shown = { .port = a->port };
	socklen_t whole;

	if (family == AF_INET6 || addr_is_v4(a))
		shown = *a;
	whole = addr_to_sockaddr(&shown, family, &name);
	memcpy(out, &name, room < whole ? room : whole);
	*len = whole;
}

int64_t sock_time_limit(int fd, int name)
{
	struct timeval limit = { 0 };
	socklen_t len = sizeof(limit);

	if (sys_getsockopt(fd, SOL_SOCKET, name, &limit, &len) < 0 ||
	    (limit.tv_sec == 0 && limit.tv_usec == 0))
		return INT64_MAX;
	return wait_end(limit.tv_sec, (int64_t)limit.tv_usec * 1000);
}

int sock_tcp_state(int fd)
{
	struct tcp_info info = { .tcpi_state = 0 };
	socklen_t len = offsetof(struct tcp_info, tcpi_ca_state);

	return sys_getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) < 0 ? 0 : info.tcpi_state;
}

union sock_tcp sock_tcp(int fd)
{
	union sock_tcp tcp;
	socklen_t len = sizeof(tcp);

	memset(&tcp, 0, sizeof(tcp));
	sys_getsockopt(fd, IPPROTO_TCP, TCP_INFO, &tcp, &len);
	return tcp;
}

bool sock_has_syn_data(int fd)
{
	return sock_tcp(fd).info.tcpi_options & TCPI_OPT_SYN_DATA;
}

bool sock_is_mptcp(int fd)
{
	return sock_int(fd, IPPROTO_TCP, TCP_IS_MPTCP, 0);
}

/* A blocking descriptor must not wait here: O_NONBLOCK would show in every process that shares
 * it, so for a moment its time limit is the shortest that there is (TRAPS 2.18). */
int sock_connect(int fd, const struct sockaddr *to, socklen_t len, bool nonblocking)
{
	struct timeval shortest = { .tv_usec = 1 }, saved = { 0 };
	socklen_t size = sizeof(saved);
	int r;

	if (nonblocking)
		return sys_connect(fd, to, len);
	sys_getsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &saved, &size);
	sys_setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &shortest, sizeof(shortest));
	r = sys_connect(fd, to, len);
	sys_setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &saved, sizeof(saved));
	return r;
}

bool sock_disconnect(int fd)
{
	struct sockaddr none = { .sa_family = AF_UNSPEC };

	return sys_connect(fd, &none, sizeof(none)) == 0;
}
