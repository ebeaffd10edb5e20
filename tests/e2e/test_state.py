#!/usr/bin/python3 -B
# SPDX-License-Identifier: MIT
"""The state file: where it is, what it costs a process that connects, and a storm over it."""
import os
import pathlib
import random
import re
import shutil
import stat
import sys
import threading
import time

sys.path.insert(1, sys.path[0] + "/../lab")
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
        """state: "" for where it is if nobody says so; None for nowhere."""
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


VICTIM, HOSTILE = 65534, 1234
SHARED = pathlib.Path("/dev/shm")
OWN = SHARED / f"convert-{VICTIM}"


def as_user(uid):
    return ["setpriv", "--reuid", str(uid), "--regid", str(uid), "--clear-groups"]


class Users(State):
    """Case 1.7: users without a runtime directory, of whom one may be hostile."""

    def setUp(self):
        super().setUp()
        if not L.owns_several_users():
            self.skipTest("one user only in this namespace")
        self.clean()
        self.addCleanup(self.clean)

    def clean(self):
        for path in SHARED.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
        shutil.rmtree("/run/user", ignore_errors=True)

    def shim(self, state="", **more):
        return super().shim(state, **{"log": False} | more)

    def who(self, shim, before=as_user(VICTIM), **more):
        r = self.lab.run([*before, "curl", "-sS", PAGE], shim=shim, **more)
        self.assertEqual((r.code, r.err), (0, ""), r)
        return r.out.decode().strip()

    def tool(self, shim, *words, uid=VICTIM):
        r = self.lab.run([*as_user(uid), L.BUILD / "convert-bootstrap", *words], env=shim)
        self.assertEqual(r.code, 0, r)
        return r.out.decode()

    def poison(self, path, uid=HOSTILE):
        """A good state file of that user's, by which the server is reached past the converter."""
        self.assertFalse(path.exists())
        path.parent.mkdir(exist_ok=True)
        os.chmod(path.parent, 0o777)
        self.tool({"CONVERT_STATE": str(path)}, "pin", f"{L.SERVER}:80", "mptcp", uid=uid)
        os.chmod(path, 0o644)
        return path


