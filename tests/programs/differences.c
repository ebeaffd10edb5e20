// SPDX-License-Identifier: MIT
/*
 * differences - all that a program can ask of a connection, in every state that it can be in:
 *
 *     differences GROUP TAG ADDRESS PORT MILLISECONDS [mptcp [joined]]
 *
 * Each call is made on a connection of its own. One line "STATE<tab>CALL<tab>VALUE" tells what it
 * said; no value differs between two runs over the same kind of socket. GROUP is one of the states'
 * below; it says "ready" when the test may do something to the path, and goes on when it reads a
 * line; MILLISECONDS is how long it then waits. With "mptcp" a connection for which the kernel had no token is
 * made again, and the last line says how many; with "joined" it waits for a second subflow. TAG is for the
 * peer's lines.
 */
#include "differences.h"

static const char *tag;

/* ------------------------------------------------------------------ in every state once */

static const char *by_select(int fd)
{
	struct timeval none = { 0, 0 };
	char *text = room();
	fd_set in, out, except;

	FD_ZERO(&in);
	FD_SET(fd, &in);
	out = except = in;
	select(fd + 1, &in, &out, &except, &none);
	sprintf(text, "%s%s%s", FD_ISSET(fd, &in) ? " in" : "", FD_ISSET(fd, &out) ? " out" : "",
		FD_ISSET(fd, &except) ? " except" : "");
	return text[0] ? text + 1 : "-";
}

static const char *by_epoll(int fd, unsigned int more)
{
	struct epoll_event event = { .events = ALL_BITS | more };
	int ep = epoll_create1(0);

	epoll_ctl(ep, EPOLL_CTL_ADD, fd, &event);
	event.events = 0;
	epoll_wait(ep, &event, 1, 0);
	close(ep);
	return bits(event.events);
}

static const char *by_ioctl(int fd, unsigned long what)
{
	int value = -1;

	return outcome(ioctl(fd, what, &value) < 0 ? -1 : value);
}

enum { EXACT, SIGN };
#define FIELD(name, how)                                                 \
	{                                                                \
#name, offsetof(struct tcp_info, tcpi_##name),           \
			sizeof(((struct tcp_info *)0)->tcpi_##name), how \
	}
static const struct {
	const char *name;
	size_t at, size;
	int how;
} fields[] = {
	/* in every state */
	FIELD(state, EXACT),
	FIELD(unacked, EXACT),
	FIELD(retransmits, EXACT),
	FIELD(notsent_bytes, SIGN),
	/* where it is alive */
	FIELD(ca_state, EXACT),
	FIELD(probes, EXACT),
	FIELD(backoff, EXACT),
	FIELD(options, EXACT),
	FIELD(rto, SIGN),
	FIELD(ato, SIGN),
	FIELD(snd_mss, EXACT),
	FIELD(rcv_mss, EXACT),
	FIELD(sacked, EXACT),
	FIELD(lost, EXACT),
	FIELD(retrans, EXACT),
	FIELD(pmtu, EXACT),
	FIELD(rtt, SIGN),
	FIELD(rttvar, SIGN),
	FIELD(snd_ssthresh, SIGN),
	FIELD(snd_cwnd, SIGN),
	FIELD(advmss, EXACT),
	FIELD(reordering, EXACT),
	FIELD(rcv_space, SIGN),
	FIELD(total_retrans, EXACT),
	FIELD(pacing_rate, SIGN),
	FIELD(bytes_acked, EXACT),
	FIELD(bytes_received, EXACT),
	FIELD(segs_out, SIGN),
	FIELD(segs_in, SIGN),
	FIELD(min_rtt, SIGN),
	FIELD(data_segs_in, SIGN),
	FIELD(data_segs_out, SIGN),
	FIELD(bytes_sent, EXACT),
	FIELD(bytes_retrans, EXACT),
	FIELD(snd_wnd, SIGN),
};
#define IN_EVERY_STATE 4

static void tcp_info(int fd, bool all)
{
	struct tcp_info info = { 0 };
	socklen_t len = sizeof(info);
	char call[64];

	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) < 0) {
		row("TCP_INFO", "%s", outcome(-1));
		return;
	}
	row("TCP_INFO length", "%u", len);
	for (size_t i = 0; i < (all ? sizeof(fields) / sizeof(fields[0]) : IN_EVERY_STATE); i++) {
		uint64_t value = 0;

		memcpy(&value, (char *)&info + fields[i].at, fields[i].size);
		snprintf(call, sizeof(call), "TCP_INFO %s", fields[i].name);
		if (fields[i].how == EXACT)
			row(call, "%llu", (unsigned long long)value);
		else
			row(call, "%s", value ? "not 0" : "0");
	}
}

