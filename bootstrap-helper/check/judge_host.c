// SPDX-License-Identifier: MIT
#include "check.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define FEW_FILES 256
#define WAITS_S	  10

enum { FAST_OPEN_CLIENT = 1, FAST_OPEN_WITHOUT_COOKIE = 4 }; /* bits of net.ipv4.tcp_fastopen */

static bool is_before(const struct host *h, unsigned int major, unsigned int minor)
{
	return h->major < major || (h->major == major && h->minor < minor);
}

static bool wants_mptcp(const struct config *config)
{
	return config->mptcp != CONFIG_MPTCP_OFF;
}

static void judge_kernel(struct findings *f, const struct host *h, const struct config *config)
{
	struct finding *found;

	if (is_before(h, 4, 14)) {
		found = finding_add(f, "kernel", FINDING_PROBLEM,
				    "Linux %s on %s: SYN data without a Fast Open cookie came with "
				    "4.14, Multipath TCP with 5.6",
				    h->release, h->machine);
		finding_advise(found, "Linux 6.2 or later");
	} else if (is_before(h, 6, 2) && wants_mptcp(config)) {
		found = finding_add(
			f, "kernel", FINDING_NOTE,
			"Linux %s on %s: Fast Open over Multipath TCP came with 6.2, so a "
			"connection needs one round trip more than over TCP",
			h->release, h->machine);
		finding_mend(found, "mptcp = off");
	} else {
		found = finding_add(f, "kernel", FINDING_OK,
				    "Linux %s on %s: knows Fast Open, Multipath TCP and both "
				    "together",
				    h->release, h->machine);
	}
	finding_word(found, "release", h->release);
}

static void judge_fast_open(struct findings *f, const struct host *h)
{
	static const char name[] = "net.ipv4.tcp_fastopen";
	struct finding *found;

	if (h->fast_open < 0) {
		found = finding_add(f, "fast-open", FINDING_NOTE, "%s cannot be read", name);
		finding_mend_as_root(found, "mount -t proc proc /proc");
		return;
	}
	if (!(h->fast_open & FAST_OPEN_CLIENT)) {
		found = finding_add(f, "fast-open", FINDING_PROBLEM,
				    "%s is %d: nothing travels in a SYN, and every connection "
				    "needs one round trip more",
				    name, h->fast_open);
		finding_mend_as_root(found, "sysctl -w %s=%d", name,
				     h->fast_open | FAST_OPEN_CLIENT);
	} else if (h->fast_open & FAST_OPEN_WITHOUT_COOKIE) {
		found = finding_add(f, "fast-open", FINDING_NOTE,
				    "%s is %d: bit 4 makes the kernel send SYN data without a "
				    "cookie to everybody, which most converters do not take",
				    name, h->fast_open);
		finding_mend_as_root(found, "sysctl -w %s=%d", name,
				     h->fast_open & ~FAST_OPEN_WITHOUT_COOKIE);
	} else {
		found = finding_add(f, "fast-open", FINDING_OK,
				    "%s is %d: data may travel in a SYN", name, h->fast_open);
	}
	finding_number(found, "tcp_fastopen", h->fast_open);
}

static void judge_fast_open_pause(struct findings *f, const struct host *h)
{
	static const char name[] = "net.ipv4.tcp_fastopen_blackhole_timeout_sec";
	struct finding *found;

	if (h->fast_open_pause_s <= 0)
		return;
	found = finding_add(
		f, "fast-open-pause", FINDING_NOTE,
		"%s is %d: after three lost SYNs in a row the kernel uses Fast Open "
		"with nobody, for that long and longer; it has happened %" PRId64 " times",
		name, h->fast_open_pause_s, h->fast_open_pauses > 0 ? h->fast_open_pauses : 0);
	finding_mend_as_root(found, "sysctl -w %s=0", name);
	finding_number(found, "pauses", h->fast_open_pauses);
}

