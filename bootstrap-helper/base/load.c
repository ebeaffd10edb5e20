// SPDX-License-Identifier: MIT
#include "base.h"

#include <errno.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PRELOAD_FILE "/etc/ld.so.preload"
#define LIBRARY	     "libconvert-preload.so"
#define SIZE_MOST    (1 << 16)

/* ------------------------------------------------------------------------ the configuration */

/* In the form that editors know. */
static void print(struct findings *f)
{
	for (size_t i = 0; i < f->n; i++)
		fprintf(stderr, "%s: %s\n", f->all[i].what, f->all[i].mend);
	findings_free(f);
}

void load_complain(const struct config_error *err)
{
	struct findings f = { .all = NULL };

	mistake_found(err, &f);
	print(&f);
}

/* With a file it alone; without, what a program started from here would find. */
static struct config_env environment(const char *file)
{
	if (file)
		return (struct config_env){ .conf = file,
					    .runtime_dir = getenv("XDG_RUNTIME_DIR") };
	return (struct config_env){
		.conf = getenv("CONVERT_CONF"),
		.addr = getenv("CONVERT_ADDR"),
		.port = getenv("CONVERT_PORT"),
		.convert_cookie = getenv("CONVERT_COOKIE"),
		.log = getenv("CONVERT_LOG"),
		.log_level = getenv("CONVERT_LOG_LEVEL"),
		.log_format = getenv("CONVERT_LOG_FORMAT"),
		.disable = getenv("CONVERT_DISABLE"),
		.state = getenv("CONVERT_STATE"),
		.strict = config_is_on(getenv("CONVERT_STRICT")),
		.off_switch = CONFIG_OFF_SWITCH,
		.runtime_dir = getenv("XDG_RUNTIME_DIR"),
	};
}

const char *load_off(const struct config *config)
{
	return config->is_disabled     ? "CONVERT_DISABLE is set" :
	       config->is_switched_off ? CONFIG_OFF_SWITCH " is there" :
					 NULL;
}

bool load_is_off(const struct config *config, const char *what, const char *instead)
{
	const char *off = load_off(config);

	if (off)
		fprintf(stderr, "switched off, %s: %s (-c FILE %s)\n", off, what, instead);
	return off;
}

const char *load_without_converter(const struct config *config)
{
	return config->is_strict ? "no connection is made (CONVERT_STRICT)" :
				   "every connection is direct";
}

int load_config(struct config *config, const char *file)
{
	struct findings f = { .all = NULL };
	int status = load_check(config, file, NULL, &f);

	print(&f);
	return status;
}

int load_check(struct config *config, const char *file, const char *program, struct findings *f)
{
	struct config_env env = environment(file);
	int err = config_check(config, &env, program, mistake_found, f);

	mistake_rest(f);
	return err < 0 ? BOOTSTRAP_FAILED : BOOTSTRAP_OK;
}

/* ---------------------------------------------------------------------- /etc/ld.so.preload */

/* Entries are separated by white space or colons, # begins a comment (ld.so(8)). */
static bool find(char *text, char *name, size_t size)
{
	char *line, *word;

	while ((line = strsep(&text, "\n"))) {
		line[strcspn(line, "#")] = '\0';
		while ((word = strsep(&line, " \t\r:")))
			if (strstr(word, LIBRARY)) {
				snprintf(name, size, "%s", word);
				return true;
			}
	}
	return false;
}

bool preloaded_name(char *name, size_t size)
{
	struct file_bytes f;
	bool found;

	*name = '\0';
	if (file_read(&f, PRELOAD_FILE, SIZE_MOST) < 0)
		return false;
	f.bytes[f.len] = '\0';
	found = find(f.bytes, name, size);
	file_free(&f);
	return found;
}

static int is_it(struct dl_phdr_info *object, size_t size, void *unused)
{
	(void)size;
	(void)unused;
	return strstr(object->dlpi_name, LIBRARY) != NULL;
}

/* Where a name without a folder is, or one with $LIB, the loader knows: it has loaded it into us, too. */
int preloaded_error(const char *name)
{
	if (*name == '/' && !strchr(name, '$'))
		return access(name, R_OK) < 0 ? errno : 0;
	return dl_iterate_phdr(is_it, NULL) ? 0 : ENOENT;
}
