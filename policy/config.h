/* SPDX-License-Identifier: MIT */
/*
 * config.h - the configuration file and its environment variables (convert.conf(5)).
 *
 * Promises: the parser takes text and fills a structure; it prints nothing and opens nothing
 * but the file of a cookie.
 * The first mistake is reported with its line and what was expected; then the configuration is empty but for
 * where to log, wherever in the file that stands, so that a half-read one can never act. config_check() goes on behind a
 * mistake, for people who want to know of all of them; its configuration is then just as empty.
 */
#ifndef CVT_CONFIG_H
#define CVT_CONFIG_H

#include "addr.h"
#include "log.h"
#include "wire.h"

#include <string.h>

#define CONFIG_DEFAULT_FILE "/etc/convert.conf"
#define CONFIG_OFF_SWITCH   "/etc/convert.disable"
#define CONFIG_DEFAULT_PORT 5124
#define CONFIG_WEIGHT_MAX   1000
#define CONFIG_NO_STATE	    "none" /* in place of a state file's name */
#define CONFIG_COOKIE_MAX   992	   /* largest Convert cookie beside a Connect TLV (PROTOCOL 1.4) */

enum config_fast_open { CONFIG_FO_AUTO, CONFIG_FO_COOKIE, CONFIG_FO_NO_COOKIE };
enum config_fallback { CONFIG_FALLBACK_DIRECT, CONFIG_FALLBACK_NONE };
enum config_mptcp { CONFIG_MPTCP_AUTO, CONFIG_MPTCP_ON, CONFIG_MPTCP_OFF };

struct config_converter {
	char name[32];
	struct addr *addrs; /* port filled in */
	size_t n_addrs;
	bool dialect_is_auto; /* then dialect is where to start: rfc8803 (D9) */
	enum cvt_dialect dialect;
	enum config_fast_open fast_open;
	struct cvt_span convert_cookie; /* len 0: none */
	struct addr_prefix *from;
	size_t n_from;
	char (*interfaces)[16];
	size_t n_interfaces;
	unsigned int
		weight; /* 0: none; else its share of what it and its neighbours that have one take */
	unsigned int line; /* of its section header */
};

struct config_rules; /* rules.h */

struct config {
	const char *file;     /* the one that was read, as it was named to us; NULL: none */
	bool is_disabled;     /* by CONVERT_DISABLE, or ... */
	bool is_switched_off; /* ... by the switch: nothing was read */
	struct config_converter *converters;
	size_t n_converters;
	struct config_rules *rules;
	struct addr pcp; /* the server that external ports are asked of; port 0: the converters */
	struct config_rules *incoming; /* which listeners take a converter's; NULL: none */
	enum config_mptcp mptcp;
	bool bypass;
	enum config_fallback fallback;
	bool strict; /* a converter is not used from a network that takes data out of SYNs (P-30) */
	bool is_strict;		 /* CONVERT_STRICT: what would be direct and by no rule, fails */
	unsigned int timeout_ms; /* for the converter's reply */
	unsigned int retry_ms;	 /* longest time that a failing converter is left alone */
	const char *state_file;	 /* as it was said, or CONFIG_NO_STATE; NULL: nobody has */
	/* Nobody has said, and so it is each user's own (after config_load() only). */
	bool state_is_own;
	const char *runtime_dir; /* for that: XDG_RUNTIME_DIR, or NULL */
	const char *log_target;	 /* NULL: no logging */
	enum log_level log_level;
	enum log_format log_format;
	bool log_receipt;   /* convert-run is to print one */
	bool log_is_shaped; /* level or format is given */
};

struct config_error;
typedef void config_each_fn(const struct config_error *err, void *arg);

struct config_error {
	const char *file;
	unsigned int line;    /* 0: the file as a whole, or an environment variable */
	char what[160];	      /* "timeout = 5x: expected a number with s or ms, such as 5s" */
	config_each_fn *each; /* config_check()'s, else NULL */
	void *arg;
	bool leaves_cookies; /* config_env's */
};

/* The environment as it was when the process started; NULL for what is not set. */
struct config_env {
	const char *conf, *addr, *port, *convert_cookie, *log, *log_level, *log_format;
	const char *disable, *state;
	const char *runtime_dir; /* XDG_RUNTIME_DIR */
	bool strict;		 /* CONVERT_STRICT: no fallback, no bypass */
	/* Not of the environment. The file that switches every process off by being there, whatever
	 * else is said; NULL: none is asked for. */
	const char *off_switch;
	/* No file of a cookie is opened, and none is known: of somebody else's configuration, who may have named
	 * anything. */
	bool leaves_cookies;
};

/* As CONVERT_DISABLE and CONVERT_STRICT are: set, and not to 0. */
static inline bool config_is_on(const char *variable)
{
	return variable && variable[0] != '\0' && strcmp(variable, "0") != 0;
}

/* Puts the whole configuration together: the environment, then the file that it names, or
 * /etc/convert.conf. program: the name that `app` rules are compared with.
 * Returns 0, or a negative errno and err filled in; then config is usable and empty (all
 * direct), except for where to log. A missing default file is no error. All memory comes from
 * malloc() of the caller's link and lives until config_free(). */
int config_load(struct config *config, const struct config_env *env, const char *program,
		struct config_error *err);
/* The same; each is called for every mistake, in the order in which they are found. */
int config_check(struct config *config, const struct config_env *env, const char *program,
		 config_each_fn *each, void *arg);
/* The parser alone: text need not end with a zero. */
int config_parse(struct config *config, const char *file, const char *text, size_t len,
		 const char *program, struct config_error *err);
void config_free(struct config *config);
/* Sets up the state (state.h) as the configuration that was loaded has it. */
void config_use_state(const struct config *config);

#endif
