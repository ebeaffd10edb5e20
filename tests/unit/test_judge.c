// SPDX-License-Identifier: MIT
/* The doctor's judgements: facts in, findings out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "check.h"
#include "pcp.h"

static struct findings f;
static struct config config;
static struct config_converter converter;
static struct host host;
static struct judge_converter j;
static struct addr to;

static int start(void **state)
{
	(void)state;
	config = (struct config){ .mptcp = CONFIG_MPTCP_AUTO, .n_converters = 1 };
	converter = (struct config_converter){ .name = "home", .dialect_is_auto = true };
	config.converters = &converter;
	assert_int_equal(addr_parse(&to, "192.0.2.1"), 0);
	to.port = 5124;
	host = (struct host){
		.release = "6.18.1",
		.machine = "x86_64",
		.major = 6,
		.minor = 18,
		.fast_open = 1,
		.mptcp = 1,
		.mptcp_pause_s = 3600,
		.paths = { .subflows = 2 },
		.n_interfaces = 1,
		.files = 1024,
		.files_most = 4096,
		.library = "/usr/local/lib/libconvert-preload.so",
		.library_is_for_all = true,
	};
	j = (struct judge_converter){
		.config = &config,
		.converter = &converter,
		.to = &to,
		.has_route = true,
		.is_at_home = true,
		.route = { .interface = "wwan0" },
		.timeout_ms = 2500,
		.probe = { .verdict = PROBE_WORKS,
			   .handshake_us = 20000,
			   .reply_us = 40000,
			   .tfo_cookie = PROBE_TFO_HELD,
			   .syn_data = PROBE_SYN_ACKED,
			   .mptcp = PROBE_MPTCP_WORKS,
			   .has_dialect = true,
			   .has_offers = true,
			   .n_offers = 2,
			   .offers = { 30, 34 } },
	};
	return 0;
}

static int end(void **state)
{
	(void)state;
	findings_free(&f);
	return 0;
}

/* What holds for all: what is not well says what mends it, and only that. */
static const struct finding *find(const char *id)
{
	const struct finding *found = NULL;

	for (size_t i = 0; i < f.n; i++) {
		assert_true(strlen(f.all[i].what) < sizeof(f.all[i].what) - 1);
		assert_true(strlen(f.all[i].mend) < sizeof(f.all[i].mend) - 1);
		if ((f.all[i].verdict == FINDING_OK) != (f.all[i].mend[0] == '\0'))
			fail_msg("%s: \"%s\", mended by \"%s\"", f.all[i].id, f.all[i].what,
				 f.all[i].mend);
		if (!found && strcmp(f.all[i].id, id) == 0)
			found = &f.all[i];
	}
	return found;
}

/* Does the finding of that name say so? */
static void assert_said(const char *id, const char *words, bool expected)
{
	const struct finding *found = find(id);

	if (!found || (strstr(found->what, words) != NULL) != expected)
		fail_msg("%s: \"%s\", and \"%s\" in it %s", id, found ? found->what : "", words,
			 expected ? "is expected" : "is not");
}

static void assert_finding(const char *id, enum finding_verdict verdict, const char *mend)
{
	const struct finding *found = find(id);

	if (!found)
		fail_msg("no finding %s", id);
	assert_int_equal(found->verdict, verdict);
	if (!strstr(found->mend, mend))
		fail_msg("%s: \"%s\" (wanted: %s)", id, found->mend, mend);
}

static void assert_says(const char *id, const char *words)
{
	const struct finding *found = find(id);

	if (!found || !strstr(found->what, words))
		fail_msg("%s: \"%s\" (wanted: %s)", id, found ? found->what : "none", words);
}

static const char *mend(const char *id)
{
	const struct finding *found = find(id);

	return found ? found->mend : "";
}

/* ---------------------------------------------------------------------------- the host */

static void host_again(void)
{
	findings_free(&f);
	judge_host(&f, &host, &config);
}

static void a_good_host(void **state)
{
	(void)state;
	host_again();
	find("");
	assert_int_equal(findings_count(&f, FINDING_OK), f.n);
	assert_finding("kernel", FINDING_OK, "");
	assert_finding("mptcp-paths", FINDING_OK, "");
}

