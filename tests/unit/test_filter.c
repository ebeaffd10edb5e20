// SPDX-License-Identifier: MIT
/* The seccomp filter of convert-run --any, carried out here as the kernel would: what it says of every system call
 * of each ABI, and what the supervisor then takes the call for. */
/* NOLINTNEXTLINE(bugprone-suspicious-include) */
#include "filter.c"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

enum { NUMBERS = 1024, NOBODY = 999999 }; /* more than any of them has */

/* By the kernel's tables (arch/.../syscall*.tbl), written down a second time. */
static const struct calls {
	uint32_t arch;
	uint32_t connect, peer, name, option, set, set1, multiplexed;
} all[] = {
	{ AUDIT_ARCH_X86_64, 42, 52, 51, 55, 213, 291, NOBODY },
	{ AUDIT_ARCH_I386, 362, 368, 367, 365, 254, 329, 102 },
	{ AUDIT_ARCH_AARCH64, 203, 205, 204, 209, NOBODY, 20, NOBODY },
	{ AUDIT_ARCH_ARM, 283, 287, 286, 295, 250, 357, NOBODY },
};
#define ALL (sizeof(all) / sizeof(*all))

/* Those of the machine that this is compiled for are libc's. */
static void own_numbers(void **state)
{
#if defined(__x86_64__)
	const struct calls *c = &all[0];
#elif defined(__i386__)
	const struct calls *c = &all[1];
#elif defined(__aarch64__)
	const struct calls *c = &all[2];
#else
	const struct calls *c = &all[3];
#endif
	(void)state;
	assert_int_equal(c->connect, SYS_connect);
	assert_int_equal(c->peer, SYS_getpeername);
	assert_int_equal(c->name, SYS_getsockname);
	assert_int_equal(c->option, SYS_getsockopt);
	assert_int_equal(c->set1, SYS_epoll_create1);
}

/* ------------------------------------------------------------------------------- the kernel */

/* What the caller has in its memory, at this address. */
#define ADDRESS 0x5000
static uint32_t memory[5];

bool target_read(int tid, uint64_t from, void *to, size_t n)
{
	(void)tid;
	if (from != ADDRESS)
		return false;
	memcpy(to, memory, n);
	return true;
}

static uint32_t verdict_of(const struct program *p, const struct seccomp_data *data)
{
	uint32_t a = 0;

	assert_true(p->n > 0 && p->n <= FILTER_MAX);
	for (unsigned int at = 0; at < p->n; at++) {
		const struct sock_filter *line = &p->lines[at];
		bool is;

		switch (line->code) {
		case BPF_LD | BPF_W | BPF_ABS:
			assert_true(line->k % 4 == 0 && line->k + 4 <= sizeof(*data));
			memcpy(&a, (const char *)data + line->k, 4);
			break;
		case BPF_JMP | BPF_JEQ | BPF_K:
		case BPF_JMP | BPF_JGE | BPF_K:
			is = BPF_OP(line->code) == BPF_JEQ ? a == line->k : a >= line->k;
			at += is ? line->jt : line->jf;
			break;
		case BPF_RET | BPF_K:
			return line->k;
		default:
			fail_msg("line %u: %#x", at, line->code);
		}
	}
	fail_msg("behind the end");
	return 0;
}

static struct seccomp_data data_of(uint32_t arch, uint32_t nr, uint64_t first, uint64_t second,
				   uint64_t third)
{
	return (struct seccomp_data){ .nr = (int)nr,
				      .arch = arch,
				      .args = { first, second, third, 4, 5, 6 } };
}

static enum call_kind taken_for(const struct seccomp_data *data, struct call *call)
{
	const struct seccomp_notif req = { .pid = 1, .data = *data };

	assert_true(filter_decode(&req, call));
	return call->kind;
}

/* ------------------------------------------------------------------------------------ tests */

static enum call_kind wanted(const struct calls *c, uint32_t nr)
{
	return nr == c->connect		     ? CALL_CONNECT :
	       nr == c->peer		     ? CALL_PEER :
	       nr == c->name		     ? CALL_NAME :
	       nr == c->option		     ? CALL_ERROR :
	       nr == c->set || nr == c->set1 ? CALL_SET :
					       CALL_OTHER;
}

/* All that is handed over is what the supervisor takes it for, and nothing else is handed over. */
static void check(const struct calls *c, const struct program *p, uint32_t nr, bool names)
{
	struct seccomp_data data = data_of(c->arch, nr, 7, SOL_SOCKET, SO_ERROR);
	enum call_kind kind = wanted(c, nr);
	bool is_handed_over = kind != CALL_OTHER && (kind != CALL_NAME || names);
	struct call call;

	if (nr == c->multiplexed)
		return;
	if (verdict_of(p, &data) != (is_handed_over ? SECCOMP_RET_USER_NOTIF : SECCOMP_RET_ALLOW))
		fail_msg("%#x: call %u: %#x", c->arch, nr, verdict_of(p, &data));
	if (!is_handed_over)
		return;
	assert_int_equal(taken_for(&data, &call), kind);
	assert_int_equal(call.fd, 7);
	assert_int_equal(call.args[4], 5);
}

