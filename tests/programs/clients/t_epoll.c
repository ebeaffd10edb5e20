// SPDX-License-Identifier: MIT
/*
 * t_epoll - what programs do with registrations while a connection is pending, beside waiting for
 * it (t_matrix): several sets, equal words, MOD, DEL and ADD in between, errors, descriptors of sets.
 */
#include "say.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void ctl(int ep, int op, int fd, uint32_t events, uint64_t word)
{
	struct epoll_event event = { .events = events, .data.u64 = word };
	static const char *const names[] = { "", "ADD", "DEL", "MOD" };

	say_result(names[op], epoll_ctl(ep, op, fd, &event));
	if (event.events != events || event.data.u64 != word)
		say("the event was changed");
}

static void await(int ep, int max, int timeout)
{
	struct epoll_event events[8];
	int r = epoll_wait(ep, events, max, timeout);

	if (r < 0)
		say_result("epoll_wait", r);
	else
		say("epoll_wait: %d", r);
	for (int i = 0; i < r; i++)
		say("  %s word %llx", say_events(events[i].events),
		    (unsigned long long)events[i].data.u64);
}

/* The words of those that become ready, in the order of the words: theirs is not promised. */
static void await_all(int ep, int want)
{
	struct epoll_event events[8];
	uint64_t words[8];
	int n = 0, r;

	while (n < want && (r = epoll_wait(ep, events, 8 - n, LONG)) > 0) {
		for (int i = 0; i < r; i++) {
			int at = n++;

			for (; at > 0 && words[at - 1] > events[i].data.u64; at--)
				words[at] = words[at - 1];
			words[at] = events[i].data.u64;
		}
	}
	say("ready: %d", n);
	for (int i = 0; i < n; i++)
		say("  word %llx", (unsigned long long)words[i]);
}

static void two_sets(int mode)
{
	int eps[2] = { epoll_create1(0), epoll_create1(0) }, fd = new_socket(SOCK_NONBLOCK);

	ctl(eps[0], EPOLL_CTL_ADD, fd, EPOLLOUT | (uint32_t)mode, 1);
	do_connect(fd);
	ctl(eps[1], EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLOUT, 2);
	await(eps[0], 4, 0);
	await(eps[1], 4, 0);
	await(eps[0], 4, LONG);
	await(eps[1], 4, LONG);
	await(eps[0], 4, 0);
	ctl(eps[0], EPOLL_CTL_DEL, fd, 0, 0);
	await(eps[0], 4, 0);
	await(eps[1], 4, 0);
	do_error(fd);
}

static void equal_words(int word) /* all registrations have the same one */
{
	int ep = epoll_create1(0), event = eventfd(1, 0), fds[3];

	for (int i = 0; i < 3; i++) {
		fds[i] = start();
		ctl(ep, EPOLL_CTL_ADD, fds[i], EPOLLOUT | EPOLLET, (uint64_t)(int64_t)word);
	}
	ctl(ep, EPOLL_CTL_ADD, event, EPOLLIN | EPOLLET, (uint64_t)(int64_t)word);
	await_all(ep, 4);
	sleep_ms(10);
	for (int i = 0; i < 3; i++)
		do_error(fds[i]);
}

static void modified(int mode) /* while pending: another mask, another word */
{
	int ep = epoll_create1(0), fd = start();

	ctl(ep, EPOLL_CTL_ADD, fd, EPOLLIN, 1);
	await(ep, 4, 0);
	ctl(ep, EPOLL_CTL_MOD, fd, EPOLLOUT | (uint32_t)mode, 2);
	await(ep, 4, 0);
	await(ep, 4, LONG);
	ctl(ep, EPOLL_CTL_MOD, fd, EPOLLOUT | (uint32_t)mode, 3);
	await(ep, 4, 0);
	ctl(ep, EPOLL_CTL_MOD, fd, 0, 4);
	await(ep, 4, 0);
	do_error(fd);
}

static void modified_to_nothing(int mode)
{
	int ep = epoll_create1(0), fd = start();

	ctl(ep, EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLOUT | (uint32_t)mode, 1);
	ctl(ep, EPOLL_CTL_MOD, fd, (uint32_t)mode, 2);
	do_poll(fd, POLLOUT, LONG);
	sleep_ms(10);
	await(ep, 4, 0);
	ctl(ep, EPOLL_CTL_MOD, fd, EPOLLOUT | (uint32_t)mode, 3);
	await(ep, 4, 0);
	do_error(fd);
}

