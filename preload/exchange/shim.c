// SPDX-License-Identifier: MIT
#include "shim.h"

#include "rules.h"
#include "wait.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>

#define ENV_MAX 8192
#define WAIT_NS 2000000000 /* for another thread to read the configuration */

_Atomic bool shim_active, shim_listening;
bool shim_is_strict;
/* Once it has been read. */
_Atomic(const struct config *) shim_found;
static const struct config empty_config;
/* Who is reading it, by pthread_self(), and the last of them where and since when. What he reads is his own until it is
 * whole, so that nothing is spoiled if two do. */
static _Atomic uintptr_t reader, frame;
static _Atomic int64_t since_ns;
static const char *receipt WRITTEN, *strict WRITTEN;
char shim_program[LEGEND_NAME] WRITTEN;
static struct config_env env = { .off_switch = CONFIG_OFF_SWITCH };

/* A file's name is from where the process has begun: it may be somewhere else when it opens a socket. */
static size_t put_directory(char *to, size_t room, const char *name)
{
	size_t len;

	if (!*name || *name == '/' || !getcwd(to, room))
		return 0;
	len = strlen(to);
	to[len] = '/';
	return len + 1;
}

/* Where the value of a variable belongs whose name has len characters; NULL: it is none of ours. What passed.c and
 * convert-run read has its value already. */
AT_START static const char **place_of(const char *variable, size_t len)
{
	static const char *others = "";
	static const struct {
		char name[24];
		const char **value;
	} ours[] = {
		{ "CONVERT_CONF", &env.conf },
		{ "CONVERT_ADDR", &env.addr },
		{ "CONVERT_PORT", &env.port },
		{ "CONVERT_LOG", &env.log },
		{ "CONVERT_LOG_LEVEL", &env.log_level },
		{ "CONVERT_LOG_FORMAT", &env.log_format },
		{ "CONVERT_RECEIPT", &receipt },
		{ "CONVERT_COOKIE", &env.convert_cookie },
		{ "CONVERT_DISABLE", &env.disable },
		{ "CONVERT_STATE", &env.state },
		{ "XDG_RUNTIME_DIR", &env.runtime_dir },
		{ "CONVERT_STRICT", &strict },
		{ "CONVERT_PEERS", &others },
		{ "CONVERT_PRELOAD", &others },
	};

	for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++)
		if (strlen(ours[i].name) == len && memcmp(ours[i].name, variable, len) == 0)
			return ours[i].value;
	return NULL;
}

AT_START static bool is_file(const char **place, const char *value)
{
	return place == &env.conf || place == &receipt ||
	       (place == &env.log && strcmp(value, LOG_STDERR) != 0 &&
		strcmp(value, LOG_SYSLOG) != 0);
}

/* Of several variables with one name the first is it. */
AT_START static void keep_variable(const char *variable)
{
	static char kept[ENV_MAX];
	static size_t used WRITTEN;
	const char *equals = strchr(variable, '=');
	const char **place = equals ? place_of(variable, (size_t)(equals - variable)) : NULL;
	size_t size;

	if (!place || *place)
		return;
	size = strlen(++equals) + 1;
	if (place == &strict) { /* what it promises holds however much the others are */
		strict = config_is_on(equals) ? "1" : "0";
		return;
	}
	if (size > ENV_MAX - used) { /* nonsense: stay away from this process */
		env.disable = "1";
		return;
	}
	*place = kept + used;
	if (is_file(place, equals))
		used += put_directory(kept + used, ENV_MAX - used - size, equals);
	memcpy(kept + used, equals, size);
	used += size;
}

/* What a set-user-ID process starts once it has become the other user believes its environment: as ld.so does with
 * LD_*, nothing of ours goes on to it but CONVERT_STRICT, which can only refuse. In place, and nothing is written where
 * there is none. */
AT_START static void take_out_of_environment(void)
{
	char **to = __environ;

	for (char **from = to; from && *from; from++) {
		const char *equals = **from == 'C' ? strchr(*from, '=') : NULL;

		const char **place = equals ? place_of(*from, (size_t)(equals - *from)) : NULL;

		if (place && place != &strict)
			continue;
		if (to != from)
			*to = *from;
		to++;
	}
	if (to && *to)
		*to = NULL;
}

