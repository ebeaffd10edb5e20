/* SPDX-License-Identifier: MIT */
/*
 * connections.h - who on this host is connected to what, and how: what the kernel says of the sockets, /proc
 * of their programs, and the library of theirs.
 *
 * Connections that came in are left out: those to a port that somebody listens on.
 */
#ifndef CVT_CONNECTIONS_H
#define CVT_CONNECTIONS_H

#include "diag.h"
#include "holders.h"

enum connection_way {
	CONNECTION_CONVERTED,
	CONNECTION_PENDING, /* the converter's reply has not come yet */
	CONNECTION_BYPASSED,
	CONNECTION_DIRECT,
	CONNECTION_UNKNOWN, /* of a program that we may not look into */
	CONNECTION_WAYS,
};

struct connection {
	const struct diag_socket *socket; /* MPTCP's, or its only one */
	const struct diag_socket *paths;  /* TCP's; none for a moment, at the beginning or end */
	size_t n_paths;
	const struct program *program; /* NULL: not known */
	enum connection_way way;
	bool has_server;
	struct addr server;
	char converter[32]; /* its name in the configuration, or "" */
	const char *why;   /* it goes this way; or what is not known of it; NULL: as it is wanted */
	unsigned int line; /* of the rule, or 0 */
	uint64_t received, sent, rate; /* bytes; of both, in a second since the last round */
};

struct connections {
	struct connection *all; /* by way, the busiest first */
	size_t n, n_of[CONNECTION_WAYS];
	size_t closed;	   /* so many are of programs that we may not look into */
	size_t serverless; /* so many are converted, but the server's address could not be read */
	struct interface {
		struct addr address;
		char name[16];
	} * interfaces; /* one for each address of this host */
	size_t n_interfaces;
	bool has_mptcp; /* MPTCP's sockets could be asked for: their bytes and paths are whole */
	/* private */
	struct diag_socket *sockets;
	size_t n_sockets, room;
	struct holders holders;
	int64_t at_ns;
};

/* As they are now. ours: the configuration for programs that cannot be asked for theirs. Returns 0 or
 * -errno. */
int connections_look(struct connections *c, const struct config *ours);
/* Where a path leaves the host; "" if that is not known. */
const char *connections_interface(const struct connections *c, const struct diag_socket *path);
void connections_free(struct connections *c);

#endif
