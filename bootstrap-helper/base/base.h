/* SPDX-License-Identifier: MIT */
/*
 * base.h - what the verbs have in common: their names and statuses, the configuration, files, words, and the host.
 * What was found is in finding.h, and what needs jansson in json.h.
 */
#ifndef CVT_BASE_H
#define CVT_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "config.h"
#include "finding.h"

/* ---- convert-bootstrap's verbs. Each gets its own arguments, its name first, and returns the exit status. Its usage text is
 * what it writes to standard error if they are not as that says, and what answers --help. */

enum {
	BOOTSTRAP_OK = 0,
	BOOTSTRAP_FAILED = 1,
	BOOTSTRAP_USAGE = 2,
	BOOTSTRAP_UNCHANGED = 3, /* fetch: there was nothing to do */
};

int run_main(int argc, char **argv);
int check_main(int argc, char **argv);
int status_main(int argc, char **argv);
int flush_main(int argc, char **argv);
int forget_main(int argc, char **argv);
int pin_main(int argc, char **argv);
int fetch_main(int argc, char **argv);
int top_main(int argc, char **argv);
int explain_main(int argc, char **argv);
int map_main(int argc, char **argv);

extern const char run_usage[], check_usage[], status_usage[], flush_usage[], forget_usage[],
	pin_usage[], fetch_usage[], top_usage[], explain_usage[], map_usage[];

/* ---- file.c (file_, unwritten_, standard_): whole files, descriptors, and how it is said what is wrong */

struct file_bytes {
	char *bytes;
	size_t len;
	bool is_mapped;
	struct stat st;
};

/* Reads a regular file of at most `most` bytes. Waits for nothing: a FIFO is refused, not opened
 * until somebody writes. Returns 0 or -errno: -EISDIR, -EINVAL (not a regular file), -EFBIG,
 * -EAGAIN (it shrank while it was read) and what open() and read() say. */
int file_read(struct file_bytes *f, const char *path, size_t most);
/* The same, mapped: for a large file of which little is looked at. Who cuts it short meanwhile kills us
 * by SIGBUS, as he would the program that it is. */
int file_map(struct file_bytes *f, const char *path, size_t most);
void file_free(struct file_bytes *f);

/* The name from / on, from malloc(); links stay. NULL and errno. */
char *file_absolute(const char *path);

/* All that was put there. False: it cannot be written, and standard error says why. */
bool file_flush_output(void);

/* "PATH: WHAT: STRERROR" to standard error; returns err, which is a -errno. */
int file_complain(const char *path, const char *what, int err);

/* Of the state file: "PATH: cannot be written: WHY" to standard error. err: the -errno of state.h; 0: nobody knows. */
void unwritten_complain(int err);
/* Does the file that is open begin as one that is none of state.h's, of this version? */
bool unwritten_is_strange(int fd);

/* Of the numbers 0, 1 and 2, which whoever has started us may have closed. First of all: what is opened next would
 * have such a number, and what is said on standard error would be written
 * there. It is taken by what fails to be read and written as before, and is closed for a program that we become. */
void standard_take(void);

/* ---- load.c (load_, preloaded_): what a program started from here would load: the configuration, or one file alone,
 * and what it means, for people; and the library */

/* file: NULL for what a program would find. Returns a BOOTSTRAP_... status; what is wrong has then
 * been written to standard error. config_free() in any case. */
int load_config(struct config *config, const char *file);
/* The same, as program would find it (NULL: one without rules of its own); mistakes are added to f, and nothing is
 * written. */
int load_check(struct config *config, const char *file, const char *program, struct findings *f);
/* "/etc/convert.disable is there"; NULL: nothing has switched all of it off. */
const char *load_off(const struct config *config);
/* The same to standard error, with what is therefore not done, and how it is done all the same. False: nothing has. */
bool load_is_off(const struct config *config, const char *what, const char *instead);
/* What becomes of connections where there is no converter: "every connection is direct". */
const char *load_without_converter(const struct config *config);
/* "FILE:LINE: what: what was expected" to standard error. */
void load_complain(const struct config_error *err);

/* What /etc/ld.so.preload, which the loader reads for every program, says of the library.
 * False: it is not named there; else as it is written, if that fits. */
bool preloaded_name(char *name, size_t size);
/* 0, or the errno of what the loader will have met. */
int preloaded_error(const char *name);

/* ---- show.c: the configuration, to standard output */

/* A cookie is only said to be given. */
void show_config(const struct config *config);

/* ---- words.c (option_, endpoint_, kinds_): those that people write, and those that they read */

#define OPTION_TEXT_MAX 72
#define KINDS_TEXT_MAX	24

/* A word as it may be shown: not longer, and with nothing in it that a terminal would obey. */
const char *option_text(const char *word, char text[static OPTION_TEXT_MAX]);
/* "VERB: WHICH WORD: expected THIS" to standard error; which may be "". Returns false. */
bool option_is_wrong(const char *verb, const char *which, const char *word, const char *expected);
/* "192.0.2.1:443" or "[2001:db8::1]:443"; with a port that is not 0 also "192.0.2.1", "[2001:db8::1]" and
 * "2001:db8::1", which then have that. False: it is none of these; *a may have changed. */
bool endpoint_parse(struct addr *a, const char *text, uint16_t port);
/* Digits, 1 to 65535; 0: it is none. */
uint16_t endpoint_port(const char *text);
/* A TCP option by the name that people know it by: "30 (MPTCP)", or "77". Returns the text's length. */
int kinds_format(uint8_t kind, char text[static KINDS_TEXT_MAX]);

/* ---- watch.c: what `run --watch` and `map` wait for: changes of addresses and routes, the time, and their end.
 * One wait, without any turn in vain; changes that come in a flurry are one. */

struct watch {
	int network; /* rtnetlink */
	int signals; /* readable when SIGTERM, SIGINT or SIGHUP has come, and from then on; but for ignored ones */
	int lock;
	int also;   /* whatever else is waited for; -1: nothing */
	int alarm;  /* a timerfd: poll()'s own time stands still while the host sleeps */
	int output; /* a pipe or a socket: that nobody reads any more is an end, too; -1: neither */
};

#define WATCH_NONE                                                                              \
	{                                                                                       \
		.network = -1, .signals = -1, .lock = -1, .also = -1, .alarm = -1, .output = -1 \
	}

enum watch_event { WATCH_TIME, WATCH_NETWORK, WATCH_ALSO, WATCH_STOP };

/* state_file: that of state.h, "" for none. -EBUSY: another process watches for it; other -errno. SIGPIPE is ignored from then on: who
 * has something to give back, as a mapping, does that first. */
int watch_open(struct watch *w, const char *state_file);
/* ms go on while the host sleeps. */
enum watch_event watch_wait(const struct watch *w, int64_t ms);
/* STATE-FILE.ENDING, locked; close() it. -errno as watch_open(). */
int watch_lock(const char *state_file, const char *ending);
bool watch_is_locked(const char *state_file, const char *ending);
/* Takes the signals that have come: only further ones are WATCH_STOP, and not the output any more. */
void watch_again(struct watch *w);
void watch_close(struct watch *w);

#endif