static void names(int fd)
{
	struct sockaddr_in a = { 0 };
	socklen_t len = sizeof(a);
	int r = getpeername(fd, (struct sockaddr *)&a, &len);

	row("getpeername", "%s", r < 0 ? outcome(r) : inet_ntoa(a.sin_addr));
	len = sizeof(a);
	r = getsockname(fd, (struct sockaddr *)&a, &len);
	row("getsockname", "%s port %s", r < 0 ? outcome(r) : inet_ntoa(a.sin_addr),
	    a.sin_port ? "not 0" : "0");
	len = sizeof(a);
	r = getsockopt(fd, SOL_SOCKET, SO_PEERNAME, &a, &len);
	row("SO_PEERNAME", "%s", r < 0 ? outcome(r) : inet_ntoa(a.sin_addr));
}

static bool is_alive(void)
{
	return strcmp(state_now, "established") == 0;
}

static void look(int fd)
{
	row("poll", "%s", bits(ready(fd, 0)));
	row("epoll_wait", "%s", by_epoll(fd, 0));
	row("epoll_wait EPOLLET", "%s", by_epoll(fd, EPOLLET));
	row("select", "%s", by_select(fd));
	row("FIONREAD", "%s", by_ioctl(fd, FIONREAD));
	row("SIOCOUTQ", "%s", by_ioctl(fd, SIOCOUTQ));
	row("SIOCOUTQNSD", "%s", by_ioctl(fd, SIOCOUTQNSD));
	row("SIOCATMARK", "%s", by_ioctl(fd, SIOCATMARK));
	row("sockatmark", "%s", outcome(sockatmark(fd)));
	names(fd);
	tcp_info(fd, is_alive());
}

static void errors(int fd)
{
	const char *first = error_of(fd), *second = error_of(fd);

	row("SO_ERROR", "%s, then %s", first, second);
	row("recv after SO_ERROR", "%s", outcome(by_recv(fd)));
	row("send after SO_ERROR", "%s", outcome(by_send(fd)));
}

/* A blocking call with a time limit, and whether it used it up. */
static void limits(int fd)
{
	struct timeval limit = { .tv_usec = 50000 };
	int64_t began;
	const char *said;

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	nonblocking(fd, false);
	began = now_ms();
	said = outcome(recv(fd, block, 64, MSG_WAITALL));
	row("recv, SO_RCVTIMEO", "%s %s", said, now_ms() - began < 40 ? "at once" : "in its time");
}

static void linger(int fd)
{
	struct linger some = { 1, 1 };
	int64_t began;

	row("SO_LINGER", "%s", outcome(setsockopt(fd, SOL_SOCKET, SO_LINGER, &some, sizeof(some))));
	nonblocking(fd, false);
	row("close, SO_LINGER", "%s", outcome(close(dup(fd))));
	began = now_ms();
	row("close, SO_LINGER", "%s %s", outcome(close(fd)),
	    now_ms() - began < 800 ? "soon" : "in its time");
}

/* --------------------------------------------------------------- on a connection alive */

