// SPDX-License-Identifier: MIT
/*
 * get-curl URL - what is there, by a libcurl that is linked statically. Debian has none of some libraries that plain
 * HTTP has no use for (GSSAPI), so those are left out (--unresolved-symbols).
 */
#include <curl/curl.h>

/* which is begun in any case */
int libssh2_init(int flags);
int libssh2_init(int flags)
{
	(void)flags;
	return 0;
}

int main(int argc, char **argv)
{
	CURL *curl;

	if (argc != 2 || curl_global_init(CURL_GLOBAL_NOTHING) != CURLE_OK)
		return 2;
	curl = curl_easy_init();
	if (!curl)
		return 2;
	curl_easy_setopt(curl, CURLOPT_URL, argv[1]);
	curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT, 30L);
	curl_easy_setopt(curl, CURLOPT_FAILONERROR, 1L);
	return curl_easy_perform(curl) != CURLE_OK;
}