static void every_number(void **state)
{
	(void)state;
	for (int names = 0; names < 2; names++) {
		struct program p = written(names);

		for (size_t i = 0; i < ALL; i++)
			for (uint32_t nr = 0; nr < NUMBERS; nr++)
				check(&all[i], &p, nr, names);
	}
}

/* -1 is what a tracer sets to have none called; x32's are x86-64's with a bit. */
static void no_number(void **state)
{
	(void)state;
	for (int names = 0; names < 2; names++) {
		struct program p = written(names);

		for (size_t i = 0; i < ALL; i++) {
			struct seccomp_data data = data_of(all[i].arch, ~0U, 7, SOL_SOCKET,
							   SO_ERROR);
			uint32_t is = all[i].arch == AUDIT_ARCH_X86_64 ?
					      SECCOMP_RET_ERRNO | ENOSYS :
					      SECCOMP_RET_ALLOW;

			assert_int_equal(verdict_of(&p, &data), is);
		}
	}
}

static void x32(void **state)
{
	struct program p = written(true);
	struct seccomp_data data;

	(void)state;
	for (uint32_t nr = 0; nr < NUMBERS; nr++) {
		data = data_of(AUDIT_ARCH_X86_64, X32 + nr, 7, SOL_SOCKET, SO_ERROR);
		assert_int_equal(verdict_of(&p, &data), SECCOMP_RET_ERRNO | ENOSYS);
	}
}

static void other_options(void **state)
{
	struct program p = written(true);

	(void)state;
	for (size_t i = 0; i < ALL; i++)
		for (uint32_t level = 0; level < 300; level++)
			for (uint32_t name = 0; name < 100; name++) {
				/* the kernel takes both for an int */
				struct seccomp_data data = data_of(all[i].arch, all[i].option, 7,
								   0xabcd00000000 | level,
								   0xabcd00000000 | name);
				bool is = level == SOL_SOCKET && name == SO_ERROR;
				struct call call;

				assert_int_equal(verdict_of(&p, &data),
						 is ? SECCOMP_RET_USER_NOTIF : SECCOMP_RET_ALLOW);
				assert_int_equal(taken_for(&data, &call),
						 is ? CALL_ERROR : CALL_OTHER);
			}
}

/* i386's socketcall(what, args): by uapi/linux/net.h. */
static void multiplexed(void **state)
{
	const struct calls *c = &all[1];
	struct call call;

	(void)state;
	memcpy(memory, (uint32_t[]){ 7, SOL_SOCKET, SO_ERROR, 4, 5 }, sizeof(memory));
	for (int names = 0; names < 2; names++) {
		struct program p = written(names);

		for (uint32_t what = ~0U; what + 1 < 40; what++) {
			struct seccomp_data data = data_of(c->arch, c->multiplexed, what, ADDRESS,
							   3);
			enum call_kind kind = what == 3	 ? CALL_CONNECT :
					      what == 6	 ? CALL_NAME :
					      what == 7	 ? CALL_PEER :
					      what == 15 ? CALL_ERROR :
							   CALL_OTHER;
			bool is = kind != CALL_OTHER && (kind != CALL_NAME || names);

			assert_int_equal(verdict_of(&p, &data),
					 is ? SECCOMP_RET_USER_NOTIF : SECCOMP_RET_ALLOW);
			assert_int_equal(taken_for(&data, &call), kind);
			assert_true(kind == CALL_OTHER || call.fd == 7);
		}
	}
	memory[2] = SO_TYPE;
	assert_int_equal(taken_for(&(struct seccomp_data){ .nr = 102,
							   .arch = c->arch,
							   .args = { 15, ADDRESS } },
				   &call),
			 CALL_OTHER);
}

static void unreadable(void **state)
{
	const struct seccomp_notif req = {
		.pid = 1, .data = { .nr = 102, .arch = AUDIT_ARCH_I386, .args = { 3, 1 } }
	};
	struct call call;

	(void)state;
	assert_false(filter_decode(&req, &call));
}

/* Of a machine that we do not know nothing is handed over, and nothing passes unseen. */
static void another_machine(void **state)
{
	struct program p = written(true);

	(void)state;
	for (uint32_t nr = 0; nr < NUMBERS; nr++) {
		struct seccomp_data data = data_of(AUDIT_ARCH_S390X, nr, 7, SOL_SOCKET, SO_ERROR);
		struct call call;

		assert_int_equal(verdict_of(&p, &data), SECCOMP_RET_ERRNO | ENOSYS);
		assert_int_equal(taken_for(&data, &call), CALL_OTHER);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(own_numbers),	 cmocka_unit_test(every_number),
		cmocka_unit_test(no_number),	 cmocka_unit_test(x32),
		cmocka_unit_test(other_options), cmocka_unit_test(multiplexed),
		cmocka_unit_test(unreadable),	 cmocka_unit_test(another_machine),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
