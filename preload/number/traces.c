// SPDX-License-Identifier: MIT
#include "traces.h"

#include "notes.h"
#include "sock.h"

#include <netinet/in.h>

/* The disconnect has given it back to the host, and goes on showing it (LINUX-FACTS 3.8). One that the program
 * had chosen the socket still has, so that the kernel refuses. */
void traces_bind_again(int fd)
{
	const struct note *n = note_at(fd);
	struct sockaddr_storage name;
	socklen_t len = sizeof(name);

	if (n && atomic_load(&n->bound) && !note_is_on(n, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT) &&
	    sys_getsockname(fd, (struct sockaddr *)&name, &len) == 0)
		syscall(SYS_bind, fd, &name, len);
}
