// SPDX-License-Identifier: MIT
#include "top.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/auxvec.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define RECORD_MAX  4096
#define LIBRARY	    "/libconvert-preload.so"
#define MAPPING_MAX (1 << 20) /* no mapping of the library's file is as long */
#define MAPPINGS    16	      /* that are looked at: it has five at most, or three copies of it */
#define TEXT_MAX    (1 << 20) /* of an environment, or a command line */

static FILE *open_file(int pid, const char *name)
{
	char path[40];

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
	return fopen(path, "re");
}

/* As it is, with two zeros behind it; NULL: we may not. To be freed. */
static char *read_text(int pid, const char *name)
{
	FILE *f = open_file(pid, name);
	char *text = f ? calloc(1, TEXT_MAX) : NULL;

	if (text && fread(text, 1, TEXT_MAX - 2, f) == 0 && ferror(f)) {
		free(text);
		text = NULL;
	}
	if (f)
		fclose(f);
	return text;
}

static bool read_memory(int pid, const void *at, void *to, size_t len)
{
	struct iovec here = { .iov_base = to, .iov_len = len };
	struct iovec there = { .iov_base = (void *)at, .iov_len = len };

	return process_vm_readv(pid, &here, 1, &there, 1, 0) == (ssize_t)len;
}

static void find_name(struct program *p)
{
	FILE *f = open_file(p->pid, "comm");

	if (!f || !fgets(p->name, sizeof(p->name), f) || *p->name == '\n')
		snprintf(p->name, sizeof(p->name), "?");
	p->name[strcspn(p->name, "\n")] = '\0';
	for (char *c = p->name; *c; c++)
		if (!isprint((unsigned char)*c)) /* it goes to a terminal */
			*c = '?';
	if (f)
		fclose(f);
}

/* ------------------------------------------------------------------------- the library */

/* Anybody can call a file as the library is called, and put anything in it. Where a page of the file has the
 * end of one segment and the beginning of the next, it is mapped twice, and one legend has the addresses
 * that the linker wrote; in the right one the tables are behind it. */
static bool is_sound(const struct legend *l, const void *from)
{
	return (uintptr_t)l->marks > (uintptr_t)from && l->page && l->record <= RECORD_MAX &&
	       l->cookie <= RECORD_MAX / 2 && l->new_cookie <= RECORD_MAX / 2 &&
	       l->server <= RECORD_MAX / 2;
}

/* Is it in these bytes of the library's? */
static bool find_legend(struct program *p, const void *from, size_t len)
{
	char *bytes = len <= MAPPING_MAX ? malloc(len) : NULL;
	const char *at = NULL;

	if (bytes && read_memory(p->thread, from, bytes, len))
		at = memmem(bytes, len, LEGEND_MAGIC, sizeof(p->legend.magic));
	if (at && (size_t)(bytes + len - at) >= sizeof(p->legend)) {
		memcpy(&p->legend, at, sizeof(p->legend));
		p->is_open = is_sound(&p->legend, from);
	}
	free(bytes);
	return p->is_open;
}

static void find_library(struct program *p)
{
	FILE *f = open_file(p->thread, "maps");
	char *from, *to;
	char *line = NULL;
	size_t room = 0;
	int looks = 0;

	p->library = PROGRAM_CLOSED;
	while (f && getline(&line, &room, f) > 0) {
		if (p->library == PROGRAM_CLOSED)
			p->library = PROGRAM_WITHOUT;
		if (!strstr(line, LIBRARY) ||
		    sscanf(line, "%p-%p", (void **)&from, (void **)&to) != 2)
			continue;
		p->library = PROGRAM_LOADED;
		if (find_legend(p, from, (size_t)(to - from)) || ++looks == MAPPINGS)
			break;
	}
	free(line);
	if (f)
		fclose(f);
}

enum program_number program_ask(const struct program *p, int fd, uint64_t cookie,
				struct addr *server, bool *has_server, bool *is_proven)
{
	const struct legend *l = &p->legend;
	const char *marks = l->marks, *pages = l->pages, *page = NULL;
	const uint32_t n = (uint32_t)fd;
	uint64_t now = 0, next = 0;
	char record[RECORD_MAX] = { 0 };
	uint16_t mark;