static void judge_mptcp(struct findings *f, const struct host *h, const struct config *config)
{
	struct finding *found;

	if (!wants_mptcp(config)) {
		finding_add(f, "mptcp", FINDING_OK,
			    "mptcp = off: connections to a converter are TCP");
	} else if (h->mptcp < 0 && h->fast_open < 0) {
		/* no /proc, rather than no such kernel */
		found = finding_add(f, "mptcp", FINDING_NOTE, "net.mptcp.enabled cannot be read");
		finding_mend_as_root(found, "mount -t proc proc /proc");
	} else if (h->mptcp < 0) {
		found = finding_add(f, "mptcp", FINDING_NOTE,
				    "this kernel has no Multipath TCP: connections to a "
				    "converter are TCP");
		finding_mend(found, "mptcp = off");
	} else if (h->mptcp == 0) {
		found = finding_add(f, "mptcp",
				    config->mptcp == CONFIG_MPTCP_ON ? FINDING_PROBLEM :
								       FINDING_NOTE,
				    "net.mptcp.enabled is 0: connections to a converter are TCP");
		finding_mend_as_root(found, "sysctl -w net.mptcp.enabled=1");
	} else {
		finding_add(f, "mptcp", FINDING_OK, "net.mptcp.enabled is %d", h->mptcp);
	}
}

/* LINUX-FACTS 1.10: the kernel then sends no MP_CAPABLE to anybody. Writing the setting ends it. */
static void judge_mptcp_pause(struct findings *f, const struct host *h)
{
	struct finding *found;

	if (h->mptcp_pauses <= 0 || h->mptcp_pause_s <= 0)
		return;
	found = finding_add(f, "mptcp-pause", FINDING_NOTE,
			    "the kernel has taken SYNs with MPTCP's option for lost on the path, "
			    "%" PRId64 " times, and then uses Multipath TCP with nobody for %d s",
			    h->mptcp_pauses, h->mptcp_pause_s);
	finding_mend_as_root(found, "sysctl -w net.mptcp.blackhole_timeout=%d", h->mptcp_pause_s);
	finding_number(found, "pauses", h->mptcp_pauses);
}

void judge_ip(const struct addr *a, char text[static ADDR_TEXT_MAX])
{
	char *end;

	addr_format(a, text);
	end = strrchr(text, ':');
	if (end)
		*end = '\0';
	if (text[0] == '[') {
		text[strlen(text) - 1] = '\0';
		memmove(text, text + 1, strlen(text));
	}
}

/* ----------------------------------------------------------------------------- paths */

static unsigned int count_subflow_endpoints(const struct paths *p)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < p->n_endpoints; i++)
		n += p->endpoints[i].makes_subflows;
	return n;
}

/* The endpoint that makes subflows by this interface, or any; NULL: none is there. */
static const struct paths_endpoint *endpoint_of(const struct paths *p,
						const struct host_interface *interface)
{
	const struct paths_endpoint *found = NULL;

	for (unsigned int i = 0; i < p->n_endpoints; i++) {
		const struct paths_endpoint *e = &p->endpoints[i];

		if ((!found || e->makes_subflows) &&
		    (addr_equal_ip(&e->address, &interface->address) ||
		     strcmp(e->interface, interface->name) == 0))
			found = e;
	}
	return found;
}

static bool is_main(const struct host *h, const struct host_interface *interface)
{
	return h->main_interface[0] ? strcmp(h->main_interface, interface->name) == 0 :
				      interface == h->interfaces;
}

/* Networks that no subflow will use. */
static void judge_networks(struct findings *f, const struct host *h)
{
	struct finding *found = NULL;
	unsigned int n = count_subflow_endpoints(&h->paths);
	char text[ADDR_TEXT_MAX], name[FINDING_QUOTED];

	if (h->n_interfaces < 2 || n > 0) {
		found = finding_add(f, "mptcp-paths", FINDING_OK,
				    "MPTCP: %u network%s, %u endpoint%s for further paths, at most "
				    "%u of them for a connection",
				    h->n_interfaces, h->n_interfaces == 1 ? "" : "s", n,
				    n == 1 ? "" : "s", h->paths.subflows);
	} else {
		found = finding_add(f, "mptcp-paths", FINDING_NOTE,
				    "MPTCP: %u networks and no endpoint: a connection uses one of "
				    "them, unless the converter names more addresses",
				    h->n_interfaces);
		for (unsigned int i = 0; i < h->n_interfaces && i < 4; i++) {
			if (is_main(h, &h->interfaces[i]))
				continue;
			judge_ip(&h->interfaces[i].address, text);
			finding_mend_as_root(found, "ip mptcp endpoint add %s dev %s subflow%s",
					     text, finding_quote(h->interfaces[i].name, name),
					     h->interfaces[i].is_mobile ? " backup" : "");
		}
	}
	finding_number(found, "networks", h->n_interfaces);
	finding_number(found, "endpoints", h->paths.n_endpoints);
	finding_number(found, "subflow_endpoints", n);
	finding_number(found, "subflows", h->paths.subflows);
	finding_number(found, "add_addr_accepted", h->paths.accepted);
}

