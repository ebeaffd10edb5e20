// SPDX-License-Identifier: MIT
#include "child.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static const int passed[] = { SIGINT, SIGQUIT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2 };

static volatile pid_t child;

/* What the terminal sends it has sent to the child, too. */
static void pass_on(int signal, siginfo_t *info, void *context)
{
	int saved_errno = errno;

	(void)context;
	if (info->si_code <= 0)
		kill(child, signal);
	errno = saved_errno;
}

static void pass_signals(void)
{
	struct sigaction action = { .sa_sigaction = pass_on, .sa_flags = SA_SIGINFO | SA_RESTART };
	struct sigaction before;

	for (size_t i = 0; i < sizeof(passed) / sizeof(passed[0]); i++)
		/* nohup's stays ignored */
		if (sigaction(passed[i], NULL, &before) == 0 && before.sa_handler != SIG_IGN)
			sigaction(passed[i], &action, NULL);
}

bool child_start(int *status)
{
	sigset_t ours, before;

	sigemptyset(&ours);
	for (size_t i = 0; i < sizeof(passed) / sizeof(passed[0]); i++)
		sigaddset(&ours, passed[i]);
	sigprocmask(SIG_BLOCK, &ours, &before);
	child = fork();
	if (child > 0)
		pass_signals();
	sigprocmask(SIG_SETMASK, &before, NULL);
	if (child == 0)
		return true;
	*status = child < 0 ? -1 : 1 << 8; /* as of exit(1) */
	while (child > 0 && waitpid(child, status, 0) < 0 && errno == EINTR)
		;
	return false;
}

void child_end_as(int status)
{
	const struct rlimit none = { 0, 0 };

	if (!WIFSIGNALED(status))
		exit(WEXITSTATUS(status));
	setrlimit(RLIMIT_CORE, &none); /* the core is the program's */
	signal(WTERMSIG(status), SIG_DFL);
	raise(WTERMSIG(status));
	exit(128 + WTERMSIG(status));
}
