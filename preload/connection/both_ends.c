// SPDX-License-Identifier: MIT
#include "accept.h"

#include "pollset.h"
#include "wait.h"
#include "sock.h"

#define AT_ONCE_MAX 16 /* conversions to one listener that are waited for together */

/* The last conversion that this thread has begun; the listener that it does not go to, so that
 * accept() asks the kernel once for each of its conversions and not once a call; and the one that it
 * or an earlier one may go to. Numbers plus one. */
static __thread struct {
	const struct exchange *exchange;
	uint64_t sock_cookie;
	int elsewhere, here;
} last __attribute__((tls_model("initial-exec")));

/* A bit for the ports, by their last six bits, that conversions have ever gone to: hardly ever one of those
 * that the program listens at. */
static _Atomic uint64_t ports;

static uint64_t port_bit(const struct addr *a)
{
	return 1ULL << a->port % 64;
}

void both_ends_begun(const struct exchange *u)
{
	if (!(atomic_load(&ports) & port_bit(&u->server)))
		atomic_fetch_or(&ports, port_bit(&u->server));
	last.exchange = u;
	last.sock_cookie = atomic_load(&u->sock_cookie);
	last.elsewhere = 0;
}

static bool is_under_way(const struct exchange *u)
{
	return exchange_is_pending(u) && !exchange_is_deferred(u);
}

/* One of this host's addresses: a socket can be bound to it, for all that anybody may ask. */
static bool is_here(struct addr a)
{
	struct sockaddr_storage name;
	int family = addr_is_v4(&a) ? AF_INET : AF_INET6, fd;
	socklen_t len;
	long r;

	a.port = 0;
	len = addr_to_sockaddr(&a, family, &name);
	fd = (int)sys_result(syscall(SYS_socket, family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
	if (fd < 0)
		return true;
	r = sys_result(syscall(SYS_bind, fd, &name, len));
	syscall(SYS_close, fd);
	return r != -EADDRNOTAVAIL;
}

/* The last address that was asked about; no port: none. */
struct asked {
	struct addr address;
	bool is_here;
};

static bool goes_to(const struct exchange *u, const struct addr *local, struct asked *asked)
{
	if (u->server.port != local->port)
		return false;
	if (addr_classify(local) != ADDR_UNSPECIFIED)
		return addr_equal_ip(&u->server, local);
	if (!asked->address.port || !addr_equal_ip(&u->server, &asked->address))
		*asked = (struct asked){ u->server, is_here(u->server) };
	return asked->is_here;
}

/* The numbers whose conversions go to this address. */
static nfds_t collect(struct pollfd *set, const struct addr *local)
{
	struct asked asked = { .is_here = false };
	nfds_t n = 0;

	for (int fd = 0; fd <= conn_highest() && n < AT_ONCE_MAX; fd++) {
		const struct exchange *u = conn_exchange(conn_pending(fd));

		if (u && is_under_way(u) && goes_to(u, local, &asked))
			set[n++] = (struct pollfd){ .fd = fd, .events = POLLOUT };
	}
	return n;
}

static int wait_for_one(int listener, struct pollfd *set, nfds_t n)
{
	int64_t until = sock_time_limit(listener, SO_RCVTIMEO);
	int r;

	do
		r = pollset_wait(set, n, until, NULL);
	while (r == -EINTR && until == WAIT_FOREVER && wait_restarts_all());
	if (r > 0 && until != WAIT_FOREVER) /* accept() would start the time limit anew */
		r = wait_one(listener, POLLIN, until);
	return r < 0 ? r : r == 0 ? -EAGAIN : 0;
}

static bool may_go_to(int listener)
{
	const struct exchange *u = last.exchange;

	if (last.here == listener + 1)
		return true;
	return u && last.elsewhere != listener + 1 && is_under_way(u) &&
	       atomic_load(&u->sock_cookie) == last.sock_cookie;
}

bool both_ends_in_order(int listener)
{
	struct pollfd set[AT_ONCE_MAX];
	int saved_errno = errno, r = 0;
	struct addr local;
	bool may;
	nfds_t n;

	if (!may_go_to(listener))
		return true;
	may = sock_addr(listener, SYS_getsockname, &local) &&
	      atomic_load(&ports) & port_bit(&local);
	if (may && (exchange_is_interrupted() || sock_is_nonblocking(listener)))
		return true;
	n = may ? collect(set, &local) : 0;
	last.here = n ? listener + 1 : 0;
	if (n)
		r = wait_for_one(listener, set, n);
	else
		last.elsewhere = listener + 1;
	return libc_result(r, saved_errno) == 0;
}
