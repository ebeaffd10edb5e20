// SPDX-License-Identifier: MIT
#include "map_text.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "pcp.h"

static const struct {
	const char *means, *mend;
} results[] = {
	[PCP_SUCCESS] = { "it is mapped", "" },
	[PCP_UNSUPP_VERSION] = { "it speaks another version of PCP, or NAT-PMP alone",
				 "a PCP server of version 2 (RFC 6887)" },
	[PCP_NOT_AUTHORIZED] = { "it does not serve this host, or another process has the port",
				 "let the server's operator allow this host, or end that process" },
	[PCP_MALFORMED_REQUEST] = { "it does not understand the request",
				    "say so to who makes the server; its log has the rest" },
	[PCP_UNSUPP_OPCODE] = { "it makes no mappings (no MAP)", "another PCP server" },
	[PCP_UNSUPP_OPTION] = { "it complains of an option, and none was sent",
				"say so to who makes the server" },
	[PCP_MALFORMED_OPTION] = { "it complains of an option, and none was sent",
				   "say so to who makes the server" },
	[PCP_NETWORK_FAILURE] = { "its own network does not work: no external address, say",
				  "wait, or ask the server's operator" },
	[PCP_NO_RESOURCES] = { "it has nothing left for a mapping",
			       "wait, or ask the server's operator" },
	[PCP_UNSUPP_PROTOCOL] = { "it maps no TCP ports", "another PCP server" },
	[PCP_USER_EX_QUOTA] = { "this host has as many mappings as it may have",
				"name fewer ports, or ask the server's operator for more" },
	[PCP_CANNOT_PROVIDE_EXTERNAL] = { "it cannot give that external address and port",
					  "wait until whoever has it is gone" },
	[PCP_ADDRESS_MISMATCH] = { "something on the way changes this host's address (a NAT)",
				   "name the PCP server of the network that this host is in" },
	[PCP_EXCESSIVE_REMOTE_PEERS] = { "it complains of a filter, and none was sent",
					 "say so to who makes the server" },
};

void map_text_result(int result, char text[static MAP_TEXT_MAX])
{
	const char *name = result < 0 ? NULL : pcp_result_name((uint8_t)result);

	if (name)
		snprintf(text, MAP_TEXT_MAX, "%s: %s", name, results[result].means);
	else
		snprintf(text, MAP_TEXT_MAX, "a result that is not known here, %d", result);
}

const char *map_text_mend(int result)
{
	if (result < 0 || !pcp_result_name((uint8_t)result))
		return "ask the server's operator what that is";
	return results[result].mend;
}

void map_text_no_answer(int err, char text[static MAP_TEXT_MAX])
{
	if (err == ECONNREFUSED)
		snprintf(text, MAP_TEXT_MAX, "there is no PCP server at that port");
	else if (err)
		snprintf(text, MAP_TEXT_MAX, "cannot be reached: %s", strerror(err));
	else
		snprintf(text, MAP_TEXT_MAX, "no answer");
}
