// SPDX-License-Identifier: MIT
/*
 * differences-peer PORT - the other end of differences.c, who says what each connection is for: a
 * line "COMMAND TAG<tab>STATE", behind spaces. Says "TAG<tab>STATE<tab>peer<tab>VALUE" of some:
 * how the client's end looks from here.
 */
#include "differences.h"

/* -------------------------------------------------------------------------- the server */

struct served {
	char line[128]; /* of the client's: a command, its tag, its state */
	size_t len;
	bool told;
	int ticks; /* of 10 ms since the command */
};

static struct served *served[65536];
static int ep;

/* What the client's end looks like from here. */
static void tell(int fd, const char *what)
{
	if (!served[fd]->told)
		printf("%s\tpeer\t%s\n", served[fd]->line + 1, what);
	fflush(stdout);
	served[fd]->told = true;
}

static void reset(int fd)
{
	struct linger none = { 1, 0 };

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof(none));
	free(served[fd]);
	served[fd] = NULL;
	close(fd);
}

static void on_command(int fd)
{
	char command = served[fd]->line[0];

	if (strchr("dDfRW", command))
		by_data(fd);
	if (command == 'u')
		by_send_oob(fd);
	if (strchr("Ff", command))
		shutdown(fd, SHUT_WR);
	if (command == 'r')
		reset(fd);
	if (command == 'c') {
		free(served[fd]);
		served[fd] = NULL;
		close(fd);
	}
}

static void on_bytes(int fd, const char *bytes, ssize_t n)
{
	struct served *c = served[fd];
	char command = c->line[0];
	bool begun = c->len && c->line[c->len - 1] == '\0';

	if (begun && n > 0 && strchr("eD", command))
		send(fd, bytes, (size_t)n, MSG_NOSIGNAL);
	if (begun && n <= 0) {
		if (command == 'h' && n == 0)
			by_data(fd);
		if (command == 'w' || command == 'W')
			tell(fd, n < 0 ? name_of(errno) : "end");
		epoll_ctl(ep, EPOLL_CTL_DEL, fd, NULL);
	}
	for (ssize_t i = 0; !begun && i < n && c->len < sizeof(c->line); i++)
		if (c->len || bytes[i] != ' ')
			c->line[c->len++] = bytes[i];
	if (begun || c->len == 0 || c->line[c->len - 1] != '\n')
		return;
	c->line[c->len - 1] = '\0';
	on_command(fd);
}

/* With a second's pause, in which a program can end that has read all there is: what is unread makes it a reset. */
static bool is_streaming(const struct served *c)
{
	return c->line[0] == 's' && (c->ticks <= 10 || c->ticks > 110);
}

/* Every 10 ms. */
static void on_tick(int fd)
{
	struct served *c = served[fd];

	if (c->len == 0 || c->line[c->len - 1] != '\0')
		return;
	c->ticks++;
	if (c->line[0] == 'R' && c->ticks == 10)
		reset(fd);
	else if (is_streaming(c) && !c->told && send(fd, "x", 1, MSG_NOSIGNAL) < 0)
		tell(fd, "ends");
	else if (c->line[0] == 's' && c->ticks == 250)
		tell(fd, "is sent data for a second");
}

static int serve(int port)
{
	struct sockaddr_in any = { .sin_family = AF_INET, .sin_port = htons((in_port_t)port) };
	struct epoll_event events[256], event = { .events = EPOLLIN };
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	int64_t next = now_ms();

	ep = epoll_create1(0);
	event.data.fd = listener;
	if (set(listener, SOL_SOCKET, SO_REUSEADDR, 1) < 0 ||
	    bind(listener, (struct sockaddr *)&any, sizeof(any)) < 0 ||
	    listen(listener, 4096) < 0 || epoll_ctl(ep, EPOLL_CTL_ADD, listener, &event) < 0) {
		perror("listen");
		return 3;
	}
	for (;;) {
		int n = epoll_wait(ep, events, 256, 10);

		for (int i = 0; i < n; i++) {
			int fd = events[i].data.fd;

			if (fd != listener) {
				on_bytes(fd, block, recv(fd, block, sizeof(block), MSG_DONTWAIT));
				continue;
			}
			event.data.fd = accept(listener, NULL, NULL);
			if (event.data.fd < 0)
				continue;
			served[event.data.fd] = calloc(1, sizeof(struct served));
			epoll_ctl(ep, EPOLL_CTL_ADD, event.data.fd, &event);
		}
		for (int fd = 0; now_ms() >= next && fd < 8192; fd++)
			if (served[fd])
				on_tick(fd);
		if (now_ms() >= next)
			next = now_ms() + 10;
	}
}

int main(int argc, char **argv)
{
	many_files();
	return argc == 2 ? serve(atoi(argv[1])) : 2;
}
