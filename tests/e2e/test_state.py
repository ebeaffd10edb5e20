#!/usr/bin/python3 -B
# SPDX-License-Identifier: MIT
"""The state file: where it is, what it costs a process that connects, and a storm over it."""
import os
import random
import re
import stat
import threading
import time

import lab as L
import servers

FILE_MAX = 1114624  # convert.conf(5)
PAGE = f"http://{L.SERVER}/who"


def setup(lab):
    servers.nginx(lab)


class State(L.TestCase):
    def setUp(self):
        super().setUp()
        self.converter = self.lab.converter("--fastopen", "no-cookie")

    def shim(self, state=None, **more):
        env = self.lab.config("fast-open = no-cookie", **more)
        return env if state is None else env | {"CONVERT_STATE": str(state)}

    def curl(self, shim):
        r = self.lab.run(["curl", "-sS", PAGE], shim=shim)
        self.assertEqual((r.code, r.out.decode().strip()), (0, L.ROUTER), r)


class Place(State):
    def assert_made(self, path):
        self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o600)
        self.assertLessEqual(os.stat(path).st_size, FILE_MAX)

    def environment(self, **variables):
        """Without the lab's own CONVERT_STATE=none: an empty variable is as if it were not set."""
        return self.shim(variables.pop("CONVERT_STATE", "")) | variables

    def test_variable(self):
        path = self.lab.file("state-directory") / "state"
        self.curl(self.environment(CONVERT_STATE=path))
        self.assert_made(path)
        self.assertEqual(stat.S_IMODE(os.stat(path.parent).st_mode), 0o700)

    def test_configuration(self):
        path = self.lab.file("state")
        env = self.environment()
        with open(env["CONVERT_CONF"], "a", encoding="ascii") as conf:
            conf.write(f"[state]\nfile = {path}\n")
        self.curl(env)
        self.assert_made(path)

    def test_runtime_directory(self):
        run = self.lab.file("run")
        run.mkdir(mode=0o700)
        self.curl(self.environment(XDG_RUNTIME_DIR=str(run)))
        self.assert_made(run / "convert/state")
        self.curl(self.environment())  # root's
        self.assert_made("/run/convert/state")

    def test_none(self):
        run = self.lab.file("run")
        run.mkdir(mode=0o700)
        self.curl(self.environment(CONVERT_STATE="none", XDG_RUNTIME_DIR=str(run)))
        self.assertEqual(os.listdir(run), [])

    def test_a_place_that_cannot_be(self):
        """Whatever it is, the connection is made."""
        victim = self.lab.file("victim", "Dear diary,\n")
        link = self.lab.file("link")
        link.symlink_to(victim)
        fifo = self.lab.file("fifo")
        os.mkfifo(fifo)
        for place in (victim, link, fifo, "/", "/dev/full", "/proc/self/mem", "/nowhere/at/all",
                      "/" + "x" * 4000):
            with self.subTest(place):
                self.curl(self.shim(place))
        self.assertEqual(victim.read_text(), "Dear diary,\n")


class Calls(State):
    N = 50

    def strace(self, n, shim):
        out = self.lab.file("strace")
        env = [f"-E{k}={v}" for k, v in ({"LD_PRELOAD": L.SHIM} | shim).items()]
        r = self.lab.run(["strace", "-f", "-qq", "-o", out] + env +
                         [L.TOOLS / "costs", "blocking", n, L.SERVER, 80], timeout=60)
        self.assertEqual(r.code, 0, r)
        return [line for line in out.read_text().splitlines() if re.match(r"\d+ +\w+\(", line)]

    def test_a_process_that_connects_all_the_time(self):
        """The same system calls for each connection as without a state; some once."""
        self.need("strace")
        state = self.lab.file("state")
        none, with_state = self.shim("none", log=False), self.shim(state, log=False)
        counts = {}
        for name, shim in (("none", none), ("first", with_state), ("again", with_state)):
            once, twice = (len(self.strace(n, shim)) for n in (self.N, 2 * self.N))
            counts[name] = ((twice - once) / self.N, once - (twice - once))
            if name == "first":
                self.assertTrue(state.exists())
        self.note("system calls for each connection, and once, without a state: "
                  f"{counts['none'][0]:g}, {counts['none'][1]}; with one: "
                  f"{counts['again'][0]:g}, {counts['again'][1]}")
        self.assertEqual(counts["none"][0], counts["again"][0])
        self.assertLessEqual(counts["again"][1] - counts["none"][1], 40)
        opened = sum(f'"{state}"' in line for line in self.strace(self.N, with_state))
        self.assertLessEqual(opened, 4)


class Storm(State):
    AT_ONCE, PROCESSES, EACH = 64, 10, 6

    def damage(self, state, stop, done):
        """One thing after the other, until told to stop. Follows no symbolic link."""
        chance = random.Random(4711)
        flags = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

        def cut(fd):
            os.ftruncate(fd, chance.randrange(FILE_MAX))

        def noise(fd):
            os.pwrite(fd, chance.randbytes(4096), chance.randrange(512, FILE_MAX - 4096))

        def header(fd):
            os.pwrite(fd, chance.randbytes(40), 0)

        def mode(fd):
            os.fchmod(fd, chance.choice((0o400, 0o666, 0o600)))

        def remove(_):
            os.unlink(state)

        def replace(_):
            os.unlink(state)
            os.symlink(self.victim, state)

        acts = (noise, cut, noise, mode, remove, noise, header, remove, noise, replace)
        while not stop.is_set():
            what = acts[sum(done.values()) % len(acts)]
            try:
                fd = os.open(state, flags)
            except OSError:
                if state.is_symlink():
                    state.unlink()
                time.sleep(0.001)
                continue
            try:
                self.largest = max(self.largest, os.fstat(fd).st_size)
                what(fd)
                done[what.__name__] = done.get(what.__name__, 0) + 1
            except OSError:  # another has removed it
                pass
            finally:
                os.close(fd)
            time.sleep(0.002)

    def test_every_connection_works(self):
        """While the file that all share is cut, filled with noise, removed and replaced, 640
        processes, 64 at a time, connect 6 times each. What they learn is of no matter."""
        state, stop, done = self.lab.file("state"), threading.Event(), {}
        self.victim, self.largest = self.lab.file("victim", "Dear diary,\n"), 0
        vandal = threading.Thread(target=self.damage, args=(state, stop, done))
        shim = {"LD_PRELOAD": L.SHIM} | self.shim(state, log=False)
        script = (f"for i in $(seq {self.PROCESSES}); do "
                  f"{L.TOOLS}/costs blocking {self.EACH} {L.SERVER} 80 || exit; done")
        argv = ["env"] + [f"{k}={v}" for k, v in shim.items()] + ["sh", "-c", script]
        vandal.start()
        try:
            running = [self.lab.start("client", argv, name=f"costs{i}")
                       for i in range(self.AT_ONCE)]
            codes = [p.process.wait(60) for p in running]
        finally:
            stop.set()
            vandal.join()
        self.assertEqual(codes, [0] * self.AT_ONCE)
        self.assertEqual(self.victim.read_text(), "Dear diary,\n")
        self.assertLessEqual(self.largest, FILE_MAX)
        connections = self.AT_ONCE * self.PROCESSES * self.EACH
        self.note(f"{connections} connections, damage: {done}")
        # nobody has read out of it that this server speaks MPTCP: all were converted
        self.assertEqual(self.converter.log.read_text().count("ev=reply "), connections)
        self.assertEqual(len(done), 6, "of each kind some")


if __name__ == "__main__":
    L.main(setup)
