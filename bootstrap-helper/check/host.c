// SPDX-License-Identifier: MIT
#include "check.h"

#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <libgen.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "paths.h"

#ifndef CONVERT_LIBRARY /* the Makefile says */
#define CONVERT_LIBRARY "/usr/local/lib/libconvert-preload.so"
#endif

#define LIBRARY "libconvert-preload.so"

/* --------------------------------------------------------------------------- the kernel */

static void look_at_kernel(struct host *h)
{
	struct utsname name = { 0 };

	uname(&name);
	memcpy(h->release, name.release, sizeof(h->release));
	memcpy(h->machine, name.machine, sizeof(h->machine));
	if (sscanf(name.release, "%u.%u", &h->major, &h->minor) != 2)
		h->major = h->minor = 0;
}

/* -1: it is not there, or no number. */
static int setting(const char *path)
{
	FILE *f = fopen(path, "re");
	int n;

	if (!f)
		return -1;
	if (fscanf(f, "%d", &n) != 1)
		n = -1;
	fclose(f);
	return n;
}

/* A counter of /proc/net/netstat, where a line of names is followed by one of numbers. */
static int64_t counter(const char *group, const char *name)
{
	FILE *f = fopen("/proc/net/netstat", "re");
	char *names = NULL, *numbers = NULL, *n = NULL, *v = NULL;
	size_t n_size = 0, v_size = 0, len = strlen(group);
	int64_t found = -1;

	while (f && found < 0 && getline(&names, &n_size, f) > 0 &&
	       getline(&numbers, &v_size, f) > 0) {
		char *next_n = names, *next_v = numbers;

		if (strncmp(names, group, len) != 0 || names[len] != ':')
			continue;
		while ((n = strsep(&next_n, " \n")) && (v = strsep(&next_v, " \n")))
			if (strcmp(n, name) == 0)
				found = strtoll(v, NULL, 10);
	}
	free(names);
	free(numbers);
	if (f)
		fclose(f);
	return found;
}

static void look_at_settings(struct host *h)
{
	h->fast_open = setting("/proc/sys/net/ipv4/tcp_fastopen");
	h->fast_open_pause_s = setting("/proc/sys/net/ipv4/tcp_fastopen_blackhole_timeout_sec");
	h->fast_open_pauses = counter("TcpExt", "TCPFastOpenBlackhole");
	h->mptcp = setting("/proc/sys/net/mptcp/enabled");
	h->mptcp_pause_s = setting("/proc/sys/net/mptcp/blackhole_timeout");
	h->mptcp_pauses = counter("MPTcpExt", "Blackhole");
	h->mptcp_close_s = setting("/proc/sys/net/mptcp/close_timeout");
}

/* ------------------------------------------------------------------------ its networks */

/* The stricter of the two holds (ip-sysctl). */
static int rp_filter(const char *interface)
{
	int all = setting("/proc/sys/net/ipv4/conf/all/rp_filter"), own;
	char path[96];

	snprintf(path, sizeof(path), "/proc/sys/net/ipv4/conf/%s/rp_filter", interface);
	own = setting(path);
	return own > all ? own : all;
}

static bool is_mobile(const char *interface)
{
	char path[64], line[64];
	bool found = false;
	FILE *f;

	snprintf(path, sizeof(path), "/sys/class/net/%s/uevent", interface);
	f = fopen(path, "re");
	while (f && !found && fgets(line, sizeof(line), f))
		found = strcmp(line, "DEVTYPE=wwan\n") == 0;
	if (f)
		fclose(f);
	return found;
}

/* Does this line of a routing table show a default route by that interface? */
static bool is_default_v4(const char *line, const char *interface)
{
	unsigned int to, mask;
	char name[17];

	return sscanf(line, "%16s %8x %*x %*x %*d %*d %*d %8x", name, &to, &mask) == 3 && to == 0 &&
	       mask == 0 && strcmp(name, interface) == 0;
}

static bool is_default_v6(const char *line, const char *interface)
{
	static const char any[] = "00000000000000000000000000000000";
	char to[33], name[17];
	unsigned int len;

	return sscanf(line, "%32s %2x %*s %*x %*s %*x %*x %*x %*x %16s", to, &len, name) == 3 &&
	       len == 0 && strcmp(to, any) == 0 && strcmp(name, interface) == 0;
}

