#!/usr/bin/python3 -B
# SPDX-License-Identifier: MIT
"""What the library costs: system calls by strace, instructions by valgrind, stack, and what it adds to a process that
does nothing with it.

System calls are counted connection by connection: what counts is the trace that most of them show. It is a whole
number. A mean would not be: now and then a scheduler lets a reply come before a program waits for it, or wakes the
program twice, direct and converted. What the shim does for each connection is in each trace; most of
them have to be alike, so that what it does for every second or third one does not hide, either.

STACK=all: the stack with every kind of converter.
"""
import collections
import os
import random
import re
import subprocess
import sys

sys.path.insert(1, sys.path[0] + "/../lab")
import lab as L
import servers

ECHO, SILENT, MUTE_PORT = 7000, 7005, 5125

# system calls
N = 50
LIMITS = {"blocking": 4, "poll": 5, "select": 5, "epoll": 7}  # D3; one more without a cookie
SAID = (r"(\d+) system calls more than a direct (?:one|connection) for a blocking connect, "
        r"(\d+) with poll or select, (\d+) with epoll, one more with")

# instructions
CALLED = 20000
CALLS = ["read", "write", "send", "recv", "poll", "select", "epoll_wait", "syscall"]
EACH_CALL = {call: 12 if call in ("poll", "select", "epoll_wait") else 16 for call in CALLS}
RULES, EACH_RULE = 10000, 2100  # and instructions to read one of so many
CONNECTION = 9300  # of the library's own, for a connection by way of a twin; valgrind has no vDSO

# a start, and memory
FAULTS = 9        # of a start: 8, seldom one more; a library that does nothing adds 7
INSTRUCTIONS = 65000
BY_NAME = 44      # relocations that the loader looks up; one is __environ
BSS = 2500        # kB of address space, 2048 of which are the marks of 2^20 numbers
IDLE, ONE = 100, 300  # kB of private dirty memory
SHARED = 256      # kB of address space for exchanges

# bytes of stack
STACK = 4096
CONVERTERS = {
    "late": ("--fault", "delay=10"),
    "garbage": ("--fault", "raw=ffffffffff"),
    "silence": ("--fault", "silence"),
    "request owed": ("--fastopen", "cookie"),
}
MORE_CONVERTERS = {
    "at once": (),
    "error 96": ("--fault", "error=96"),
    "error 64": ("--fault", "error=64:01"),
    "missing cookie": ("--cookie-required",),
    "error 33": ("--fault", "error=33:1e22"),
    "SYN held": ("--hold",),
}
if os.environ.get("STACK") == "all":
    CONVERTERS |= MORE_CONVERTERS


def setup(lab):
    servers.nginx(lab)
    servers.redis(lab)
    lab.start("server", [L.TOOLS / "echo-server", ECHO]).wait_for_listeners(ECHO, SILENT)
    with open(L.BUILT_SHIM, "rb") as file:
        os.fsync(file)  # what has just been built is dirty, and so is all on a tmpfs


# -------------------------------------------------------------------------------- system calls

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
    """Over TCP; test_mptcp.py has the rest."""

    def setUp(self):
        super().setUp()
        before, L.MPTCP = L.MPTCP, "off"
        self.addCleanup(setattr, L, "MPTCP", before)

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


# -------------------------------------------------------------------------------- instructions

class Instructions(L.TestCase):
    """Of what the library does in a call, for a descriptor that is none of its business."""

    def setUp(self):
        super().setUp()
        self.lab.converter("--mptcp", listen=["0.0.0.0"])
        # so that one connection is pending for as long as it takes
        self.lab.converter("--fault", "silence", port=MUTE_PORT)

    def count(self, shim=None, arguments=(), state=""):
        """{call: instructions of one}; the loop's own are in all of them."""
        out = self.lab.file("callgrind")
        environment = [f"{k}={v}" for k, v in ({"LD_PRELOAD": str(L.SHIM)} | shim).items()] \
            if shim else []
        argv = ["env"] + environment + [
            "valgrind", "-q", "--vgdb=no", "--tool=callgrind", f"--callgrind-out-file={out}",
            "--dump-before=loop_*", L.TOOLS / "t_loops", CALLED, *arguments]
        result = self.lab.run(argv, timeout=100)
        self.assertEqual(result.code, 0, result)
        self.assertEqual(result.out.decode(), state)
        # a dump at the beginning of each loop: what it counts is the loop before
        begins = {}
        for part in out.parent.glob(out.name + ".*"):
            text = part.read_text()
            name = re.search(r"desc: Trigger: --dump-before=loop_(\w+)", text)[1]
            begins[name] = int(re.search(r"^summary: (\d+)", text, re.M)[1]) / CALLED
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
               for state in ("idle", "one up") if found[state][call] - plain[call] > EACH_CALL[call] + 0.5]
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


