// SPDX-License-Identifier: MIT
/* The hidden verb "request": the request itself. Its figures go to standard output, as JSON. */
#include "check.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "json.h"

#ifndef TCP_IS_MPTCP
#define TCP_IS_MPTCP 43
#endif

#define LIMIT_MS     (REQUEST_LIMIT_MS - 2000L)
#define SOCKETS_MOST 16

enum { ESTABLISHED = 1, CLOSE_WAIT = 8 }; /* as /proc/net/tcp has them */

struct seen {
	CURL *curl;
	int sockets[SOCKETS_MOST]; /* of all addresses that were tried */
	unsigned int n_sockets;
	bool has_peer, is_mptcp;
	struct addr peer;
	char server[64];
};

/* Eight digits are a word of the address in this machine's order of bytes. */
static bool parse_peer(struct addr *a, const char *text)
{
	size_t words = strlen(text) / 8;
	uint32_t ip[4] = { 0, 0, htonl(0xffff), 0 }; /* IPv4's is the last of them */
	uint32_t *to = words == 1 ? ip + 3 : ip;

	if (words != 1 && words != 4)
		return false;
	for (size_t i = 0; i < words; i++) {
		char word[9] = "";

		memcpy(word, text + 8 * i, 8);
		to[i] = (uint32_t)strtoul(word, NULL, 16);
	}
	memcpy(a->ip, ip, sizeof(ip));
	return true;
}

/* With whom the connection really is: getpeername() would name the server. Others may have the same port
 * here. What MPTCP has below a socket is shown with that one's inode. */
static bool find_peer(const char *table, unsigned int port, ino_t inode, struct addr *peer)
{
	FILE *f = fopen(table, "re");
	char *line = NULL, ip[33];
	unsigned int local, remote, state;
	unsigned long owner;
	size_t size = 0;
	bool found = false;

	while (f && !found && getline(&line, &size, f) > 0) {
		if (sscanf(line,
			   " %*[0-9]: %*32[0-9A-F]:%4x %32[0-9A-F]:%4x %2x %*s %*s %*s %*s %*s %lu",
			   &local, ip, &remote, &state, &owner) != 5)
			continue;
		found = local == port && owner == inode &&
			(state == ESTABLISHED || state == CLOSE_WAIT) && parse_peer(peer, ip);
		if (found)
			peer->port = (uint16_t)remote;
	}
	free(line);
	if (f)
		fclose(f);
	return found;
}

static unsigned int local_port(int fd)
{
	struct sockaddr_storage ss = { .ss_family = AF_UNSPEC };
	socklen_t len = sizeof(ss);
	struct addr a;

	return getsockname(fd, (struct sockaddr *)&ss, &len) == 0 &&
			       addr_from_sockaddr(&a, (struct sockaddr *)&ss, len) == 0 ?
		       a.port :
		       0;
}

static int on_socket(void *arg, curl_socket_t fd, curlsocktype purpose)
{
	struct seen *s = arg;

	(void)purpose;
	if (s->n_sockets < SOCKETS_MOST)
		s->sockets[s->n_sockets++] = fd;
	return CURL_SOCKOPT_OK;
}

/* While the connection is there. */
static void look(struct seen *s)
{
	for (unsigned int i = 0; i < s->n_sockets && !s->has_peer; i++) {
		int fd = s->sockets[i], on = 0;
		socklen_t len = sizeof(on);
		unsigned int port = local_port(fd);
		struct stat st;

		if (port == 0 || fstat(fd, &st) < 0)
			continue;
		s->is_mptcp = getsockopt(fd, IPPROTO_TCP, TCP_IS_MPTCP, &on, &len) == 0 && on;
		s->has_peer = find_peer("/proc/self/net/tcp", port, st.st_ino, &s->peer) ||
			      find_peer("/proc/self/net/tcp6", port, st.st_ino, &s->peer);
	}
}

static size_t on_header(char *bytes, size_t size, size_t n, void *arg)
{
	static const char name[] = "server:";
	struct seen *s = arg;
	size_t len = size * n, at = sizeof(name) - 1;

	look(s);
	if (len <= at || strncasecmp(bytes, name, at) != 0)
		return len;
	while (at < len && bytes[at] == ' ')
		at++;
	snprintf(s->server, sizeof(s->server), "%.*s", (int)strcspn(bytes + at, "\r\n"),
		 bytes + at);
	return len;
}