static void kernels(void **state)
{
	static const struct {
		unsigned int major, minor;
		enum finding_verdict verdict;
		const char *mend;
	} cases[] = {
		{ 3, 10, FINDING_PROBLEM, "6.2" },
		{ 4, 13, FINDING_PROBLEM, "6.2" },
		{ 4, 14, FINDING_NOTE, "mptcp = off" },
		{ 5, 6, FINDING_NOTE, "mptcp = off" },
		{ 6, 1, FINDING_NOTE, "mptcp = off" },
		{ 6, 2, FINDING_OK, "" },
		{ 7, 0, FINDING_OK, "" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		host.major = cases[i].major;
		host.minor = cases[i].minor;
		host_again();
		assert_finding("kernel", cases[i].verdict, cases[i].mend);
	}
	host.major = 5;
	config.mptcp = CONFIG_MPTCP_OFF;
	host_again();
	assert_finding("kernel", FINDING_OK, "");
}

static void fast_open(void **state)
{
	static const struct {
		int value;
		enum finding_verdict verdict;
		const char *mend;
	} cases[] = {
		{ -1, FINDING_NOTE, "mount" },
		{ 0, FINDING_PROBLEM, "tcp_fastopen=1" },
		{ 2, FINDING_PROBLEM, "tcp_fastopen=3" },
		{ 1, FINDING_OK, "" },
		{ 3, FINDING_OK, "" },
		{ 0x401, FINDING_OK, "" },
		{ 5, FINDING_NOTE, "tcp_fastopen=1" },
		{ 4, FINDING_PROBLEM, "tcp_fastopen=5" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		host.fast_open = cases[i].value;
		host_again();
		assert_finding("fast-open", cases[i].verdict, cases[i].mend);
	}
	assert_null(find("fast-open-pause"));
	host.fast_open_pause_s = 3600;
	host_again();
	assert_finding("fast-open-pause", FINDING_NOTE, "timeout_sec=0");
}

static void multipath_setting(void **state)
{
	(void)state;
	host.mptcp = 0;
	host_again();
	assert_finding("mptcp", FINDING_NOTE, "net.mptcp.enabled=1");
	assert_null(find("mptcp-paths"));
	config.mptcp = CONFIG_MPTCP_ON;
	host_again();
	assert_finding("mptcp", FINDING_PROBLEM, "net.mptcp.enabled=1");
	host.mptcp = -1;
	host_again();
	assert_finding("mptcp", FINDING_NOTE, "mptcp = off");
	host.fast_open = -1; /* there is nothing to read it from */
	host_again();
	assert_finding("mptcp", FINDING_NOTE, "mount -t proc");
	host.fast_open = 1;
	config.mptcp = CONFIG_MPTCP_OFF;
	host_again();
	assert_finding("mptcp", FINDING_OK, "");
	assert_int_equal(findings_count(&f, FINDING_NOTE), 0);
	config.mptcp = CONFIG_MPTCP_AUTO;
	host.mptcp = 1;
	host.mptcp_pauses = 2;
	host_again();
	assert_finding("mptcp-pause", FINDING_NOTE, "net.mptcp.blackhole_timeout=3600");
}

static void second_interface(void)
{
	struct host_interface *second = &host.interfaces[1];

	host.n_interfaces = 2;
	host.interfaces[0] = (struct host_interface){ .name = "eth0" };
	*second = (struct host_interface){ .name = "wwan0", .rp_filter = 2 };
	assert_int_equal(addr_parse(&host.interfaces[0].address, "198.51.100.7"), 0);
	assert_int_equal(addr_parse(&second->address, "2001:db8::7"), 0);
}

static void paths(void **state)
{
	(void)state;
	second_interface();
	host_again();
	assert_finding("mptcp-paths", FINDING_NOTE,
		       "ip mptcp endpoint add 2001:db8::7 dev wwan0 subflow");
	assert_null(strstr(mend("mptcp-paths"), "eth0"));
	/* one that only names an address to the other side makes no path from here */
	host.paths.n_endpoints = 1;
	host.paths.endpoints[0].address = host.interfaces[0].address;
	host_again();
	assert_finding("mptcp-paths", FINDING_NOTE, "2001:db8::7");
	strcpy(host.main_interface, "wwan0");
	host_again();
	assert_string_equal(mend("mptcp-paths"),
			    "ip mptcp endpoint add 198.51.100.7 dev eth0 subflow");
}

static void endpoints(void **state)
{
	(void)state;
	second_interface();
	host.paths.n_endpoints = 1;
	host.paths.endpoints[0].address = host.interfaces[1].address;
	host.paths.endpoints[0].makes_subflows = true;
	host_again();
	assert_finding("mptcp-paths", FINDING_OK, "");
	assert_null(find("mptcp-limits"));
	assert_null(find("rp-filter"));
	host.interfaces[0].rp_filter = 1; /* not the further path's */
	host_again();
	assert_null(find("rp-filter"));
	host.interfaces[1].rp_filter = 1;
	host.paths.subflows = 0;
	host_again();
	assert_finding("mptcp-limits", FINDING_PROBLEM, "limits set subflows 2");
	assert_finding("rp-filter", FINDING_NOTE, "net/ipv4/conf/wwan0/rp_filter=2");
	host.paths.err = -EPERM;
	host_again();
	assert_finding("mptcp-paths", FINDING_NOTE, "sudo");
	host.paths.err = -ENOENT;
	host_again();
	assert_null(find("mptcp-paths"));
}

static void close_timeout(void **state)
{
	(void)state;
	host.mptcp_close_s = 60;
	host_again();
	assert_finding("mptcp-close", FINDING_OK, "");
	assert_says("mptcp-close", "is 60:");
	config.mptcp = CONFIG_MPTCP_ON;
	host_again();
	assert_finding("mptcp-close", FINDING_NOTE, "sysctl -w net.mptcp.close_timeout=10");
	host.mptcp_close_s = 10;
	host_again();
	assert_finding("mptcp-close", FINDING_OK, "");
	host.mptcp_close_s = 60;
	second_interface(); /* which a connection may find later */
	host_again();
	assert_finding("mptcp-close", FINDING_OK, "");
	host.mptcp_close_s = -1;
	host_again();
	assert_null(find("mptcp-close"));
	host.mptcp_close_s = 60;
	config.mptcp = CONFIG_MPTCP_OFF;
	host_again();
	assert_null(find("mptcp-close"));
}

static void metered(void **state)
{
	struct paths_endpoint *e = host.paths.endpoints;

	(void)state;
	second_interface();
	host.interfaces[1].is_mobile = true;
	host_again();
	assert_finding("mptcp-paths", FINDING_NOTE,
		       "ip mptcp endpoint add 2001:db8::7 dev wwan0 subflow backup");
	assert_null(find("mptcp-metered"));
	host.paths.n_endpoints = 2;
	strcpy(e[0].interface, "wwan0"); /* this names an address to the other side */
	e[1].address = host.interfaces[1].address;
	e[1].makes_subflows = true;
	host_again();
	assert_finding("mptcp-metered", FINDING_NOTE,
		       "ip mptcp endpoint change 2001:db8::7 backup");
	e[1].is_backup = true;
	host_again();
	assert_null(find("mptcp-metered"));
	e[1].is_backup = false;
	strcpy(host.main_interface, "wwan0"); /* all begin on it */
	host_again();
	assert_null(find("mptcp-metered"));
}

static void process_and_library(void **state)
{
	(void)state;
	host.files = 64;
	host.files_most = 512;
	host.library_is_ours = true;
	host.library_is_for_all = false;
	snprintf(host.preload, sizeof(host.preload), "%s", "/nowhere/libconvert-preload.so");
	host.preload_err = ENOENT;
	host_again();
	assert_finding("open-files", FINDING_NOTE, "ulimit -n 512");
	assert_finding("library", FINDING_PROBLEM, "chmod 755 /usr");
	assert_finding("ld-so-preload", FINDING_PROBLEM, "/etc/ld.so.preload");
	host.library[0] = '\0';
	host.preload_err = 0;
	host_again();
	assert_finding("library", FINDING_NOTE, "--library");
	assert_finding("ld-so-preload", FINDING_OK, "");
}

/* ------------------------------------------------------------------ the configuration */

static struct host_written state_file, log_file;

static void config_again(enum host_file state, enum host_file log)
{
	findings_free(&f);
	findings_for(&f, state_file.uid == 0, NULL);
	state_file.file = state;
	log_file.file = log;
	judge_config(&f, &config, &state_file, &log_file);
}

static void named_files(void **state)
{
	static const struct {
		struct host_written w;
		const char *mend;
	} cases[] = {
		{ { .file = HOST_FILE_NONE }, "no line \"file" },
		{ { .file = HOST_FILE_NONE, .by_environment = true }, "unset CONVERT_STATE" },
		{ { .file = HOST_FILE_NO_DIRECTORY, .may_make = true },
		  "install -d -m 700 '/run/a b'" },
		{ { .file = HOST_FILE_NO_DIRECTORY, .root_may_make = true },
		  "sudo install -d -m 700 -o 7 '/run/a b'" },
		{ { .file = HOST_FILE_NO_DIRECTORY }, "no line" },
		{ { .file = HOST_FILE_NO_RIGHT, .root_may_make = true },
		  "sudo install -m 600 -o 7 /dev/null '/run/a b/s'" },
		{ { .file = HOST_FILE_NO_RIGHT, .by_environment = true }, "unset CONVERT_STATE" },
		{ { .file = HOST_FILE_NOT_WRITABLE, .belongs_to_us = true },
		  "chmod 600 '/run/a b/s'" },
		{ { .file = HOST_FILE_NOT_WRITABLE, .may_remove = true }, "no line" },
		{ { .file = HOST_FILE_NOT_TRUSTED, .belongs_to_us = true, .may_remove = true },
		  "no line" },
		{ { .file = HOST_FILE_NOT_TRUSTED,
		    .belongs_to_us = true,
		    .may_remove = true,
		    .is_state = true },
		  "rm -f '/run/a b/s'" },
		{ { .file = HOST_FILE_STRANGE, .belongs_to_us = true, .may_remove = true },
		  "no line" },
		{ { .file = HOST_FILE_READ_ONLY, .belongs_to_us = true },
		  "ReadWritePaths=-'/run/a b'   # in" },
		{ { .file = HOST_FILE_READ_ONLY, .by_environment = true },
		  "unset CONVERT_STATE   # or, in [Service] of its unit, ReadWritePaths=-'/run/a "
		  "b'" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		state_file = cases[i].w;
		state_file.uid = 7;
		snprintf(state_file.path, sizeof(state_file.path), "/run/a b/s");
		config_again(state_file.file, HOST_FILE_NONE);
		assert_finding("state", i < 2 ? FINDING_NOTE : FINDING_PROBLEM, "");
		if (strncmp(mend("state"), cases[i].mend, strlen(cases[i].mend)) != 0)
			fail_msg("%zu: %s", i, mend("state"));
		assert_null(find("log"));
	}
}

static void own_files(void **state)
{
	static const struct {
		struct host_written w;
		const char *mend;
	} cases[] = {
		{ { .file = HOST_FILE_NO_RIGHT, .is_shared = true },
		  "sudo install -d -m 700 -o 7 /run/user/7" },
		{ { .file = HOST_FILE_NO_RIGHT },
		  "mkdir -m 700 /dev/shm/convert-7 && export CONVERT_STATE=" },
		{ { .file = HOST_FILE_NOT_OURS,
		    .is_shared = true,
		    .belongs_to_us = true,
		    .may_remove = true },
		  "rm -rf /run/d" },
		{ { .file = HOST_FILE_NOT_OURS, .is_shared = true },
		  "sudo rm -rf /run/d\nsudo mkdir -m 700 /run/d && sudo chown -h 7 /run/d" },
		{ { .file = HOST_FILE_NOT_OURS, .belongs_to_us = true }, "chmod 700 /run/d" },
		{ { .file = HOST_FILE_NOT_OURS }, "sudo rm -rf /run/d" },
		{ { .file = HOST_FILE_STRANGE, .may_remove = true }, "rm -rf /run/d/s" },
		{ { .file = HOST_FILE_NOT_TRUSTED }, "sudo rm -rf /run/d/s" },
		{ { .file = HOST_FILE_READ_ONLY },
		  "mkdir -m 700 /dev/shm/convert-7 && export "
		  "CONVERT_STATE=/dev/shm/convert-7/state   # or, in "
		  "[Service] of its unit, ReadWritePaths=-/run/d" },
		{ { .file = HOST_FILE_READ_ONLY, .is_shared = true },
		  "ReadWritePaths=-/run/d   # in [Service]" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		state_file = cases[i].w;
		state_file.uid = 7;
		state_file.is_own = true;
		snprintf(state_file.path, sizeof(state_file.path), "/run/d/s");
		config_again(state_file.file, HOST_FILE_NONE);
		if (strncmp(mend("state"), cases[i].mend, strlen(cases[i].mend)) != 0)
			fail_msg("%zu: %s", i, mend("state"));
	}
}

static void files(void **state)
{
	(void)state;
	snprintf(log_file.path, sizeof(log_file.path), "/var/log/c");
	config_again(HOST_FILE_FINE, HOST_FILE_NONE);
	assert_finding("state", FINDING_OK, "");
	config_again(HOST_FILE_TO_MAKE, HOST_FILE_NOT_WRITABLE);
	assert_finding("state", FINDING_OK, "");
	assert_finding("log", FINDING_PROBLEM, "export CONVERT_LOG=stderr");
	log_file.root_may_make = true;
	config_again(HOST_FILE_FINE, HOST_FILE_NO_RIGHT);
	assert_finding("log", FINDING_PROBLEM, "install -D -m 600 -o 0 /dev/null /var/log/c");
	config_again(HOST_FILE_FINE, HOST_FILE_TO_MAKE);
	assert_finding("log", FINDING_OK, "");
	log_file.root_may_make = false;
	config_again(HOST_FILE_READ_ONLY, HOST_FILE_STRANGE);
	assert_says("state", "is read-only here");
	assert_says("log", "/var/log/c is a directory");
	assert_finding("log", FINDING_PROBLEM, "export CONVERT_LOG=stderr");
	config_again(HOST_FILE_FINE, HOST_FILE_READ_ONLY);
	assert_says("log", "/var/log/c is read-only here");
	assert_finding("log", FINDING_PROBLEM, "ReadWritePaths=");
	config_again(HOST_FILE_FINE, HOST_FILE_NOT_TRUSTED);
	assert_says("log", "root's programs do not write it");
	assert_finding("log", FINDING_PROBLEM, "export CONVERT_LOG=stderr");
	findings_free(&f);
	findings_for(&f, true, "/etc/some.conf");
	judge_log(&f, &log_file);
	assert_finding("log", FINDING_PROBLEM, "[log]\ntarget = stderr   # in place of");
}

static void words_of_a_shell(void **state)
{
	static const char *const cases[][2] = {
		{ "/a/b-c_d.e", "/a/b-c_d.e" },
		{ "/a b", "'/a b'" },
		{ "", "''" },
		{ "-rf", "'-rf'" },
		{ "/it's", "'/it'\\''s'" },
		{ "/$(x)", "'/$(x)'" },
	};
	char quoted[FINDING_QUOTED], path[2000];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_string_equal(finding_quote(cases[i][0], quoted), cases[i][1]);
	memset(path, '\'', sizeof(path));
	path[sizeof(path) - 1] = '\0';
	assert_string_equal(finding_quote(path, quoted), "FILE");
	/* what would be shown otherwise than it is */
	assert_string_equal(finding_quote("/a\nb", quoted), "FILE");
	assert_string_equal(finding_quote("/a\x1b", quoted), "FILE");
	assert_string_equal(finding_quote("/a\xc2\x9b", quoted), "FILE");
	assert_string_equal(finding_quote("/a\x7f", quoted), "FILE");
	assert_string_equal(finding_quote("/\xc3\xa4", quoted), "'/\xc3\xa4'");
}

/* It is as good elsewhere, and whole. */
static void the_file_again(void **state)
{
	char wanted[2 * FINDING_QUOTED], quoted[FINDING_QUOTED], path[FINDING_QUOTED];
	char *directory = getcwd(NULL, 0);

	(void)state;
	findings_for(&f, true, "/it's");
	assert_string_equal(f.again, " -c '/it'\\''s'");
	findings_for(&f, true, "a b/c");
	snprintf(path, sizeof(path), "%s/a b/c", directory);
	snprintf(wanted, sizeof(wanted), " -c %s", finding_quote(path, quoted));
	assert_string_equal(f.again, wanted);
	for (size_t len = FINDING_QUOTED - 12; len < FINDING_QUOTED; len++) {
		memset(path, '$', len);
		path[0] = '/';
		path[len] = '\0';
		findings_for(&f, true, path);
		snprintf(wanted, sizeof(wanted), " -c %s", finding_quote(path, quoted));
		assert_string_equal(f.again, wanted);
	}
	free(directory);
}

/* What sudo takes away holds here, and is not looked at with a file alone. */
static void what_sudo_takes_away(void **state)
{
	static const char *const all[] = { "CONVERT_STATE",	 "CONVERT_ADDR",
					   "CONVERT_LOG_FORMAT", "CONVERT_CONF",
					   "CONVERT_PORT",	 "CONVERT_LOG",
					   "CONVERT_LOG_LEVEL",	 "CONVERT_COOKIE",
					   "CONVERT_DISABLE",	 "CONVERT_STRICT" };

	(void)state;
	host.paths.err = -EPERM;
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		unsetenv(all[i]);
	for (size_t i = 0; i <= 3; i++) {
		findings_free(&f);
		findings_for(&f, false, i ? "/c" : NULL);
		judge_host(&f, &host, &config);
		assert_string_equal(find("mptcp-paths")->mend,
				    i ? "sudo convert-bootstrap check -c /c" :
					"sudo convert-bootstrap check");
		if (i < 3)
			setenv(all[i], "x", 1);
	}
	setenv("CONVERT_PORT", "", 1);
	findings_free(&f);
	findings_for(&f, false, NULL);
	judge_host(&f, &host, &config);
	assert_string_equal(find("mptcp-paths")->mend,
			    "sudo --preserve-env=CONVERT_ADDR,CONVERT_LOG_FORMAT,CONVERT_STATE "
			    "convert-bootstrap check");
	strcpy(host.preload, "/usr/lib/libconvert-preload.so");
	findings_free(&f);
	findings_for(&f, false, NULL);
	judge_host(&f, &host, &config);
	assert_string_equal(
		find("mptcp-paths")->mend,
		"sudo convert-bootstrap check -c FILE   # with what the variables say in "
		"it: none goes through sudo (/etc/ld.so.preload)");
	host.preload_err = ENOENT;
	findings_free(&f);
	findings_for(&f, false, NULL);
	judge_host(&f, &host, &config);
	assert_non_null(strstr(find("mptcp-paths")->mend, "sudo --preserve-env="));
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		unsetenv(all[i]);
}

static void no_converter(void **state)
{
	(void)state;
	config.n_converters = 0;
	config_again(HOST_FILE_FINE, HOST_FILE_NONE);
	assert_finding("configuration", FINDING_PROBLEM, "[converter NAME]\naddress = ");
	config.is_disabled = true;
	config_again(HOST_FILE_FINE, HOST_FILE_NONE);
	assert_finding("configuration", FINDING_PROBLEM, "unset CONVERT_DISABLE");
}

static struct request direct, converted;

static void request_again(void)
{
	findings_free(&f);
	judge_requests(&f, &direct, &converted);
}

static void good_requests(void)
{
	direct = (struct request){ .url = "http://192.0.2.80:80/",
				   .has_run = true,
				   .connect_us = 10000,
				   .first_byte_us = 20000,
				   .status = 200,
				   .has_peer = true };
	assert_int_equal(addr_parse(&direct.to, "192.0.2.80"), 0);
	direct.to.port = 80;
	direct.peer = direct.to;
	converted = direct;
	converted.peer = to;
	converted.is_mptcp = true;
	converted.connect_us = 9000;
	snprintf(converted.log, sizeof(converted.log), "%s",
		 "converted 192.0.2.80:80 via 192.0.2.1:5124: connected, MPTCP");
}

/* ---------------------------------------------------------------------- the converters */

static void converter_again(void)
{
	findings_free(&f);
	judge_converter(&f, &j);
}

/* The kernel takes any name without a slash, a colon or a blank. */
static void names_of_interfaces(void **state)
{
	(void)state;
	host.interfaces[0] = (struct host_interface){ .name = "a;b" };
	host.interfaces[1] = (struct host_interface){ .name = "$(c)", .rp_filter = 1 };
	host.n_interfaces = 2;
	host_again();
	assert_finding("mptcp-paths", FINDING_NOTE, "dev '$(c)' subflow");
	host.paths.n_endpoints = 1;
	strcpy(host.paths.endpoints[0].interface, "$(c)");
	host.paths.endpoints[0].makes_subflows = true;
	host_again();
	assert_finding("rp-filter", FINDING_NOTE, "sysctl -w 'net/ipv4/conf/$(c)/rp_filter'=2");
	strcpy(host.interfaces[1].name, "eth0.7");
	strcpy(host.paths.endpoints[0].interface, "eth0.7");
	host_again();
	assert_finding("rp-filter", FINDING_NOTE, "sysctl -w net/ipv4/conf/eth0.7/rp_filter=2");
	strcpy(j.route.interface, "a;b");
	j.probe = (struct probe){ .verdict = PROBE_UNREACHABLE, .err = ETIMEDOUT };
	converter_again();
	assert_finding("reachable", FINDING_PROBLEM, "tcpdump -n -i 'a;b' host 192.0.2.1");
}

static void a_good_converter(void **state)
{
	static struct addr_prefix from[1];

	(void)state;
	converter.from = from;
	converter.n_from = 1;
	converter_again();
	find("");
	assert_int_equal(findings_count(&f, FINDING_OK), f.n);
	assert_string_equal(f.all[0].about, "converter home, 192.0.2.1:5124");
	assert_says("extensions", "30 (MPTCP), 34 (Fast Open)");
	converter.n_from = 0;
	converter_again();
	assert_finding("network", FINDING_NOTE, "interface = wwan0");
	assert_finding("0-rtt", FINDING_OK, "");
}

static void not_for_here(void **state)
{
	static char interfaces[1][16] = { "eth0" };
	static struct addr_prefix from[1];

	(void)state;
	assert_int_equal(addr_parse(&j.route.source, "192.0.2.9"), 0);
	assert_int_equal(addr_parse_prefix(&from[0], "10.0.0.0/8"), 0);
	j.is_at_home = false;
	converter.interfaces = interfaces;
	converter.n_interfaces = 1;
	converter_again();
	assert_finding("network", FINDING_NOTE, "interface = wwan0");
	assert_null(strstr(mend("network"), "from"));
	assert_int_equal(f.n, 1);
	converter.from = from;
	converter.n_from = 1;
	converter_again();
	assert_string_equal(mend("network"), "interface = wwan0\nfrom = 192.0.2.9");
	converter.n_interfaces = 0;
	converter_again();
	assert_string_equal(mend("network"), "from = 192.0.2.9");
	j.has_route = false;
	converter_again();
	assert_finding("route", FINDING_PROBLEM, "ip route");
	assert_int_equal(f.n, 1);
}

static void no_answer(void **state)
{
	static const struct {
		enum probe_verdict verdict;
		int err;
		const char *id, *mend;
	} cases[] = {
		{ PROBE_UNREACHABLE, ECONNREFUSED, "reachable", "port = PORT" },
		{ PROBE_UNREACHABLE, ETIMEDOUT, "reachable",
		  "tcpdump -n -i wwan0 host 192.0.2.1 and tcp port 5124" },
		{ PROBE_UNREACHABLE, EHOSTUNREACH, "reachable", "ip route get 192.0.2.1" },
		{ PROBE_MUTE, ETIMEDOUT, "reply", "port = PORT" },
		{ PROBE_STRANGE, 0, "reply", "port = PORT" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		j.probe.verdict = cases[i].verdict;
		j.probe.err = cases[i].err;
		converter_again();
		assert_finding(cases[i].id, FINDING_PROBLEM, cases[i].mend);
		assert_null(find("0-rtt"));
	}
}

/* Info that is not served condemns nobody: it is open until a request has shown it. */
static void info_is_not_served(void **state)
{
	static const enum probe_verdict verdicts[] = { PROBE_MUTE, PROBE_STRANGE, PROBE_REFUSES };
	const struct probe as_ever = j.probe;

	(void)state;
	j.probe.no_info = true;
	j.probe.has_offers = false;
	converter_again();
	assert_finding("reachable", FINDING_OK, "");
	assert_says("extensions", "Info is not served");
	assert_finding("0-rtt", FINDING_OK, "");
	j.probe = (struct probe){ .verdict = PROBE_MUTE, .err = ETIMEDOUT };
	j.is_open = true;
	converter_again();
	assert_finding("reply", FINDING_NOTE, "convert-bootstrap check HOST");
	assert_null(find("0-rtt"));
	for (size_t i = 0; i < sizeof(verdicts) / sizeof(verdicts[0]); i++) {
		j.is_open = !j.is_open;
		j.converts = true;
		j.probe = as_ever;
		j.probe.verdict = verdicts[i];
		j.probe.has_dialect = verdicts[i] == PROBE_REFUSES;
		converter_again();
		assert_finding("reply", FINDING_OK, "");
		assert_says("reply", "it converts");
		assert_finding("0-rtt", FINDING_OK, "");
		assert_null(find("refuses"));
		assert_int_equal(find("dialect") != NULL, j.probe.has_dialect);
	}
	/* that it could not be reached at all is another matter */
	j.probe.verdict = PROBE_UNREACHABLE;
	converter_again();
	assert_finding("reachable", FINDING_PROBLEM, "");
}

/* Brackets are for where a port follows. */
static void ipv6(void **state)
{
	(void)state;
	assert_int_equal(addr_parse(&to, "2001:db8::1"), 0);
	assert_int_equal(addr_parse(&j.route.source, "2001:db8::2"), 0);
	j.probe.verdict = PROBE_UNREACHABLE;
	j.probe.err = ETIMEDOUT;
	converter_again();
	assert_string_equal(f.all[0].about, "converter home, [2001:db8::1]:5124");
	assert_says("network", "used in every network");
	assert_finding("reachable", FINDING_PROBLEM, "host 2001:db8::1 and tcp port 5124");
	j.probe.err = EHOSTUNREACH;
	converter_again();
	assert_finding("reachable", FINDING_PROBLEM, "ip route get 2001:db8::1");
	j.has_route = false;
	converter_again();
	assert_finding("route", FINDING_PROBLEM, "ip route add 2001:db8::1 via");
	good_requests();
	assert_int_equal(addr_parse(&converted.to, "2001:db8::80"), 0);
	converted.peer = converted.to;
	snprintf(converted.log, sizeof(converted.log), "%s",
		 "direct [2001:db8::80]:80: rule in line 3");
	request_again();
	assert_finding("converted", FINDING_NOTE, "rule = convert to 2001:db8::80 port 80 ");
}

static void refusals(void **state)
{
	static const struct {
		uint8_t code;
		const char *mend;
	} cases[] = {
		{ 32, "cookie = @FILE" }, { 3, "cookie = @FILE" }, { 64, "sleep 7;" },
		{ 65, "sleep 7;" },	  { 2, "dialect = auto" }, { 200, "dialect = auto" }
	};

	(void)state;
	j.probe.verdict = PROBE_REFUSES;
	j.probe.delay_s = 7;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		j.probe.error_code = cases[i].code;
		converter_again();
		assert_finding("refuses", FINDING_PROBLEM, cases[i].mend);
	}
}

static void another_dialect(void **state)
{
	(void)state;
	converter.dialect_is_auto = false;
	converter.dialect = CVT_DIALECT_RFC8803;
	j.probe.verdict = PROBE_MUTE;
	j.has_auto = true;
	j.automatic = (struct probe){ .verdict = PROBE_WORKS, .dialect = CVT_DIALECT_DRAFT02 };
	converter_again();
	assert_finding("dialect", FINDING_PROBLEM, "dialect = draft-02");
	j.probe.verdict = PROBE_REFUSES;
	converter_again();
	assert_finding("dialect", FINDING_PROBLEM, "dialect = draft-02");
	assert_null(find("refuses"));
	j.probe.verdict = PROBE_MUTE;
	j.automatic.verdict = PROBE_MUTE;
	converter_again();
	assert_finding("reply", FINDING_PROBLEM, "dialect = auto");
	j.probe.verdict = PROBE_WORKS;
	j.probe.dialect = CVT_DIALECT_HYBRID;
	converter_again();
	assert_finding("dialect", FINDING_PROBLEM, "dialect = hybrid");
}

static void middleboxes(void **state)
{
	struct probe *p = &j.probe;

	(void)state;
	p->tfo_cookie = PROBE_TFO_NONE;
	p->syn_data = PROBE_SYN_UNTRIED;
	converter_again();
	assert_finding("tfo-stripped", FINDING_PROBLEM, "tcp_fastopen=3");
	j.has_again = true;
	j.again = *p;
	converter_again();
	assert_finding("tfo-stripped", FINDING_PROBLEM, "tcp_fastopen=3");
	j.again.tfo_cookie = PROBE_TFO_HELD;
	j.again.syn_data = PROBE_SYN_ACKED;
	converter_again();
	assert_finding("0-rtt", FINDING_OK, "");
	assert_says("0-rtt", "(254)");
	j.has_again = false;
	p->syn_data = PROBE_SYN_NOT_ACKED; /* tried without a cookie */
	p->syn_data_bare = true;
	converter_again();
	assert_finding("tfo-stripped", FINDING_PROBLEM, "no-cookie");
	p->syn_data = PROBE_SYN_ACKED;
	converter_again();
	assert_finding("0-rtt", FINDING_OK, "");
	p->tfo_cookie = PROBE_TFO_UNKNOWN;
	p->syn_data = PROBE_SYN_NOT_ACKED;
	converter_again();
	assert_finding("syn-data-refused", FINDING_PROBLEM, "fast-open = cookie");
	p->tfo_cookie = PROBE_TFO_HELD;
	p->syn_data_bare = false;
	converter_again();
	assert_finding("syn-data-stripped", FINDING_PROBLEM, "convert-bootstrap run");
	p->syn_data = PROBE_SYN_LOST;
	converter_again();
	assert_finding("syn-data-dropped", FINDING_PROBLEM, "convert-bootstrap run");
	j.is_known_to_lose = true;
	converter_again();
	assert_finding("syn-data-dropped", FINDING_OK, "");
	assert_says("syn-data-dropped", "Programs know it");
	j.is_known_to_lose = false;
	p->tfo_cookie = PROBE_TFO_OFF;
	converter_again();
	assert_finding("0-rtt", FINDING_PROBLEM, "tcp_fastopen=1");
	p->tfo_cookie = PROBE_TFO_HELD;
	p->syn_data = PROBE_SYN_UNTRIED;
	converter_again();
	assert_finding("0-rtt", FINDING_NOTE, "check");
}

static void multipath_on_the_way(void **state)
{
	struct probe *p = &j.probe;

	(void)state;
	p->mptcp = PROBE_MPTCP_FALLBACK;
	converter_again();
	assert_finding("mptcp-stripped", FINDING_PROBLEM, "mptcp = off");
	p->offers[0] = 8;
	converter_again();
	assert_finding("converter-mptcp", FINDING_NOTE, "mptcp = off");
	assert_null(find("mptcp-stripped"));
	p->mptcp = PROBE_MPTCP_OFF;
	converter_again();
	assert_null(find("converter-mptcp"));
	p->holds = true;
	converter_again();
	assert_finding("reply-held", FINDING_NOTE, "mptcp = off");
	assert_said("reply-held", "send none there: 20.0 ms more", true);
	p->holds = false;
	converter_again();
	assert_null(find("reply-held"));
	p->held_us = 41000;
	converter_again();
	assert_said("reply-held", "as Linux does it: 41.0 ms more", true);
	p->mptcp = PROBE_MPTCP_WORKS;
	converter_again();
	assert_finding("converter-mptcp", FINDING_OK, "");
	assert_said("converter-mptcp", "TCP, as", false);
	j.gain = MULTIPATH_ONE;
	converter_again();
	assert_said("converter-mptcp", "TCP, as there is one path", true);
	assert_null(find("reply-held"));
	j.gain = MULTIPATH_GAINS;
	p->verdict = PROBE_UNREACHABLE;
	p->err = ETIMEDOUT;
	j.has_plain = true;
	j.plain.verdict = PROBE_WORKS;
	converter_again();
	assert_finding("mptcp-dropped", FINDING_PROBLEM, "mptcp = off");
	j.plain.verdict = PROBE_UNREACHABLE;
	converter_again();
	assert_finding("reachable", FINDING_PROBLEM, "tcpdump");
}

static void cookie_and_patience(void **state)
{
	(void)state;
	j.probe.cookie_refused = true;
	j.left_alone_ms = 1500;
	converter_again();
	assert_finding("convert-cookie", FINDING_PROBLEM, "cookie = @FILE");
	assert_finding("left-alone", FINDING_NOTE, "convert-bootstrap run");
	assert_says("left-alone", " 2 s ");
	j.mute = true;
	converter_again();
	assert_finding("left-alone", FINDING_NOTE, "a way to the servers");
	assert_true(find("left-alone")->in_words);
	j.asked = true;
	converter_again();
	assert_finding("left-alone", FINDING_NOTE, "nothing");
	assert_true(find("left-alone")->in_words);
	assert_says("left-alone", " 2 s more, as it has asked for that");
	j.probe.verdict = PROBE_REFUSES;
	j.probe.error_code = 32;
	converter_again();
	assert_finding("convert-cookie", FINDING_PROBLEM, "cookie = @FILE");
	assert_null(find("refuses"));
	/* bytes of a cookie are in no finding */
	j.probe.verdict = PROBE_WORKS;
	j.probe.cookie_refused = false;
	j.probe.convert_cookie_len = 6;
	memcpy(j.probe.convert_cookie, "SECRET", 6);
	converter_again();
	assert_finding("convert-cookie", FINDING_OK, "");
	for (size_t i = 0; i < f.n; i++)
		assert_null(memmem(&f.all[i], sizeof(f.all[i]), "SECRET", 6));
}

/* ------------------------------------------------------------------------- the requests */

static void requests(void **state)
{
	(void)state;
	good_requests();
	request_again();
	assert_int_equal(findings_count(&f, FINDING_OK), 3);
	assert_finding("converted", FINDING_OK, "");
	assert_says("converted", "192.0.2.1:5124");
	assert_says("compared", "connected -1.0 ms, first byte +0.0 ms");
	snprintf(converted.error, sizeof(converted.error), "%s", "Timeout was reached");
	request_again();
	assert_finding("converted", FINDING_PROBLEM, "curl -v");
	assert_null(find("compared"));
	converted.has_run = false;
	request_again();
	assert_int_equal(f.n, 1);
	snprintf(direct.error, sizeof(direct.error), "%s", "Could not resolve hostname");
	request_again();
	assert_finding("direct", FINDING_PROBLEM, "curl -v");
	snprintf(direct.url, sizeof(direct.url), "%s", "https://[2001:db8::1]/");
	request_again();
	assert_finding("direct", FINDING_PROBLEM, "curl -v -o /dev/null 'https://[2001:db8::1]/'");
}

static void not_converted(void **state)
{
	static const struct {
		const char *log;
		enum finding_verdict verdict;
		const char *mend;
	} cases[] = {
		{ "bypass 192.0.2.80:80: connected, MPTCP", FINDING_OK, "" },
		{ "direct 192.0.2.80:80: rule in line 12", FINDING_NOTE,
		  "rule = convert to 192.0.2.80 port 80   # above line 12" },
		{ "direct 192.0.2.80:80: every converter has failed", FINDING_NOTE, "status" },
		{ "falling back from 192.0.2.1:5124: no reply in time", FINDING_PROBLEM, "check" },
		{ "", FINDING_PROBLEM, "--library" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		good_requests();
		converted.peer = converted.to;
		snprintf(converted.log, sizeof(converted.log), "%s", cases[i].log);
		request_again();
		assert_finding("converted", cases[i].verdict, cases[i].mend);
		assert_int_equal(find("compared") != NULL, cases[i].verdict == FINDING_OK);
	}
}

static void hosts(void **state)
{
	(void)state;
	assert_true(request_is_host("example.com"));
	assert_true(request_is_host("[2001:db8::1]:80"));
	assert_false(request_is_host(""));
	assert_false(request_is_host("-o"));
	assert_false(request_is_host("http://example.com/"));
	assert_false(request_is_host("user@host"));
	assert_false(request_is_host("a b"));
}

/* ------------------------------------------------------------------------- the mappings */

static void mappings(void **state)
{
	struct judge_mapping m = { .port = 8080, .result = 0, .lifetime_s = 3600, .is_kept = true };
	const char *known;

	(void)state;
	addr_parse(&m.server, "192.0.2.1");
	addr_parse(&m.external, "203.0.113.9");
	m.external.port = 8081;
	judge_mapping(&f, &m);
	assert_finding("mapping", FINDING_OK, "");
	assert_says("mapping", "203.0.113.9:8081");
	findings_free(&f);
	m.is_kept = false;
	judge_mapping(&f, &m);
	assert_finding("mapping", FINDING_NOTE, "convert-bootstrap map");
	for (m.result = 1; m.result < 256; m.result++) {
		findings_free(&f);
		judge_mapping(&f, &m);
		assert_true(mend("mapping-refused")[0] != '\0');
		known = pcp_result_name((uint8_t)m.result);
		assert_says("mapping-refused", known ? known : "not known here");
	}
	m.result = -1;
	for (int i = 0; i < 2; i++) {
		findings_free(&f);
		m.err = i ? ECONNREFUSED : 0;
		judge_mapping(&f, &m);
		assert_finding("mapping-server", FINDING_PROBLEM, "pcp = ADDRESS");
		assert_says("mapping-server", i ? "no PCP server" : "no answer");
	}
	findings_free(&f);
	judge_mapping_ports(&f, 65535, 64);
	assert_finding("mapping-ports", FINDING_NOTE, "PORT...");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_good_host, start, end),
		cmocka_unit_test_setup_teardown(kernels, start, end),
		cmocka_unit_test_setup_teardown(fast_open, start, end),
		cmocka_unit_test_setup_teardown(multipath_setting, start, end),
		cmocka_unit_test_setup_teardown(paths, start, end),
		cmocka_unit_test_setup_teardown(endpoints, start, end),
		cmocka_unit_test_setup_teardown(close_timeout, start, end),
		cmocka_unit_test_setup_teardown(metered, start, end),
		cmocka_unit_test_setup_teardown(process_and_library, start, end),
		cmocka_unit_test_setup_teardown(files, start, end),
		cmocka_unit_test_setup_teardown(named_files, start, end),
		cmocka_unit_test_setup_teardown(own_files, start, end),
		cmocka_unit_test_setup_teardown(words_of_a_shell, start, end),
		cmocka_unit_test_setup_teardown(the_file_again, start, end),
		cmocka_unit_test_setup_teardown(what_sudo_takes_away, start, end),
		cmocka_unit_test_setup_teardown(names_of_interfaces, start, end),
		cmocka_unit_test_setup_teardown(no_converter, start, end),
		cmocka_unit_test_setup_teardown(a_good_converter, start, end),
		cmocka_unit_test_setup_teardown(not_for_here, start, end),
		cmocka_unit_test_setup_teardown(no_answer, start, end),
		cmocka_unit_test_setup_teardown(info_is_not_served, start, end),
		cmocka_unit_test_setup_teardown(ipv6, start, end),
		cmocka_unit_test_setup_teardown(refusals, start, end),
		cmocka_unit_test_setup_teardown(another_dialect, start, end),
		cmocka_unit_test_setup_teardown(middleboxes, start, end),
		cmocka_unit_test_setup_teardown(multipath_on_the_way, start, end),
		cmocka_unit_test_setup_teardown(cookie_and_patience, start, end),
		cmocka_unit_test_setup_teardown(requests, start, end),
		cmocka_unit_test_setup_teardown(not_converted, start, end),
		cmocka_unit_test(hosts),
		cmocka_unit_test_setup_teardown(mappings, start, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
