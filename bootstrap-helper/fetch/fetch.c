// SPDX-License-Identifier: MIT
/* fetch - a configuration from an HTTPS server in place of the one that is there. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base.h"
#include "fetch.h"

#define SIZE_DEFAULT	(1U << 20)
#define SECONDS_DEFAULT 60
#define SECONDS_MAX	3600

struct fetch {
	const char *file, *url, *ca;
	size_t most;
	long seconds;
	bool is_dry, is_quiet, may_name_paths, is_rollback;
	char *label; /* the url, for people */
	struct fetch_place place;
	struct fetch_record record;
	struct file_bytes now; /* the file as it is */
};

static int unchanged(const struct fetch *f, const char *why)
{
	if (!f->is_quiet)
		printf("%s: unchanged: %s\n", f->place.live, why);
	return BOOTSTRAP_UNCHANGED;
}

/* ------------------------------------------------------------------------- what there is now */

/* Of a dry run too: what it would be asked for, but it takes no lock. Nor can it say what will be without that. */
static int read_record(struct fetch *f)
{
	struct file_bytes bytes = { .bytes = NULL };
	int err = 0;

	fetch_record_read(&f->record, f->place.lock);
	if (f->place.lock < 0)
		err = file_read(&bytes, f->place.record, 4096);
	if (bytes.bytes)
		fetch_record_parse(&f->record, bytes.bytes, bytes.len);
	file_free(&bytes);
	return err == -EACCES && !f->is_rollback ?
		       file_complain(f->place.record, "cannot be read", err) :
		       0;
}

static int look(struct fetch *f)
{
	int err = fetch_place_find(&f->place, f->file);

	if (!err && !f->is_dry)
		err = fetch_place_lock(&f->place);
	if (!err)
		err = fetch_place_read(f->place.live, &f->now);
	return err ? err : read_record(f);
}

static uint64_t hash_of_now(const struct fetch *f)
{
	return f->now.bytes ? fetch_hash(f->now.bytes, f->now.len) : 0;
}

/* What took its place may have been edited since. */
static bool is_rolled_back(const struct fetch *f)
{
	return f->now.bytes && f->record.rolled_back && f->record.content != hash_of_now(f);
}

/* What the server said holds for the file as it is, or for what took its place by --rollback. */
static bool is_known_version(const struct fetch *f)
{
	return f->now.bytes && f->record.url == fetch_hash(f->url, strlen(f->url)) &&
	       (f->record.content == hash_of_now(f) || is_rolled_back(f));
}

static void keep_record(struct fetch *f)
{
	int err = f->is_dry ? 0 : fetch_record_write(&f->record, f->place.lock);

	if (err)
		file_complain(f->place.record, "cannot be written; the next fetch asks for all",
			      err);
}

/* ------------------------------------------------------------------------ what is to be there */

static bool is_sound(const char *name, const char *bytes, size_t len, struct config_error *err,
		     size_t *n_converters)
{
	struct config config;
	int ret = config_parse(&config, name, bytes, len, NULL, err);

	*n_converters = config.n_converters;
	config_free(&config);
	return ret == 0;
}

/* Before the parser, which opens the file of a cookie: to open some devices does something. */
static bool names_new_files(const struct fetch *f, const char *name, const char *bytes, size_t len)
{
	struct fetch_path path = { .line = 0 };

	if (!f->may_name_paths)
		path = fetch_new_path(f->now.bytes, f->now.len, bytes, len);
	if (path.line)
		fprintf(stderr,
			"%s:%u: %s: a file that the present configuration does not name\n"
			"    expected none, or --allow-paths\n",
			name, path.line, path.text);
	return path.line != 0;
}

static bool takes(const struct fetch *f, const char *name, const char *bytes, size_t len)
{
	struct config_error err;
	size_t n_converters;

	if (names_new_files(f, name, bytes, len))
		return false;
	if (!is_sound(name, bytes, len, &err, &n_converters)) {
		load_complain(&err);
		return false;
	}
	if (n_converters == 0)
		fprintf(stderr, "%s: note: no converter: every connection will be direct\n", name);
	return true;
}