static void identity(int fd)
{
	char text[64] = "";
	struct stat st = { 0 };
	uint64_t cookies[2] = { 0, 0 };
	socklen_t len = sizeof(cookies[0]);
	int cpu = -1;
	struct ifreq ifr = { .ifr_name = "lo" };

	row("SO_TYPE", "%s", get(fd, SOL_SOCKET, SO_TYPE));
	row("SO_ACCEPTCONN", "%s", get(fd, SOL_SOCKET, SO_ACCEPTCONN));
	getsockopt(fd, SOL_SOCKET, SO_INCOMING_CPU, &cpu, &len);
	row("SO_INCOMING_CPU", "%s", cpu < 0 ? "-1" : "a processor");
	for (int i = 0; i < 2; i++)
		getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookies[i], &len);
	row("SO_COOKIE stays", "%s", cookies[0] && cookies[0] == cookies[1] ? "yes" : "no");
	len = sizeof(block);
	row("SO_MEMINFO", "%s", outcome(getsockopt(fd, SOL_SOCKET, 55, block, &len)));
	row("TCP_IS_MPTCP", "%s", get(fd, IPPROTO_TCP, 43));
	len = sizeof(block);
	row("MPTCP_INFO", "%s", outcome(getsockopt(fd, SOL_MPTCP, 1, block, &len)));
	row("TCP_MAXSEG", "%s", get(fd, IPPROTO_TCP, TCP_MAXSEG));
	len = sizeof(block);
	row("TCP_CC_INFO", "%s", outcome(getsockopt(fd, IPPROTO_TCP, TCP_CC_INFO, block, &len)));
	memset(text, 0, sizeof(text));
	row("getxattr system.sockprotoname", "%s %s",
	    fgetxattr(fd, "system.sockprotoname", text, sizeof(text)) < 0 ? outcome(-1) : "0",
	    text);
	row("fstat", "%d %o", fstat(fd, &st), st.st_mode & S_IFMT);
	row("lseek", "%s", outcome(lseek(fd, 0, SEEK_CUR)));
	row("pread", "%s", outcome(pread(fd, block, 1, 0)));
	row("fsync", "%s", outcome(fsync(fd)));
	row("mmap", "%s",
	    mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0) == MAP_FAILED ? outcome(-1) : "0");
	row("SIOCGIFINDEX", "%s", outcome(ioctl(fd, SIOCGIFINDEX, &ifr)));
	row("SIOCGIFFLAGS", "%s", outcome(ioctl(fd, SIOCGIFFLAGS, &ifr)));
	row("SIOCGSTAMP", "%s", outcome(ioctl(fd, SIOCGSTAMP, block)));
	row("TCGETS", "%s", outcome(ioctl(fd, 0x5401, block)));
	row("SIOCPROTOPRIVATE", "%s", outcome(ioctl(fd, SIOCPROTOPRIVATE, block)));
	row("FIOQSIZE", "%s", outcome(ioctl(fd, FIOQSIZE, block)));
}

/* An error that there is meanwhile ends a poll(), too. */
static bool comes(int fd, int timeout_ms)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	int64_t until_ms = now_ms() + timeout_ms, left_ms = timeout_ms;

	while (poll(&p, 1, (int)left_ms) == 1 && !(p.revents & POLLIN) && left_ms > 0) {
		sleep_ms(1);
		left_ms = now_ms() < until_ms ? until_ms - now_ms() : 0;
	}
	return p.revents & POLLIN;
}

