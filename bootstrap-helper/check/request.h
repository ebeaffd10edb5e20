/* SPDX-License-Identifier: MIT */
/*
 * request.h - one HTTP request by libcurl in a process of its own, directly or under the library:
 * what any program's connection would be like.
 *
 * Promises: the process is this program again, with the hidden verb "request"; it ends within
 * REQUEST_LIMIT_MS. Nothing but the URL is in its arguments.
 */
#ifndef CVT_REQUEST_H
#define CVT_REQUEST_H

#include <stdbool.h>
#include <stdint.h>

#include "addr.h"

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
/* The hidden verb. */
int request_main(int argc, char **argv);

#endif
