// SPDX-License-Identifier: MIT
#include "base.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "state.h"

#define QUIET_MS   300	/* so long nothing more may come: then the change is over ... */
#define FLURRY_MS  3000 /* ... or it goes on, and is looked at all the same */
#define SCRAP_SIZE 8192

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int open_network(void)
{
	const struct sockaddr_nl groups = {
		.nl_family = AF_NETLINK,
		.nl_groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR |
			     RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE,
	};
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);

	if (fd >= 0 && bind(fd, (const struct sockaddr *)&groups, sizeof(groups)) < 0) {
		int err = errno;

		close(fd);
		return -err;
	}
	return fd < 0 ? -errno : fd;
}

/* By nohup, or a shell that puts us into the background. What is blocked would come all the same. */
static bool is_ignored(int number)
{
	struct sigaction now;

	return sigaction(number, NULL, &now) == 0 && now.sa_handler == SIG_IGN;
}

static int open_signals(void)
{
	sigset_t ends;
	int fd;

	sigemptyset(&ends);
	sigaddset(&ends, SIGTERM);
	if (!is_ignored(SIGINT))
		sigaddset(&ends, SIGINT);
	if (!is_ignored(SIGHUP))
		sigaddset(&ends, SIGHUP);
	sigprocmask(SIG_BLOCK, &ends, NULL);
	fd = signalfd(-1, &ends, SFD_CLOEXEC | SFD_NONBLOCK);
	return fd < 0 ? -errno : fd;
}

/* A file beside the state file, which may not be there yet. It stays, and means nothing then. Who has it locked can be asked
 * without locking it, as flock() could not, which would keep others from it meanwhile. */
static int open_lock(const char *state_file, const char *ending, int flags)
{
	char path[PATH_MAX];
	int fd;

	if (snprintf(path, sizeof(path), "%s.%s", state_file, ending) >= (int)sizeof(path))
		return -ENAMETOOLONG;
	fd = open(path, flags | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY, 0600);
	return fd < 0 ? -errno : fd;
}

int watch_lock(const char *state_file, const char *ending)
{
	struct flock all = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	int fd = state_make_directory();

	if (fd >= 0)
		fd = open_lock(state_file, ending, O_RDWR | O_CREAT);
	if (fd >= 0 && fcntl(fd, F_OFD_SETLK, &all) < 0) {
		int err = errno;

		close(fd);
		return err == EAGAIN ? -EBUSY : -err;
	}
	return fd;
}

/* The directory may be another user's, and this a FIFO of his. */
bool watch_is_locked(const char *state_file, const char *ending)
{
	struct flock all = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	int fd = open_lock(state_file, ending, O_RDONLY | O_NONBLOCK);
	struct stat st;
	bool is_locked;

	if (fd < 0)
		return false;
	is_locked = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
		    fcntl(fd, F_OFD_GETLK, &all) == 0 && all.l_type != F_UNLCK;
	close(fd);
	return is_locked;
}

/* A terminal that has hung up tells by a signal, and to who ignores that it would say so for ever. */
static int output_that_ends(void)
{
	struct stat st;

	return fstat(STDOUT_FILENO, &st) == 0 && (S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode)) ?
		       STDOUT_FILENO :
		       -1;
}

int watch_open(struct watch *w, const char *state_file)
{
	*w = (struct watch)WATCH_NONE;
	signal(SIGPIPE, SIG_IGN);
	w->output = output_that_ends();
	if (*state_file)
		w->lock = watch_lock(state_file, "watch");
	if (*state_file && w->lock < 0)
		return w->lock;
	w->alarm = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);
	w->network = w->alarm < 0 ? -errno : open_network();
	w->signals = w->network < 0 ? w->network : open_signals();
	return w->signals < 0 ? w->signals : 0;
}

void watch_again(struct watch *w)
{
	struct signalfd_siginfo scrap;

	w->output = -1;
	while (read(w->signals, &scrap, sizeof(scrap)) == sizeof(scrap))
		;
}

void watch_close(struct watch *w)
{
	int *const fds[] = { &w->network, &w->signals, &w->lock, &w->alarm };

	for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++) {
		if (*fds[i] >= 0)
			close(*fds[i]);
		*fds[i] = -1;
	}
}

/* What it was is asked of the kernel afterwards; so too many of them to be kept are no harm. */
static void swallow(int network)
{
	char scrap[SCRAP_SIZE];

	while (recv(network, scrap, sizeof(scrap), MSG_DONTWAIT) >= 0 || errno == ENOBUFS)
		;
}

static enum watch_event wait_once(const struct watch *w, int64_t ms)
{
	struct pollfd fds[] = { { .fd = w->signals, .events = POLLIN },
				{ .fd = w->network, .events = POLLIN },
				{ .fd = w->also, .events = POLLIN },
				{ .fd = w->alarm, .events = POLLIN },
				{ .fd = w->output } };
	const struct itimerspec at = { .it_value = { .tv_sec = ms / 1000,
						     .tv_nsec = ms % 1000 * 1000000 } };

	timerfd_settime(w->alarm, 0, ms > 0 ? &at : &(struct itimerspec){ 0 }, NULL);
	if (poll(fds, 5, ms > 0 ? -1 : 0) <= 0)
		return WATCH_TIME;
	if (fds[0].revents || fds[4].revents)
		return WATCH_STOP;
	if (!fds[1].revents)
		return fds[2].revents ? WATCH_ALSO : WATCH_TIME;
	swallow(w->network);
	return WATCH_NETWORK;
}

enum watch_event watch_wait(const struct watch *w, int64_t ms)
{
	enum watch_event e = wait_once(w, ms), more = e;
	int64_t until = now_ms() + FLURRY_MS;

	while (more == WATCH_NETWORK && now_ms() < until)
		more = wait_once(w, QUIET_MS);
	return more == WATCH_STOP ? WATCH_STOP : e;
}
