/* SPDX-License-Identifier: MIT */
/*
 * top.h - who on this host is connected to what, and how, from the kernel's sockets up to the lines that say it. The
 * verb itself is base.h's top_main().
 */
#ifndef CVT_TOP_H
#define CVT_TOP_H

#include <stddef.h>

#include "config.h"
#include "legend.h"

/* ---- diag.c: the TCP and MPTCP sockets of this network namespace, as ss(8) has them (sock_diag(7)). Everybody may
 * ask, and is told of all users' sockets. */

struct diag_socket {
	struct addr local, remote;
	uint64_t cookie;	 /* SO_COOKIE */
	uint64_t received, sent; /* bytes of the stream, once each */
	uint32_t inode; /* a subflow has its MPTCP socket's; 0: no process has it any more */
	uint32_t uid, rtt_us;
	uint8_t state;	      /* TCP_ESTABLISHED ... */
	bool is_mptcp;	      /* the whole of it, whose subflows are others of its inode */
	bool has_fallen_back; /* ... but the other side, or the path, has no MPTCP */
};

typedef void diag_each_fn(const struct diag_socket *s, void *arg);
/* All but those that are closed or have yet to be accepted. has_mptcp: could MPTCP's be asked for? Returns
 * 0 or -errno. */
int diag_each(diag_each_fn *each, void *arg, bool *has_mptcp);

/* ---- program.c: a running program: has it the library, what is its configuration, what does the library know
 * of its descriptor numbers (legend.h)?
 *
 * The kernel says who may look into a program: root, and its user, if it has not forbidden that and, for
 * the last of the three, kernel.yama.ptrace_scope is 0. */

struct program {
	int pid;
	int thread;    /* of which /proc tells: the first one, but if that has ended alone */
	char name[16]; /* printable */
	enum program_library {
		PROGRAM_CLOSED, /* we may not look */
		PROGRAM_WITHOUT,
		PROGRAM_LOADED,
	} library;
	bool has_config; /* config is what it has read when it started */
	struct config config;
	bool is_open; /* legend is the library's */
	struct legend legend;
};

/* What a number of its stands for. */
enum program_number {
	PROGRAM_UNKNOWN, /* or the memory cannot be read */
	PROGRAM_NATIVE,	 /* the kernel made the connection */
	PROGRAM_BYPASS,
	PROGRAM_PENDING,
	PROGRAM_UP,
};

/* program_free() when it is not needed any more. */
void program_look(struct program *p, int pid, int thread);
/* cookie: of the socket that the number is now. has_server: it was to be converted, or is; *is_proven: by
 * the cookie. */
enum program_number program_ask(const struct program *p, int fd, uint64_t cookie,
				struct addr *server, bool *has_server, bool *is_proven);
void program_free(struct program *p);

/* ---- holders.c: which program has a socket, under which number.
 *
 * /proc is gone through only if there is a socket that was not there the last time; that is what the
 * time goes into. A socket that several programs have is that of one of them. */

struct holder {
	uint32_t inode;
	int fd;
	struct program *program; /* NULL: not found, or we may not look */
	void *note;		 /* the caller's, from one time to the next; free()d with it */
	unsigned int looked;	 /* how often it was searched for */
};

struct holders {
	struct holder *all;
	size_t n;
	bool sees_all; /* what was not found has no program, as MPTCP's subflows after its end */
	struct held_program *programs;
};

/* Of these sockets, which are in order, each once: as many in `all`, in the same order. False: no
 * memory. */
bool holders_find(struct holders *h, const uint32_t *inodes, size_t n);
void holders_free(struct holders *h);

/* ---- connections.c: what the kernel says of the sockets, /proc of their programs, and the library of theirs.
 * Connections that came in are left out: those to a port that somebody listens on. */

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

/* ---- top_show.c: in lines, or as JSON (top.schema.json) */

#define TOP_LINE 400

/* How wide the columns are that are not always the same. */
struct top_columns {
	int program, server, why;
	bool rate;
};

/* For a screen; or, with a width of 0, for all that there is to say. */
struct top_columns top_columns(const struct connections *c, int width);
void top_heading(char out[static TOP_LINE], struct top_columns t);
/* "3 converted, 1 bypassed, 12 direct" */
void top_summary(char out[static TOP_LINE], const struct connections *c);
/* What could not be found out, and how it could; "" if that is nothing. */
void top_limits(char out[static TOP_LINE], const struct connections *c);
void top_connection(char out[static TOP_LINE], struct top_columns t, const struct connection *k);
/* A connection has so many lines more, one for each subflow. */
size_t top_paths(const struct connection *k);
void top_path(char out[static TOP_LINE], struct top_columns t, const struct connections *c,
	      const struct diag_socket *path);
void top_json(const struct connections *c);

#endif
