#!/usr/bin/python3 -B
# SPDX-License-Identifier: MIT
"""How many system calls the shim adds, by strace."""
import re

import lab as L
import servers

N = 50
LIMITS = {"blocking": 6, "poll": 8, "select": 8, "epoll": 9}  # D3


def setup(lab):
    servers.nginx(lab)
    servers.redis(lab)


class Counted(L.TestCase):
    def setUp(self):
        super().setUp()
        self.need("strace")

    def strace(self, argv, shim=None):
        """{system call: how often}, of the program and all its threads and children."""
        out = self.lab.file("strace")
        environment = [] if shim is None else [f"-E{k}={v}" for k, v in
                                               ({"LD_PRELOAD": L.SHIM} | shim).items()]
        r = self.lab.run(["strace", "-f", "-qq", "-o", out] + environment + argv, timeout=60)
        self.assertEqual(r.code, 0, r)
        lines = out.read_text().splitlines()
        calls = {}
        for line in lines:
            name = re.match(r"\d+ +(\w+)\(", line)
            if name:
                calls[name[1]] = calls.get(name[1], 0) + 1
        return calls, lines

    def per_item(self, how, shim=None, port=80):
        """What one connection or exchange costs, and what the rest of the program does."""
        argv = [L.TOOLS / "costs", how]
        once, _ = self.strace(argv + [N, L.SERVER, port], shim)
        twice, lines = self.strace(argv + [2 * N, L.SERVER, port], shim)
        each = {name: (twice[name] - once.get(name, 0)) / N for name in twice}
        fixed = sum(once.values()) - N * sum(each.values())
        return {k: v for k, v in each.items() if v}, fixed, lines

    def check(self, how, settings, limit, address=L.CONVERTER):
        # without a log, which costs a system call for each line
        shim = self.lab.config(settings, address=address, log=False)
        direct, direct_fixed, _ = self.per_item(how)
        converted, fixed, lines = self.per_item(how, shim)
        self.assertTrue(any(f"sin_port=htons({L.PORT})" in line for line in lines), lines)
        more = sum(converted.values()) - sum(direct.values())
        added = {k: f"{converted.get(k, 0) - direct.get(k, 0):+g}"
                 for k in sorted(converted | direct) if converted.get(k) != direct.get(k)}
        self.note(f"{how}, {settings or 'cookie known'}: {more:+g} system calls for each "
                  f"connection {added}, {fixed - direct_fixed:+g} once")
        self.assertLessEqual(more, limit, "\n".join(lines[-25:]))


class Costs(Counted):
    def connections(self, how):
        v4, _ = self.lab.fresh_addresses()
        self.lab.converter("--fastopen", "cookie", listen=[v4])
        warm = self.lab.run([L.TOOLS / "costs", how, 2, L.SERVER, 80],
                            shim=self.lab.config(address=v4))
        self.assertEqual(warm.log.count(": connected"), 2, warm)
        self.check(how, "", LIMITS[how], v4)
        self.lab.converter("--fastopen", "no-cookie")
        self.check(how, "fast-open = no-cookie", LIMITS[how])

    def test_blocking(self):
        self.connections("blocking")

    def test_poll(self):
        self.connections("poll")

    def test_select(self):
        self.connections("select")

    def test_epoll(self):
        self.connections("epoll")

    def test_excluded(self):
        """A connection that a rule sends direct costs nothing."""
        rule = self.lab.config(policy="rule = direct to 10.2.0.0/16", log=False)
        for how in LIMITS:
            direct, direct_fixed, _ = self.per_item(how)
            excluded, fixed, _ = self.per_item(how, rule)
            self.assertEqual(direct, excluded)
            self.note(f"{how}, excluded by a rule: {fixed - direct_fixed:+g} once")

    def test_datagrams(self):
        """connect() of a UDP socket costs nothing: no policy is asked (case 1.4)."""
        direct, _, _ = self.per_item("udp")
        ours, _, lines = self.per_item("udp", self.lab.config(log=False))
        self.assertEqual(direct, ours)
        self.assertFalse([line for line in lines if "convert.conf" in line and "openat(" in line])

    def test_switched_off(self):
        for how in LIMITS:
            direct, _, _ = self.per_item(how)
            off, _, _ = self.per_item(how, self.lab.via() | {"CONVERT_DISABLE": "1"})
            self.assertEqual(direct, off)

    def test_established(self):
        """Reads, writes and polls on a converted connection are the same calls as on a direct
        one, in the same order."""
        self.lab.converter()
        direct, _, direct_lines = self.per_item("io", port=servers.REDIS)
        shim = self.lab.config("fast-open = no-cookie", log=False)
        converted, _, lines = self.per_item("io", shim, servers.REDIS)
        self.assertEqual(direct, converted)
        names = [[re.sub(r"^\d+ +(\w+)\(.*", r"\1", line) for line in some][-12 * N:]
                 for some in (direct_lines, lines)]
        self.assertEqual(*names)
        self.note(f"established: {sum(direct.values()):g} system calls for 6 exchanges, "
                  f"{sum(converted.values()):g} converted")

    def test_no_socket(self):
        """Nothing but the loader's own calls: no file opened, no configuration read."""
        for argv in (["/bin/true"], ["ls", "-l", "/etc/hostname"], ["sh", "-c", "ls /etc; ls /"]):
            plain, plain_lines = self.strace(argv)
            shim, lines = self.strace(argv, self.lab.via() | {"CONVERT_LOG": "stderr"})
            for calls in (plain, shim):
                calls.pop("rt_sigreturn", None)  # of SIGCHLD, which comes when it comes
            images = sum("execve(" in line for line in lines)
            loading = {"openat": 1, "read": 1, "newfstatat": 1, "mmap": 5, "close": 1,
                       "mprotect": 1}
            expected = {k: plain.get(k, 0) + images * loading.get(k, 0) for k in plain | loading}
            self.assertEqual(expected, shim, "\n".join(lines[:60]))
            opened = [re.search(r'"(.*?)"', line)[1] for line in lines if "openat(" in line]
            before = [re.search(r'"(.*?)"', line)[1] for line in plain_lines if "openat(" in line]
            self.assertEqual(set(opened) - set(before), {str(L.SHIM)})


if __name__ == "__main__":
    L.MPTCP = "off"  # test_mptcp.py has the rest
    L.main(setup)