# --------------------------------------------------------------------------------------- stack

class Stack(L.TestCase):
    """In each call that is interposed: little more than libc itself needs, whatever the converter does, so that the
    smallest thread that there may be (16 KiB) can connect."""

    def config(self, address, fast_open="no-cookie", fallback="direct"):
        rules = [f"rule = direct to 10.{n}.0.0/16 port {n}-{n + 100}" for n in range(3, 50)]
        shim = self.lab.config(f"fast-open = {fast_open}\nfrom = 10.1.0.0/16\ninterface = c0",
                               "\n".join(rules) + f"\nfallback = {fallback}\nmptcp = {L.MPTCP}\ntimeout = 30ms"
                               "\n[log]\nlevel = debug\nfile = " + str(self.lab.file("log")),
                               address=address, log=False)
        return shim | {"CONVERT_STATE": str(self.lab.file("state"))}

    def measure(self, wait_ms=1, shim=None):
        r = self.lab.run([L.TOOLS / "stack", L.SERVER, 80, wait_ms], shim=shim, timeout=110,
                         env={"LD_BIND_NOW": "1"})  # else the loader's is measured
        self.assertEqual((r.code, r.err), (0, ""), r)
        most = {}
        for line in r.out.decode().splitlines():
            name, depth = line.split()
            most[name] = max(int(depth), most.get(name, 0))
        return most

    def test_each_call(self):
        plain = self.measure()
        most = dict.fromkeys(plain, (0, "nowhere"))
        for kind, options in CONVERTERS.items():
            for fallback in ["none"] + ["direct"] * (kind == "silence"):
                address = self.lab.fresh_addresses()[0]
                converter = self.lab.converter(*options, listen=[address])
                fast_open = "auto" if kind == "request owed" else "no-cookie"
                depths = self.measure(40, self.config(address, fast_open, fallback))
                self.assertTrue(converter.events("request"), kind)
                converter.stop()
                for name, depth in depths.items():
                    most[name] = max(most[name], (depth - plain[name], f"{kind}, {fallback}"))
        worst = sorted(((depth, name, where) for name, (depth, where) in most.items()),
                       reverse=True)
        for depth, name, where in worst[:6]:
            self.note(f"{name}: {depth} bytes more than libc's {plain[name]} ({where})")
        self.assertEqual([w for w in worst if w[0] >= STACK], [])

    def test_smallest_thread(self):
        self.lab.converter()
        r = self.lab.run([L.TOOLS / "stack", "-t", L.SERVER, 80],
                         shim=self.config(L.CONVERTER))
        self.assertEqual((r.code, r.out), (0, b"connected\n"), r)


# -------------------------------------------------------------------------- a start, and memory

def faults(environment):
    """The least of some: which pages come with another one is not always the same."""
    found = []
    for _ in range(200):
        pid = os.posix_spawn("/bin/true", ["true"], environment)
        _, status, used = os.wait4(pid, 0)
        assert status == 0
        found.append(used.ru_minflt)
    return min(found)


