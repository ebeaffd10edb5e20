// SPDX-License-Identifier: MIT
#include "converter.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libnetfilter_queue/libnetfilter_queue.h>
#include <linux/filter.h>
#include <linux/netfilter.h>
#include <linux/netlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/uio.h>
#include <unistd.h>

#define QUEUE_LEN 8192
#define PACKET	  4096
#define BUFFER	  (4 * 1024 * 1024)

static struct nfq_handle *handle;
static struct nfq_q_handle *queue;
static const struct options *opts;
static hold_syn_fn *on_syn;
static int raw_fd[2] = { -1, -1 }; /* for RSTs: IPv4, IPv6 */
static size_t rules;		   /* how many of the listeners have theirs */

static void on_queue(struct loop_watch *w, uint32_t events);
static struct loop_watch watch = { .fd = -1, .ready = on_queue };

/* -------------------------------------------------------------------- verdicts */

static void verdict(uint32_t packet_id, uint32_t what)
{
	if (nfq_set_verdict(queue, packet_id, what, 0, NULL) < 0)
		log_detail("note", "what=\"verdict on SYN %u failed\"", packet_id);
}

void hold_accept(const struct hold_ticket *t)
{
	verdict(t->packet_id, NF_ACCEPT);
}

void hold_drop(const struct hold_ticket *t)
{
	verdict(t->packet_id, NF_DROP);
}

static void set_source(struct msghdr *mh, const struct addr *from)
{
	struct cmsghdr *c = CMSG_FIRSTHDR(mh);

	if (addr_is_v4(from)) {
		struct in_pktinfo info = { 0 };

		memcpy(&info.ipi_spec_dst, from->ip + 12, 4);
		c->cmsg_level = IPPROTO_IP;
		c->cmsg_type = IP_PKTINFO;
		c->cmsg_len = CMSG_LEN(sizeof(info));
		memcpy(CMSG_DATA(c), &info, sizeof(info));
		mh->msg_controllen = CMSG_SPACE(sizeof(info));
	} else {
		struct in6_pktinfo info = { 0 };

		memcpy(&info.ipi6_addr, from->ip, 16);
		c->cmsg_level = IPPROTO_IPV6;
		c->cmsg_type = IPV6_PKTINFO;
		c->cmsg_len = CMSG_LEN(sizeof(info));
		memcpy(CMSG_DATA(c), &info, sizeof(info));
		mh->msg_controllen = CMSG_SPACE(sizeof(info));
	}
}

static int send_raw(const struct addr *from, const struct addr *to, void *bytes, size_t len)
{
	bool v4 = addr_is_v4(to);
	struct addr without_port = *to; /* a raw IPv6 socket takes a port for a protocol */
	struct sockaddr_storage ss;
	union {
		char bytes[CMSG_SPACE(sizeof(struct in6_pktinfo))];
		struct cmsghdr align;
	} control = { { 0 } };
	struct iovec iov = { bytes, len };
	struct msghdr mh = { .msg_name = &ss,
			     .msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control.bytes,
			     .msg_controllen = sizeof(control.bytes) };

	without_port.port = 0;
	mh.msg_namelen = addr_to_sockaddr(&without_port, v4 ? AF_INET : AF_INET6, &ss);
	set_source(&mh, from);
	return sendmsg(raw_fd[!v4], &mh, MSG_DONTWAIT) < 0 ? -errno : 0;
}

void hold_refuse(const struct hold_ticket *t, const struct addr *client, const struct addr *local,
		 struct cvt_span payload)
{
	uint8_t bytes[SEGMENT_RST_MAX];
	/* the SYN and its data are acknowledged, or the client's kernel would not believe the RST
	 * (RFC 9293, 3.10.7.3) */
	size_t len = segment_build_rst(bytes, local, client, t->seq + 1 + t->payload_len, payload);
	int err = send_raw(local, client, bytes, len);

	if (err)
		log_event("note", "what=\"RST not sent: %s\"", strerror(-err));
	hold_drop(t);
}

/* ----------------------------------------------------------------------- queue */

static int on_packet(struct nfq_q_handle *q, struct nfgenmsg *msg, struct nfq_data *data,
		     void *unused)
{
	struct nfqnl_msg_packet_hdr *hdr = nfq_get_msg_packet_hdr(data);
	unsigned char *bytes = NULL;
	int len = nfq_get_payload(data, &bytes);
	struct hold_ticket ticket = { 0 };
	struct segment s;

	(void)q;
	(void)msg;
	(void)unused;
	if (!hdr)
		return 0;
	ticket.packet_id = ntohl(hdr->packet_id);
	if (len < 0 || !segment_parse(&s, (struct cvt_span){ bytes, (size_t)len })) {
		hold_accept(&ticket);
		return 0;
	}
	ticket.seq = s.seq;
	ticket.payload_len = (uint32_t)s.payload.len;
	if (!on_syn(&ticket, &s.from, &s.to, s.payload))
		hold_accept(&ticket);
	return 0;
}