static void owners(int fd)
{
	int self = getpid();

	row("FIOSETOWN", "%s", outcome(ioctl(fd, FIOSETOWN, &self)));
	row("FIOGETOWN, SIOCGPGRP, F_GETOWN", "%s %s %s",
	    atoi(by_ioctl(fd, FIOGETOWN)) == self ? "yes" : "no",
	    atoi(by_ioctl(fd, SIOCGPGRP)) == self ? "yes" : "no",
	    fcntl(fd, F_GETOWN) == self ? "yes" : "no");
	signals[SIGIO] = signals[SIGURG] = 0;
	row("FIOASYNC", "%s", by_ioctl(fd, FIOASYNC));
	send(fd, DATA, 10, 0); /* comes back */
	comes(fd, PATIENCE);
	row("SIGIO when data comes", "%s", signals[SIGIO] ? "yes" : "no");
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_ASYNC);
}

/* Set on a connection with ten bytes to read. */
static void reading(int fd)
{
	char control[256];
	struct msghdr m = { .msg_iov = &vector, .msg_iovlen = 1, .msg_control = control };
	long r;

	row("SO_RCVLOWAT 20", "%s", outcome(set(fd, SOL_SOCKET, SO_RCVLOWAT, 20)));
	row("poll, 10 bytes below it", "%s", bits(ready(fd, 0)));
	set(fd, SOL_SOCKET, SO_RCVLOWAT, 1);
	row("SO_PEEK_OFF 3", "%s", outcome(set(fd, SOL_SOCKET, SO_PEEK_OFF, 3)));
	row("recv MSG_PEEK, SO_PEEK_OFF 3", "%s", outcome(by_peek(fd)));
	row("SO_TIMESTAMP", "%s", outcome(set(fd, SOL_SOCKET, SO_TIMESTAMP, 1)));
	row("TCP_INQ", "%s", outcome(set(fd, IPPROTO_TCP, TCP_INQ, 1)));
	send(fd, DATA, 10, 0); /* 20 are there, the later ones with a time */
	set(fd, SOL_SOCKET, SO_RCVLOWAT, 20);
	comes(fd, PATIENCE);
	r = recv(fd, block, 10, 0);
	row("recv of 10 of 20", "%s", outcome(r));
	m.msg_controllen = sizeof(control);
	row("recvmsg", "%s", outcome(recvmsg(fd, &m, 0)));
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c))
		row(c->cmsg_level == SOL_SOCKET ? "recvmsg says a time" : "recvmsg says TCP_INQ",
		    c->cmsg_level == SOL_SOCKET ? "yes" : "%d", *(int *)CMSG_DATA(c));
	row("recvmsg's flags", "%x", m.msg_flags);
}

static void completions(int fd)
{
	struct msghdr m = { .msg_control = block, .msg_controllen = 512 };
	int stamps = 1 << 1 | 1 << 4 | 1 << 9; /* of software, when sent and acknowledged */

	row("SO_ZEROCOPY", "%s", outcome(set(fd, SOL_SOCKET, SO_ZEROCOPY, 1)));
	row("send MSG_ZEROCOPY, SO_ZEROCOPY", "%s", outcome(by_zerocopy(fd)));
	comes(fd, PATIENCE); /* the echo */
	for (int i = 0; i < QUIET && !(ready(fd, 0) & POLLERR); i++)
		sleep_ms(1);
	row("poll, its completion", "%s", bits(ready(fd, 0)));
	row("MSG_ERRQUEUE, its completion", "%s", outcome(recvmsg(fd, &m, MSG_ERRQUEUE)));
	row("SO_TIMESTAMPING", "%s", outcome(set(fd, SOL_SOCKET, SO_TIMESTAMPING, stamps)));
}

static void held_back(int fd)
{
	row("send MSG_MORE", "%s", outcome(by_more(fd)));
	row("what MSG_MORE holds back comes", "%s", comes(fd, 100) ? "at once" : "later");
	comes(fd, PATIENCE);
	by_read(fd);
	row("TCP_CORK", "%s", outcome(set(fd, IPPROTO_TCP, TCP_CORK, 1)));
	by_send(fd);
	row("what TCP_CORK holds back comes", "%s", comes(fd, 100) ? "at once" : "later");
	set(fd, IPPROTO_TCP, TCP_CORK, 0);
	row("without it", "%s", comes(fd, PATIENCE) ? "comes" : "does not");
}