static void judge_limits(struct findings *f, const struct host *h)
{
	struct finding *found;

	if (count_subflow_endpoints(&h->paths) == 0 || h->paths.subflows > 0)
		return;
	found = finding_add(
		f, "mptcp-limits", FINDING_PROBLEM,
		"MPTCP: there are endpoints for further paths, but the limit is 0 of them "
		"for a connection");
	finding_mend_as_root(found, "ip mptcp limits set subflows 2 add_addr_accepted %u",
			     h->paths.accepted);
}

/* Answers to a subflow arrive where the main route does not lead. */
static void judge_rp_filter(struct findings *f, const struct host *h)
{
	char path[64], quoted[FINDING_QUOTED];
	struct finding *found;

	for (unsigned int i = 0; i < h->n_interfaces; i++) {
		const struct host_interface *to = &h->interfaces[i];

		if (to->rp_filter != 1 || count_subflow_endpoints(&h->paths) == 0 ||
		    !endpoint_of(&h->paths, to))
			continue;
		found = finding_add(f, "rp-filter", FINDING_NOTE,
				    "rp_filter of %s is 1 (strict): packets of a further path are "
				    "dropped, unless a route of its own leads back that way",
				    to->name);
		/* a dot is then one of the name's */
		snprintf(path, sizeof(path), "net/ipv4/conf/%s/rp_filter", to->name);
		finding_mend_as_root(found, "sysctl -w %s=2", finding_quote(path, quoted));
		finding_word(found, "interface", to->name);
	}
}

/* The kernel's scheduler asks how fast a path is, not what it costs. */
static void judge_mobile(struct findings *f, const struct host *h)
{
	char text[ADDR_TEXT_MAX];
	struct finding *found;

	for (unsigned int i = 0; i < h->n_interfaces; i++) {
		const struct host_interface *of = &h->interfaces[i];
		const struct paths_endpoint *e = endpoint_of(&h->paths, of);

		if (!of->is_mobile || is_main(h, of) || !e || !e->makes_subflows || e->is_backup)
			continue;
		judge_ip(&e->address, text);
		found = finding_add(f, "mptcp-metered", FINDING_NOTE,
				    "MPTCP uses %s, a mobile network, beside the others and not "
				    "only when they fail; if it is paid for by volume:",
				    of->name);
		finding_mend_as_root(found, "ip mptcp endpoint change %s backup", text);
		finding_word(found, "interface", of->name);
	}
}

/* LINUX-FACTS 4.10: where there is no second path there is nothing to wait for. */
static void judge_close_timeout(struct findings *f, const struct host *h,
				const struct config *config)
{
	bool waits_in_vain = config->mptcp == CONFIG_MPTCP_ON && h->n_interfaces < 2;
	struct finding *found;

	if (h->mptcp_close_s < 0)
		return;
	found = finding_add(f, "mptcp-close",
			    waits_in_vain && h->mptcp_close_s > WAITS_S ? FINDING_NOTE : FINDING_OK,
			    "net.mptcp.close_timeout is %d: for so many seconds a connection that "
			    "has lost all its paths, by a reset or keepalive, too, waits for "
			    "another and looks alive; with fewer, programs are told sooner, and a "
			    "change of networks has to be as quick",
			    h->mptcp_close_s);
	if (found->verdict == FINDING_NOTE)
		finding_mend_as_root(found, "sysctl -w net.mptcp.close_timeout=%d", WAITS_S);
	finding_number(found, "close_timeout", h->mptcp_close_s);
}

/* sudo is a set-user-ID program: the library takes the variables out of its environment. */
static void mend_by_sudo(const struct findings *f, const struct host *h, struct finding *found)
{
	if (*f->kept && h->preload[0] && h->preload_err == 0)
		finding_mend(
			found,
			"sudo convert-bootstrap check -c FILE   # with what the variables say in "
			"it: none goes through sudo (/etc/ld.so.preload)");
	else
		finding_mend(found, "sudo %sconvert-bootstrap check%s", f->kept, f->again);
}

