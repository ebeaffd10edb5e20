// SPDX-License-Identifier: MIT
#include "any_int.h"

#include "sys.h"

#include <linux/audit.h>
#include <linux/filter.h>
#include <stddef.h>
#include <sys/prctl.h>

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif
#define X32 0x40000000U /* the bit of x86-64's ABI with short pointers */

/* The numbers of an ABI; 0: it has no such call (as socketcall() is read's or nobody's in none of them). */
struct abi {
	uint32_t arch;
	uint32_t connect, getpeername, getsockname, getsockopt, epoll_create, epoll_create1,
		socketcall;
	uint32_t
		refused; /* numbers from here on are another ABI's, whose calls would pass unseen */
};

/* Those of other machines do no harm: whose number it is is looked at first, and by the kernel once. */
static const struct abi abis[] = { { AUDIT_ARCH_X86_64, 42, 52, 51, 55, 213, 291, 0, X32 },
				   { AUDIT_ARCH_I386, 362, 368, 367, 365, 254, 329, 102, 0 },
				   { AUDIT_ARCH_AARCH64, 203, 205, 204, 209, 20, 20, 0, 0 },
				   { AUDIT_ARCH_ARM, 283, 287, 286, 295, 250, 357, 0, 0 },
				   { 0 } };

/* of socketcall(): its first argument */
enum {
	SOCKETCALL_CONNECT = 3,
	SOCKETCALL_GETSOCKNAME = 6,
	SOCKETCALL_GETPEERNAME = 7,
	SOCKETCALL_GETSOCKOPT = 15
};

/* ---------------------------------------------------------------------- the program of it */

#define FILTER_MAX 128

struct program {
	struct sock_filter lines[FILTER_MAX];
	unsigned short n;
};

static void put(struct program *p, uint16_t code, uint32_t k, uint8_t otherwise)
{
	p->lines[p->n++] = (struct sock_filter){ .code = code, .jf = otherwise, .k = k };
}

static void load(struct program *p, size_t offset)
{
	put(p, BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset, 0);
}

/* Lines from start on are passed over if that one's comparison fails. */
static void end(struct program *p, unsigned short start)
{
	p->lines[start].jf = (uint8_t)(p->n - start - 1);
}

/* If what is loaded is k (test: BPF_JEQ), or at least that (BPF_JGE), this is the verdict. */
static void verdict(struct program *p, uint16_t test, uint32_t k, uint32_t verdict)
{
	put(p, BPF_JMP | BPF_K | test, k, 1);
	put(p, BPF_RET | BPF_K, verdict, 0);
}

/* Arguments that are an int: the half of the 64 bits in which the kernel looks. */
static size_t argument(int i)
{
	size_t at = offsetof(struct seccomp_data, args) + (size_t)i * sizeof(uint64_t);

	return __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__ ? at + 4 : at;
}

static void put_socketcall(struct program *p, uint32_t number, bool names)
{
	unsigned short start = p->n;

	put(p, BPF_JMP | BPF_JEQ | BPF_K, number, 0);
	load(p, argument(0));
	if (names)
		verdict(p, BPF_JEQ, SOCKETCALL_GETSOCKNAME, SECCOMP_RET_USER_NOTIF);
	verdict(p, BPF_JEQ, SOCKETCALL_CONNECT, SECCOMP_RET_USER_NOTIF);
	verdict(p, BPF_JEQ, SOCKETCALL_GETPEERNAME, SECCOMP_RET_USER_NOTIF);
	verdict(p, BPF_JEQ, SOCKETCALL_GETSOCKOPT, SECCOMP_RET_USER_NOTIF);
	put(p, BPF_RET | BPF_K, SECCOMP_RET_ALLOW, 0);
	end(p, start);
}

