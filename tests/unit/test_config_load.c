// SPDX-License-Identifier: MIT
/*
 * Where the configuration comes from: the environment, its file, the default file, cookies. And
 * config_check(): every mistake with its line, of which the first is the one that programs see.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "config.h"
#include "policy.h"
#include "rules.h"
#include "state.h"

#define MOST 64 /* mistakes */

static struct config config;
static struct config_error err;
static char dir[] = "/tmp/test_config_load.XXXXXX";

struct path {
	char text[64];
};

static struct path in_dir(const char *name)
{
	struct path p;

	snprintf(p.text, sizeof(p.text), "%s/%s", dir, name);
	return p;
}

static struct path write_bytes(const char *name, const void *bytes, size_t len)
{
	struct path p = in_dir(name);
	int fd = open(p.text, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, len), len);
	close(fd);
	return p;
}

static struct path write_text(const char *name, const char *text)
{
	return write_bytes(name, text, strlen(text));
}

static int load(const struct config_env *env)
{
	int ret;

	errno = 123;
	ret = config_load(&config, env, "curl", &err);
	assert_int_equal(errno, 123);
	return ret;
}

static void load_good(const struct config_env *env)
{
	if (load(env) != 0)
		fail_msg("%s:%u: %s", err.file, err.line, err.what);
}

static void assert_refused(const struct config_env *env, const char *file, unsigned int line,
			   const char *what)
{
	int ret = load(env);

	if (ret >= 0 || strcmp(err.file, file) != 0 || err.line != line || !strstr(err.what, what))
		fail_msg("expected %s:%u: %s, got %d %s:%u: %s", file, line, what, ret, err.file,
			 err.line, err.what);
	assert_int_equal(config.n_converters, 0);
	assert_null(config.rules);
}

static void assert_ip(const struct addr *a, const char *text)
{
	char got[ADDR_TEXT_MAX];

	addr_format(a, got);
	assert_string_equal(got, text);
}

#define FILE_TEXT                                                                  \
	"[converter file]\naddress = 192.0.2.1\n[policy]\nrule = direct port 22\n" \
	"timeout = 1s\n[log]\nfile = /var/log/x\nlevel = debug\n"

static void a_file(void **state)
{
	struct path p = write_text("a.conf", FILE_TEXT);
	const struct config_env env = { .conf = p.text };

	(void)state;
	load_good(&env);
	assert_int_equal(config.n_converters, 1);
	assert_string_equal(config.converters[0].name, "file");
	assert_string_equal(config.file, p.text);
	assert_string_equal(config.log_target, "/var/log/x");
	assert_int_equal(config.log_level, LOG_LEVEL_DEBUG);
	config_free(&config);
}

static void environment_alone(void **state)
{
	const struct config_env env = { .addr = "2001:db8::1" };
	const struct config_env all = {
		.addr = "192.0.2.9", .port = "443", .log = "x.log", .convert_cookie = "open sesame"
	};

	(void)state;
	load_good(&env);
	assert_int_equal(config.n_converters, 1);
	assert_int_equal(config.converters[0].n_addrs, 1);
	assert_ip(&config.converters[0].addrs[0], "[2001:db8::1]:5124");
	assert_int_equal(config.converters[0].convert_cookie.len, 0);
	assert_true(config.converters[0].dialect_is_auto);
	assert_null(config.log_target);
	assert_null(config.file);
	config_free(&config);
	load_good(&all);
	assert_ip(&config.converters[0].addrs[0], "192.0.2.9:443");
	assert_int_equal(config.converters[0].convert_cookie.len, 11);
	assert_string_equal(config.log_target, "x.log");
	/* a copy: the program may change its environment */
	assert_ptr_not_equal(config.log_target, all.log);
	assert_int_equal(config.log_level, LOG_LEVEL_INFO);
	config_free(&config);
}