static int show_difference(const struct fetch *f, const char *name, const char *bytes, size_t len)
{
	struct fetch_text old = { f->place.live, f->now.bytes, f->now.len, false };
	struct fetch_text new = { name, bytes, len, true };
	struct config_error err;
	size_t n;

	if (f->is_quiet)
		return 0;
	if (f->now.bytes)
		old.is_sound = is_sound(old.name, old.bytes, old.len, &err, &n);
	else
		old.name = "/dev/null";
	if (fetch_diff(stdout, &old, &new) < 0) {
		fputs("out of memory\n", stderr);
		return -ENOMEM;
	}
	if (fflush(stdout) == 0 && !ferror(stdout))
		return 0;
	fputs("the difference cannot be written: nothing was changed\n", stderr);
	return -EIO;
}

/* Shows and, unless it is a dry run, does it. name: where the bytes are from. */
static int put(const struct fetch *f, const char *name, const char *bytes, size_t len)
{
	if (show_difference(f, name, bytes, len) < 0)
		return BOOTSTRAP_FAILED;
	if (!f->is_dry && fetch_place_replace(&f->place, bytes, len, &f->now) < 0)
		return BOOTSTRAP_FAILED;
	if (f->is_quiet)
		return BOOTSTRAP_OK;
	if (f->is_dry)
		printf("%s: would be replaced\n", f->place.live);
	else if (f->now.bytes)
		printf("%s: replaced; what it was is in %s\n", f->place.live, f->place.old);
	else
		printf("%s: made\n", f->place.live);
	return BOOTSTRAP_OK;
}

/* ------------------------------------------------------------------------------ the two ways */

static int use_answer(struct fetch *f, const struct fetch_answer *a)
{
	static const char rolled_back[] = "the server still has what was rolled back";
	const uint64_t content = a->is_unchanged ? f->record.content : fetch_hash(a->bytes, a->len);
	int status;

	if (a->is_unchanged)
		return unchanged(f,
				 is_rolled_back(f) ? rolled_back : "the server has no newer one");
	if (is_rolled_back(f) && is_known_version(f) && content == f->record.content)
		status = unchanged(f, rolled_back);
	else if (f->now.bytes && a->len == f->now.len &&
		 memcmp(a->bytes, f->now.bytes, a->len) == 0)
		status = unchanged(f, "the server has the same");
	else if (!takes(f, f->label, a->bytes, a->len))
		status = BOOTSTRAP_FAILED;
	else
		status = put(f, f->label, a->bytes, a->len);
	if (status == BOOTSTRAP_FAILED)
		return status;
	f->record.url = fetch_hash(f->url, strlen(f->url));
	f->record.content = content;
	if (status == BOOTSTRAP_OK ||
	    content == hash_of_now(f)) /* what there is again is the server's */
		f->record.rolled_back = 0;
	memcpy(f->record.etag, a->etag, sizeof(a->etag));
	memcpy(f->record.last_modified, a->last_modified, sizeof(a->last_modified));
	keep_record(f);
	return status;
}

static int fetch(struct fetch *f)
{
	const bool is_known = is_known_version(f);
	struct fetch_request request = {
		.url = f->url,
		.label = f->label,
		.ca = f->ca,
		.most = f->most,
		.seconds = f->seconds,
		.has_meter = !f->is_quiet && isatty(STDERR_FILENO),
		.etag = is_known ? f->record.etag : "",
		.last_modified = is_known ? f->record.last_modified : "",
	};
	struct fetch_answer answer;
	int status;

	if (fetch_download(&request, &answer) < 0)
		return BOOTSTRAP_FAILED;
	status = use_answer(f, &answer);
	free(answer.bytes);
	return status;
}