static void put_abi(struct program *p, const struct abi *a, bool names)
{
	unsigned short start = p->n;

	put(p, BPF_JMP | BPF_JEQ | BPF_K, a->arch, 0);
	load(p, offsetof(struct seccomp_data, nr));
	if (a->refused)
		verdict(p, BPF_JGE, a->refused, SECCOMP_RET_ERRNO | ENOSYS);
	verdict(p, BPF_JEQ, a->connect, SECCOMP_RET_USER_NOTIF);
	verdict(p, BPF_JEQ, a->getpeername, SECCOMP_RET_USER_NOTIF);
	if (names)
		verdict(p, BPF_JEQ, a->getsockname, SECCOMP_RET_USER_NOTIF);
	verdict(p, BPF_JEQ, a->epoll_create, SECCOMP_RET_USER_NOTIF);
	verdict(p, BPF_JEQ, a->epoll_create1, SECCOMP_RET_USER_NOTIF);
	if (a->socketcall)
		put_socketcall(p, a->socketcall, names);
	put(p, BPF_JMP | BPF_JEQ | BPF_K, a->getsockopt, 5);
	load(p, argument(1));
	put(p, BPF_JMP | BPF_JEQ | BPF_K, SOL_SOCKET, 3);
	load(p, argument(2));
	verdict(p, BPF_JEQ, SO_ERROR, SECCOMP_RET_USER_NOTIF);
	put(p, BPF_RET | BPF_K, SECCOMP_RET_ALLOW, 0);
	end(p, start);
}

static struct program written(bool names)
{
	struct program p = { .n = 0 };

	load(&p, offsetof(struct seccomp_data, arch));
	for (const struct abi *a = abis; a->arch; a++)
		put_abi(&p, a, names);
	put(&p, BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS, 0);
	return p;
}

/* What the supervisor has to ask came with Linux 5.14, last of all this. */
static bool is_new_enough(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	uint64_t cookie;
	socklen_t len = sizeof(cookie);
	bool is = sys_getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &len) == 0;

	close(fd);
	return is;
}

/* abis has the numbers of its calls. */
static bool is_known_machine(void)
{
#if defined(__x86_64__) || defined(__i386__) || defined(__aarch64__) || defined(__ARMEL__)
	return true;
#else
	return false;
#endif
}

int filter_obstacle(void)
{
	return !is_known_machine() ? EOPNOTSUPP : !is_new_enough() ? EINVAL : 0;
}

int filter_install(bool names)
{
	struct program p = written(names);
	const struct sock_fprog prog = { .len = p.n, .filter = p.lines };
	long r;

	r = sys_result(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
			       SECCOMP_FILTER_FLAG_NEW_LISTENER, &prog));
	if (r != -EACCES)
		return (int)r;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	return (int)sys_result(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
				       SECCOMP_FILTER_FLAG_NEW_LISTENER, &prog));
}

/* ---------------------------------------------------------------------- what was called */

static enum call_kind kind(const struct abi *a, uint32_t nr)
{
	return nr == a->connect				       ? CALL_CONNECT :
	       nr == a->getpeername			       ? CALL_PEER :
	       nr == a->getsockname			       ? CALL_NAME :
	       nr == a->getsockopt			       ? CALL_ERROR :
	       nr == a->epoll_create || nr == a->epoll_create1 ? CALL_SET :
								 CALL_OTHER;
}

/* The arguments stand in the caller's memory. */
static bool unpack(const struct seccomp_notif *req, struct call *call)
{
	uint32_t args[5] = { 0 }, what = (uint32_t)req->data.args[0];

	call->kind = what == SOCKETCALL_CONNECT	    ? CALL_CONNECT :
		     what == SOCKETCALL_GETPEERNAME ? CALL_PEER :
		     what == SOCKETCALL_GETSOCKNAME ? CALL_NAME :
		     what == SOCKETCALL_GETSOCKOPT  ? CALL_ERROR :
						      CALL_OTHER;
	if (!target_read((int)req->pid, req->data.args[1], args,
			 (call->kind == CALL_ERROR ? 5 : 3) * sizeof(*args)))
		return false;
	for (int i = 0; i < 5; i++)
		call->args[i] = args[i];
	return true;
}

bool filter_decode(const struct seccomp_notif *req, struct call *call)
{
	const struct abi *a = abis;
	uint32_t nr = (uint32_t)req->data.nr;

	while (a->arch && a->arch != req->data.arch)
		a++;
	if (a->arch && a->socketcall && nr == a->socketcall) {
		if (!unpack(req, call))
			return false;
	} else {
		call->kind = a->arch ? kind(a, nr) : CALL_OTHER;
		for (int i = 0; i < 5; i++)
			call->args[i] = req->data.args[i];
	}
	if (call->kind == CALL_ERROR &&
	    ((int)call->args[1] != SOL_SOCKET || (int)call->args[2] != SO_ERROR))
		call->kind = CALL_OTHER;
	call->fd = (int)call->args[0];
	return true;
}
