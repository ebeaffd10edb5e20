/* SPDX-License-Identifier: MIT */
/*
 * genl.h - generic netlink: one request, its answer or answers, their attributes.
 *
 * The kernel answers before the request is sent, so nothing here waits. errno is left as it was.
 */
#ifndef CVT_GENL_H
#define CVT_GENL_H

#include <linux/genetlink.h>
#include <linux/netlink.h>
#include <stddef.h>
#include <stdint.h>

/* Twelve endpoints; where a dump has more, that is all we see of it. The kernel fills more than this before it
 * begins a second datagram, so there is only one to read. */
#define GENL_ROOM 1024

struct genl_message {
	struct nlmsghdr header;
	struct genlmsghdr generic;
	uint8_t attributes[GENL_ROOM];
};

/* A socket, or -errno. */
int genl_open(void);
void genl_close(int fd);
void genl_begin(struct genl_message *m, uint16_t type, uint8_t command, uint8_t version);
void genl_put(struct genl_message *m, uint16_t type, const void *value, uint16_t len);
/* The answer takes the place of the question. 0, or -errno: the kernel's, or -EBADMSG. */
int genl_ask(int fd, struct genl_message *m);
/* For questions with several answers. */
typedef void genl_each_fn(const uint8_t *attributes, size_t len, void *arg);
int genl_dump(int fd, struct genl_message *m, genl_each_fn *each, void *arg);
/* An attribute, or NULL. */
const void *genl_find(const uint8_t *attributes, size_t in_len, uint16_t type, size_t *len);
/* In the whole of an answer. */
const void *genl_find_in(const struct genl_message *m, uint16_t type, size_t *len);
/* Families have numbers that change from boot to boot. 0: there is none of that name. */
uint16_t genl_family(int fd, const char *name);

#endif
