// SPDX-License-Identifier: MIT
#include "both_ends.h"

#include "conn_int.h"
#include "pollset.h"
#include "wait.h"

#define AT_ONCE_MAX 16 /* conversions to one listener that are waited for together */

/* The last conversion that this thread has begun; and the listener that it does not go to, plus one,
 * so that accept() asks the kernel once for each of its conversions and not once a call. */
static __thread struct {
	const struct upstream *exchange;
	uint64_t sock_cookie;
	int elsewhere;
} last __attribute__((tls_model("initial-exec")));

void both_ends_begun(const struct upstream *u)
{
	last.exchange = u;
	last.sock_cookie = atomic_load(&u->sock_cookie);
	last.elsewhere = 0;
}

static bool is_under_way(const struct upstream *u)
{
	return upstream_is_pending(u) && !upstream_is_deferred(u);
}

static bool goes_to(const struct upstream *u, const struct addr *local)
{
	return u->server.port == local->port &&
	       (addr_classify(local) == ADDR_UNSPECIFIED || addr_equal_ip(&u->server, local));
}

static bool local_address(int listener, struct addr *local)
{
	struct sockaddr_storage name;
	socklen_t len = sizeof(name);

	return sys_getsockname(listener, (struct sockaddr *)&name, &len) == 0 &&
	       addr_from_sockaddr(local, (struct sockaddr *)&name, len) == 0;
}

/* The numbers whose conversions go to this address. */
static nfds_t collect(struct pollfd *set, const struct addr *local)
{
	nfds_t n = 0;

	for (int fd = 0; fd <= conn_highest() && n < AT_ONCE_MAX; fd++) {
		struct conn *c = fdt_get(fd) == FDT_PENDING ? conn_peek(fd) : NULL;
		const struct upstream *u = c ? conn_exchange(c) : NULL;

		if (u && is_under_way(u) && goes_to(u, local))
			set[n++] = (struct pollfd){ .fd = fd, .events = POLLOUT };
	}
	return n;
}

static int wait_for_one(int listener, const struct addr *local)
{
	struct pollfd set[AT_ONCE_MAX];
	nfds_t n = collect(set, local);
	int64_t until;
	int r;

	if (n == 0 || upstream_is_interrupted() || conn_is_nonblocking(listener))
		return 0;
	until = conn_time_limit(listener, SO_RCVTIMEO);
	do
		r = pollset_wait(set, n, until, NULL);
	while (r == -EINTR && until == WAIT_FOREVER && wait_restarts_all());
	if (r > 0 && until != WAIT_FOREVER) /* accept() would start the time limit anew */
		r = wait_one(listener, POLLIN, until);
	return r < 0 ? r : r == 0 ? -EAGAIN : 0;
}

bool both_ends_in_order(int listener)
{
	const struct upstream *u = last.exchange;
	int saved_errno = errno;
	struct addr local;

	if (!u || last.elsewhere == listener + 1 || !is_under_way(u) ||
	    atomic_load(&u->sock_cookie) != last.sock_cookie)
		return true;
	if (!local_address(listener, &local) || !goes_to(u, &local)) {
		last.elsewhere = listener + 1;
		return true;
	}
	return libc_result(wait_for_one(listener, &local), saved_errno) == 0;
}
