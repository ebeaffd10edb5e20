/* SPDX-License-Identifier: MIT */
/*
 * host.h - the facts of this host that decide how well the Convert client works here.
 *
 * Promises: looks and changes nothing; starts no program, sends no packet. What cannot be found out
 * is said to be unknown (-1).
 */
#ifndef CVT_HOST_H
#define CVT_HOST_H

#include <limits.h>

#include "config.h"
#include "paths.h"
#include "state.h"

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
	bool is_shared; /* and it is among everybody's (state_place.h) */
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

#endif