static void urgent_inline(int fd)
{
	row("SO_OOBINLINE", "%s", outcome(set(fd, SOL_SOCKET, SO_OOBINLINE, 1)));
	row("recv, SO_OOBINLINE", "%s", outcome(by_recv(fd)));
	row("SIOCATMARK, SO_OOBINLINE", "%s", by_ioctl(fd, SIOCATMARK));
}

static void close_hard(int fd)
{
	struct linger none = { 1, 0 };

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof(none));
	close(fd);
}

static void close_plainly(int fd)
{
	close(fd);
}

static void close_unread(int fd)
{
	comes(fd, PATIENCE);
	close(fd);
}

/* While the other end goes on sending. */
static void close_streaming(int fd)
{
	comes(fd, PATIENCE);
	while (by_read(fd) > 0)
		;
	close(fd);
}

static void killed(int fd)
{
	pid_t child = fork();

	if (child == 0) {
		while (comes(fd, 150) && by_read(fd) > 0)
			;
		kill(getpid(), SIGKILL);
	}
	close(fd);
	waitpid(child, NULL, 0);
}

/* ------------------------------------------------------------------- states and probes */

static void shut_rd(int fd)
{
	shutdown(fd, SHUT_RD);
}

static void shut_wr(int fd)
{
	shutdown(fd, SHUT_WR);
}

static void shut_rdwr(int fd)
{
	shutdown(fd, SHUT_RDWR);
}

static void write_one(int fd)
{
	by_nosignal(fd);
}

static void keepalive(int fd)
{
	set(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
	set(fd, IPPROTO_TCP, TCP_KEEPIDLE, 1);
	set(fd, IPPROTO_TCP, TCP_KEEPINTVL, 1);
	set(fd, IPPROTO_TCP, TCP_KEEPCNT, 1);
}

enum kind { PLAIN, PATH_RESET, PATH_SILENT };
static const char *const groups[] = { "plain", "reset", "silent" };

/* What the server does is its command; want is what poll() then says of TCP. */
static const struct state {
	const char *name;
	char command;
	enum kind kind;
	unsigned int want;
	void (*prepare)(int fd); /* before the path is hurt, or when the server has done its part */
	void (*then)(int fd);	 /* when the path is hurt */
} states[] = {
	{ "established", 'i', PLAIN, POLLOUT, NULL, NULL },
	{ "data to read", 'd', PLAIN, POLLIN, NULL, NULL },
	{ "urgent data to read", 'u', PLAIN, POLLOUT, NULL, NULL },
	{ "peer has shut down", 'F', PLAIN, POLLRDHUP, NULL, NULL },
	{ "peer has shut down, data to read", 'f', PLAIN, POLLRDHUP, NULL, NULL },
	{ "peer has closed, and was written to", 'c', PLAIN, POLLRDHUP, write_one, NULL },
	{ "shut down for writing", 'i', PLAIN, POLLOUT, shut_wr, NULL },
	{ "shut down for writing, then answered", 'h', PLAIN, POLLOUT, shut_wr, NULL },
	{ "shut down for reading", 'i', PLAIN, POLLOUT, shut_rd, NULL },
	{ "shut down for both", 'i', PLAIN, POLLOUT, shut_rdwr, NULL },
	{ "both have shut down", 'F', PLAIN, POLLRDHUP, shut_wr, NULL },
	{ "reset by peer", 'r', PLAIN, POLLHUP, NULL, NULL },
	{ "reset by peer, data to read", 'R', PLAIN, POLLHUP, NULL, NULL },
	{ "path reset", 'i', PATH_RESET, POLLOUT, keepalive, NULL },
	{ "path reset, data to read", 'd', PATH_RESET, POLLIN, keepalive, NULL },
	{ "path silent, keepalive 1 s", 'i', PATH_SILENT, POLLOUT, keepalive, NULL },
	{ "path silent, data sent", 'i', PATH_SILENT, POLLOUT, NULL, write_one },
};

/* On a connection of their own, in all plain states or in one. */
static const struct probe {
	const char *name;
	void (*run)(int fd);
	const char *only;
	char command; /* if it is not the state's */
} probes[] = {
	{ "look", look, NULL, 0 },
	{ "errors", errors, NULL, 0 },
	{ "limits", limits, NULL, 0 },
	{ "linger", linger, NULL, 0 },
	{ "identity", identity, "established", 0 },
	{ "owners", owners, "established", 'e' },
	{ "completions", completions, "established", 'e' },
	{ "held back", held_back, "established", 'e' },
	{ "reading", reading, "data to read", 'D' },
	{ "urgent", urgent_inline, "urgent data to read", 0 },
};
#define N_PROBES (sizeof(probes) / sizeof(probes[0]))

/* What the server sees of the client's end: it says it, so the client has nothing to say. */
static const struct state watched[] = {
	{ "close", 'w', PLAIN, POLLOUT, close_plainly, NULL },
	{ "close, SO_LINGER 0", 'w', PLAIN, POLLOUT, close_hard, NULL },
	{ "close, data to read", 'W', PLAIN, POLLIN, close_unread, NULL },
	{ "close while the peer sends", 's', PLAIN, POLLIN, close_streaming, NULL },
	{ "killed while the peer sends", 's', PLAIN, POLLIN, killed, NULL },
};

struct conn {
	const struct state *state;
	size_t probe; /* of probes, and behind them of ios */
	int fd;
};

static struct conn conns[4096];
static size_t n_conns;
static bool all_mptcp;
static int made_again;

static int dial(const char *why)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (fd < 0 || by_connect(fd) < 0) {
		perror(why);
		exit(3);
	}
	return fd;
}

