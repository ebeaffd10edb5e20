// SPDX-License-Identifier: MIT
/*
 * abis - a blocking connect() by each way into the kernel that a process of x86-64 has, without libc:
 * abis HOW ADDRESS PORT; HOW: x86-64, i386, socketcall or x32. "connect: ERRNO, peer: ADDRESS:PORT".
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

/* All that the kernel has to read lies below 4 GB. */
static struct room {
	struct sockaddr_in server, peer;
	uint32_t len, args[4];
} * room;

static uint32_t low(const void *p)
{
	return (uint32_t)(uintptr_t)p;
}

#ifdef __x86_64__
#define LOW MAP_32BIT
enum { CONNECT_I386 = 362, GETPEERNAME_I386 = 368, SOCKETCALL = 102, X32 = 0x40000000 };

static long call32(long number, uint32_t a, uint32_t b, uint32_t c)
{
	long r;

	__asm__ volatile("int $0x80"
			 : "=a"(r)
			 : "a"(number), "b"(a), "c"(b), "d"(c)
			 : "memory", "r8", "r9", "r10", "r11");
	return (int)r;
}

static long call(const char *how, int fd, struct sockaddr_in *sa, bool peer)
{
	uint32_t size = sizeof(*sa), length = peer ? low(&room->len) : size;
	long r;

	if (strcmp(how, "i386") == 0)
		return call32(peer ? GETPEERNAME_I386 : CONNECT_I386, (uint32_t)fd, low(sa),
			      length);
	if (strcmp(how, "socketcall") == 0) {
		memcpy(room->args, (uint32_t[]){ (uint32_t)fd, low(sa), length }, 12);
		return call32(SOCKETCALL, peer ? 7 : 3, low(room->args), 0);
	}
	r = (strcmp(how, "x32") == 0 ? X32 : 0) + (peer ? SYS_getpeername : SYS_connect);
	r = syscall(r, fd, sa, peer ? (uintptr_t)&room->len : size);
	return r < 0 ? -errno : r;
}
#else
#define LOW 0
static long call(const char *how, int fd, struct sockaddr_in *sa, bool peer)
{
	long r = peer ? syscall(SYS_getpeername, fd, sa, &room->len) :
			syscall(SYS_connect, fd, sa, sizeof(*sa));

	(void)how;
	return r < 0 ? -errno : r;
}
#endif

int main(int argc, char **argv)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	char text[INET_ADDRSTRLEN];
	long r;

	room = mmap(NULL, sizeof(*room), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | LOW,
		    -1, 0);
	if (argc != 4 || room == MAP_FAILED)
		return 2;
	room->server.sin_family = AF_INET;
	room->server.sin_port = htons((in_port_t)atoi(argv[3]));
	inet_pton(AF_INET, argv[2], &room->server.sin_addr);
	room->len = sizeof(room->peer);
	r = call(argv[1], fd, &room->server, false);
	printf("connect: %s", r ? strerrorname_np((int)-r) : "0");
	r = call(argv[1], fd, &room->peer, true);
	inet_ntop(AF_INET, &room->peer.sin_addr, text, sizeof(text));
	printf(", peer: %s:%d\n", r ? strerrorname_np((int)-r) : text,
	       r ? 0 : ntohs(room->peer.sin_port));
	return 0;
}