/* An interface without one, as a bridge to containers, is no way to a converter. */
static bool is_way_out(const char *interface)
{
	static const struct {
		const char *path;
		bool (*is_default)(const char *line, const char *interface);
	} tables[] = { { "/proc/net/route", is_default_v4 },
		       { "/proc/net/ipv6_route", is_default_v6 } };
	bool found = false;

	for (size_t i = 0; i < 2 && !found; i++) {
		FILE *f = fopen(tables[i].path, "re");
		char *line = NULL;
		size_t size = 0;

		while (f && !found && getline(&line, &size, f) > 0)
			found = tables[i].is_default(line, interface);
		free(line);
		if (f)
			fclose(f);
	}
	return found;
}

static bool is_known(const struct host *h, const char *name)
{
	for (unsigned int i = 0; i < h->n_interfaces; i++)
		if (strcmp(h->interfaces[i].name, name) == 0)
			return true;
	return false;
}

static void look_at_interfaces(struct host *h)
{
	struct ifaddrs *all = NULL;

	if (getifaddrs(&all) < 0)
		return;
	for (const struct ifaddrs *i = all; i && h->n_interfaces < HOST_INTERFACES;
	     i = i->ifa_next) {
		struct host_interface *to = &h->interfaces[h->n_interfaces];
		struct addr a = { 0 };

		if (!i->ifa_addr || !(i->ifa_flags & IFF_UP) || is_known(h, i->ifa_name) ||
		    addr_from_sockaddr(&a, i->ifa_addr, sizeof(struct sockaddr_in6)) < 0 ||
		    addr_classify(&a) != ADDR_GLOBAL || !is_way_out(i->ifa_name))
			continue;
		snprintf(to->name, sizeof(to->name), "%s", i->ifa_name);
		to->address = a;
		to->rp_filter = rp_filter(to->name);
		to->is_mobile = is_mobile(to->name);
		h->n_interfaces++;
	}
	freeifaddrs(all);
}

/* ----------------------------------------------------------------------- this process */

static int is_another(const char *ours, const char *theirs)
{
	struct stat a, b;

	if (stat(ours, &a) < 0 || stat(theirs, &b) < 0)
		return -1;
	return a.st_dev != b.st_dev || a.st_ino != b.st_ino;
}

static void look_at_process(struct host *h)
{
	struct rlimit files = { 0 };
	FILE *f = fopen("/proc/self/uid_map", "re");
	unsigned long inside, outside, n;

	getrlimit(RLIMIT_NOFILE, &files);
	h->files = files.rlim_cur;
	h->files_most = files.rlim_max;
	h->uid = geteuid();
	h->own_network = is_another("/proc/self/ns/net", "/proc/1/ns/net");
	h->own_users = -1;
	if (!f)
		return;
	if (fscanf(f, "%lu %lu %lu", &inside, &outside, &n) == 3)
		h->own_users = n == 1;
	fclose(f);
}

/* ------------------------------------------------------------------------ the library */

static bool take_library(struct host *h, const char *directory, const char *name)
{
	char path[2 * PATH_MAX];
	struct stat st;

	snprintf(path, sizeof(path), "%s%s%s", directory, *directory ? "/" : "", name);
	if (!realpath(path, h->library) || stat(h->library, &st) < 0 || !S_ISREG(st.st_mode)) {
		h->library[0] = '\0';
		return false;
	}
	h->library_is_for_all = st.st_mode & S_IROTH;
	h->library_is_ours = st.st_uid == geteuid();
	return true;
}

/* Beside the program, as in build/; in the lib beside its bin; where make install puts it. */
static void look_for_library(struct host *h)
{
	char program[PATH_MAX], *directory;
	ssize_t n = readlink("/proc/self/exe", program, sizeof(program) - 8);

	if (n > 0) {
		program[n] = '\0';
		directory = dirname(program);
		if (take_library(h, directory, LIBRARY))
			return;
		if (take_library(h, directory, "../lib/" LIBRARY))
			return;
	}
	take_library(h, "", CONVERT_LIBRARY);
}

static void look_at_preload(struct host *h)
{
	if (preloaded_name(h->preload, sizeof(h->preload)))
		h->preload_err = preloaded_error(h->preload);
}

static void look_at_route(struct host *h, const struct config *config)
{
	struct pol_route route;

	if (config->n_converters && route_lookup(&config->converters[0].addrs[0], NULL, &route))
		memcpy(h->main_interface, route.interface, sizeof(h->main_interface));
}

void host_look(struct host *h, const char *library, const struct config *config)
{
	*h = (struct host){ .library_said = library };
	look_at_route(h, config);
	look_at_kernel(h);
	look_at_settings(h);
	paths_look(&h->paths);
	look_at_interfaces(h);
	look_at_process(h);
	if (library)
		take_library(h, "", library);
	else
		look_for_library(h);
	look_at_preload(h);
}
