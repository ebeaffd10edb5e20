/* SPDX-License-Identifier: MIT */
/* metrics.h - what the kernel remembers of an address (tcp_metrics(8)), by generic netlink. */
#ifndef CVT_METRICS_H
#define CVT_METRICS_H

#include "addr.h"

/* Does it hold a TCP Fast Open cookie of this address, for connections from source? source: all
 * zero for any. The cookie itself is not looked at. */
bool metrics_has_tfo_cookie(const struct addr *to, const struct addr *source);

#endif