static void out_and_in_again(int mode)
{
	int ep = epoll_create1(0), fd = start();

	ctl(ep, EPOLL_CTL_ADD, fd, EPOLLOUT | (uint32_t)mode, 1);
	ctl(ep, EPOLL_CTL_DEL, fd, 0, 0);
	await(ep, 4, 0);
	ctl(ep, EPOLL_CTL_DEL, fd, 0, 0);
	ctl(ep, EPOLL_CTL_MOD, fd, EPOLLOUT, 2);
	ctl(ep, EPOLL_CTL_ADD, fd, EPOLLOUT | (uint32_t)mode, 3);
	ctl(ep, EPOLL_CTL_ADD, fd, EPOLLOUT | (uint32_t)mode, 4);
	await(ep, 4, 0);
	await(ep, 4, LONG);
	ctl(ep, EPOLL_CTL_DEL, fd, 0, 0);
	await(ep, 4, 0);
	do_error(fd);
}

static void out_for_good(int mode) /* the program has lost interest */
{
	int ep = epoll_create1(0), fd = new_socket(SOCK_NONBLOCK);

	ctl(ep, EPOLL_CTL_ADD, fd, EPOLLOUT | (uint32_t)mode, 1);
	do_connect(fd);
	ctl(ep, EPOLL_CTL_DEL, fd, 0, 0);
	await(ep, 4, 300);
	do_poll(fd, POLLOUT, LONG);
	await(ep, 4, 0);
	ctl(ep, EPOLL_CTL_ADD, fd, EPOLLOUT | (uint32_t)mode, 2);
	await(ep, 4, 0);
	do_error(fd);
}

/* Nothing that a compiler could warn of. */
static struct epoll_event *volatile nowhere = (struct epoll_event *)8;
static volatile int minus = -1, many = 0x7fffffff;

static void errors(int pending)
{
	int ep = epoll_create1(0), fd = pending ? start() : new_socket(SOCK_NONBLOCK), fds[2];
	struct epoll_event event = { .events = EPOLLOUT };

	if (pipe(fds) < 0)
		return;
	ctl(-1, EPOLL_CTL_ADD, fd, EPOLLOUT, 1);
	ctl(fds[0], EPOLL_CTL_ADD, fd, EPOLLOUT, 1);
	ctl(fd, EPOLL_CTL_ADD, fd, EPOLLOUT, 1);
	ctl(fd, EPOLL_CTL_ADD, ep, EPOLLOUT, 1);
	ctl(ep, EPOLL_CTL_ADD, ep, EPOLLOUT, 1);
	ctl(ep, EPOLL_CTL_ADD, 999, EPOLLOUT, 1);
	ctl(ep, EPOLL_CTL_MOD, fd, EPOLLOUT, 1);
	ctl(ep, EPOLL_CTL_DEL, fd, EPOLLOUT, 1);
	ctl(ep, EPOLL_CTL_ADD, fd, EPOLLOUT | EPOLLEXCLUSIVE | EPOLLONESHOT, 1);
	ctl(ep, EPOLL_CTL_ADD, fd, EPOLLOUT | EPOLLEXCLUSIVE | EPOLLRDHUP, 1);
	say_result("bad op", epoll_ctl(ep, 77, fd, &event));
	say_result("no event", epoll_ctl(ep, EPOLL_CTL_ADD, fd, NULL));
	say_result("bad event", epoll_ctl(ep, EPOLL_CTL_ADD, fd, nowhere));
	ctl(ep, EPOLL_CTL_ADD, fd, EPOLLOUT, 1);
	ctl(ep, EPOLL_CTL_MOD, fd, EPOLLOUT | EPOLLEXCLUSIVE, 1);
	say_result("no event", epoll_ctl(ep, EPOLL_CTL_MOD, fd, NULL));
	say_result("bad event", epoll_ctl(ep, EPOLL_CTL_MOD, fd, nowhere));
	ctl(ep, EPOLL_CTL_DEL, fd, 0, 0);
	ctl(ep, EPOLL_CTL_ADD, fd, EPOLLOUT | EPOLLEXCLUSIVE, 1);
	ctl(ep, EPOLL_CTL_MOD, fd, EPOLLOUT, 1);
	say_result("wait, none", epoll_wait(ep, &event, 0, 0));
	say_result("wait, minus", epoll_wait(ep, &event, minus, 0));
	say_result("wait, many", epoll_wait(ep, &event, many, 0));
	say_result("wait, no set", epoll_wait(-1, &event, 1, 0));
	say_result("wait, no epoll", epoll_wait(fds[0], &event, 1, 0));
	say_result("wait, socket", epoll_wait(fd, &event, 1, 0));
	if (pending)
		say_result("wait, bad events", epoll_wait(ep, nowhere, 1, LONG));
	await(ep, 4, pending ? LONG : 0);
}

