#!/usr/bin/python3 -B
# SPDX-License-Identifier: MIT
"""tests/run and the lab's own runner: programs that end well, badly or not at all. Nothing that goes wrong is a
pass, and nothing lives on."""
import importlib.machinery
import importlib.util
import os
import pathlib
import re
import signal
import subprocess
import sys
import time
from unittest import mock

sys.path.insert(1, sys.path[0] + "/../lab")
import lab as L

RUN = ["/usr/bin/python3", "-B", L.ROOT / "tests/run"]


def is_alive(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


class Runner(L.TestCase):
    def program(self, text, mode=0o755):
        path = self.lab.file("program", f"#!/bin/sh\n{text}\n")
        path.chmod(mode)
        return path

    def run_it(self, *words, **more):
        """Its exit status and lines."""
        r = self.lab.run([*RUN, *words], **more)
        self.assertEqual(r.err, "", r)
        return r.code, r.out.decode().splitlines()

    def check(self, text, counts, remark="", options=(), **more):
        """What is said of one program, and of all, and that its exit status fits."""
        program = self.program(text)
        code, lines = self.run_it(*options, program, **more)
        self.assertRegex(lines[0], rf"\A{program}: {counts}{remark}  \([0-9.]+ s\)\Z")
        self.assertEqual((lines[-1], code), (counts, int(" 0 failed" not in counts)), lines)
        return lines[1:-1]


class Counts(Runner):
    def test_closing_line(self):
        self.assertEqual(self.check('echo "2 passed, 0 failed, 0 skipped"', "2 passed, 0 failed, 0 skipped"), [])

    def test_it_has_to_be_the_last(self):
        self.check('echo "2 passed, 0 failed, 0 skipped"; echo more', "0 passed, 1 failed, 0 skipped",
                   ": no count, status 0")

    def test_failures_are_shown_and_named_at_the_end(self):
        lines = self.check('echo about; echo "FAIL one  0.1 s"; echo "     why"; echo "1 passed, 1 failed, 0 skipped"; exit 1',
                           "1 passed, 1 failed, 0 skipped")
        self.assertEqual(lines[:4], ["    about", "    FAIL one  0.1 s", "         why", "    1 passed, 1 failed, 0 skipped"])
        self.assertRegex(lines[4], "^failed: ")
        self.assertEqual(lines[5:], ["    FAIL one  0.1 s", "        why"])

    def test_tap(self):
        lines = self.check('printf "1..3\\nok 1 - a\\nok 2 # SKIP b\\nok 3 - c\\n"', "2 passed, 0 failed, 1 skipped")
        self.assertRegex(lines[0], r"^skipped: .*/\d+-program: b$")
        # as cmocka 1.1.5 writes it
        lines = self.check('printf "1..2\\nok 1 - a\\nnot ok 2 # SKIP b\\n"', "1 passed, 0 failed, 1 skipped")
        self.assertRegex(lines[0], r"^skipped: .*/\d+-program: b$")
        self.check('printf "1..2\\nok 1 - a\\nnot ok 2 - b\\n"; exit 1', "1 passed, 1 failed, 0 skipped")

    def test_short_plan(self):
        self.check('printf "1..4\\nok 1 - a\\nok 2 - b\\n"', "2 passed, 2 failed, 0 skipped")

    def test_no_count(self):
        self.check("echo hello", "0 passed, 1 failed, 0 skipped", ": no count, status 0")
        self.check("exit 3", "0 passed, 1 failed, 0 skipped", ": no count, status 3")

    def test_ran_nothing(self):
        self.check('echo "0 passed, 0 failed, 0 skipped"', "0 passed, 1 failed, 0 skipped", ": ran nothing")
        self.check("echo 1..0", "0 passed, 1 failed, 0 skipped", ": ran nothing")

    def test_crash_and_status(self):
        for end, status in ("kill -SEGV $$", -11), ("exit 3", 3):
            self.check(f'echo "2 passed, 0 failed, 0 skipped"; {end}', "2 passed, 1 failed, 0 skipped", f": status {status}")

    def test_what_is_not_there(self):
        for path, why in ("/nowhere/test", "No such file"), (self.program("", mode=0o644), "Permission denied"):
            code, lines = self.run_it(path)
            self.assertEqual((code, lines[-1]), (1, "0 passed, 1 failed, 0 skipped"), lines)
            self.assertIn(why, "\n".join(lines))

    def test_missing(self):
        code, lines = self.run_it("--missing", "tests/other", self.program('echo "2 passed, 0 failed, 0 skipped"'))
        self.assertEqual((code, lines[0], lines[-1]),
                         (1, "tests/other: no test found", "2 passed, 1 failed, 0 skipped"))

    def test_nothing_at_all(self):
        self.assertEqual(self.run_it(), (1, ["nothing was run", "0 passed, 0 failed, 0 skipped"]))

    def test_several(self):
        """In their order, whoever is faster; a sum of all."""
        slow = self.program('sleep 1; echo "1 passed, 0 failed, 0 skipped"')
        fast = self.program('echo "10 passed, 2 failed, 1 skipped"; exit 1')
        code, lines = self.run_it("--jobs", 2, slow, fast, "--jobs", 1, fast)
        heads = [line.split(":")[0] for line in lines if line.startswith("/")]
        self.assertEqual((code, heads, lines[-1]), (1, [str(slow), str(fast), str(fast)], "21 passed, 4 failed, 2 skipped"))


class Remarks(Runner):
    def test_skips(self):
        for text, why in (('echo "skipped: A.b: no c"', "A.b: no c"), ("echo \"a ... skipped 'no c'\"", "a: no c"),
                          ("", "1 without a word")):
            (line,) = self.check(f'{text}\necho "1 passed, 0 failed, 1 skipped"', "1 passed, 0 failed, 1 skipped")
            self.assertRegex(line, f"^skipped: .*program: {why}$")

    def test_skips_that_are_known(self):
        known = self.lab.file("skips", "# a comment\n\n.*program: A[.].*: no c\n")
        for why, failed in ("A.b: no c", 0), ("A.b: no c at all", 1), ("B.b: no c", 1):
            program = self.program(f'echo "skipped: {why}"; echo "1 passed, 0 failed, 1 skipped"')
            code, lines = self.run_it("--skips", known, program)
            self.assertEqual((code, lines[-1]), (failed, f"1 passed, {failed} failed, 1 skipped"), lines)
            self.assertEqual(f"failed: a skip that nobody knows: {program}: {why}" in lines, bool(failed))
        code, lines = self.run_it("--skips", known, self.program('echo "1 passed, 0 failed, 1 skipped"'))
        self.assertEqual((code, lines[-1]), (1, "1 passed, 1 failed, 1 skipped"))

    def test_what_was_tried_again(self):
        lines = self.check('echo "     again: A.b: why"; echo "     again: A.c: why"; echo "2 passed, 0 failed, 0 skipped"',
                           "2 passed, 0 failed, 0 skipped")
        self.assertRegex(lines[0], "^tried again: .*program: A.b: why$")
        self.assertEqual((len(lines), lines[-1]), (3, "2 tried again"))


class Room(L.TestCase):
    """Is there room for one program more? What has passed since the last one was begun says it, a second at least."""

    def looks(self, *since):
        """since: seconds, and for how many of them something has waited, before each look. Returns what each has
        said, and how long it has slept."""
        loader = importlib.machinery.SourceFileLoader("run", str(L.ROOT / "tests/run"))
        module = importlib.util.module_from_spec(importlib.util.spec_from_loader("run", loader))
        loader.exec_module(module)
        now, waited, said = [100.0], [7.0], []

        def sleep(seconds):
            slept.append(seconds)
            now[0] += seconds

        with mock.patch.object(module.time, "monotonic", lambda: now[0]), \
             mock.patch.object(module.time, "sleep", sleep), \
             mock.patch.object(module.Turns, "waited", lambda *_: waited[0]):
            turns = module.Turns()
            for seconds, more in since:
                slept = []
                now[0] += seconds
                waited[0] += more
                said.append((turns.is_room(), round(sum(slept), 3)))
        return said

    def test_what_has_passed(self):
        self.assertEqual(self.looks((5, 3)), [(True, 0)])
        self.assertEqual(self.looks((5, 4)), [(False, 0)])

    def test_not_at_once(self):
        self.assertEqual(self.looks((0.25, 0.1)), [(True, 0.75)])
        self.assertEqual(self.looks((0.25, 0.9)), [(False, 0.75)])

    def test_each_look_is_at_what_came_behind_the_last(self):
        self.assertEqual(self.looks((5, 4), (2, 0), (0, 0)), [(False, 0), (True, 0), (True, 1)])


class Ends(Runner):
    def test_time_limit(self):
        """What it has said is shown; what it has started ends with it."""
        pid = self.lab.file("pid")
        lines = self.check(f"echo first; sleep 99 & echo $! > {pid}; wait", "0 passed, 1 failed, 0 skipped", ": over 1 s",
                           options=["--limit", 1])
        self.assertIn("    first", lines)
        L.wait_for("its end", lambda: not is_alive(int(pid.read_text())))

    def test_time_limit_and_somebody_has_its_output(self):
        """... who is in a session of his own."""
        begun = time.monotonic()
        lines = self.check("echo first; setsid sleep 40 & exec sleep 40", "0 passed, 1 failed, 0 skipped", ": over 1 s",
                           options=["--limit", 1], timeout=60)
        self.assertIn("    first", lines)
        self.assertLess(time.monotonic() - begun, 30)

    def runner(self, *before):
        """One that runs a program, and that program's number."""
        pid = self.lab.file("pid")
        program = self.program(f"echo $$ > {pid}; exec sleep 99")
        process = self.lab.start("client", [*before, *RUN, program])
        number = process.wait_for("its program", lambda: pid.exists() and pid.read_text().strip())
        return process, int(number)

    def test_signals(self):
        for number in signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL:
            with self.subTest(number.name):
                process, program = self.runner("env", "--default-signal")
                status = process.stop(number)
                self.assertEqual(status, -number if number == signal.SIGKILL else 128 + number, process.text())
                L.wait_for("its program's end", lambda program=program: not is_alive(program))

    def test_nohup(self):
        process, program = self.runner("env", "--default-signal", "--ignore-signal=HUP")
        os.kill(process.pid, signal.SIGHUP)
        with self.assertRaises(subprocess.TimeoutExpired):
            process.process.wait(1)
        self.assertTrue(is_alive(program))
        process.stop()


SUITE = f"""#!/usr/bin/python3 -B
import sys, time
sys.path.insert(1, "{L.ROOT}/tests/lab")
import lab as L
class Lab:
    running, missed = [], 0
    def tokens_missed(self):
        Lab.missed += 1
        return Lab.missed
    def stop(self):
        pass
class A(L.TestCase):
    tries = 0
"""


class TheLab(Runner):
    """What its suites do when something takes too long, or is tried again."""

    def suite(self, tests):
        path = self.lab.file("test_x.py", f"{SUITE}{tests}\nL.main(kind=Lab)\n")
        path.chmod(0o755)
        return self.run_it("--limit", 30, path, env={"BUILD": str(L.BUILD)}, timeout=60)

    def test_tried_again(self):
        """For want of an MPTCP token."""
        code, lines = self.suite("""
    def test_b(self):
        A.tries += 1
        self.assertEqual(A.tries, 2)
""")
        self.assertEqual((code, lines[-2:]), (0, ["1 tried again", "1 passed, 0 failed, 0 skipped"]), lines)
        self.assertRegex(lines[-3], r"^tried again: .*: A.test_b: the kernel had no MPTCP token")

    def test_kernel_that_lacks_something(self):
        path = self.lab.file("test_x.py", f"{SUITE}    def test_a(self):\n        pass\nL.main(kind=Lab)\n")
        for there, what, name in ("net", "IPv6", "ipv6"), ("net/ipv6", "Multipath TCP", "mptcp"):
            hide = f"mount -t tmpfs none /proc/sys/net && mkdir -p /proc/sys/{there} && exec /usr/bin/python3 -B {path}"
            r = self.lab.run(["unshare", "--mount", "sh", "-c", hide], env={"BUILD": str(L.BUILD)}, user="")
            self.assertEqual((r.code, r.out, r.err), (
                1, b"", f"the lab needs a kernel with {what}: there is no /proc/sys/net/{name}\n"))

    def test_over_its_time(self):
        """... whatever errors it expects, and what is done at its end as well; the next one has its own."""
        code, lines = self.suite("""
    def forever(self):
        while True:
            try:
                time.sleep(99)
            except OSError:
                pass
    def test_b(self):
        self.addCleanup(self.forever)
        self.forever()
    def test_c(self):
        time.sleep(0.5)
Lab.tokens_missed = lambda self: 0
L.TEST_LIMIT = 3
""")
        self.assertEqual((code, lines[-1]), (1, "1 passed, 2 failed, 0 skipped"), lines)
        self.assertEqual("\n".join(lines).count("Late: test took more than 3 s"), 4, lines)  # each of them twice

    def test_a_program_that_hangs(self):
        """It is killed, with what it has started, and where it waited is said."""
        pid = self.lab.file("pid")
        converter = self.lab.converter()
        self.assertTrue(converter.events("start"))
        r = self.lab.run(["sh", "-c", f"echo $$ > {pid}; echo begun; sleep 98 & exec sleep 99"], timeout=3)
        self.assertEqual((r.code, r.out), (-signal.SIGKILL, b"begun\n"))
        self.assertEqual(len(re.findall(r"\(sleep\): S .*; a second later S ", r.err)), 2, r.err)
        for part in "[killed after 3 s]", "--- client\n", "--- server\n", "--- lab-converter\n", "ev=start":
            self.assertIn(part, r.err)
        self.assertFalse(is_alive(int(pid.read_text())))

    def test_a_program_that_hangs_and_nothing_is_known(self):
        """It is killed all the same."""
        pid = self.lab.file("pid")

        def where(_):
            raise OSError("no")
        self.lab.where_it_waits = where
        self.addCleanup(delattr, self.lab, "where_it_waits")
        with self.assertRaisesRegex(OSError, "no"):
            self.lab.run(["sh", "-c", f"echo $$ > {pid}; exec sleep 99"], timeout=3)
        L.wait_for("its end", lambda: not is_alive(int(pid.read_text())))


if __name__ == "__main__":
    L.main()
