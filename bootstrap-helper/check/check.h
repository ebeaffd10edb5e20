/* SPDX-License-Identifier: MIT */
/*
 * check.h - the doctor: the facts, what they mean, and where a program's connection would go. The verb itself is
 * base.h's check_main().
 */
#ifndef CVT_CHECK_H
#define CVT_CHECK_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "base.h"
#include "handshake.h"
#include "paths.h"
#include "probe.h"
#include "state.h"

/* ---- host.c: the facts of this host that decide how well the Convert client works here.
 *
 * Promises: looks and changes nothing; starts no program, sends no packet. What cannot be found out
 * is said to be unknown (-1). */

#define HOST_INTERFACES 16

struct host {
	char release[65], machine[65];
	unsigned int major, minor;
	int fast_open;		  /* net.ipv4.tcp_fastopen */
	int fast_open_pause_s;	  /* net.ipv4.tcp_fastopen_blackhole_timeout_sec */
	int64_t fast_open_pauses; /* how often, since this network namespace is there */
	int mptcp;		  /* net.mptcp.enabled; -1: the kernel has no MPTCP */
	int mptcp_pause_s;	  /* net.mptcp.blackhole_timeout */
	int64_t mptcp_pauses;
	int mptcp_close_s; /* net.mptcp.close_timeout */
	struct paths paths;
	struct host_interface {
		char name[16];
		struct addr address;   /* the first that is neither loopback's nor link-local */
		int rp_filter;	       /* what holds for it */
		bool is_mobile;	       /* a modem's, which are often paid for by volume */
	} interfaces[HOST_INTERFACES]; /* up, with such an address and a default route */
	unsigned int n_interfaces;
	char main_interface[16]; /* by which packets to the first converter leave; "": not known */
	uint64_t files, files_most; /* RLIMIT_NOFILE */
	unsigned int uid;
	int own_users;		  /* a user namespace with one user */
	int own_network;	  /* another network namespace than process 1's */
	const char *library_said; /* NULL: nobody has said where it is */
	char library[PATH_MAX];	  /* "": not found */
	bool library_is_for_all;  /* everybody may read it */
	bool library_is_ours;	  /* this user owns it */
	char preload[PATH_MAX];	  /* our line of /etc/ld.so.preload; "": none */
	int preload_err;	  /* errno of its file */
};

/* library: where it is, if somebody has said; else it is looked for. config: for its first converter. */
void host_look(struct host *h, const char *library, const struct config *config);

/* ---- host_written.c: can the two files that programs write be written by those of this user? */

enum host_file {
	HOST_FILE_NONE, /* there is to be none */
	HOST_FILE_FINE,
	HOST_FILE_TO_MAKE,	/* not there, but can be made */
	HOST_FILE_NO_DIRECTORY, /* not there, and neither is what it is to lie in */
	HOST_FILE_NO_RIGHT,	/* not there, and its directory is closed to this user */
	HOST_FILE_NOT_WRITABLE,
	HOST_FILE_NOT_TRUSTED, /* another user can write it */
	HOST_FILE_READ_ONLY,   /* it, or what it is to lie in, is on a mount that is */
	HOST_FILE_STRANGE,     /* not a state file; the log: a directory */
	HOST_FILE_NOT_OURS,    /* its directory is not this user's alone */
};

/* A file that programs of this user write. */
struct host_written {
	enum host_file file;
	char path[PATH_MAX]; /* "stderr" if that is it */
	unsigned int uid;
	bool is_own;	/* the user's own place, which nobody has named */
	bool is_shared; /* and it is among everybody's (state_file.h) */
	bool by_environment;
	bool belongs_to_us; /* what is in the way: the file, or HOST_FILE_NOT_OURS the directory */
	bool is_state;	    /* that file is one of state.h's, or empty */
	bool may_remove;    /* this user can take that away, */
	bool may_make;	    /* ... or make what is missing, */
	bool root_may_make; /* ... or root for him, where nobody else can get in between */
};

/* The state must be set up. by_environment: CONVERT_STATE, CONVERT_LOG has said where it is. */
void host_state_file(struct host_written *w, const struct config *config, bool by_environment);
void host_log_file(struct host_written *w, const char *path, bool by_environment);