AT_START static void keep_name(void)
{
	size_t size = strlen(program_invocation_short_name) + 1;

	if (size <= sizeof(shim_program))
		memcpy(shim_program, program_invocation_short_name, size);
}

/* Programs overwrite their environment and name (setproctitle), or clear the former (sshd): keep a copy. Not
 * malloc'ed, as the allocator may not be up yet. Nothing of it in a set-user-ID process (F-18). */
AT_START void shim_keep_environment(void)
{
	static bool is_kept WRITTEN;

	if (is_kept)
		return;
	is_kept = true;
	keep_name();
	if (getauxval(AT_SECURE)) {
		take_out_of_environment();
		return;
	}
	for (char **variable = __environ; variable && *variable; variable++)
		if (**variable == 'C' || **variable == 'X')
			keep_variable(*variable);
	env.strict = config_is_on(strict);
	if (env.strict) /* else nobody touches that page in a process that opens no socket */
		shim_is_strict = true;
}

static const struct config *read_config(void)
{
	const char *name = *shim_program ? shim_program : program_invocation_short_name;
	const char *so = shim_is_strict ? "no connection is made: CONVERT_STRICT" :
					  "this process stays direct";
	struct config_error err = { .line = 0 };
	struct config *c = malloc(sizeof(*c));

	if (!c)
		return &empty_config;
	if (config_load(c, &env, name, &err) == 0)
		so = NULL;
	log_setup(c->log_target, c->log_level);
	log_as(c->log_format);
	log_of(name);
	log_to_receipt(receipt);
	if (!so)
		config_use_state(c);
	else if (err.line)
		log_line(LOG_LEVEL_ERROR, "%s:%u: %s; %s", err.file, err.line, err.what, so);
	else
		log_line(LOG_LEVEL_ERROR, "%s: %s; %s", err.file, err.what, so);
	return c;
}

/* Shall this thread read it? Not in a signal handler that has interrupted the reading, nor where another thread is at
 * it; but if a handler has left that by siglongjmp(), which takes a second to believe, or two of another thread. */
static bool is_to_read(void)
{
	const struct timespec moment = { .tv_nsec = 100000 };
	uintptr_t self = (uintptr_t)pthread_self(), now;
	int64_t start_ns = tick_ns();

	while (!shim_has_read()) {
		now = atomic_load(&reader);
		if (now == self && !wait_is_left(atomic_load(&frame), atomic_load(&since_ns)))
			return false;
		if (now && now != self && tick_ns() - start_ns < WAIT_NS)
			syscall(SYS_nanosleep, &moment, NULL);
		else if (atomic_compare_exchange_strong(&reader, &now, self))
			return true;
		else
			start_ns = tick_ns();
	}
	return false;
}

SLOW const struct config *shim_read(void)
{
	const struct config *c = NULL, *mine;
	int saved_errno = errno;

	if (is_to_read()) {
		atomic_store(&frame, (uintptr_t)__builtin_frame_address(0));
		atomic_store(&since_ns, tick_ns());
		shim_keep_environment(); /* another library's constructor may have run before ours */
		mine = read_config();
		atomic_store(&shim_active,
			     mine->n_converters > 0 &&
				     !(mine->rules && config_rules_are_direct(mine->rules)));
		if (mine->n_converters > 0 && mine->incoming)
			atomic_store(&shim_listening, config_rules_are_any(mine->incoming));
		/* who was waited for in vain may have been first after all */
		atomic_compare_exchange_strong(&shim_found, &c, mine);
	}
	errno = saved_errno;
	c = atomic_load_explicit(&shim_found, memory_order_acquire);
	return c ? c : &empty_config;
}

/* Another thread that was reading does not exist in the child. */
void shim_in_child(void)
{
	if (atomic_load(&reader) != (uintptr_t)pthread_self())
		atomic_store(&reader, 0);
}