def memory(pid):
    """kB: private dirty, and of shared anonymous mappings."""
    rollup = open(f"/proc/{pid}/smaps_rollup").read()
    ranges = re.findall(r"^(\w+)-(\w+) ...s .*/dev/zero", open(f"/proc/{pid}/maps").read(), re.M)
    return (int(re.search(r"Private_Dirty: +(\d+)", rollup)[1]),
            sum(int(end, 16) - int(begin, 16) for begin, end in ranges) // 1024)


class Said(L.TestCase):
    def said(self, pattern, counted, room, paper="docs/design.md"):
        (figure,) = self.figures(paper, pattern)
        self.assertLessEqual(abs(counted - figure), room, (paper, pattern, counted))


class Start(Said):
    def test_faults(self):
        plain, ours = faults({}), faults({"LD_PRELOAD": str(L.BUILT_SHIM)})
        self.note(f"{ours - plain:+} page faults, {plain} without")
        self.assertLessEqual(ours - plain, FAULTS)
        self.said(r"(\d+) page faults at its start", ours - plain, 1)

    def instructions(self, environment):
        out = self.lab.file("callgrind")
        r = self.lab.run(["env", *environment, "valgrind", "-q", "--vgdb=no", "--tool=callgrind",
                          f"--callgrind-out-file={out}", "/bin/true"], timeout=60)
        self.assertEqual(r.code, 0, r)
        return int(re.search(r"^summary: (\d+)", out.read_text(), re.M)[1])

    def test_instructions(self):
        self.need("valgrind")
        plain, ours = self.instructions([]), self.instructions([f"LD_PRELOAD={L.BUILT_SHIM}"])
        self.note(f"{ours - plain:+} instructions, {plain} without")
        self.assertLessEqual(ours - plain, INSTRUCTIONS)
        self.said(r"([\d,]+) instructions \(/bin/true has", ours - plain, 1000)

    def test_relocations(self):
        self.need("readelf")
        text = L.command(["readelf", "-rW", L.BUILT_SHIM])
        by_name = len(re.findall("_(?:GLOB_DAT|JUMP_SLOT?) ", text))
        self.note(f"{by_name} relocations by name")
        self.assertGreater(by_name, 0, text)
        self.assertLessEqual(by_name, BY_NAME)

    def test_bss(self):
        self.need("readelf")
        text = L.command(["readelf", "-lW", L.BUILT_SHIM])
        in_file, in_memory = re.search(r"LOAD(?: +0x\w+){3} (0x\w+) (0x\w+) RW ", text).groups()
        self.assertLessEqual((int(in_memory, 16) - int(in_file, 16)) // 1024, BSS)

    def test_size(self):
        """As it is installed by those who strip."""
        self.need("strip")
        stripped = self.lab.file("stripped")
        L.command(["strip", "-o", stripped, L.BUILT_SHIM])
        kb = stripped.stat().st_size // 1000
        self.note(f"{kb} kB")
        self.said(r"the library has (\d+) kB on x86-64", kb, 8, "docs/integrators.md")


class Memory(Said):
    def sleeper(self, environment):
        process = self.lab.start("client", ["env", *environment, "sleep", "100"])
        process.wait_for("sleep", lambda: open(f"/proc/{process.pid}/stat").read().split()[1:3] ==
                         ["(sleep)", "S"])
        return memory(process.pid)

    def test_idle(self):
        plain, _ = self.sleeper([])
        ours, shared = self.sleeper([f"LD_PRELOAD={L.BUILT_SHIM}"])
        self.note(f"{ours - plain:+} kB private dirty")
        self.assertLessEqual(ours - plain, IDLE)
        self.said(r"(\d+) kB of memory of its own", ours - plain, 8)
        self.assertEqual(shared, 0)

    def one(self, environment):
        with subprocess.Popen(L.inside("client", ["env", "-i", *environment, L.LAB_TOOLS / "bare-client",
                                                  "turns", L.SERVER, ECHO, "blocking"]),
                              env=L.ENVIRONMENT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as p:
            p.stdin.write(b"1\n")
            p.stdin.flush()
            self.assertTrue(p.stdout.readline())
            found = memory(p.pid)
            p.communicate()
        return found

    def test_one_connection(self):
        converter = self.lab.converter("--mptcp")
        settings = self.lab.config("fast-open = no-cookie", log=False)
        plain, _ = self.one([])
        ours, shared = self.one([f"LD_PRELOAD={L.BUILT_SHIM}",
                                 *(f"{k}={v}" for k, v in settings.items())])
        self.assertEqual(len(converter.events("accept", 1)), 1)
        self.note(f"{ours - plain:+} kB private dirty, {shared} kB mapped for exchanges")
        self.assertLessEqual(ours - plain, ONE)
        self.said(r"(\d+) kB of its own for a process with one converted connection", ours - plain, 16)
        self.said(r"(\d+) kB for the first 64 exchanges", shared, 0)
        self.assertGreater(shared, 0)
        self.assertLessEqual(shared, SHARED)


if __name__ == "__main__":
    L.main(setup)
