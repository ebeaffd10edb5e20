// SPDX-License-Identifier: MIT
#include "pcp.h"

#include <string.h>

#define RESPONSE       0x80 /* the R bit, beside the opcode (7.1, 7.2) */
#define MANDATORY_MAX  127  /* options up to here must be understood (7.3) */
#define PREFER_FAILURE 2
#define ANNOUNCED_MIN  4 /* of a response of another version */

static uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static uint32_t get32(const uint8_t *p)
{
	return (uint32_t)get16(p) << 16 | get16(p + 2);
}

static void put16(uint8_t *p, uint16_t n)
{
	p[0] = (uint8_t)(n >> 8);
	p[1] = (uint8_t)n;
}

static void put32(uint8_t *p, uint32_t n)
{
	put16(p, (uint16_t)(n >> 16));
	put16(p + 2, (uint16_t)n);
}

/* --------------------------------------------------------------------------- both ways */

/* 11.1, figures 9 and 10 */
static void put_map(uint8_t *p, const struct pcp_map *m)
{
	memcpy(p, m->nonce, PCP_NONCE_LEN);
	p[12] = m->protocol;
	put16(p + 16, m->internal_port);
	put16(p + 18, m->external.port);
	memcpy(p + 20, m->external.ip, sizeof(m->external.ip));
}

static void get_map(struct pcp_map *m, const uint8_t *p)
{
	memcpy(m->nonce, p, PCP_NONCE_LEN);
	m->protocol = p[12];
	m->internal_port = get16(p + 16);
	m->external.port = get16(p + 18);
	memcpy(m->external.ip, p + 20, sizeof(m->external.ip));
}

static bool is_whole(size_t len)
{
	return len >= PCP_HEADER_LEN && len <= PCP_MESSAGE_MAX && len % 4 == 0;
}

struct addr pcp_any(const struct addr *a)
{
	struct addr any = { .port = 0 };

	if (addr_is_v4(a))
		memcpy(any.ip, a->ip, 12);
	return any;
}

/* -------------------------------------------------------------------------- the client */

size_t pcp_write_request(uint8_t out[static PCP_MAP_LEN + PCP_OPTION_LEN],
			 const struct pcp_request *q)
{
	memset(out, 0, PCP_MAP_LEN + PCP_OPTION_LEN);
	out[0] = PCP_VERSION;
	out[1] = q->opcode;
	put32(out + 4, q->lifetime_s);
	memcpy(out + 8, q->client.ip, sizeof(q->client.ip));
	if (q->opcode != PCP_MAP)
		return PCP_HEADER_LEN;
	put_map(out + PCP_HEADER_LEN, &q->map);
	if (!q->prefer_failure)
		return PCP_MAP_LEN;
	out[PCP_MAP_LEN] = PREFER_FAILURE;
	return PCP_MAP_LEN + PCP_OPTION_LEN;
}

bool pcp_read_response(struct pcp_response *r, const uint8_t *bytes, size_t len)
{
	*r = (struct pcp_response){ .version = 0 };
	if (len < ANNOUNCED_MIN || !(bytes[1] & RESPONSE))
		return false;
	r->version = bytes[0];
	r->opcode = bytes[1] & (uint8_t)~RESPONSE;
	r->result = bytes[3];
	if (r->version != PCP_VERSION)
		return r->result == PCP_UNSUPP_VERSION;
	if (!is_whole(len) || (r->opcode == PCP_MAP && !r->result && len < PCP_MAP_LEN))
		return false;
	r->lifetime_s = get32(bytes + 4);
	r->epoch_s = get32(bytes + 8);
	r->has_map = r->opcode == PCP_MAP && len >= PCP_MAP_LEN;
	if (r->has_map)
		get_map(&r->map, bytes + PCP_HEADER_LEN);
	return true;
}

/* -------------------------------------------------------------------------- the server */

/* 7.3: code, a byte for nothing, the length of the data, and the data, padded to a word */
static enum pcp_result read_options(struct pcp_request *q, const uint8_t *p, size_t len)
{
	enum pcp_result result = PCP_SUCCESS;

	while (len > 0) {
		size_t data = get16(p + 2), all = PCP_OPTION_LEN + (data + 3) / 4 * 4;

		if (all > len)
			return PCP_MALFORMED_OPTION;
		if (p[0] == PREFER_FAILURE && q->opcode == PCP_MAP) {
			if (data || q->prefer_failure || !q->lifetime_s)
				return PCP_MALFORMED_OPTION; /* 13.2 */
			q->prefer_failure = true;
		} else if (p[0] <= MANDATORY_MAX) {
			result = PCP_UNSUPP_OPTION;
		}
		p += all;
		len -= all;
	}
	return result;
}