static void set_copied(int mode) /* the set is one file with two descriptors */
{
	int ep = epoll_create1(0), copy = dup(ep), fd = start();

	ctl(ep, EPOLL_CTL_ADD, fd, EPOLLOUT | (uint32_t)mode, 1);
	do_close(ep);
	await(copy, 4, 0);
	ctl(copy, EPOLL_CTL_MOD, fd, EPOLLOUT | (uint32_t)mode, 2);
	await(copy, 4, 0);
	await(copy, 4, LONG);
	do_error(fd);
}

static void set_copied_alone(int mode) /* nothing is said by the new number, it is only waited on */
{
	int ep = epoll_create1(0), copy = dup(ep), fd = start();

	ctl(ep, EPOLL_CTL_ADD, fd, EPOLLOUT | (uint32_t)mode, 1);
	do_close(ep);
	await(copy, 4, 0);
	await(copy, 4, LONG);
	ctl(copy, EPOLL_CTL_MOD, fd, EPOLLOUT, 2);
	await(copy, 4, 0);
	do_error(fd);
}

static void set_with_two_numbers(int mode)
{
	int ep = epoll_create1(0), copy = dup(ep), other = epoll_create1(0), fd = start();

	ctl(ep, EPOLL_CTL_ADD, fd, EPOLLOUT | (uint32_t)mode, 1);
	ctl(other, EPOLL_CTL_ADD, fd, EPOLLOUT | (uint32_t)mode, 2);
	ctl(copy, EPOLL_CTL_ADD, fd, EPOLLOUT, 3);
	ctl(copy, EPOLL_CTL_MOD, fd, EPOLLOUT | (uint32_t)mode, 4);
	await(copy, 4, 0);
	await(ep, 4, LONG);
	await(other, 4, LONG);
	ctl(ep, EPOLL_CTL_MOD, fd, EPOLLOUT, 5);
	await(copy, 4, 0);
	ctl(copy, EPOLL_CTL_DEL, fd, 0, 0);
	await(ep, 4, 0);
	do_error(fd);
}

static void set_number_again(int raw) /* closed, and its number is another set */
{
	int ep = epoll_create1(0), fd = new_socket(SOCK_NONBLOCK), again;

	ctl(ep, EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLET, 1);
	do_connect(fd);
	if (raw)
		syscall(SYS_close, ep);
	else
		close(ep);
	again = epoll_create1(0);
	say("same number: %s", again == ep ? "yes" : "no");
	await(again, 4, 300);
	ctl(again, EPOLL_CTL_ADD, fd, EPOLLOUT, 2);
	await(again, 4, LONG);
	ctl(again, EPOLL_CTL_MOD, fd, EPOLLOUT, 3);
	await(again, 4, 0);
	do_error(fd);
}

static void set_number_pipe(int raw) /* closed, and its number is no set at all */
{
	int ep = epoll_create1(0), fd = new_socket(SOCK_NONBLOCK), fds[2];

	ctl(ep, EPOLL_CTL_ADD, fd, EPOLLIN, 1);
	do_connect(fd);
	if (raw)
		syscall(SYS_close, ep);
	else
		close(ep);
	if (pipe(fds) < 0)
		return;
	do_poll(fds[0], POLLIN, 0);
	do_poll(fd, POLLOUT, LONG);
	say_result("read", write(fds[1], "x", 1));
	do_poll(fds[0], POLLIN, 0);
	await(ep, 4, 0);
	do_error(fd);
}

static void file_twice(int mode) /* under two numbers in one set */
{
	int ep = epoll_create1(0), fd = start(), copy = dup(fd);

	ctl(ep, EPOLL_CTL_ADD, fd, EPOLLOUT | (uint32_t)mode, 1);
	ctl(ep, EPOLL_CTL_ADD, copy, EPOLLOUT | (uint32_t)mode, 2);
	await(ep, 1, 0);
	do_poll(fd, POLLOUT, LONG);
	await_all(ep, 2);
	ctl(ep, EPOLL_CTL_DEL, fd, 0, 0);
	await(ep, 4, 0);
	do_error(fd);
}

static void one_at_a_time(int max) /* with other descriptors that are ready all the time */
{
	int ep = epoll_create1(0), fd = start(), seen = 0, others = 0;
	struct epoll_event event;

	ctl(ep, EPOLL_CTL_ADD, eventfd(1, 0), EPOLLIN, 100);
	ctl(ep, EPOLL_CTL_ADD, eventfd(1, 0), EPOLLIN, 101);
	ctl(ep, EPOLL_CTL_ADD, fd, EPOLLOUT, 7);
	for (int i = 0; i < 3000 && !seen; i++) {
		int r = epoll_wait(ep, &event, max, LONG);

		seen += r == 1 && event.data.u64 == 7;
		others += r == 1 && event.data.u64 >= 100;
		if (r != 1 || (event.data.u64 < 100 && event.data.u64 != 7))
			say("epoll_wait: %d %llx", r, (unsigned long long)event.data.u64);
		sleep_ms(1);
	}
	say("seen: %d, others: %s", seen, others ? "yes" : "no");
	do_error(fd);
}

