/* SPDX-License-Identifier: MIT */
/*
 * sock.h - what the kernel says of a socket, and the two ways to connect one without waiting.
 *
 * Raw system calls: errno is untouched, errors are negative.
 */
#ifndef CVT_SOCK_H
#define CVT_SOCK_H

#include "addr.h"
#include "real.h"

#include <netinet/in.h>
#include <netinet/tcp.h>

#ifndef TCP_IS_MPTCP
#define TCP_IS_MPTCP 43
#endif
#ifndef SO_TIMESTAMPING_OLD
#define SO_TIMESTAMPING_OLD SO_TIMESTAMPING
#define SO_TIMESTAMPING_NEW 65
#endif

/* An option whose value is an int; `otherwise` where the kernel does not say. */
int sock_int(int fd, int level, int name, int otherwise);
int sock_set_int(int fd, int level, int name, int value);
/* What setsockopt() says of a TCP socket that was just made; 0, too, where there is none to be had. */
int sock_try_option(int level, int name, const void *value, socklen_t len);
/* SO_COOKIE: 0 or a negative errno; and the same, 0 if fd is no socket. */
int sock_ask_cookie(int fd, uint64_t *cookie);
uint64_t sock_cookie(int fd);
bool sock_is_nonblocking(int fd);
/* getsockname() or getpeername() (call: SYS_...). False, and port 0: there is none. */
bool sock_addr(int fd, long call, struct addr *a);
/* An address as a socket of this family shows it, in a buffer of the program's that has this room. The
 * length is the true one, even if the address was cut (getpeername(2)). One that IPv4 cannot express is
 * 0.0.0.0 (twin.h). */
void sock_show_name(const struct addr *a, int family, struct sockaddr *out, socklen_t room,
		    socklen_t *len);
/* What poll() says now; 0: nothing. */
short sock_events(int fd, short events);
/* SO_SNDTIMEO (which connect() obeys too) or SO_RCVTIMEO (accept() too, socket(7)) as a moment from
 * now; INT64_MAX for none. */
int64_t sock_time_limit(int fd, int name);
/* TCP_SYN_SENT and so on; 0: the kernel does not say, as of all that is not TCP. */
int sock_tcp_state(int fd);
/* TCP_INFO, with what libc's structure may not know yet; all that the kernel does not say is 0. */
union sock_tcp {
	struct tcp_info info;
	struct {
		uint8_t bytes[128];
		uint64_t received; /* bytes, a FIN being one */
	};
};
union sock_tcp sock_tcp(int fd);
/* Was there data in the SYN, sent and acknowledged, or received? */
bool sock_has_syn_data(int fd);
/* Is its connection one of MPTCP? Means something only between the handshake and the end (LINUX-FACTS
 * 4.3). */
bool sock_is_mptcp(int fd);
/* connect() that never waits: 0, -EINPROGRESS or what has gone wrong. */
int sock_connect(int fd, const struct sockaddr *to, socklen_t len, bool nonblocking);
/* connect(AF_UNSPEC): resets the connection, and the socket can connect again (PROTOCOL L8). */
bool sock_disconnect(int fd);

#endif
