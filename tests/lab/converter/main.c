// SPDX-License-Identifier: MIT
/*
 * lab-converter - a Transport Converter on kernel sockets, for tests and the demo.
 * RFC 8803, draft-ietf-tcpm-converters-02, and the drafts between them.
 */
#include "conn.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define OWN_TIMERS 64 /* listeners and the like */

static void on_signal(struct loop_watch *w, uint32_t events)
{
	(void)w;
	(void)events;
	loop_stop();
}

static struct loop_watch signals = { .fd = -1, .ready = on_signal };

static int watch_signals(void)
{
	struct sigaction hangup;
	sigset_t set;

	signal(SIGPIPE, SIG_IGN); /* splice has no MSG_NOSIGNAL */
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	/* a terminal that is closed must not leave --hold's rules behind; nohup means what it says */
	if (sigaction(SIGHUP, NULL, &hangup) == 0 && hangup.sa_handler != SIG_IGN)
		sigaddset(&set, SIGHUP);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return -errno;
	signals.fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	return signals.fd < 0 ? -errno : loop_watch(&signals, EPOLLIN);
}

/* Six descriptors per busy connection; what the administrator allows is taken. */
static void raise_descriptor_limit(void)
{
	struct rlimit rl;

	if (getrlimit(RLIMIT_NOFILE, &rl) < 0 || rl.rlim_cur == rl.rlim_max)
		return;
	rl.rlim_cur = rl.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &rl) < 0)
		log_detail("note", "what=\"descriptor limit stays as it is\"");
}

static int write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = write(fd, text, strlen(text));
	close(fd);
	return n < 0 ? -errno : 0;
}

static bool pid_written; /* a file that is another one's stays */

static int announce(const struct options *o)
{
	char pid[32];
	int err = 0;

	snprintf(pid, sizeof(pid), "%ld\n", (long)getpid());
	if (o->pid_file)
		err = write_file(o->pid_file, pid);
	pid_written = o->pid_file && !err;
	if (!err && o->ready_file)
		err = write_file(o->ready_file, "ready\n");
	if (!err && o->ready_fd >= 0) {
		err = write(o->ready_fd, "ready\n", 6) < 0 ? -errno : 0;
		close(o->ready_fd);
	}
	if (err)
		fprintf(stderr, "lab-converter: --pid-file, --ready-file or --ready-fd: %s\n",
			strerror(-err));
	return err;
}

/* A new namespace has 1, client only, and then everything works but slower: say so. */
static void warn_without_fast_open(void)
{
	int fd = open("/proc/sys/net/ipv4/tcp_fastopen", O_RDONLY | O_CLOEXEC);
	char text[16] = "";

	if (fd < 0)
		return;
	if (read(fd, text, sizeof(text) - 1) > 0 && !(strtoul(text, NULL, 10) & 2))
		log_event("note", "what=\"net.ipv4.tcp_fastopen lacks 2: no SYN data is taken\"");
	close(fd);
}

static void log_start(const struct options *o, bool capturing)
{
	static const char *const dialect[] = { [CVT_DIALECT_RFC8803] = "rfc8803",
					       [CVT_DIALECT_DRAFT02] = "draft-02",
					       [CVT_DIALECT_HYBRID] = "hybrid" };
	static const char *const fast_open[] = { [FAST_OPEN_NO_COOKIE] = "no-cookie",
						 [FAST_OPEN_COOKIE] = "cookie",
						 [FAST_OPEN_OFF] = "off" };
	char text[ADDR_TEXT_MAX];

	for (size_t i = 0; i < o->listens; i++) {
		addr_format(&o->listen[i], text);
		log_event("start",
			  "listen=%s dialect=%s mptcp=%s fastopen=%s hold=%s capture=%s pid=%ld",
			  text, dialect[o->dialect], o->mptcp ? "yes" : "no",
			  fast_open[o->fast_open], o->hold ? "yes" : "no", capturing ? "yes" : "no",
			  (long)getpid());
	}
}

static void after_batch(void)
{
	conn_free_dead();
	incoming_free_closed();
}

static int run(const struct options *o)
{
	int err = loop_init(conn_limit(o) + OWN_TIMERS + INCOMING_TIMERS + PCP_SERVER_TIMERS);
	bool capturing;

	if (!err)
		err = watch_signals();
	if (!err)
		err = cookie_init();
	if (!err)
		err = relay_fill_pool();
	if (err) {
		fprintf(stderr, "lab-converter: start: %s\n", strerror(-err));
		return err;
	}
	conn_init(o);
	capturing = !o->no_capture && capture_open() == 0;
	err = listener_open_all(o);
	/* an old one would lie; whoever has these addresses may have written it and be ready */
	if (!err && o->ready_file)
		unlink(o->ready_file);
	if (!err)
		err = incoming_open_all(o);
	if (!err)
		err = pcp_server_open(o);
	if (!err && o->hold)
		err = hold_open(o, conn_hold);
	if (err)
		return err;
	log_start(o, capturing);
	if (o->fast_open != FAST_OPEN_OFF)
		warn_without_fast_open();
	err = announce(o);
	if (!err)
		err = loop_run(after_batch);
	return err;
}

static void clean_up(const struct options *o)
{
	const struct conn_totals *t = conn_totals();
	size_t open = t->open;

	hold_close();
	listener_close_all();
	pcp_server_close();
	incoming_close_all();
	conn_end_all();
	capture_close();
	log_event("stop", "connections=%lu replies=%lu errors=%lu open=%zu", t->accepted,
		  t->replies, t->errors, open);
	loop_end();
	if (signals.fd >= 0)
		close(signals.fd);
	if (pid_written)
		unlink(o->pid_file);
	log_close();
}

int main(int argc, char **argv)
{
	static struct options o; /* some kilobytes */
	int err = options_parse(&o, argc, argv);

	if (err)
		return err > 0 ? EXIT_SUCCESS : 2;
	err = log_open(o.log, o.verbose);
	if (err) {
		fprintf(stderr, "lab-converter: --log %s: %s\n", o.log, strerror(-err));
		return 2;
	}
	raise_descriptor_limit();
	err = run(&o);
	clean_up(&o);
	return err ? EXIT_FAILURE : EXIT_SUCCESS;
}
