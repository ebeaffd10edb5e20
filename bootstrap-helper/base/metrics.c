// SPDX-License-Identifier: MIT
#include "metrics.h"

#include "genl.h"

#include <linux/tcp_metrics.h>

static void put_address(struct genl_message *m, const struct addr *a, uint16_t v4, uint16_t v6)
{
	if (addr_is_v4(a))
		genl_put(m, v4, a->ip + 12, 4);
	else
		genl_put(m, v6, a->ip, 16);
}

static bool look(int fd, const struct addr *to, const struct addr *source)
{
	static const struct addr any;
	uint16_t number = genl_family(fd, TCP_METRICS_GENL_NAME);
	struct genl_message m;
	size_t len;

	genl_begin(&m, number, TCP_METRICS_CMD_GET, TCP_METRICS_GENL_VERSION);
	put_address(&m, to, TCP_METRICS_ATTR_ADDR_IPV4, TCP_METRICS_ATTR_ADDR_IPV6);
	if (!addr_equal_ip(source, &any))
		put_address(&m, source, TCP_METRICS_ATTR_SADDR_IPV4, TCP_METRICS_ATTR_SADDR_IPV6);
	return number && genl_ask(fd, &m) == 0 &&
	       genl_find_in(&m, TCP_METRICS_ATTR_FOPEN_COOKIE, &len) && len > 0;
}

bool metrics_has_tfo_cookie(const struct addr *to, const struct addr *source)
{
	int fd = genl_open();
	bool has;

	if (fd < 0)
		return false;
	has = look(fd, to, source);
	genl_close(fd);
	return has;
}