/* ---- request.c: one HTTP request by libcurl in a process of its own, directly or under the library:
 * what any program's connection would be like.
 *
 * Promises: the process is this program again, with the hidden verb "request"; it ends within
 * REQUEST_LIMIT_MS. Nothing but the URL is in its arguments. */

#define REQUEST_LIMIT_MS 15000
#define REQUEST_LOG_MAX	 320

struct request {
	char url[300];
	bool has_run;			   /* else error says why it could not be tried */
	char error[128];		   /* curl's; "": an answer has come */
	int64_t connect_us, first_byte_us; /* since the name was looked up */
	long status;			   /* HTTP */
	char server[64];		   /* its Server header, "" if there was none */
	struct addr to;			   /* where the program believes to be connected to */
	struct addr peer;		   /* where it is */
	bool has_peer, is_mptcp;
	char log[REQUEST_LOG_MAX]; /* the library's last line, without date and program; "": none */
};

struct request_how {
	const char *host;	 /* a name or an address, perhaps with ":port" behind it */
	const char *library;	 /* NULL: directly */
	const char *config_file; /* NULL: what is found here */
	const struct addr *to;	 /* instead of what the name says; NULL: the name */
};

/* False: host is not HOST or HOST:PORT. */
bool request_is_host(const char *host);
void request_run(struct request *r, const struct request_how *how);
/* request_curl.c: the hidden verb. */
int request_main(int argc, char **argv);

/* ---- judge_*.c: what facts mean: findings, with what mends them.
 *
 * Promises: pure functions; all that they know is in their arguments. */

/* judge_host.c. As commands want an address: without port and brackets. */
void judge_ip(const struct addr *a, char text[static ADDR_TEXT_MAX]);

void judge_host(struct findings *f, const struct host *h, const struct config *config);

/* judge_config.c: a configuration without mistakes. */
void judge_config(struct findings *f, const struct config *config, const struct host_written *state,
		  const struct host_written *log);
/* Of that: is it in force, and does it name a converter? */
void judge_converters(struct findings *f, const struct config *config);
/* judge_written.c: its two files */
void judge_state(struct findings *f, const struct host_written *w);
void judge_log(struct findings *f, const struct host_written *w);

/* judge_converter.c: one address of a converter */
struct judge_converter {
	const struct config *config;
	const struct config_converter *converter;
	const struct addr *to;
	bool has_route, is_at_home; /* else it was not asked */
	struct pol_route route;
	unsigned int timeout_ms;
	struct probe probe;  /* as programs would meet it */
	enum multipath gain; /* of a socket that is not bound */
	bool has_plain, has_auto, has_again;
	struct probe plain;	/* without MPTCP, if that did not get an answer by MPTCP */
	struct probe automatic; /* with dialect = auto, if no answer came in the dialect given */
	struct probe again;	/* the same once more, if no Fast Open cookie came */
	bool converts;		/* whatever it says to Info: the request has come through it */
	bool is_open;		/* probe_is_open() */
	bool is_known_to_lose;	/* data in SYNs, and so programs send none */
	int64_t left_alone_ms;	/* for so long programs will not use it yet */
	bool asked;		/* ... as it has asked for that itself */
	bool mute;		/* ... as it has answered no Connect, though it answers Info */
};

void judge_converter(struct findings *f, const struct judge_converter *j);

/* judge_requests.c: the same request directly, and by way of the library */
void judge_requests(struct findings *f, const struct request *direct,
		    const struct request *converted);

/* ... and a port of this host at a PCP server */
struct judge_mapping {
	struct addr server, external;
	uint16_t port;
	int result, err; /* as in struct mapping, mappings_server */
	int64_t lifetime_s;
	bool is_kept; /* a process is there that renews it */
};

void judge_mapping(struct findings *f, const struct judge_mapping *j);
/* So many are not mapped. */
void judge_mapping_ports(struct findings *f, size_t n, size_t most);

/* ---- check_explain.c: where a program's connection would go now, and why.
 *
 * Promises: the library's own decisions; no connection is made, and nothing is learned. */

/* to: HOST or HOST:PORT. After config_use_state(). */
void check_explain(struct findings *f, const struct config *config, const char *to);

#endif
