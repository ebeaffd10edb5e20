#!/usr/bin/python3 -B
# SPDX-License-Identifier: MIT
"""How many system calls the shim adds, by strace.

Connection by connection: what counts is the trace that most of them show. It is a whole number. A mean
would not be: now and then a scheduler lets a reply come before a program waits for it, or wakes the
program twice, direct and converted. What the shim does for each connection is in each trace; most of
them have to be alike, so that what it does for every second or third one does not hide, either.
"""
import collections
import re
import sys

sys.path.insert(1, sys.path[0] + "/../lab")
import lab as L
import servers

N = 50
LIMITS = {"blocking": 4, "poll": 5, "select": 5, "epoll": 7}  # D3; one more without a cookie
SAID = (r"(\d+) system calls more than a direct (?:one|connection) for a blocking connect, "
        r"(\d+) with poll or select, (\d+) with epoll, one more with")


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
        traces, fixed, lines = self.traces(how, shim, port)
        (trace, often), = collections.Counter(traces).most_common(1)
        self.assertGreater(often, N / 2, collections.Counter(traces))
        return collections.Counter(trace), fixed, lines

    def traces(self, how, shim=None, port=80):
        """The names of the calls of each, how many calls come before and after, and all lines."""
        calls, lines = self.strace([L.TOOLS / "costs", how, N, L.SERVER, port], shim)
        names = [re.sub(r"^\d+ +(\w+)\(.*", r"\1", line) for line in lines]
        marks = [n for n, name in enumerate(names) if name == "getppid"]
        self.assertEqual(len(marks), N + 1)
        traces = [tuple(names[a + 1:b]) for a, b in zip(marks, marks[1:])]
        return traces, len(names[:marks[0]] + names[marks[-1] + 1:]), lines

    def check(self, how, settings, limit, address=L.CONVERTER):
        # without a log, which costs a system call for each line
        shim = self.lab.config(settings, address=address, log=False)
        direct, direct_fixed, _ = self.per_item(how)
        converted, fixed, lines = self.per_item(how, shim)
        self.assertTrue(any(f"sin_port=htons({L.PORT})" in line for line in lines), lines)
        more, added = self.difference(direct, converted)
        self.note(f"{how}, {settings or 'cookie known'}: {more:+} system calls for each "
                  f"connection {added}, {fixed - direct_fixed:+} once")
        self.assertLessEqual(more, limit, "\n".join(lines[-25:]))

    def difference(self, before, after):
        return after.total() - before.total(), {
            name: f"{after[name] - before[name]:+}" for name in sorted(before | after)
            if before[name] != after[name]}


class Costs(Counted):
    def connections(self, how):
        v4, _ = self.lab.fresh_addresses()
        self.lab.converter("--fastopen", "cookie", listen=[v4])
        warm = self.lab.run([L.TOOLS / "costs", how, 2, L.SERVER, 80],
                            shim=self.lab.config(address=v4))
        self.assertEqual(warm.log.count(": connected"), 2, warm)
        self.check(how, "", LIMITS[how], v4)
        self.lab.converter("--fastopen", "no-cookie")
        self.check(how, "fast-open = no-cookie", LIMITS[how] + 1)

    def test_what_the_papers_say(self):
        for paper in "README.md", "docs/design.md":
            self.assertEqual(self.figures(paper, SAID), [LIMITS[how] for how in ("blocking", "poll", "epoll")])

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
            self.note(f"{how}, excluded by a rule: {fixed - direct_fixed:+} once")

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
        direct, _, _ = self.traces("io", port=servers.REDIS)
        shim = self.lab.config("fast-open = no-cookie", log=False)
        converted, _, _ = self.traces("io", shim, servers.REDIS)
        self.assertEqual(direct, converted)
        self.note(f"established: {len(direct[0])} system calls for 6 exchanges")

    def test_no_socket(self):
        """Nothing but the loader's own calls: no file opened, no configuration read."""
        for argv in (["/bin/true"], ["ls", "-l", "/etc/hostname"], ["sh", "-c", "ls /etc; ls /"]):
            plain, plain_lines = self.strace(argv)
            shim, lines = self.strace(argv, self.lab.via() | {"CONVERT_LOG": "stderr"})
            for calls in (plain, shim):
                calls.pop("rt_sigreturn", None)  # of SIGCHLD, which comes when it comes
            images = sum("execve(" in line for line in lines)
            loading = {"openat": 1, "read": 1, "newfstatat": 1, "mmap": 3, "close": 1,
                       "mprotect": 1}
            expected = {k: plain.get(k, 0) + images * loading.get(k, 0) for k in plain | loading}
            self.assertEqual(expected, shim, "\n".join(lines[:60]))
            opened = [re.search(r'"(.*?)"', line)[1] for line in lines if "openat(" in line]
            before = [re.search(r'"(.*?)"', line)[1] for line in plain_lines if "openat(" in line]
            self.assertEqual(set(opened) - set(before), {str(L.SHIM)})


if __name__ == "__main__":
    L.MPTCP = "off"  # test_mptcp.py has the rest
    L.main(setup)