/* The first bytes are enough. */
static size_t on_body(char *bytes, size_t size, size_t n, void *arg)
{
	(void)bytes;
	(void)size;
	(void)n;
	(void)arg;
	return 0;
}

static void set_options(struct seen *s, const char *url, struct curl_slist *to)
{
	CURL *c = s->curl;

	curl_easy_setopt(c, CURLOPT_URL, url);
	curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(c, CURLOPT_NOPROXY, "*");
	curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, LIMIT_MS);
	curl_easy_setopt(c, CURLOPT_USERAGENT, "convert-bootstrap/" CONVERT_VERSION);
	curl_easy_setopt(c, CURLOPT_SOCKOPTFUNCTION, on_socket);
	curl_easy_setopt(c, CURLOPT_SOCKOPTDATA, s);
	curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(c, CURLOPT_HEADERDATA, s);
	curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body);
	if (to)
		curl_easy_setopt(c, CURLOPT_CONNECT_TO, to);
}

static void put_address(json_t *o, const char *name, const struct addr *a)
{
	char ip[INET6_ADDRSTRLEN], port[16];
	bool v4 = addr_is_v4(a);

	inet_ntop(v4 ? AF_INET : AF_INET6, v4 ? a->ip + 12 : a->ip, ip, sizeof(ip));
	snprintf(port, sizeof(port), "%s_port", name);
	json_put(o, name, json_text(ip));
	json_put(o, port, json_integer(a->port));
}

static void report(struct seen *s, CURLcode code)
{
	json_t *o = json_object();
	curl_off_t name_us = 0, connect_us = 0, first_us = 0;
	struct addr to = { 0 };
	char *ip = NULL;
	long status = 0, port = 0;
	bool answered;

	curl_easy_getinfo(s->curl, CURLINFO_RESPONSE_CODE, &status);
	curl_easy_getinfo(s->curl, CURLINFO_NAMELOOKUP_TIME_T, &name_us);
	curl_easy_getinfo(s->curl, CURLINFO_CONNECT_TIME_T, &connect_us);
	curl_easy_getinfo(s->curl, CURLINFO_STARTTRANSFER_TIME_T, &first_us);
	curl_easy_getinfo(s->curl, CURLINFO_PRIMARY_IP, &ip);
	curl_easy_getinfo(s->curl, CURLINFO_PRIMARY_PORT, &port);
	answered = status && (code == CURLE_OK || code == CURLE_WRITE_ERROR);
	json_put(o, "error", json_text(answered ? "" : curl_easy_strerror(code)));
	json_put(o, "status", json_integer(status));
	json_put(o, "server", json_text(s->server));
	/* the second request does not look the name up */
	json_put(o, "connect_us", json_integer(connect_us - name_us));
	json_put(o, "first_byte_us", json_integer(first_us - name_us));
	json_put(o, "mptcp", json_boolean(s->is_mptcp));
	to.port = (uint16_t)port;
	if (ip && addr_parse(&to, ip) == 0)
		put_address(o, "to", &to);
	if (s->has_peer)
		put_address(o, "peer", &s->peer);
	json_print(o);
}

/* request URL [ADDRESS:PORT] */
int request_main(int argc, char **argv)
{
	struct seen s = { .curl = NULL };
	struct curl_slist *to = NULL;
	char rule[ADDR_TEXT_MAX + 4];

	if (argc < 2 || argc > 3 || curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
		return BOOTSTRAP_USAGE;
	s.curl = curl_easy_init();
	if (!s.curl)
		return BOOTSTRAP_FAILED;
	if (argc == 3) {
		snprintf(rule, sizeof(rule), "::%s", argv[2]);
		to = curl_slist_append(NULL, rule);
	}
	set_options(&s, argv[1], to);
	report(&s, curl_easy_perform(s.curl));
	curl_slist_free_all(to);
	curl_easy_cleanup(s.curl);
	curl_global_cleanup();
	return BOOTSTRAP_OK;
}