# Case 1.7: by users without a runtime directory, too.
class Shared(Users):
    SILENT = "timeout = 700ms\nfallback = direct"

    def silent(self):
        self.converter.stop()
        self.converter = self.lab.converter("--fastopen", "no-cookie", "--fault", "silence")

    def asked(self):
        return len(self.converter.events("accept"))

    def test_the_first_process_alone_waits(self):
        self.silent()
        shim = self.shim(policy=self.SILENT)
        for uid in VICTIM, HOSTILE:
            before = self.asked()
            self.assertEqual(self.who(shim, as_user(uid)), L.CLIENT)
            asked = self.asked()
            self.assertGreater(asked, before)
            self.assertEqual(self.who(shim, as_user(uid)), L.CLIENT)
            self.assertEqual(self.asked(), asked, "the second process has asked it again")
            for path, mode in ((f"convert-{uid}", 0o700), (f"convert-{uid}/state", 0o600)):
                st = os.lstat(SHARED / path)
                self.assertEqual((st.st_uid, stat.S_IMODE(st.st_mode)), (uid, mode), path)

    def test_one_that_drops_its_rights(self):
        """As sshd, nginx and apache do: what is learned is of the user that it is by then."""
        script = f"""if True:
            import os, socket, sys
            for uid in map(int, sys.argv[1:]):
                os.seteuid(uid)
                with socket.socket() as s:
                    pass
            with socket.create_connection(("{L.SERVER}", 80)):
                pass
        """
        self.silent()
        shim = self.shim(policy=self.SILENT)
        if os.path.exists("/run/convert"):
            shutil.rmtree("/run/convert")
        counts = []
        for users in (0, VICTIM), (0, VICTIM), (VICTIM, 0):
            before = self.asked()
            r = self.lab.run(["/usr/bin/python3", "-c", script, *users], shim=shim)
            self.assertEqual((r.code, r.err), (0, ""), r)
            counts.append(self.asked() > before)
            self.assertEqual(os.path.exists("/run/convert/state"), users[-1] == 0)
        self.assertEqual(counts, [True, False, True])
        self.assertEqual(os.lstat(OWN / "state").st_uid, VICTIM)

    def test_a_runtime_directory_comes_first(self):
        """If it is the user's own, as it is not after su."""
        shim, own = self.shim(), self.lab.file("own")
        for name, owner, mode, is_used in (("own", VICTIM, 0o700, True),
                                           ("another's", HOSTILE, 0o777, False),
                                           ("root's", 0, 0o755, False),
                                           ("everybody's", VICTIM, 0o777, False)):
            with self.subTest(name):
                own = self.lab.file("run")
                own.mkdir()
                os.chown(own, owner, owner)
                os.chmod(own, mode)
                self.who(shim | {"XDG_RUNTIME_DIR": str(own)})
                self.assertEqual((own / "convert/state").exists(), is_used)
                self.assertEqual((OWN / "state").exists(), not is_used)
                self.clean()
        run = pathlib.Path(f"/run/user/{VICTIM}")
        run.mkdir(parents=True)
        os.chown(run, VICTIM, VICTIM)
        for variable in {}, {"XDG_RUNTIME_DIR": "/nowhere"}:
            self.who(shim | variable)
            self.assertTrue((run / "convert/state").exists())
            self.assertFalse(OWN.exists())

    def test_root_and_the_directory_of_another(self):
        """As su and sudo may leave it in the environment."""
        own = self.lab.file("run")
        own.mkdir()
        os.chown(own, VICTIM, VICTIM)
        self.poison(own / "convert/state", VICTIM)
        (own / "convert/state").rename(own / "kept")
        self.assertEqual(self.who(self.shim() | {"XDG_RUNTIME_DIR": str(own)}, []), L.ROUTER)
        self.assertEqual(os.listdir(own / "convert"), [])
        self.assertTrue(os.path.exists("/run/convert/state"))

    def test_odd_masks(self):
        self.assertEqual(self.who(self.shim(), [*as_user(VICTIM), "sh", "-c",
                                                'umask 777; exec "$@"', "sh"]), L.ROUTER)
        self.assertEqual(stat.S_IMODE(os.stat(OWN).st_mode), 0o700)
        self.assertEqual(stat.S_IMODE(os.stat(OWN / "state").st_mode), 0o600)

    def test_system_calls(self):
        """What a process pays beside one that has a runtime directory."""
        self.need("strace")
        run, out = self.lab.file("run"), self.lab.file("strace")
        run.mkdir()
        os.chown(run, VICTIM, VICTIM)
        out.touch()
        os.chown(out, VICTIM, VICTIM)
        counts = []
        for more in {"CONVERT_STATE": "none"}, {"XDG_RUNTIME_DIR": str(run)}, {}:
            shim = self.shim() | {"LD_PRELOAD": L.SHIM} | more
            for _ in range(4):  # the first makes the file, the next two write what they learn into it
                self.lab.run([*as_user(VICTIM), "strace", "-f", "-qq", "-o", out] +
                             [f"-E{k}={v}" for k, v in shim.items()] +
                             [L.TOOLS / "costs", "blocking", 1, L.SERVER, 80])
            counts.append(len(re.findall(r"^\d+ +\w+\(", out.read_text(), re.M)))
        self.note(f"system calls of a process with one connection: no state {counts[0]}, with a "
                  f"runtime directory {counts[1]}, without {counts[2]}")
        self.assertLessEqual(counts[2] - counts[1], 3 * 4)