static void judge_paths(struct findings *f, const struct host *h, const struct config *config)
{
	struct finding *found;

	if (!wants_mptcp(config) || h->mptcp <= 0)
		return;
	judge_mptcp_pause(f, h);
	judge_close_timeout(f, h, config);
	if (h->paths.err == -EPERM) {
		found = finding_add(f, "mptcp-paths", FINDING_NOTE,
				    "MPTCP's endpoints are only told to root");
		mend_by_sudo(f, h, found);
		return;
	}
	if (h->paths.err < 0)
		return;
	judge_networks(f, h);
	judge_limits(f, h);
	judge_rp_filter(f, h);
	judge_mobile(f, h);
}

/* ----------------------------------------------------------------- user and library */

static void judge_process(struct findings *f, const struct host *h)
{
	struct finding *found;

	if (h->files < FEW_FILES) {
		found = finding_add(f, "open-files", FINDING_NOTE,
				    "%" PRIu64 " open files are allowed: a connection to a "
				    "converter needs one more for a moment while it is made",
				    h->files);
		if (h->files_most < FEW_FILES)
			finding_mend_as_root(found, "prlimit --pid $$ --nofile=1024:1024");
		else
			finding_mend(found, "ulimit -n %" PRIu64,
				     h->files_most < 1024 ? h->files_most : 1024);
		finding_number(found, "open_files", (int64_t)h->files);
	}
	found = finding_add(f, "namespaces", FINDING_OK, "user %u%s%s", h->uid,
			    h->own_users == 1 ? " in a user namespace of one user" : "",
			    h->own_network == 1 ?
				    ", in a network namespace: its settings and Fast Open cookies "
				    "are not those of the host" :
			    h->own_network == 0 ? ", in the network of process 1" :
						  "");
	finding_number(found, "uid", h->uid);
	if (h->own_network >= 0)
		finding_flag(found, "own_network", h->own_network);
}

static void judge_library(struct findings *f, const struct host *h)
{
	char library[FINDING_QUOTED];
	struct finding *found;

	if (!h->library[0] && h->library_said) {
		found = finding_add(f, "library", FINDING_NOTE,
				    "%s (--library): not there, or no file", h->library_said);
		finding_mend(found, "convert-bootstrap check%s --library FILE", f->again);
		return;
	}
	if (!h->library[0]) {
		found = finding_add(
			f, "library", FINDING_NOTE,
			"libconvert-preload.so is neither beside this program nor where "
			"it is installed to");
		finding_mend(found, "convert-bootstrap check%s --library FILE", f->again);
		return;
	}
	if (h->library_is_for_all) {
		finding_add(f, "library", FINDING_OK, "the library is %s", h->library);
	} else {
		found = finding_add(f, "library", FINDING_PROBLEM,
				    "%s cannot be read by other users' programs", h->library);
		finding_quote(h->library, library);
		if (h->library_is_ours)
			finding_mend(found, "chmod 755 %s", library);
		else
			finding_mend_as_root(found, "chmod 755 %s", library);
	}
}

static void judge_preload(struct findings *f, const struct host *h)
{
	struct finding *found;

	if (!h->preload[0]) {
		finding_add(
			f, "ld-so-preload", FINDING_OK,
			"/etc/ld.so.preload does not name it: it is in programs that are started "
			"with LD_PRELOAD or convert-run");
	} else if (h->preload_err == 0) {
		finding_add(f, "ld-so-preload", FINDING_OK,
			    "/etc/ld.so.preload puts it into every program");
	} else {
		found = finding_add(f, "ld-so-preload", FINDING_PROBLEM,
				    "/etc/ld.so.preload names %s: %s", h->preload,
				    strerror(h->preload_err));
		finding_mend_as_root(found,
				     "sed -i '/^[[:space:]]*#/!s/[^[:space:]:]*libconvert-preload"
				     "[^[:space:]:]*[[:space:]:]*//g; /^$/d' /etc/ld.so.preload");
	}
}

void judge_host(struct findings *f, const struct host *h, const struct config *config)
{
	findings_about(f, "host");
	judge_kernel(f, h, config);
	judge_fast_open(f, h);
	judge_fast_open_pause(f, h);
	judge_mptcp(f, h, config);
	judge_paths(f, h, config);
	judge_process(f, h);
	judge_library(f, h);
	judge_preload(f, h);
}
