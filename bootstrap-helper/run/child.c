// SPDX-License-Identifier: MIT
#include "run.h"

#include "any.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile pid_t child;

static void pass_on(int signal, siginfo_t *info, void *context)
{
	int saved_errno = errno;

	(void)context;
	any_pass_on(child, signal, info->si_code, info->si_value);
	errno = saved_errno;
}

/* Those, too, that we were to ignore (nohup): so does the program, unless it has a handler for them by then. */
static void pass_signals(const sigset_t *all)
{
	struct sigaction action = { .sa_sigaction = pass_on, .sa_flags = SA_SIGINFO | SA_RESTART };

	for (int each = 1; each <= SIGRTMAX; each++)
		if (sigismember(all, each) == 1)
			sigaction(each, &action, NULL);
}

bool child_start(int *status)
{
	sigset_t ours, before;

	any_passed_on(&ours);
	sigprocmask(SIG_BLOCK, &ours, &before);
	child = fork();
	if (child > 0)
		pass_signals(&ours);
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
