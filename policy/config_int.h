/* SPDX-License-Identifier: MIT */
/*
 * config_int.h - what the files config*.c and rules.c share; nobody else includes it.
 */
#ifndef CVT_CONFIG_INT_H
#define CVT_CONFIG_INT_H

#include "config.h"
#include "rules.h"

#define CONFIG_FILE_MAX (4U << 20) /* bytes of a configuration file */

enum config_section {
	CONFIG_SEC_NONE,
	CONFIG_SEC_CONVERTER,
	CONFIG_SEC_POLICY,
	CONFIG_SEC_INCOMING,
	CONFIG_SEC_STATE,
	CONFIG_SEC_LOG,
	CONFIG_SEC_UNKNOWN, /* its name is a mistake: nothing can be said of its keys */
};

struct config_parser {
	struct config *config;
	struct config_error *err;
	const char *program;
	const char *text; /* the reader's place in the text */
	size_t len, at;
	unsigned int line; /* of the last line that was read, from 1 */
	enum config_section section;
	unsigned int sections_seen; /* a bit for each enum config_section */
	unsigned int keys_seen;	    /* a bit for each row of the table, in this section */
	uint16_t port;		    /* of the converter being read */
	bool has_address;	    /* it has the key, right or wrong, or a mistake in its place */
	const char *key;
	int failed; /* 0, or the -errno of the first mistake */
};

/* Whether this ends the reading; with config_check() no mistake does. */
static inline bool config_stops(const struct config_error *err, int failed)
{
	return failed && !err->each;
}

/* Everything at its default. */
void config_init(struct config *config);
/* As config_free(), but where to log is kept: a mistake is still to be reported. */
void config_empty(struct config *config);
void config_free_converters(struct config *config);

/* Fills in err from the texts that follow, which end with NULL, and tells err->each. All but the
 * last, which says what was expected, are cut if they are long. Returns -EINVAL. */
int config_mistake(struct config_error *err, unsigned int line, const char *part, ...)
	__attribute__((sentinel));
/* The common form: "key = value: expected ...". */
int config_expected(struct config_parser *p, const char *value, const char *expected);
int config_no_memory(struct config_error *err, unsigned int line);

/* The array with room for one element more, or NULL; n: how many it has. Doubles its room
 * whenever n is a power of two, so that it fits allocators that never take memory back. */
void *config_grow(void *array, size_t n, size_t size);
char *config_copy(const char *text, size_t len);
/* Digits only, no sign, no spaces, at most `most`. */
bool config_number(const char *text, size_t len, unsigned int most, unsigned int *number);
/* isspace() would follow the program's locale. */
static inline bool config_is_space(char c)
{
	return c == ' ' || c == '\t';
}

/* config_parse() without forgetting err->each. */
int config_parse_on(struct config *config, const char *file, const char *text, size_t len,
		    const char *program, struct config_error *err);
/* The key of a section that was opened; value has no spaces at its ends. */
int config_set_key(struct config_parser *p, const char *key, const char *value);
struct config_converter *config_converter_add(struct config *config);
/* These are keys of a converter and environment variables, so err->what starts with `name`. */
int config_add_address(struct config_converter *c, const char *text, const char *name,
		       struct config_error *err, unsigned int line);
int config_set_cookie(struct config_converter *c, const char *text, const char *name,
		      struct config_error *err, unsigned int line);
void config_set_port(struct config_converter *c, uint16_t port);

/* NULL, or what was expected. */
const char *config_log_level(const char *value, enum log_level *level);
const char *config_log_format(const char *value, enum log_format *format);

/* Whatever it is. False where that cannot be told. */
bool config_file_is_there(const char *path);
/* A regular file's bytes, mapped so that they can be given back; len may be 0. -errno, with
 * *why in words for people. */
int config_map_file(const char *path, size_t most, char **bytes, size_t *len, const char **why);
void config_unmap_file(char *bytes, size_t len);

#endif