/* The environment's converter takes the place of the file's; its [policy] stays. */
static void environment_and_file(void **state)
{
	struct path p = write_text("b.conf", FILE_TEXT "[converter two]\naddress = 10.0.0.1\n"
						       "cookie = x\nfrom = 10.0.0.0/8\n");
	const struct config_env env = { .conf = p.text, .addr = "192.0.2.9", .log = "stderr" };

	(void)state;
	load_good(&env);
	assert_int_equal(config.n_converters, 1);
	assert_ip(&config.converters[0].addrs[0], "192.0.2.9:5124");
	assert_int_equal(config.converters[0].n_from, 0);
	assert_int_equal(config.converters[0].convert_cookie.len, 0);
	assert_int_equal(config_rules_count(config.rules), 1);
	assert_int_equal(config.timeout_ms, 1000);
	assert_string_equal(config.log_target, "stderr");
	assert_int_equal(config.log_level, LOG_LEVEL_DEBUG);
	config_free(&config);
}

static void empty_variables_are_not_set(void **state)
{
	struct path p = write_text("c.conf", FILE_TEXT);
	const struct config_env env = { .conf = p.text,
					.addr = "",
					.port = "",
					.log = "",
					.convert_cookie = "",
					.disable = "" };
	const struct config_env addr = {
		.conf = "", .addr = "192.0.2.9", .port = "", .convert_cookie = ""
	};

	(void)state;
	load_good(&env);
	assert_string_equal(config.converters[0].name, "file");
	assert_string_equal(config.log_target, "/var/log/x");
	config_free(&config);
	load_good(&addr);
	assert_ip(&config.converters[0].addrs[0], "192.0.2.9:5124");
	config_free(&config);
}

/* They say nothing of where; the file's converters are left alone. */
static void port_and_cookie_without_address(void **state)
{
	struct path p = write_text("d.conf", FILE_TEXT);
	const struct config_env env = { .conf = p.text, .port = "nonsense", .convert_cookie = "x" };

	(void)state;
	load_good(&env);
	assert_ip(&config.converters[0].addrs[0], "192.0.2.1:5124");
	assert_int_equal(config.converters[0].convert_cookie.len, 0);
	config_free(&config);
}

static void switched_off(void **state)
{
	struct path p = write_text("e.conf", "nonsense");
	struct config_env env = { .conf = p.text, .addr = "nonsense", .log = "stderr" };
	static const char *const off[] = { "1", "yes", "00", " " };

	(void)state;
	for (size_t i = 0; i < sizeof(off) / sizeof(off[0]); i++) {
		env.disable = off[i];
		load_good(&env);
		assert_true(config.is_disabled);
		assert_null(config.file);
		assert_int_equal(config.n_converters, 0);
		assert_string_equal(config.log_target, "stderr");
		config_free(&config);
	}
	env.disable = "0";
	assert_refused(&env, p.text, 1, "expected [section]");
	config_free(&config);
}

static void switched_off_by_a_file(void **state)
{
	struct path p = write_text("e.conf", "[converter a]\naddress = 192.0.2.1\n");
	struct path s = write_text("switch", "");
	struct config_env env = { .conf = p.text, .log = "stderr", .off_switch = s.text };

	(void)state;
	load_good(&env);
	assert_true(config.is_switched_off);
	assert_false(config.is_disabled);
	assert_null(config.file);
	assert_int_equal(config.n_converters, 0);
	assert_string_equal(config.log_target, "stderr");
	config_free(&config);
	assert_int_equal(chmod(s.text, 0), 0);
	load_good(&env);
	assert_true(config.is_switched_off);
	config_free(&config);
	assert_int_equal(unlink(s.text), 0);
	assert_int_equal(symlink("/nonexistent", s.text), 0);
	load_good(&env);
	assert_true(config.is_switched_off);
	config_free(&config);
	assert_int_equal(unlink(s.text), 0);
	load_good(&env);
	assert_false(config.is_switched_off);
	assert_int_equal(config.n_converters, 1);
	config_free(&config);
}

static void strict(void **state)
{
	struct path p = write_text("s.conf", FILE_TEXT);
	struct config_env env = { .conf = p.text };

	(void)state;
	load_good(&env);
	assert_int_equal(config.fallback, CONFIG_FALLBACK_DIRECT);
	assert_true(config.bypass);
	config_free(&config);
	env.strict = true;
	load_good(&env);
	assert_int_equal(config.fallback, CONFIG_FALLBACK_NONE);
	assert_false(config.bypass);
	config_free(&config);
	assert_false(config_is_on(NULL) || config_is_on("") || config_is_on("0"));
	assert_true(config_is_on("1") && config_is_on("no"));
}

