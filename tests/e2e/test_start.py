#!/usr/bin/python3 -B
# SPDX-License-Identifier: MIT
"""What the library adds to a process that does nothing with it: page faults, instructions and relocations of a
start, memory of its own; and the memory of a process with one converted connection."""
import os
import re
import subprocess
import sys

sys.path.insert(1, sys.path[0] + "/../lab")
import lab as L

ECHO = 7000
FAULTS = 9        # of a start: 8, seldom one more; a library that does nothing adds 7
INSTRUCTIONS = 65000
BY_NAME = 44      # relocations that the loader looks up; one is __environ
BSS = 2500        # kB of address space, 2048 of which are the marks of 2^20 numbers
IDLE, ONE = 100, 300  # kB of private dirty memory
SHARED = 256      # kB of address space for exchanges


def setup(lab):
    lab.start("server", [L.TOOLS / "echo-server", ECHO]).wait_for_listeners(ECHO)
    with open(L.BUILT_SHIM, "rb") as file:
        os.fsync(file)  # what has just been built is dirty, and so is all on a tmpfs


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