static bool is_mptcp(int fd)
{
	return get(fd, IPPROTO_TCP, 43)[0] == '1';
}

static void add(const struct state *state, size_t probe)
{
	int fd = dial(state->name);

	for (int left = 20; all_mptcp && !is_mptcp(fd) && left > 0; left--) {
		close(fd);
		fd = dial(state->name);
		made_again++;
	}
	nonblocking(fd, true);
	conns[n_conns++] = (struct conn){ state, probe, fd };
}

static void connect_all(const char *group)
{
	for (size_t s = 0; s < sizeof(states) / sizeof(states[0]); s++) {
		const struct state *state = &states[s];

		if (strcmp(groups[state->kind], group) != 0)
			continue;
		for (size_t p = 0; p < N_PROBES + N_IOS; p++)
			if (p >= N_PROBES || !probes[p].only ||
			    strcmp(probes[p].only, state->name) == 0)
				add(state, p);
	}
	for (size_t w = 0; strcmp(group, "plain") == 0 && w < sizeof(watched) / sizeof(watched[0]);
	     w++)
		add(&watched[w], 0);
}

static bool is_watched(const struct conn *c)
{
	return c->state >= watched && c->state < watched + sizeof(watched) / sizeof(watched[0]);
}

static void wait_for_bits(void)
{
	int64_t end = now_ms() + PATIENCE;

	for (size_t i = 0; i < n_conns; i++)
		while (conns[i].fd >= 0 && !(ready(conns[i].fd, 0) & conns[i].state->want) &&
		       now_ms() < end)
			sleep_ms(2);
	/* and for the peer to have heard of everything */
	for (size_t i = 0; i < n_conns; i++)
		while (atoi(by_ioctl(conns[i].fd, SIOCOUTQ)) > 0 && now_ms() < end)
			sleep_ms(2);
	sleep_ms(QUIET);
}