	*has_server = *is_proven = false;
	if (!p->is_open || n >= l->n_marks ||
	    !read_memory(p->thread, marks + n * sizeof(mark), &mark, sizeof(mark)))
		return PROGRAM_UNKNOWN;
	mark &= 0xff;
	if (n < l->page)
		page = l->first;
	else
		read_memory(p->thread, pages + n / l->page * sizeof(page), &page, sizeof(page));
	if (page && read_memory(p->thread, page + n % l->page * l->record, record, l->record)) {
		memcpy(&now, record + l->cookie, sizeof(now));
		memcpy(&next, record + l->new_cookie, sizeof(next));
		memcpy(server, record + l->server, sizeof(*server));
		*is_proven = cookie && (cookie == now || cookie == next);
		*has_server = now != 0;
	}
	return mark == l->bypass  ? PROGRAM_BYPASS :
	       mark == l->pending ? PROGRAM_PENDING :
	       mark == l->up	  ? PROGRAM_UP :
				    PROGRAM_NATIVE;
}

/* ------------------------------------------------------------------- its configuration */

/* text: NAME=VALUE, each with its zero, and one more. */
static const char *variable(const char *text, const char *name)
{
	size_t len = strlen(name);

	for (; *text; text += strlen(text) + 1)
		if (strncmp(text, name, len) == 0 && text[len] == '=')
			return text + len + 1;
	return NULL;
}

/* A relative name is one in its directory, and the file its root's: /proc has both. It may be anything, and we root:
 * a device, which is not to be opened. -1: it is no file. */
static int find_file(const struct program *p, const char *name)
{
	char path[4200];
	struct stat st;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/%s/%s", p->thread, *name == '/' ? "root" : "cwd",
		 name);
	fd = open(path, O_PATH | O_CLOEXEC);
	if (fd < 0 || (fstat(fd, &st) == 0 && S_ISREG(st.st_mode)))
		return fd;
	close(fd);
	return -1;
}

static void load_config(struct program *p, const char *variables, const char *program)
{
	const char *name = variable(variables, "CONVERT_CONF");
	const int fd = name && *name ? find_file(p, name) : -1;
	char path[40];
	const struct config_env env = {
		.conf = fd < 0 ? NULL : path,
		.addr = variable(variables, "CONVERT_ADDR"),
		.port = variable(variables, "CONVERT_PORT"),
		.disable = variable(variables, "CONVERT_DISABLE"),
		.strict = config_is_on(variable(variables, "CONVERT_STRICT")),
		.off_switch = CONFIG_OFF_SWITCH,
		.leaves_cookies = true,
	};
	struct config_error err;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (fd >= 0 || !name || !*name)
		p->has_config = config_load(&p->config, &env, program, &err) == 0;
	p->config.file = NULL; /* path */
	if (fd >= 0)
		close(fd);
}

/* Has it more rights than who started it? Then the library believes nothing that it was told (AT_SECURE). */
static bool is_secure(int pid)
{
	/* the first value is an address: where it belongs to the first type it is that of a program of 32 bits */
	union {
		uint64_t wide[2 * 32];
		uint32_t narrow[2 * 64];
	} vector = { { 0 } };
	FILE *f = open_file(pid, "auxv");
	bool is_it = false;

	if (f && fread(&vector, 1, sizeof(vector), f) > 0)
		for (int i = 0; i < 2 * 32 && !is_it; i += 2)
			is_it = *vector.wide > UINT16_MAX ?
					vector.narrow[i] == AT_SECURE && vector.narrow[i + 1] :
					vector.wide[i] == AT_SECURE && vector.wide[i + 1];
	if (f)
		fclose(f);
	return is_it;
}

/* It may have written over the one in its command line since. False: the library does not say it. */
static bool read_name(const struct program *p, char name[static LEGEND_NAME])
{
	return p->is_open && read_memory(p->thread, p->legend.program, name, LEGEND_NAME) &&
	       *name && memchr(name, '\0', LEGEND_NAME);
}

static void find_config(struct program *p)
{
	char name[LEGEND_NAME];
	char *text = read_text(p->thread, "environ"), *command = read_text(p->thread, "cmdline");

	if (text && command)
		load_config(p, is_secure(p->thread) ? "" : text,
			    read_name(p, name) ? name : basename(command));
	free(text);
	free(command);
}

void program_look(struct program *p, int pid, int thread)
{
	*p = (struct program){ .pid = pid, .thread = thread };
	find_name(p);
	find_library(p);
	if (p->library != PROGRAM_CLOSED) /* convert-run --any works without the library in it */
		find_config(p);
}

void program_free(struct program *p)
{
	config_free(&p->config);
}