/* What it was comes back, and what it is becomes the generation before: twice is not at all. */
static int roll_back(struct fetch *f)
{
	struct file_bytes before = { .bytes = NULL };
	int status = BOOTSTRAP_FAILED;

	if (fetch_place_read(f->place.old, &before) < 0)
		return BOOTSTRAP_FAILED;
	if (!before.bytes)
		fprintf(stderr, "%s: is not there: nothing to go back to\n", f->place.old);
	else if (f->now.bytes && before.len == f->now.len &&
		 memcmp(before.bytes, f->now.bytes, before.len) == 0)
		status = unchanged(f, "what it was is the same");
	else if (takes(f, f->place.old, before.bytes, before.len))
		status = put(f, f->place.old, before.bytes, before.len);
	if (status == BOOTSTRAP_OK) {
		f->record.rolled_back = fetch_hash(before.bytes, before.len);
		if (f->record.rolled_back == f->record.content)
			f->record.rolled_back = 0;
		keep_record(f);
	}
	file_free(&before);
	return status;
}

/* --------------------------------------------------------------------------- the command line */

const char fetch_usage[] =
	"Usage: convert-bootstrap fetch [-nq] [-c FILE] [--cacert FILE] [--allow-paths]\n"
	"                               [--max-size BYTES] [--max-time SECONDS] URL\n"
	"       convert-bootstrap fetch --rollback [-nq] [-c FILE]\n";

enum { CACERT = 256, MAX_SIZE, MAX_TIME, ALLOW_PATHS, ROLLBACK };

static const struct option longer[] = {
	{ "dry-run", no_argument, NULL, 'n' },
	{ "quiet", no_argument, NULL, 'q' },
	{ "cacert", required_argument, NULL, CACERT },
	{ "max-size", required_argument, NULL, MAX_SIZE },
	{ "max-time", required_argument, NULL, MAX_TIME },
	{ "allow-paths", no_argument, NULL, ALLOW_PATHS },
	{ "rollback", no_argument, NULL, ROLLBACK },
	{ 0 },
};

/* Digits, 1 to most; 0 if it is not that. */
static long number(const char *text, long most)
{
	size_t len = strspn(text, "0123456789");
	long n = len && len < 10 && !text[len] ? strtol(text, NULL, 10) : 0;

	return n <= most ? n : 0;
}

static bool take_option(struct fetch *f, int option)
{
	switch (option) {
	case 'c':
		f->file = optarg;
		return *optarg != '\0';
	case 'n':
		f->is_dry = true;
		return true;
	case 'q':
		f->is_quiet = true;
		return true;
	case CACERT:
		f->ca = optarg;
		return *optarg != '\0';
	case MAX_SIZE:
		f->most = (size_t)number(optarg, FETCH_FILE_MAX);
		return f->most > 0 ||
		       option_is_wrong("fetch", "--max-size", optarg, "1 to 4194304 bytes");
	case MAX_TIME:
		f->seconds = number(optarg, SECONDS_MAX);
		return f->seconds > 0 ||
		       option_is_wrong("fetch", "--max-time", optarg, "1 to 3600 seconds");
	case ALLOW_PATHS:
		f->may_name_paths = true;
		return true;
	case ROLLBACK:
		f->is_rollback = true;
		return true;
	default:
		return false;
	}
}

static bool parse(struct fetch *f, int argc, char **argv)
{
	const char *why;
	bool ok = true;
	int option;

	while (ok && (option = getopt_long(argc, argv, "c:nq", longer, NULL)) != -1)
		ok = take_option(f, option);
	if (!ok || argc - optind != (f->is_rollback ? 0 : 1)) {
		fputs(fetch_usage, stderr);
		return false;
	}
	if (f->is_rollback)
		return true;
	f->url = argv[optind];
	f->label = fetch_label(f->url, &why);
	if (!f->label)
		fprintf(stderr, "the URL is not taken: expected %s\n", why);
	return f->label != NULL;
}

int fetch_main(int argc, char **argv)
{
	struct fetch f = {
		.file = CONFIG_DEFAULT_FILE,
		.most = SIZE_DEFAULT,
		.seconds = SECONDS_DEFAULT,
		.place.lock = -1,
	};
	int status = BOOTSTRAP_FAILED;

	if (!parse(&f, argc, argv))
		return BOOTSTRAP_USAGE;
	/* what was there before has been allowed before */
	f.may_name_paths |= f.is_rollback;
	if (look(&f) == 0)
		status = f.is_rollback ? roll_back(&f) : fetch(&f);
	file_free(&f.now);
	fetch_place_close(&f.place);
	free(f.label);
	return status;
}
