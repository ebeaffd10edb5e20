#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""What the shim costs a descriptor that is none of its business: instructions for each call, counted
by valgrind, and no system call."""
import random
import re
import sys

sys.path.insert(1, sys.path[0] + "/../lab")
import lab as L

N = 20000
CALLS = ["read", "write", "send", "recv", "poll", "select", "epoll_wait", "syscall"]
LIMITS = {call: 12 if call in ("poll", "select", "epoll_wait") else 16 for call in CALLS}
SILENT = 7005
RULES, EACH_RULE = 10000, 2100  # and instructions to read one of so many
CONNECTION = 9300  # of the library's own, for a connection by way of a twin; valgrind has no vDSO
ECHO = 7000
MUTE_PORT = 5125


def setup(lab):
    server = lab.start("server", [L.TOOLS / "echo-server", ECHO])
    server.wait_for_listeners(SILENT)
    lab.converter("--mptcp", listen=["0.0.0.0"])
    # so that one connection is pending for as long as it takes
    lab.converter("--fault", "silence", port=MUTE_PORT)


class Instructions(L.TestCase):
    def count(self, shim=None, arguments=(), state=""):
        """{call: instructions of one}; the loop's own are in all of them."""
        out = self.lab.file("callgrind")
        environment = [f"{k}={v}" for k, v in ({"LD_PRELOAD": str(L.SHIM)} | shim).items()] \
            if shim else []
        argv = ["env"] + environment + [
            "valgrind", "-q", "--vgdb=no", "--tool=callgrind", f"--callgrind-out-file={out}",
            "--dump-before=loop_*", L.TOOLS / "t_loops", N, *arguments]
        result = self.lab.run(argv, timeout=100)
        self.assertEqual(result.code, 0, result)
        self.assertEqual(result.out.decode(), state)
        # a dump at the beginning of each loop: what it counts is the loop before
        begins = {}
        for part in out.parent.glob(out.name + ".*"):
            text = part.read_text()
            name = re.search(r"desc: Trigger: --dump-before=loop_(\w+)", text)[1]
            begins[name] = int(re.search(r"^summary: (\d+)", text, re.M)[1]) / N
        self.assertEqual(sorted(begins), sorted(CALLS + ["none"]), result)
        return {call: begins[then] for call, then in zip(CALLS, CALLS[1:] + ["none"])}

    def shims(self):
        """Environments, arguments and what the program says of its own connection."""
        policy = "timeout = 90s"
        target = (L.SERVER, SILENT)
        up = self.lab.config("fast-open = no-cookie", policy, log=False)
        mute = self.lab.config("fast-open = no-cookie", policy, port=MUTE_PORT, log=False)
        return {"plain": (), "idle": (up,), "one up": (up, target, "up\n"),
                "one pending": (mute, target, "pending\n")}

    def test_instructions(self):
        self.need("valgrind")
        found = {name: self.count(*how) for name, how in self.shims().items()}
        plain = found["plain"]
        self.note(f"{'instructions':12} " + " ".join(f"{name:>15}" for name in found))
        for call in CALLS:
            self.note(f"{call:12} " + " ".join(f"{each[call]:9.0f} {each[call] - plain[call]:+5.0f}"
                                              for each in found.values()))
        bad = [f"{call}, {state}: {found[state][call] - plain[call]:+.1f}" for call in CALLS
               for state in ("idle", "one up") if found[state][call] - plain[call] > LIMITS[call] + 0.5]
        self.assertFalse(bad, "more than the limit")
        more = {call: round(found["idle"][call] - plain[call]) for call in CALLS}
        said = "; ".join(f"{n} for " + ", ".join(f"`{call}`" for call in CALLS if more[call] == n)
                         for n in sorted(set(more.values()), reverse=True))
        for paper in "README.md", "docs/design.md":
            self.assertIn(said, " ".join((L.ROOT / paper).read_text().split()), paper)

    def test_rules(self):
        """What a process does in its first connection, for each rule of its configuration."""
        self.need("valgrind")
        found = {}
        rules = [f"rule = direct to 172.{16 + i // 65536}.{i // 256 % 256}.{i % 256}/32 port 443"
                 for i in range(RULES)]
        unsorted = random.Random(1).sample(rules, RULES)
        for name, some in (("none", []), ("sorted", rules), ("unsorted", unsorted)):
            out = self.lab.file("callgrind")
            shim = {"LD_PRELOAD": str(L.SHIM)} | self.lab.config("fast-open = no-cookie",
                                                                 "\n".join(some), log=False)
            result = self.lab.run(["env", *(f"{k}={v}" for k, v in shim.items()), "valgrind", "-q",
                                   "--tool=callgrind", f"--callgrind-out-file={out}",
                                   L.TOOLS / "costs", "blocking", 1, L.SERVER, 7000], timeout=100)
            self.assertEqual(result.code, 0, result)
            found[name] = int(re.search(r"^summary: (\d+)", out.read_text(), re.M)[1])
        each = {name: (n - found["none"]) // RULES for name, n in found.items() if name != "none"}
        self.note(f"instructions for each of {RULES} rules: {each}")
        self.assertLess(max(each.values()), EACH_RULE)

    def test_connection(self):
        """Of one that a program makes behind its first ones: the difference of few and many."""
        self.need("valgrind")
        shim = {"LD_PRELOAD": str(L.SHIM)} | self.lab.config("fast-open = no-cookie", "mptcp = on",
                                                             log=False)
        found = []
        for n in 10, 110:
            out = self.lab.file("callgrind")
            command = (f"echo {n} | exec valgrind -q --vgdb=no --tool=callgrind "
                       f"--callgrind-out-file={out} {L.LAB_TOOLS}/bare-client turns {L.SERVER} {ECHO} blocking")
            result = self.lab.run(["env", *(f"{k}={v}" for k, v in shim.items()), "sh", "-c", command],
                                  timeout=100)
            self.assertEqual(result.code, 0, result)
            self.assertNotEqual(result.out.split()[2], b"-1", result)  # MPTCP
            found.append(int(re.search(r"^summary: (\d+)", out.read_text(), re.M)[1]))
        each = (found[1] - found[0]) // 100
        self.note(f"{each} instructions for each connection by way of a twin")
        self.assertLess(each, CONNECTION)

    def system_calls(self, n, shim=None, arguments=()):
        trace = self.lab.file("strace")
        environment = [f"-E{k}={v}" for k, v in ({"LD_PRELOAD": str(L.SHIM)} | shim).items()] \
            if shim else []
        result = self.lab.run(["strace", "-f", "-qq", "-o", trace] + environment +
                              [L.TOOLS / "t_loops", n, *arguments], timeout=60)
        self.assertEqual(result.code, 0, result)
        calls = {}
        for name in re.findall(r"^\d+ +(\w+)\(", trace.read_text(), re.M):
            calls[name] = calls.get(name, 0) + 1
        return calls

    def test_no_system_call(self):
        self.need("strace")
        each = {}
        for name, how in self.shims().items():
            few, many = self.system_calls(100, *how[:2]), self.system_calls(1100, *how[:2])
            # a thousand times each; a lock is waited for now and then
            each[name] = {call: many[call] - few.get(call, 0) for call in many
                          if abs(many[call] - few.get(call, 0)) > 3}
        self.assertEqual(sorted(each["plain"].values()), [1000] * len(CALLS), each)
        for name in each:
            self.assertEqual(each["plain"], each[name], name)
        self.note(f"each of {len(CALLS)} calls is one system call: " + ", ".join(each))


if __name__ == "__main__":
    L.main(setup)