class Neighbour(Users):
    """One who was there first. The victim's connections are converted all the same, at once, and
    nothing that is his is read, written, waited for or followed."""

    def hostile(self, path, uid=HOSTILE, mode=None):
        os.chown(path, uid, uid, follow_symlinks=False)
        if mode is not None:
            os.chmod(path, mode)

    def untouched(self, *paths):
        """Converted, and these are as they were."""
        def look(path):
            st = os.lstat(path)
            content = path.read_bytes() if stat.S_ISREG(st.st_mode) else \
                sorted(os.listdir(path)) if stat.S_ISDIR(st.st_mode) else None
            return st.st_mode, st.st_uid, st.st_size, content
        before = [look(path) for path in paths]
        self.assertEqual(self.who(self.shim()), L.ROUTER)
        self.assertEqual([look(path) for path in paths], before)

    def test_what_is_poison(self):
        """In its own place it is believed: the others are a proof."""
        self.tool(self.shim(), "pin", f"{L.SERVER}:80", "mptcp")
        self.assertEqual(self.who(self.shim()), L.CLIENT)
        self.assertIn(str(OWN / "state"), self.tool(self.shim(), "status", "--json"))

    def test_directory(self):
        for mode in 0o755, 0o777, 0o700, 0o1777:
            with self.subTest(oct(mode)):
                self.poison(OWN / "state")
                self.hostile(OWN, mode=mode)
                self.untouched(OWN, OWN / "state")
                self.clean()

    def test_not_a_directory(self):
        for make in (os.mkfifo, lambda path: path.write_bytes(b"x"),
                     lambda path: os.symlink("/nowhere", path)):
            make(OWN)
            self.hostile(OWN)
            self.untouched(OWN)
            self.clean()

    def test_link_to_a_directory(self):
        """Of the hostile user's, with a file of the victim's in it; of the victim's own."""
        for uid in HOSTILE, VICTIM:
            target = self.lab.file("elsewhere")
            self.poison(target / "state", VICTIM)
            self.hostile(target, uid, 0o700 if uid == VICTIM else 0o755)
            os.symlink(target, OWN)
            self.hostile(OWN)
            self.untouched(OWN, target, target / "state")
            self.clean()

    def test_a_pipe_for_a_lock(self):
        """Of who keeps ports mapped: status asks for it, and waits for nobody."""
        OWN.mkdir()
        os.mkfifo(OWN / "state.map")
        self.hostile(OWN / "state.map", mode=0o666)
        self.hostile(OWN, mode=0o755)
        for words in ["status"], ["status", "--json"]:
            r = self.lab.run([*as_user(VICTIM), L.BUILD / "convert-bootstrap", *words], env=self.shim(), timeout=10)
            self.assertEqual(r.code, 1, r)
            self.assertIn(f"{OWN}/state is not used, as its directory is not this user's alone", r.err)

    def test_a_directory_that_others_can_write(self):
        """The victim's own, by some mistake: into it a hostile user moves what he likes."""
        for mode in 0o777, 0o770, 0o705:
            self.poison(OWN / "state", VICTIM)
            os.link(OWN / "state", SHARED / "a link")
            self.hostile(OWN, VICTIM, mode)
            self.untouched(OWN, OWN / "state")
            self.clean()

    def test_files_in_the_right_directory(self):
        def of(mode, uid=VICTIM):
            def make(state):
                self.poison(state, uid)
                self.hostile(state, uid, mode)
            return make

        def link(state):
            os.symlink(self.poison(self.lab.file("poison") / "state", VICTIM), state)

        for make in of(0o666), of(0o620), of(0o644, HOSTILE), link, os.mkfifo, os.mkdir:
            OWN.mkdir()
            make(OWN / "state")
            self.hostile(OWN, VICTIM, 0o700)
            self.untouched(OWN, OWN / "state")
            self.clean()

    def test_of_root(self):
        """Root has /run for itself, and never looks there."""
        self.poison(SHARED / "convert-0/state")
        self.assertEqual(self.who(self.shim(), []), L.ROUTER)
        self.assertEqual(os.listdir(SHARED), ["convert-0"])

    def test_a_place_that_is_not_safe(self):
        """Where others could move the directory away nothing is made; nor where there is no room."""
        for options, is_made in (("mode=777", False), (f"mode=1777,uid={HOSTILE}", False),
                                 ("mode=755", False), ("mode=1777,nr_inodes=2", True),
                                 ("mode=1777,nr_inodes=1", False), ("mode=1777,ro", False),
                                 ("mode=1777,size=4k", True), ("mode=1777", True)):
            with self.subTest(options):
                script = (f'mount -t tmpfs -o {options} lab /dev/shm && "$@"; '
                          'ls /dev/shm >"$0"; umount /dev/shm')
                made = self.lab.file("made")
                self.assertEqual(self.who(self.shim(), [
                    "unshare", "--mount", "sh", "-c", script, made, *as_user(VICTIM)]), L.ROUTER)
                self.assertEqual(made.read_text(), f"convert-{VICTIM}\n" if is_made else "")

    def test_everybody_looks_like_nobody(self):
        """In a user namespace that maps nobody, all users have the number that geteuid() says."""
        state = self.poison(self.lab.file("poison") / "state")
        unmapped = [*as_user(5678), "unshare", "--user"]
        if self.lab.run([*unmapped, "true"]).code:
            self.skipTest("no user namespaces for users")
        self.assertEqual(self.who(self.shim(state), unmapped), L.ROUTER)
        self.assertEqual(self.who(self.shim(state), [*unmapped, "--map-current-user"]), L.ROUTER)
        self.assertEqual(self.who(self.shim(), unmapped), L.ROUTER)


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