static void command_all(void)
{
	char text[128];

	for (size_t i = 0; i < n_conns; i++) {
		const struct conn *c = &conns[i];
		char own = c->probe < N_PROBES && !is_watched(c) ? probes[c->probe].command : 0;
		int n = snprintf(text, sizeof(text), "%c%-32s\t%s\n", own ? own : c->state->command,
				 tag, c->state->name);

		if (send(conns[i].fd, text, (size_t)n, 0) != n)
			fprintf(stderr, "%s: no command\n", conns[i].state->name);
	}
}

static void prepare_all(void)
{
	for (size_t i = 0; i < n_conns; i++) {
		if (conns[i].state->prepare)
			conns[i].state->prepare(conns[i].fd);
		if (is_watched(&conns[i]))
			conns[i].fd = -1;
	}
	sleep_ms(QUIET);
}

/* Or has one fallen back, unlike the others? */
static void count_mptcp(void)
{
	size_t n = 0;

	for (size_t i = 0; i < n_conns; i++)
		n += is_mptcp(conns[i].fd);
	printf("MPTCP: %s\n", n == n_conns ? "all" : n ? "some" : "none");
}

static void wait_for_subflows(void)
{
	int64_t end = now_ms() + PATIENCE;

	for (size_t i = 0; i < n_conns; i++) {
		unsigned char info[64] = { 0 };
		socklen_t len;

		do {
			len = sizeof(info);
			if (getsockopt(conns[i].fd, SOL_MPTCP, 1, info, &len) < 0)
				break;
		} while (!info[0] && now_ms() < end && (sleep_ms(2), true));
		if (!info[0])
			fprintf(stderr, "no second subflow\n");
	}
}

/* The test now does something to the path. */
static void wait_for_test(void)
{
	printf("ready\n");
	fflush(stdout);
	if (!fgets(block, sizeof(block), stdin))
		exit(3);
}

static void probe_all(void)
{
	for (size_t i = 0; i < n_conns; i++) {
		if (is_watched(&conns[i]))
			continue;
		state_now = conns[i].state->name;
		if (conns[i].probe < N_PROBES)
			probes[conns[i].probe].run(conns[i].fd);
		else
			try_io(&ios[conns[i].probe - N_PROBES], conns[i].fd);
	}
}

/* wait_ms: how long after what happened to the path. */
static int client(const char *group, bool joined, int wait_ms)
{
	struct sigaction action = { .sa_handler = on_signal };
	bool is_plain = strcmp(group, "plain") == 0;

	sigaction(SIGPIPE, &action, NULL);
	sigaction(SIGIO, &action, NULL);
	sigaction(SIGURG, &action, NULL);
	connect_all(group);
	for (size_t i = 0; i < n_conns; i++) /* without it there is no second subflow */
		if (send(conns[i].fd, " ", 1, 0) != 1)
			perror("the first byte");
	if (joined) {
		wait_for_subflows();
		for (size_t i = 0; i < n_conns; i++) /* a packet on each, when one is cut */
			keepalive(conns[i].fd);
	}
	if (is_plain)
		wait_for_test();
	count_mptcp();
	command_all();
	wait_for_bits();
	prepare_all();
	if (!is_plain) {
		wait_for_test();
		for (size_t i = 0; i < n_conns; i++)
			if (conns[i].state->then)
				conns[i].state->then(conns[i].fd);
		sleep_ms(wait_ms);
	}
	probe_all();
	if (all_mptcp)
		printf("made again: %d\n", made_again);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc < 6 || inet_pton(AF_INET, argv[3], &server.sin_addr) != 1) {
		fprintf(stderr, "usage: differences GROUP TAG ADDRESS PORT MILLISECONDS [mptcp "
				"[joined]]\n");
		return 2;
	}
	many_files();
	tag = argv[2];
	server.sin_port = htons((in_port_t)atoi(argv[4]));
	all_mptcp = argc > 6;
	return client(argv[1], argc > 7, atoi(argv[5]));
}