struct adder {
	int ep, fd;
};

static void *add_in_thread(void *arg)
{
	struct adder *a = arg;

	sleep_ms(30);
	do_connect(a->fd);
	ctl(a->ep, EPOLL_CTL_ADD, a->fd, EPOLLOUT | EPOLLONESHOT, 9);
	return NULL;
}

static void added_by_thread(int param)
{
	struct adder a = { epoll_create1(0), new_socket(SOCK_NONBLOCK) };
	pthread_t thread;

	(void)param;
	pthread_create(&thread, NULL, add_in_thread, &a);
	await(a.ep, 4, LONG);
	pthread_join(thread, NULL);
	await(a.ep, 4, 0);
	do_error(a.fd);
}

static void childs_own(int param) /* a set made before fork, a connection after it */
{
	int ep = epoll_create1(0), status = -1;
	pid_t child = fork();

	(void)param;
	if (child == 0) {
		int fd = start();

		ctl(ep, EPOLL_CTL_ADD, fd, EPOLLOUT, 3);
		await(ep, 4, LONG);
		do_error(fd);
		_exit(0);
	}
	waitpid(child, &status, 0);
	say("child: %d", status);
	await(ep, 4, 0);
}

static void disconnected(int mode) /* and connected once more, with what was registered before */
{
	int eps[2] = { epoll_create1(0), epoll_create1(0) }, fd = new_socket(SOCK_NONBLOCK);
	struct sockaddr nobody = { .sa_family = AF_UNSPEC };

	ctl(eps[0], EPOLL_CTL_ADD, fd, EPOLLOUT | (uint32_t)mode, 1);
	do_connect(fd);
	await(eps[0], 4, LONG);
	do_error(fd);
	ctl(eps[0], EPOLL_CTL_MOD, fd, EPOLLOUT | EPOLLRDHUP | (uint32_t)mode, 2);
	ctl(eps[1], EPOLL_CTL_ADD, fd, EPOLLOUT | (uint32_t)mode, UINT64_MAX - 3);
	say_result("connect to nobody", connect(fd, &nobody, sizeof(nobody)));
	await(eps[0], 4, 0);
	await(eps[1], 4, 0);
	do_connect(fd);
	await(eps[0], 4, LONG);
	do_send(fd, "hello");
	await(eps[1], 4, 0);
	do_error(fd);
	do_poll(fd, POLLIN, LONG);
	do_recv(fd);
}

int main(int argc, char **argv)
{
	static const struct test_case cases[] = {
		{ "two_sets", two_sets, 0 },
		{ "two_sets-et", two_sets, (int)EPOLLET },
		{ "equal_words-0", equal_words, 0 },
		{ "equal_words-minus", equal_words, -1 },
		{ "modified", modified, 0 },
		{ "modified-et", modified, (int)EPOLLET },
		{ "modified-oneshot", modified, EPOLLONESHOT },
		{ "modified_to_nothing", modified_to_nothing, 0 },
		{ "modified_to_nothing-et", modified_to_nothing, (int)EPOLLET },
		{ "out_and_in_again", out_and_in_again, 0 },
		{ "out_and_in_again-et", out_and_in_again, (int)EPOLLET },
		{ "out_for_good", out_for_good, 0 },
		{ "out_for_good-et", out_for_good, (int)EPOLLET },
		{ "errors", errors, 0 },
		{ "errors-pending", errors, 1 },
		{ "set_copied", set_copied, 0 },
		{ "set_copied-et", set_copied, (int)EPOLLET },
		{ "set_copied_alone", set_copied_alone, 0 },
		{ "set_copied_alone-et", set_copied_alone, (int)EPOLLET },
		{ "set_with_two_numbers", set_with_two_numbers, 0 },
		{ "set_with_two_numbers-et", set_with_two_numbers, (int)EPOLLET },
		{ "set_number_again", set_number_again, 0 },
		{ "set_number_again-raw", set_number_again, 1 },
		{ "set_number_pipe", set_number_pipe, 0 },
		{ "set_number_pipe-raw", set_number_pipe, 1 },
		{ "file_twice", file_twice, 0 },
		{ "file_twice-et", file_twice, (int)EPOLLET },
		{ "one_at_a_time", one_at_a_time, 1 },
		{ "added_by_thread", added_by_thread, 0 },
		{ "childs_own", childs_own, 0 },
		{ "disconnected", disconnected, 0 },
		{ "disconnected-et", disconnected, (int)EPOLLET },
	};

	return say_main(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));
}
