// SPDX-License-Identifier: MIT
#include "shim.h"

#include "rules.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

#define ENV_MAX 8192

/* The configuration is UNREAD, READ, or being read by a thread, whose pthread_self() this then is: in
 * one word, so that a signal handler at any moment sees whether it has interrupted the reading. */
enum { UNREAD, READ };

_Atomic bool shim_active, shim_listening;
bool shim_is_strict;
static _Atomic uintptr_t state = UNREAD;
static struct config config, empty_config;
static const char *receipt WRITTEN, *strict WRITTEN;
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

/* Where the value of a variable belongs whose name has len characters; NULL: it is none of ours. */
AT_START static const char **place_of(const char *variable, size_t len)
{
	static const struct {
		char name[24];
		const char **value;
	} ours[] = {
		{ "CONVERT_CONF", &env.conf },		 { "CONVERT_ADDR", &env.addr },
		{ "CONVERT_PORT", &env.port },		 { "CONVERT_LOG", &env.log },
		{ "CONVERT_LOG_LEVEL", &env.log_level }, { "CONVERT_LOG_FORMAT", &env.log_format },
		{ "CONVERT_RECEIPT", &receipt },	 { "CONVERT_COOKIE", &env.convert_cookie },
		{ "CONVERT_DISABLE", &env.disable },	 { "CONVERT_STATE", &env.state },
		{ "XDG_RUNTIME_DIR", &env.runtime_dir }, { "CONVERT_STRICT", &strict },
	};

	for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++)
		if (strlen(ours[i].name) == len && memcmp(ours[i].name, variable, len) == 0)
			return ours[i].value;
	return NULL;
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
	if (place == &env.conf)
		used += put_directory(kept + used, ENV_MAX - used - size, equals);
	memcpy(kept + used, equals, size);
	used += size;
}

/* Programs overwrite their environment (setproctitle) or clear it (sshd): keep a copy. Not
 * malloc'ed, as the allocator may not be up yet. Nothing of it in a set-user-ID process (F-18). */
AT_START void shim_keep_environment(void)
{
	static bool is_kept WRITTEN;

	if (is_kept || getauxval(AT_SECURE))
		return;
	is_kept = true;
	for (char **variable = __environ; variable && *variable; variable++)
		if (**variable == 'C' || **variable == 'X')
			keep_variable(*variable);
	env.strict = config_is_on(strict);
	if (env.strict) /* else nobody touches that page in a process that opens no socket */
		shim_is_strict = true;
}

static void read_config(void)
{
	const char *so = shim_is_strict ? "no connection is made: CONVERT_STRICT" :
					  "this process stays direct";
	struct config_error err = { .line = 0 };
	bool is_right = config_load(&config, &env, program_invocation_short_name, &err) == 0;

	log_setup(config.log_target, config.log_level);
	log_as(config.log_format);
	log_to_receipt(receipt);
	if (is_right)
		config_use_state(&config);
	else if (err.line)
		log_line(LOG_LEVEL_ERROR, "%s:%u: %s; %s", err.file, err.line, err.what, so);
	else
		log_line(LOG_LEVEL_ERROR, "%s: %s; %s", err.file, err.what, so);
}

static SLOW const struct config *read_once(void)
{
	const struct timespec moment = { .tv_nsec = 100000 };
	uintptr_t self = (uintptr_t)pthread_self(), now;
	int saved_errno = errno, cancel_state;

	for (int tries = 0; tries < 20000; tries++) { /* two seconds for another thread to read */
		now = UNREAD;
		if (atomic_compare_exchange_strong(&state, &now, self)) {
			/* another library's constructor may have run before ours */
			shim_keep_environment();
			/* socket() is no cancellation point */
			pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel_state);
			read_config();
			pthread_setcancelstate(cancel_state, NULL);
			atomic_store(
				&shim_active,
				config.n_converters > 0 &&
					!(config.rules && config_rules_are_direct(config.rules)));
			if (config.n_converters > 0 && config.incoming)
				atomic_store(&shim_listening,
					     config_rules_are_any(config.incoming));
			atomic_store_explicit(&state, READ, memory_order_release);
		}
		if (now == UNREAD || now == READ || now == self)
			break;
		syscall(SYS_nanosleep, &moment, NULL);
	}
	errno = saved_errno;
	return atomic_load_explicit(&state, memory_order_acquire) == READ ? &config : &empty_config;
}

/* Asked for ten times in a connection. */
const struct config *shim_config(void)
{
	return atomic_load_explicit(&state, memory_order_acquire) == READ ? &config : read_once();
}

bool shim_has_read(void)
{
	return atomic_load_explicit(&state, memory_order_acquire) == READ;
}

/* Another thread that was reading does not exist in the child. */
void shim_in_child(void)
{
	uintptr_t now = atomic_load(&state);

	if (now != READ && now != (uintptr_t)pthread_self())
		atomic_store(&state, UNREAD);
}