static void on_queue(struct loop_watch *w, uint32_t events)
{
	_Alignas(struct nlmsghdr) char packet[PACKET];
	ssize_t n;

	(void)events;
	while ((n = recv(w->fd, packet, sizeof(packet), MSG_DONTWAIT)) > 0)
		nfq_handle_packet(handle, packet, (int)n);
}

static int open_queue(void)
{
	handle = nfq_open();
	if (!handle)
		return errno ? -errno : -EPROTONOSUPPORT;
	queue = nfq_create_queue(handle, (uint16_t)opts->hold_queue, on_packet, NULL);
	if (!queue)
		return errno ? -errno : -EPROTONOSUPPORT;
	if (nfq_set_mode(queue, NFQNL_COPY_PACKET, 0xffff) < 0 ||
	    nfq_set_queue_maxlen(queue, QUEUE_LEN) < 0)
		return -errno;
	watch.fd = nfq_fd(handle);
	sockopt_set(watch.fd, SOL_SOCKET, SO_RCVBUFFORCE, BUFFER); /* else a burst loses SYNs */
	sockopt_set(watch.fd, SOL_NETLINK, NETLINK_NO_ENOBUFS, 1);
	return loop_watch(&watch, EPOLLIN);
}

/* Raw TCP sockets are only written to; what they would receive is filtered away. */
static int open_raw(void)
{
	static const int family[2] = { AF_INET, AF_INET6 };
	struct sock_filter nothing = BPF_STMT(BPF_RET | BPF_K, 0);
	struct sock_fprog filter = { 1, &nothing };

	for (int i = 0; i < 2; i++) {
		raw_fd[i] = socket(family[i], SOCK_RAW | SOCK_CLOEXEC, IPPROTO_TCP);
		if (raw_fd[i] < 0)
			return -errno;
		setsockopt(raw_fd[i], SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof(filter));
	}
	return 0;
}

/* ----------------------------------------------------------------------- rules */

/* action: 'A' to append, 'D' to delete. One rule per listening address; with --queue-bypass it
 * lets SYNs through should we be killed and leave it behind. */
static int rule(const struct addr *a, char action)
{
	bool v4 = addr_is_v4(a), any = addr_classify(a) == ADDR_UNSPECIFIED;
	char ip[INET6_ADDRSTRLEN] = "", command[256];
	int status;

	if (!any)
		inet_ntop(v4 ? AF_INET : AF_INET6, a->ip + (v4 ? 12 : 0), ip, sizeof(ip));
	/* administrators' tools are not in everybody's PATH; nothing here came from outside */
	snprintf(command, sizeof(command),
		 "PATH=$PATH:/usr/sbin:/sbin; %s -w -t mangle -%c PREROUTING -p tcp %s %s "
		 "--dport %u --syn -j NFQUEUE --queue-num %u --queue-bypass",
		 v4 ? "iptables" : "ip6tables", action, any ? "" : "-d", ip, a->port,
		 opts->hold_queue);
	status = system(command);
	return status == 0 ? 0 : -EPERM;
}

int hold_open(const struct options *o, hold_syn_fn *syn)
{
	const char *what = "queue";
	int err;

	opts = o;
	on_syn = syn;
	err = open_queue();
	if (!err) {
		what = "raw socket";
		err = open_raw();
	}
	for (; !err && rules < o->listens; rules += !err) {
		what = "iptables rule";
		err = rule(&o->listen[rules], 'A');
	}
	if (err)
		fprintf(stderr, "lab-converter: --hold: %s: %s (root and NFQUEUE are needed)\n",
			what, strerror(-err));
	return err;
}

void hold_close(void)
{
	while (rules)
		rule(&opts->listen[--rules], 'D');
	for (int i = 0; i < 2; i++) {
		if (raw_fd[i] >= 0)
			close(raw_fd[i]);
		raw_fd[i] = -1;
	}
	loop_unwatch(&watch);
	if (queue)
		nfq_destroy_queue(queue);
	if (handle)
		nfq_close(handle);
	queue = NULL;
	handle = NULL;
}
