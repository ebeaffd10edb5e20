// SPDX-License-Identifier: MIT
/* mptcp-sockets.so - preloaded into a program that knows nothing of Multipath TCP, lets it listen and
 * connect with it: every TCP socket that the program asks for is an MPTCP one. */
#include <dlfcn.h>
#include <netinet/in.h>
#include <sys/socket.h>

#define MPTCP	  262
#define TYPE_MASK 0xf /* beside it SOCK_NONBLOCK and SOCK_CLOEXEC */

__attribute__((visibility("default"))) int socket(int family, int type, int protocol)
{
	union {
		void *symbol;
		int (*call)(int, int, int);
	} next = { dlsym(RTLD_NEXT, "socket") };

	if ((family == AF_INET || family == AF_INET6) && (type & TYPE_MASK) == SOCK_STREAM &&
	    (protocol == 0 || protocol == IPPROTO_TCP))
		protocol = MPTCP;
	return next.call(family, type, protocol);
}