int pcp_read_request(struct pcp_request *q, const uint8_t *bytes, size_t len)
{
	size_t own;

	*q = (struct pcp_request){ .opcode = 0 };
	if (len < 2 || (bytes[1] & RESPONSE))
		return -1;
	q->opcode = bytes[1];
	if (bytes[0] != PCP_VERSION)
		return PCP_UNSUPP_VERSION;
	if (!is_whole(len))
		return PCP_MALFORMED_REQUEST;
	q->lifetime_s = get32(bytes + 4);
	memcpy(q->client.ip, bytes + 8, sizeof(q->client.ip));
	if (q->opcode != PCP_MAP && q->opcode != PCP_ANNOUNCE)
		return PCP_UNSUPP_OPCODE;
	own = q->opcode == PCP_MAP ? PCP_MAP_LEN : PCP_HEADER_LEN;
	if (len < own)
		return PCP_MALFORMED_REQUEST;
	if (q->opcode == PCP_MAP)
		get_map(&q->map, bytes + PCP_HEADER_LEN);
	/* a port of every protocol: 11.1 */
	if (q->opcode == PCP_MAP && !q->map.protocol && q->map.internal_port)
		return PCP_MALFORMED_REQUEST;
	return (int)read_options(q, bytes + own, len - own);
}

static size_t put_success(uint8_t *out, const struct pcp_response *r, bool prefer_failure)
{
	if (out[1] != (PCP_MAP | RESPONSE))
		return PCP_HEADER_LEN;
	put_map(out + PCP_HEADER_LEN, &r->map);
	if (!prefer_failure)
		return PCP_MAP_LEN;
	out[PCP_MAP_LEN] = PREFER_FAILURE;
	return PCP_MAP_LEN + PCP_OPTION_LEN;
}

size_t pcp_write_response(uint8_t out[static PCP_MESSAGE_MAX], const struct pcp_response *r,
			  const uint8_t *request, size_t len, bool prefer_failure)
{
	size_t copied = len < PCP_MESSAGE_MAX ? len : PCP_MESSAGE_MAX;

	memset(out, 0, PCP_MESSAGE_MAX);
	if (r->result && copied > PCP_HEADER_LEN)
		memcpy(out + PCP_HEADER_LEN, request + PCP_HEADER_LEN, copied - PCP_HEADER_LEN);
	out[0] = r->version;
	out[1] = len > 1 ? request[1] | RESPONSE : RESPONSE;
	out[3] = r->result;
	put32(out + 4, r->lifetime_s);
	put32(out + 8, r->epoch_s);
	if (!r->result)
		return put_success(out, r, prefer_failure);
	return copied < PCP_HEADER_LEN ? PCP_HEADER_LEN : (copied + 3) / 4 * 4;
}

size_t pcp_write_announce(uint8_t out[static PCP_HEADER_LEN], uint32_t epoch_s)
{
	memset(out, 0, PCP_HEADER_LEN);
	out[0] = PCP_VERSION;
	out[1] = PCP_ANNOUNCE | RESPONSE;
	put32(out + 8, epoch_s);
	return PCP_HEADER_LEN;
}

const char *pcp_result_name(uint8_t result)
{
	static const char *const names[] = {
		[PCP_SUCCESS] = "SUCCESS",
		[PCP_UNSUPP_VERSION] = "UNSUPP_VERSION",
		[PCP_NOT_AUTHORIZED] = "NOT_AUTHORIZED",
		[PCP_MALFORMED_REQUEST] = "MALFORMED_REQUEST",
		[PCP_UNSUPP_OPCODE] = "UNSUPP_OPCODE",
		[PCP_UNSUPP_OPTION] = "UNSUPP_OPTION",
		[PCP_MALFORMED_OPTION] = "MALFORMED_OPTION",
		[PCP_NETWORK_FAILURE] = "NETWORK_FAILURE",
		[PCP_NO_RESOURCES] = "NO_RESOURCES",
		[PCP_UNSUPP_PROTOCOL] = "UNSUPP_PROTOCOL",
		[PCP_USER_EX_QUOTA] = "USER_EX_QUOTA",
		[PCP_CANNOT_PROVIDE_EXTERNAL] = "CANNOT_PROVIDE_EXTERNAL",
		[PCP_ADDRESS_MISMATCH] = "ADDRESS_MISMATCH",
		[PCP_EXCESSIVE_REMOTE_PEERS] = "EXCESSIVE_REMOTE_PEERS",
	};

	return result < sizeof(names) / sizeof(names[0]) ? names[result] : NULL;
}

/* --------------------------------------------------------------------------- the epoch */

bool pcp_epoch_fits(const struct pcp_epoch *last, uint32_t server_s, int64_t client_s)
{
	int64_t server = (int64_t)server_s - (int64_t)last->server_s;
	int64_t client = client_s - last->client_s;

	if (!last->is_known)
		return true;
	/* up to one second back is two answers that have overtaken each other */
	return server >= -1 && client + 2 >= server - server / 16 &&
	       server + 2 >= client - client / 16;
}

void pcp_epoch_set(struct pcp_epoch *last, uint32_t server_s, int64_t client_s)
{
	*last = (struct pcp_epoch){ .is_known = true, .server_s = server_s, .client_s = client_s };
}
