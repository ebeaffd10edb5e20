// SPDX-License-Identifier: MIT
/* What happens when the library is loaded, before the program, and in the child of its fork(). */
#include "record.h"
#include "counts.h"
#include "accept.h"
#include "passed.h"
#include "health.h"
#include "real.h"
#include "shim.h"
#include "twin.h"

static void in_child(void)
{
	conn_in_child();
	twin_in_child();
	held_in_child();
	shim_in_child();
	servers_in_child();
	health_in_child();
	counts_in_child();
}

__attribute__((constructor)) static void start(void)
{
	int saved_errno = errno;

	real_init();
	mark_started();
	shim_keep_environment();
	passed_keep_environment();
	libc_atfork(conn_before_fork, conn_share_pending, in_child);
	conn_adopt_by(in_child);
	errno = saved_errno;
}
