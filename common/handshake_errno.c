// SPDX-License-Identifier: MIT
/* What connect() says of a server that a converter could not reach, or that has refused it. */
#include "handshake.h"

#include <errno.h>

/* What a direct Linux connect() reports for each ICMP code (PROTOCOL 2, measured). */
static const int icmp_errno_v4[] = {
	ENETUNREACH,  EHOSTUNREACH, ENOPROTOOPT,  ECONNREFUSED, EHOSTUNREACH, EOPNOTSUPP,
	ENETUNREACH,  EHOSTDOWN,    ENONET,	  ENETUNREACH,	EHOSTUNREACH, ENETUNREACH,
	EHOSTUNREACH, EHOSTUNREACH, EHOSTUNREACH, EHOSTUNREACH,
};
static const int icmp_errno_v6[] = {
	ENETUNREACH, EACCES, EHOSTUNREACH, EHOSTUNREACH, ECONNREFUSED, EACCES, EACCES, EPROTO,
};

static int icmp_errno(uint8_t code, bool v4)
{
	const int *table = v4 ? icmp_errno_v4 : icmp_errno_v6;
	size_t n = v4 ? sizeof(icmp_errno_v4) / sizeof(int) : sizeof(icmp_errno_v6) / sizeof(int);

	return code < n ? table[code] : EHOSTUNREACH;
}

int hs_errno(uint8_t code, struct cvt_span value, bool target_v4)
{
	switch (code) {
	case CVT_ERR_MISSING_COOKIE:
		return EACCES;
	case CVT_ERR_RESOURCE:
		return ENOBUFS;
	case CVT_ERR_RESET:
		return ECONNREFUSED;
	case CVT_ERR_UNREACHABLE:
		return value.len ? icmp_errno(value.p[0], target_v4) : EHOSTUNREACH;
	case CVT_ERR_TCP_OPTION:
		return EPROTO;
	}
	/* the rest, and unknown codes, by class */
	if (code < 32 || code >= 128)
		return EPROTO;
	if (code < 64)
		return EACCES;
	return code < 96 ? ENETUNREACH : EHOSTUNREACH;
}