static void bad_variables(void **state)
{
	static const struct {
		struct config_env env;
		const char *what;
	} rows[] = {
		{ { .addr = "converter.example" }, "CONVERT_ADDR = converter.example: expected" },
		{ { .addr = "192.0.2.1:80" }, "CONVERT_ADDR = 192.0.2.1:80: expected" },
		{ { .addr = "0.0.0.0" }, "CONVERT_ADDR = 0.0.0.0: expected" },
		{ { .addr = "a\nb\x1b[31m" }, "CONVERT_ADDR = a?b?[31m: expected" },
		{ { .addr = "a\xc2\x9b\x33\x31m" }, "CONVERT_ADDR = a?31m: expected" },
		{ { .addr = "10.0.0.1", .port = "0" }, "CONVERT_PORT = 0: expected a port" },
		{ { .addr = "10.0.0.1", .port = "http" }, "CONVERT_PORT = http: expected a port" },
		{ { .addr = "10.0.0.1", .port = "65536" },
		  "CONVERT_PORT = 65536: expected a port" },
		{ { .addr = "10.0.0.1", .convert_cookie = "@x" },
		  "CONVERT_COOKIE: expected a file" },
		{ { .addr = "10.0.0.1", .convert_cookie = "@/nonexistent" }, "no such file" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct config_env env = rows[i].env;

		env.log = "stderr";
		assert_refused(&env, "environment", 0, rows[i].what);
		assert_string_equal(config.log_target, "stderr");
		config_free(&config);
	}
}

static void a_mistake_still_logs(void **state)
{
	struct path p = write_text("f.conf", FILE_TEXT "nonsense\n");
	struct config_env env = { .conf = p.text };

	(void)state;
	assert_refused(&env, p.text, 9, "expected [section]");
	assert_string_equal(config.log_target, "/var/log/x");
	assert_int_equal(config.log_level, LOG_LEVEL_DEBUG);
	config_free(&config);
	env.log = "stderr";
	assert_refused(&env, p.text, 9, "expected [section]");
	assert_string_equal(config.log_target, "stderr");
	config_free(&config);
}

/* None of these may wait, and each says what it is. */
static void not_a_file(void **state)
{
	struct path fifo = in_dir("fifo"), missing = in_dir("missing"), below = in_dir("a.conf/x");
	struct config_env env = { .conf = fifo.text };

	(void)state;
	assert_int_equal(mkfifo(fifo.text, 0600), 0);
	assert_refused(&env, fifo.text, 0, "not a regular file");
	env.conf = dir;
	assert_refused(&env, dir, 0, "a directory, not a file");
	env.conf = "/dev/null";
	assert_refused(&env, "/dev/null", 0, "not a regular file");
	env.conf = missing.text;
	assert_refused(&env, missing.text, 0, "no such file");
	env.conf = below.text;
	assert_refused(&env, below.text, 0, "no such file");
	env.addr = "192.0.2.9"; /* a file that is named must be there */
	assert_refused(&env, below.text, 0, "no such file");
	config_free(&config);
}

static void not_readable(void **state)
{
	struct path p = write_text("secret.conf", FILE_TEXT);
	const struct config_env env = { .conf = p.text };

	(void)state;
	assert_int_equal(chmod(p.text, 0), 0);
	assert_int_equal(chmod(dir, 0755), 0);
	if (geteuid() == 0) /* whom no mode keeps out */
		assert_int_equal(seteuid(65534), 0);
	assert_refused(&env, p.text, 0, "no permission to read it");
	if (getuid() == 0)
		assert_int_equal(seteuid(0), 0);
	config_free(&config);
}

static void too_large(void **state)
{
	struct path p = write_text("large.conf", "");
	const struct config_env env = { .conf = p.text };

	(void)state;
	assert_int_equal(truncate(p.text, (4 << 20) + 1), 0);
	assert_refused(&env, p.text, 0, "too large");
	assert_int_equal(truncate(p.text, 4 << 20), 0);
	assert_refused(&env, p.text, 1, "a control character");
	config_free(&config);
}

static void load_cookie(const void *bytes, size_t len)
{
	struct path cookie = write_bytes("cookie", bytes, len), p;
	char text[120];
	struct config_env env = { 0 };

	snprintf(text, sizeof(text), "[converter a]\naddress = 10.0.0.1\ncookie = @%s\n",
		 cookie.text);
	p = write_text("g.conf", text);
	env.conf = p.text;
	if (load(&env) == 0)
		assert_int_equal(config.n_converters, 1);
}

static void assert_cookie(const char *file, size_t len, size_t expected)
{
	load_cookie(file, len);
	assert_int_equal(config.converters[0].convert_cookie.len, expected);
	assert_memory_equal(config.converters[0].convert_cookie.p, file, expected);
	config_free(&config);
}

static void cookie_files(void **state)
{
	char bytes[CONFIG_COOKIE_MAX + 2];

	(void)state;
	memset(bytes, 'x', sizeof(bytes));
	assert_cookie("a", 1, 1);
	assert_cookie("open sesame\n", 12, 11);
	assert_cookie("two lines\n\n", 11, 10);
	assert_cookie("\0\xff;#\r\n", 6, 5); /* any bytes; one newline goes */
	assert_cookie(bytes, CONFIG_COOKIE_MAX, CONFIG_COOKIE_MAX);
	bytes[CONFIG_COOKIE_MAX] = '\n';
	assert_cookie(bytes, CONFIG_COOKIE_MAX + 1, CONFIG_COOKIE_MAX);
	bytes[CONFIG_COOKIE_MAX] = 'x';
	load_cookie(bytes, CONFIG_COOKIE_MAX + 1);
	assert_non_null(strstr(err.what, "cookie: expected a cookie of 1 to 992 bytes"));
	load_cookie(bytes, CONFIG_COOKIE_MAX + 2);
	assert_non_null(strstr(err.what, "too large: expected a readable file"));
	load_cookie("", 0);
	assert_non_null(strstr(err.what, "expected a cookie of 1 to 992 bytes"));
	load_cookie("\n", 1);
	assert_non_null(strstr(err.what, "expected a cookie of 1 to 992 bytes"));
	assert_int_equal(err.line, 3);
	assert_int_equal(config.n_converters, 0);
	config_free(&config);
}

/* /etc/convert.conf may be missing, and is on the hosts that build this. */
static void no_default_file(void **state)
{
	const struct config_env env = { 0 };
	struct addr dst = { .port = 80 };

	(void)state;
	if (access(CONFIG_DEFAULT_FILE, F_OK) == 0)
		skip();
	load_good(&env);
	assert_null(config.file);
	assert_int_equal(addr_parse(&dst, "198.51.100.1"), 0);
	assert_int_equal(pol_decide(&config, &dst, AF_INET, NULL).reason, POL_OFF);
	config_free(&config);
	config_free(&config); /* twice does no harm */
}

/* The variable, then the file's, then the runtime directory. */
static void where_the_state_is(void **state)
{
	const struct path p = write_text("h.conf", "[state]\nfile = /a/b\n"),
			  none = write_text("i.conf", "[state]\nfile = none\n");
	const struct {
		struct config_env env;
		const char *file; /* NULL: without any of the three */
	} rows[] = {
		{ { .state = "/x/y" }, "/x/y" },
		{ { .state = "/x/y", .conf = p.text, .runtime_dir = "/r" }, "/x/y" },
		{ { .state = "none", .conf = p.text }, CONFIG_NO_STATE },
		{ { .conf = p.text, .runtime_dir = "/r" }, "/a/b" },
		{ { .state = "", .conf = p.text }, "/a/b" },
		{ { .conf = none.text, .runtime_dir = "/r" }, CONFIG_NO_STATE },
		{ { .runtime_dir = "/r" }, NULL },
		{ { .runtime_dir = "r" }, NULL },
		{ { .runtime_dir = "" }, NULL },
		{ { .conf = NULL }, NULL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct config_env env = rows[i].env;

		if (!env.conf)
			env.addr = "192.0.2.1";
		load_good(&env);
		assert_true(config.state_is_own == !rows[i].file);
		assert_true(!config.runtime_dir ==
			    !(config.state_is_own && env.runtime_dir && env.runtime_dir[0] == '/'));
		if (rows[i].file)
			assert_string_equal(config.state_file, rows[i].file);
		if (config.runtime_dir)
			assert_string_equal(config.runtime_dir, env.runtime_dir);
		config_free(&config);
	}
}

/* Another user's process, in the same file. */
/* In a program that is started by that user. */
static int state_of_this_user(void)
{
	const struct config_env env = { .addr = "192.0.2.1" };

	if (load(&env) != 0)
		return 2;
	config_use_state(&config);
	return strcmp(state_path(), "/dev/shm/convert-65534/state") != 0;
}

static void where_the_state_of_a_user_is(void **state)
{
	static char name[] = "test_config_load", what[] = "user";
	char *argv[] = { name, what, NULL };
	int status, self = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	pid_t pid;

	(void)state;
	if (geteuid() != 0) {
		print_message("skipped: only root can become somebody else\n");
		skip();
	}
	pid = fork();
	if (pid == 0) {
		if (setresuid(65534, 65534, 65534) == 0)
			fexecve(self, argv, environ);
		_exit(3);
	}
	close(self);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void a_relative_state(void **state)
{
	const struct config_env env = { .addr = "192.0.2.1", .state = "x/y" };

	(void)state;
	assert_refused(&env, "environment", 0,
		       "CONVERT_STATE = x/y: expected none, or a path from / on");
	assert_null(config.state_file);
	config_free(&config);
}

/* ------------------------------------------------------- config_check(): every mistake */

static struct path checked;
static struct found {
	struct config_error all[MOST];
	size_t n;
} found;

static void each(const struct config_error *mistake, void *arg)
{
	assert_ptr_equal(arg, &found);
	assert_true(found.n < MOST);
	found.all[found.n++] = *mistake;
}

static int check(const struct config_env *env)
{
	found.n = 0;
	return config_check(&config, env, NULL, each, &found);
}

static int check_text(const char *text)
{
	struct config_env env = { .state = CONFIG_NO_STATE };

	checked = write_text("checked.conf", text);
	env.conf = checked.text;
	return check(&env);
}

static void assert_mistake(size_t i, unsigned int line, const char *words)
{
	assert_true(i < found.n);
	assert_int_equal(found.all[i].line, line);
	if (!strstr(found.all[i].what, words))
		fail_msg("%u: %s (wanted: %s)", line, found.all[i].what, words);
	assert_string_equal(found.all[i].file, checked.text);
}

static void no_mistake(void **state)
{
	(void)state;
	assert_int_equal(check_text("[converter a]\naddress = 192.0.2.1\n"), 0);
	assert_int_equal(found.n, 0);
	assert_int_equal(config.n_converters, 1);
	config_free(&config);
}

static void all_of_them(void **state)
{
	(void)state;
	assert_true(check_text("timeout = 5s\n" /* 1: before any section */
			       "[converter one]\n"
			       "address = example.com\n" /* 3 */
			       "port = 0\n"		 /* 4 */
			       "dialect = rfc\n"	 /* 5 */
			       "colour = green\n"	 /* 6 */
			       "[converter one]\n"	 /* 7: twice */
			       "address = 192.0.2.1\n"
			       "fast-open = maybe\n"  /* 9 */
			       "cookie = @relative\n" /* 10 */
			       "[polcy]\n"	      /* 11: what follows it is not judged */
			       "timeout = ever\n"
			       "[policy]\n"
			       "rule = convert to nowhere\n" /* 14 */
			       "a line without its sign\n"   /* 15 */
			       "timeout = 5x\n"		     /* 16 */
			       "timeout = 5s\n"		     /* 17: twice */
			       "fallback =\n"		     /* 18 */
			       "[policy]\n"		     /* 19 */
			       "mptcp = often\n"	     /* 20 */
			       "[log\n"			     /* 21 */
			       "[log]\n"
			       "file = \x01\n"	     /* 23 */
			       "level = loud") < 0); /* 24, at the very end */
	assert_mistake(0, 1, "before any section");
	assert_mistake(1, 3, "address = example.com");
	assert_mistake(2, 4, "port = 0");
	assert_mistake(3, 5, "dialect = rfc");
	assert_mistake(4, 6, "unknown key \"colour\"");
	assert_mistake(5, 7, "a second [converter one]");
	assert_mistake(6, 9, "fast-open = maybe");
	assert_mistake(7, 10, "cookie");
	assert_mistake(8, 11, "unknown section [polcy]");
	assert_mistake(9, 14, "nowhere");
	assert_mistake(10, 15, "expected [section]");
	assert_mistake(11, 16, "timeout = 5x");
	assert_mistake(12, 17, "given twice");
	assert_mistake(13, 18, "expected a value");
	assert_mistake(14, 19, "a second [policy]");
	assert_mistake(15, 20, "mptcp = often");
	assert_mistake(16, 21, "expected ]");
	assert_mistake(17, 23, "control character");
	assert_mistake(18, 24, "level = loud");
	assert_int_equal(found.n, 19);
	assert_int_equal(config.n_converters, 0);
	assert_null(config.rules);
	config_free(&config);
}

/* One mistake alone is the same for programs and for people. */
static void the_first_one(void **state)
{
	static const char *const texts[] = {
		"x",
		"[",
		"[a b]",
		"[converter ]",
		"[converter a]",
		"[converter a]\nport=1\n[log]",
		"[log]\nlevel",
		"[log]\n\x7f\nlevel=info",
		"[policy]\nrule=convert to",
		"=\n[log]",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct config_error first;
		struct config other;
		int ret = config_parse(&other, checked.text, texts[i], strlen(texts[i]), NULL,
				       &first);

		assert_true(ret < 0);
		assert_int_equal(check_text(texts[i]), ret);
		assert_true(found.n >= 1);
		assert_mistake(0, first.line, first.what);
		config_free(&other);
		config_free(&config);
	}
}

static void the_environment(void **state)
{
	const struct config_env env = { .conf = "/nowhere/convert.conf",
					.addr = "somewhere",
					.port = "many",
					.convert_cookie = "@there",
					.state = "here" };
	static const char *const words[] = { "such file", "CONVERT_ADDR", "CONVERT_PORT",
					     "CONVERT_COOKIE", "CONVERT_STATE" };

	(void)state;
	assert_true(check(&env) < 0);
	assert_int_equal(found.n, 5);
	for (size_t i = 1; i < 5; i++) {
		assert_non_null(strstr(found.all[i].what, words[i]));
		assert_string_equal(found.all[i].file, "environment");
	}
	assert_string_equal(found.all[0].file, "/nowhere/convert.conf");
	config_free(&config);
}

/*
 * Memory that ends: each allocation of a configuration fails, one at a time. It says so, is empty,
 * and gives all back. The linker sends policy/'s malloc() here (Makefile).
 */

/* NOLINTBEGIN(bugprone-reserved-identifier) the names that ld's --wrap wants */
void *__real_malloc(size_t size);
void *__real_realloc(void *old, size_t size);
void __real_free(void *p);
void *__wrap_malloc(size_t size);
void *__wrap_realloc(void *old, size_t size);
void __wrap_free(void *p);
/* NOLINTEND(bugprone-reserved-identifier) */

static long until_failure = -1; /* allocations that still succeed; negative: all */
static long held;

static int fails_now(void)
{
	return until_failure >= 0 && until_failure-- == 0;
}

void *__wrap_malloc(size_t size)
{
	void *p = fails_now() ? NULL : __real_malloc(size);

	held += p != NULL;
	return p;
}

void *__wrap_realloc(void *old, size_t size)
{
	void *p = fails_now() ? NULL : __real_realloc(old, size);

	held += p != NULL && old == NULL;
	return p;
}

void __wrap_free(void *p)
{
	held -= p != NULL;
	__real_free(p);
}

static const char of_all[] =
	"[converter a]\n"
	"address = 192.0.2.1\naddress = 2001:db8::1\naddress = 192.0.2.2\n"
	"cookie = secret\nfrom = 10.0.0.0/8\nfrom = 10.1.0.0/16\n"
	"interface = wwan0\ninterface = wwan1\n"
	"[converter b]\naddress = 192.0.2.3\n"
	"[policy]\nrule = direct to 10.0.0.0/8,10.1.0.0/16 port 22,80-90\n"
	"rule = convert app curl port 80\nrule = direct to ::/0\n"
	/* more than there is room for at first */
	"rule = direct to 1::,2::,3::,4::,5::,6::,7::,8:: port 1,3,5,7,9,11,13,15,17\n"
	"rule = direct to 1::,2::,3::,4::,5::,6::,7::,8::,9::,a::,b::,c::,d::,e::,f::\n"
	"rule = direct to 1::,2::,3::,4::,5::,6::,7::,8::,9::,a::,b::,c::,d::,e::,f::\n"
	"rule = direct to 1::,2::,3::,4::,5::,6::,7::,8::,9::,a::,b::,c::,d::,e::,f::\n"
	"rule = direct port 1,3,5,7,9,11,13,15,17\nrule = direct port 80\n"
	"[incoming]\nrule = accept port 80\n"
	"[state]\nfile = /run/state\n[log]\nfile = /var/log/convert\n";

static int load_any(const struct config_env *env)
{
	return env ? config_load(&config, env, "curl", &err) :
		     config_parse(&config, "text", of_all, sizeof(of_all) - 1, "curl", &err);
}

/* Returns how many allocations there are. */
static long fail_each(const struct config_env *env, size_t n_converters)
{
	long n = 0;
	int ret;

	for (;; n++) {
		held = 0;
		until_failure = n;
		ret = load_any(env);
		if (until_failure >= 0) /* it was not reached */
			break;
		/* only where to log may be missing in silence: nobody could be told */
		assert_true(ret == -ENOMEM || (ret == 0 && env && env->log && !config.log_target));
		if (ret == -ENOMEM) {
			assert_string_equal(err.what, "out of memory");
			assert_int_equal(config.n_converters, 0);
			assert_null(config.rules);
		}
		config_free(&config);
		assert_int_equal(held, 0);
	}
	until_failure = -1;
	assert_int_equal(ret, 0);
	assert_int_equal(config.n_converters, n_converters);
	config_free(&config);
	assert_int_equal(held, 0);
	return n;
}

static void no_memory_for_a_file(void **state)
{
	(void)state;
	assert_true(fail_each(NULL, 2) > 15);
}

static void no_memory_for_the_environment(void **state)
{
	const struct config_env env = { .addr = "192.0.2.1",
					.convert_cookie = "secret",
					.log = "stderr",
					.runtime_dir = "/run/user/1" };

	(void)state;
	assert_true(fail_each(&env, 1) >= 5);
}

static int make_dir(void **state)
{
	(void)state;
	return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
	char command[80];

	(void)state;
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	return system(command);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_file),
		cmocka_unit_test(environment_alone),
		cmocka_unit_test(environment_and_file),
		cmocka_unit_test(empty_variables_are_not_set),
		cmocka_unit_test(port_and_cookie_without_address),
		cmocka_unit_test(switched_off),
		cmocka_unit_test(switched_off_by_a_file),
		cmocka_unit_test(strict),
		cmocka_unit_test(bad_variables),
		cmocka_unit_test(a_mistake_still_logs),
		cmocka_unit_test(not_a_file),
		cmocka_unit_test(not_readable),
		cmocka_unit_test(too_large),
		cmocka_unit_test(cookie_files),
		cmocka_unit_test(no_default_file),
		cmocka_unit_test(where_the_state_is),
		cmocka_unit_test(where_the_state_of_a_user_is),
		cmocka_unit_test(a_relative_state),
		cmocka_unit_test(no_mistake),
		cmocka_unit_test(all_of_them),
		cmocka_unit_test(the_first_one),
		cmocka_unit_test(the_environment),
		cmocka_unit_test(no_memory_for_a_file),
		cmocka_unit_test(no_memory_for_the_environment),
	};

	if (argc > 1 && strcmp(argv[1], "user") == 0)
		return state_of_this_user();
	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
