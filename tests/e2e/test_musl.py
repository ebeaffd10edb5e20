#!/usr/bin/python3 -B
# SPDX-License-Identifier: MIT
"""Programs of musl: through the library as glibc's compiler has built it, which is the one that everybody
gets, and through one that was built with musl.

The clients of test_transparency.py and test_transcript.py, built with musl, say the same converted as direct;
test_storms.py has theirs, too."""
import sys

sys.path.insert(1, sys.path[0] + "/../lab")
import lab as L
import servers
import test_transcript as C
import test_transparency as T

MUSL = L.BUILD / "musl"
CLIENTS = MUSL / "clients/e2e"
NATIVE = L.TMP / "musl" / L.SHIM.name


def setup(lab):
    NATIVE.parent.mkdir()
    NATIVE.write_bytes((MUSL / L.BUILT_SHIM.name).read_bytes())
    T.setup(lab)
    servers.nginx(lab)
    T.BARE_MPTCP = None


class Library(L.TestCase):
    def imports(self, path):
        lines = L.command(["nm", "-D", "--undefined-only", path]).splitlines()
        return {line.split()[1].partition("@")[0] for line in lines if line.split()[0] not in "wv"}

    def test_imports(self):
        """Nothing is needed that only one of the two libcs has."""
        musl, glibc = (set(line.split()[2].partition("@")[0] for line in
                           L.command(["nm", "-D", "--defined-only", libc]).splitlines())
                       for libc in (self.interpreter(CLIENTS / "transcript"),
                                    L.command(["cc", "-print-file-name=libc.so.6"]).strip()))
        for built in L.BUILT_SHIM, MUSL / L.BUILT_SHIM.name:
            self.assertEqual(self.imports(built) - (musl & glibc), set(), built)

    def interpreter(self, program):
        text = L.command(["readelf", "-lW", program])
        return text.partition("interpreter: ")[2].partition("]")[0]

    def test_in_a_program_without_sockets(self):
        for shim in L.SHIM, NATIVE:
            r = self.lab.run([CLIENTS / "transcript", "list"], env={"LD_PRELOAD": str(shim)})
            self.assertEqual((r.code, r.err), (0, ""), r)


class Programs(T.Transparency):
    LIBRARY = L.SHIM
    KIND = "at_once", "split", "ask"

    def client(self, build, client, pattern, outcome, shim=None, first=(), **more):
        """Whatever runs it is of the other libc, and does not get that library."""
        if shim:
            shim = shim | {"LD_PRELOAD": ""}
            first = [*first, "env", f"LD_PRELOAD={self.LIBRARY}"]
        return super().client(CLIENTS / "plain", client, pattern, outcome, shim, first=first, **{"jobs": 60} | more)

    def test_looked_at_again(self):
        """A case by itself, before all others, runs with the library, too."""
        converter = self.lab.converter()
        for outcome in T.BOTH:
            said = self.client("musl", "t_matrix", "epoll_pwait2-after-both-inout", outcome,
                               self.lab.config("fast-open = no-cookie"), jobs=1, first=T.before_all_others())
            self.assertEqual(len(said), 1)
        self.assertGreater(len(converter.events("request")), 1)

    def say_the_same(self, *clients):
        self.through(*self.KIND, [("musl", client, pattern, outcome)
                                  for client, pattern, outcomes in clients for outcome in outcomes],
                     enough=3)

    def test_waiting(self):
        self.say_the_same(("t_matrix", "*", T.BOTH))

    def test_reading_and_writing(self):
        self.say_the_same(("t_io", "*", T.BOTH), ("t_args", "*", ["accepted"]))

    def test_time(self):
        self.say_the_same(("t_time", "[ls]*", T.BOTH))

    def test_life(self):
        self.say_the_same(("t_life", "*", ["accepted"]), ("t_epoll", "*", ["accepted"]),
                          ("t_options", "*", ["accepted"]))


class FirstWrites(Programs):
    KIND = "hold", "split", "free"
    test_waiting = test_reading_and_writing = test_time = test_life = test_looked_at_again = None

    def test_first_writes(self):
        self.say_the_same(("t_fastopen", "*", T.BOTH), ("t_deferred", "*", T.BOTH))


class Native(Programs):
    """Built with musl."""
    LIBRARY = NATIVE
    test_time = test_life = None


class Transcripts(C.AtOnce):
    """Each call of a connection; signals, children, and a thread that is cancelled."""
    TOOLS, direct, programs = CLIENTS, {}, {}
    test_accepted6 = test_refused6 = test_unreachable = test_prohibited = None


if __name__ == "__main__":
    L.MPTCP = "off"
    L.main(setup, delay_ms=(30, 20))
