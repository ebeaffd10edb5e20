#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""convert-bootstrap map: external ports by the Port Control Protocol (RFC 6887), at the lab's converter,
at a server that behaves as none should, and at miniupnpd. Lifetimes are the shortest in
which a renewal can be seen: half of them is four seconds, the least that may lie between two requests."""
import errno
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import time

sys.path.insert(1, sys.path[0] + "/../lab")
import lab as L
import pcp_peer

BOOTSTRAP = L.BUILD / "convert-bootstrap"
PCP = 5351
NAMES = ["SUCCESS", "UNSUPP_VERSION", "NOT_AUTHORIZED", "MALFORMED_REQUEST", "UNSUPP_OPCODE", "UNSUPP_OPTION",
         "MALFORMED_OPTION", "NETWORK_FAILURE", "NO_RESOURCES", "UNSUPP_PROTOCOL", "USER_EX_QUOTA",
         "CANNOT_PROVIDE_EXTERNAL", "ADDRESS_MISMATCH", "EXCESSIVE_REMOTE_PEERS"]


class Map(L.Process):
    """A `map -j` at work."""

    def __init__(self, lab, *arguments, ns="client", env=None):
        super().__init__(ns, [BOOTSTRAP, "map", "-j", *arguments], name="map",
                         env=env or {"CONVERT_STATE": lab.state})
        lab.started(self)

    def events(self, *names):
        found = [L.validated("map", line) for line in self.text().splitlines(True) if line[-1] == "\n"]
        return [e for e in found if not names or e["event"] in names]

    def wait_event(self, *names, n=1, timeout=10):
        return self.wait_for(f"{n} of {names}", lambda: (self.events(*names)[n - 1:n] or [None])[0],
                             timeout)


class Peer(L.Process):
    """pcp_peer.py at work."""

    def __init__(self, lab, what, *more, port=PCP):
        argv = ["/usr/bin/python3", "-B", L.ROOT / "tests/lab/pcp_peer.py", L.CONVERTER, str(port), what, *more]
        super().__init__("converter", argv, name=what)
        lab.started(self)
        self.wait_for("ready", lambda: "ready" in self.text())

    def requests(self):
        return [int(line) for line in self.text().splitlines() if line.isdigit()]


class Case(L.TestCase):
    def setUp(self):
        self.lab.state = str(self.lab.file("state"))

    def converter(self, *options, external=L.ROUTER, **more):
        return self.lab.converter("--pcp", "--pcp-external", external, "--pcp-error-lifetime", 3,
                                  *options, **more)

    def environment(self, address=L.CONVERTER):
        return {"CONVERT_STATE": self.lab.state, "CONVERT_ADDR": address}

    def map(self, *arguments, address=L.CONVERTER, **env):
        return Map(self.lab, *arguments, env=self.environment(address) | env)

    def text(self, *arguments):
        return self.lab.start("client", [BOOTSTRAP, "map", *arguments], name="map", env=self.environment())

    def status(self):
        done = self.lab.run([BOOTSTRAP, "status", "-j"], env=self.environment())
        self.assertEqual(done.code, 0, done)
        return L.validated("status", done.out)["mappings"]

    def wait_status(self, key):
        """An event is told a moment before the file says it."""
        return L.wait_for("the file", lambda: [s for s in self.status() if s[key]])[0]

    def is_open(self, port, address=L.ROUTER):
        """Does a remote host's SYN get there, whatever comes of it?"""
        done = self.lab.run(["nc", "-vz", "-w", "1", address, str(port)], ns="server")
        return "refused" not in done.err


class Life(Case):
    def test_made_and_ended(self):
        converter = self.converter()
        m = self.map("8080", "8443")
        self.assertEqual([m.wait_event("made", n=n)["port"] for n in (1, 2)], [8080, 8443])
        for event in m.events("made"):
            self.assertEqual((event["server"], event["converter"]), (f"{L.CONVERTER}:{PCP}", "environment"))
            self.assertEqual(event["external"], f"{L.ROUTER}:{event['port']}")
            self.assertEqual((event["lifetime_s"], event["result"]), (3600, 0))
        self.assertTrue(self.is_open(8080))
        self.assertEqual(converter.events("incoming", 1)[0]["client"], f"{L.CLIENT}:8080")
        self.assertFalse(self.is_open(8081))
        self.assertEqual(m.stop(), 0)
        self.assertEqual(len(m.events("ended")), 2)
        self.assertEqual([e["why"] for e in converter.events("unmap", 2)], ["deleted"] * 2)
        self.assertFalse(self.is_open(8080))
        self.assertEqual(self.status(), [])

    def disposition(self, number, what):
        """Of that signal here, and so in what is started."""
        self.addCleanup(signal.signal, number, signal.signal(number, what))

    def test_a_terminal_that_is_closed(self):
        """It is given back then; and kept under nohup, or in the background of a shell."""
        converter = self.converter("--pcp-least", 8)
        for n, number in (1, signal.SIGHUP), (3, signal.SIGINT):
            self.disposition(number, signal.SIG_DFL)
            m = self.map("8080")
            m.wait_event("made")
            self.assertEqual(m.stop(number), 0, m.text())
            self.assertEqual([e["why"] for e in converter.events("unmap", n)], ["deleted"] * n)
            self.disposition(number, signal.SIG_IGN)
            m = self.map("8443", "-t", "8", CONVERT_STATE=f"{self.lab.state}.{n}")
            m.wait_event("made")
            os.kill(m.pid, number)
            m.wait_event("renewed", timeout=20)
            self.assertEqual(m.events("ended"), [])
            self.assertEqual(m.stop(), 0)

    def writing_to(self, output, more):
        """Its mapping is made: more() says what it has written since it was asked last, nothing at its end."""
        env = L.ENVIRONMENT | {k: str(v) for k, v in self.environment().items()}
        m = subprocess.Popen(L.inside("client", [BOOTSTRAP, "map", "-j", "8080"]), stdin=subprocess.DEVNULL, stdout=output,
                             stderr=subprocess.PIPE, text=True, env=env, start_new_session=True)
        self.addCleanup(m.communicate)
        self.addCleanup(m.kill)
        os.close(output)
        seen = b""
        while b'"made"' not in seen:
            piece = more()
            self.assertTrue(piece, seen)
            seen += piece
        return m

    def test_a_terminal_that_has_hung_up(self):
        """With SIGHUP ignored it goes on, and is not told of that for ever: there it waits as elsewhere."""
        converter = self.converter()
        self.disposition(signal.SIGHUP, signal.SIG_IGN)
        master, slave = os.openpty()
        m = self.writing_to(slave, lambda: os.read(master, 4096))
        os.close(master)
        time.sleep(2)
        used = pathlib.Path(f"/proc/{m.pid}/stat").read_text().rsplit(")", 1)[1].split()
        self.assertLess(sum(map(int, used[11:13])) / os.sysconf("SC_CLK_TCK"), 0.2)
        m.terminate()
        m.communicate(timeout=10)
        self.assertEqual([e["why"] for e in converter.events("unmap", 1)], ["deleted"])

    def test_a_socket_whose_peer_has_gone(self):
        """Ends it, as the end of a pipe does."""
        converter = self.converter()
        ours, theirs = socket.socketpair()
        m = self.writing_to(theirs.detach(), lambda: ours.recv(4096))
        ours.close()
        first = m.communicate(timeout=10)[1].splitlines()[0]
        self.assertEqual(first, "standard output: cannot be written: Broken pipe")
        self.assertEqual(m.returncode, 1)
        self.assertEqual([e["why"] for e in converter.events("unmap", 1)], ["deleted"])

    def test_ipv6(self):
        self.converter(external=L.ROUTER6)
        m = self.map("8080", address=L.CONVERTER6)
        self.assertEqual(m.wait_event("made")["external"], f"[{L.ROUTER6}]:8080")
        self.assertTrue(self.is_open(8080, L.ROUTER6))

    def test_each_address_of_a_converter(self):
        self.converter("--pcp-external", L.ROUTER6)
        conf = self.lab.file("c.conf", f"[converter lab]\naddress = {L.CONVERTER}\naddress = {L.CONVERTER6}\n")
        m = self.map("-c", conf, "8080")
        self.assertEqual({m.wait_event("made", n=n)["external"] for n in (1, 2)},
                         {f"{L.ROUTER}:8080", f"[{L.ROUTER6}]:8080"})

    def test_two_converters(self):
        self.converter()
        self.converter("--pcp-quota", 0, listen=[L.ROUTER])
        conf = self.lab.file("c.conf", f"[converter one]\naddress = {L.CONVERTER}\n"
                                       f"[converter two]\naddress = {L.ROUTER}\n")
        m = self.map("-c", conf, "8080")
        self.assertEqual(m.wait_event("made")["converter"], "one")
        self.assertEqual(m.wait_event("refused")["converter"], "two")
        said = (f"mapping of port 8080 at one, {L.CONVERTER}:{PCP}\n    external   {L.ROUTER}:8080\n",
                f"mapping of port 8080 at two, {L.ROUTER}:{PCP}\n    external   none\n    server     USER_EX_QUOTA")
        status = [BOOTSTRAP, "status", "-c", conf]  # which has its own state, whatever the environment says
        L.wait_for("both", lambda: [s in self.lab.run(status).out.decode() for s in said] == [True, True])

    def test_text(self):
        self.converter("--pcp-quota", 1)
        m = self.text("8080", "8443")
        m.wait_for("two lines", lambda: m.text().count("\n") == 2)
        m.stop()
        self.assertEqual(m.text().splitlines(), [
            f"environment {L.CONVERTER}:{PCP}: port 8080 is reached at {L.ROUTER}:8080, for 3600 s",
            f"environment {L.CONVERTER}:{PCP}: port 8443 REFUSED: USER_EX_QUOTA: this host has as many "
            "mappings as it may have; asked again in 3 s",
            f"environment {L.CONVERTER}:{PCP}: port 8080 is closed"])

    def test_killed_and_started_anew(self):
        """The nonce is kept, without which nobody has a say in the mapping."""
        self.converter()
        for _ in range(2):
            m = self.map("8080")
            self.assertEqual(m.wait_event("made", "refused")["external"], f"{L.ROUTER}:8080")
            m.stop(signal.SIGKILL)
        pathlib.Path(self.lab.state + ".mappings").unlink()
        self.assertEqual(self.map("8080").wait_event("made", "refused")["result_name"], "NOT_AUTHORIZED")

    def test_killed_and_another_port_in_between(self):
        """Which leaves alone what it does not know, and is not said to keep it."""
        self.converter("--pcp-least", 1)
        m = self.map("8080")
        m.wait_event("made")
        self.wait_status("external")
        m.stop(signal.SIGKILL)
        m = self.map("-t", "2", "7070")
        m.wait_event("made")
        m.stop(signal.SIGKILL)  # and what has ended by then is forgotten
        m = self.map("9090")
        m.wait_event("made")
        L.wait_for("both, and no third one", lambda: sorted((s["client"], s["kept"]) for s in self.status()) == [
            (f"{L.CLIENT}:8080", False), (f"{L.CLIENT}:9090", True)])
        self.assertEqual(m.stop(), 0)
        self.assertEqual([s["client"] for s in self.status()], [f"{L.CLIENT}:8080"])
        self.assertNotIn(":7070 ", pathlib.Path(self.lab.state + ".mappings").read_text())
        m = self.map("8080")
        self.assertEqual(m.wait_event("made", "refused")["external"], f"{L.ROUTER}:8080")
        self.wait_status("kept")
        self.assertEqual((m.stop(), self.status()), (0, []))

    def test_status(self):
        self.converter()
        m = self.map("8080")
        m.wait_event("made")
        status = self.wait_status("external")
        self.assertTrue(3500 < status.pop("lifetime_s") <= 3600)
        self.assertEqual(status, {
            "server": f"{L.CONVERTER}:{PCP}", "name": "environment", "client": f"{L.CLIENT}:8080",
            "external": f"{L.ROUTER}:8080", "kept": True, "result": 0, "result_name": "SUCCESS",
            "error": None})
        text = self.lab.run([BOOTSTRAP, "status"], env=self.environment()).out.decode()
        self.assertRegex(text, rf"(?m)^mapping of port 8080 at environment, {L.CONVERTER}:{PCP}\n"
                               rf"    external   {L.ROUTER}:8080\n    lifetime   3\d\d\d s left$")
        self.assertEqual(pathlib.Path(self.lab.state + ".mappings").stat().st_mode & 0o777, 0o600)

    def test_while_the_host_sleeps(self):
        """A mapping's time goes on, so what is waited for does. A host that has slept is one whose boot time is
        later than it has been awake; here for status, who is in a namespace with such a time."""
        self.converter()
        trace = self.lab.file("trace")
        m = self.lab.start("client", ["strace", "-f", "-o", trace, "-e", "trace=timerfd_create,poll,ppoll",
                                      BOOTSTRAP, "map", "8080"], env=self.environment())
        status = self.wait_status("external")
        later = self.lab.run(["unshare", "-T", "--boottime", "2000", BOOTSTRAP, "status", "-j"],
                             env=self.environment(), user="")
        later = L.validated("status", later.out)["mappings"][0]
        self.assertTrue(1900 <= status["lifetime_s"] - later["lifetime_s"] <= 2100, later)
        m.stop()
        waits = re.findall(r"poll\(.*\], \d+, ([\d-]+)\)", trace.read_text())
        self.assertTrue(waits)
        self.assertEqual([w for w in waits if int(w) > 0], [])
        self.assertIn("timerfd_create(CLOCK_BOOTTIME", trace.read_text())

    def test_of_another_boot(self):
        """How long it is still there nobody knows; its nonce still has a say in it."""
        self.converter()
        m = self.map("8080")
        self.wait_status("external")
        m.stop(signal.SIGKILL)
        path = pathlib.Path(self.lab.state + ".mappings")
        head, *lines = path.read_text().splitlines(True)
        path.write_text("".join([head[:-2] + "-\n", *lines]))
        L.wait_for("nothing", lambda: self.status() == [])
        self.assertEqual(self.map("8080").wait_event("made", "refused")["external"], f"{L.ROUTER}:8080")

    def test_a_damaged_file(self):
        """What cannot be read is nothing, and so is a file that others may write."""
        self.converter()
        m = self.map("8080")
        self.wait_status("external")
        m.stop(signal.SIGKILL)
        path = pathlib.Path(self.lab.state + ".mappings")
        good = path.read_text()
        head, line = good.splitlines(True)
        words = line.split()

        def changed(n, word):
            return head + " ".join([*words[:n], word, *words[n + 1:]]) + "\n"

        for text in ("", "\n", "\0" * 5000, head, head[:-5], line, line + good, good[:-20], head + "x" * 5000 + "\n",
                     changed(0, words[0][1:]), changed(0, "g" * 24), changed(1, "nowhere"), changed(2, "0"),
                     changed(3, "1.2.3.4"), changed(4, "soon"), changed(5, "258"), changed(5, "-2"), changed(6, "x")):
            with self.subTest(text[len(head):][:200]):
                path.write_text(text)
                self.assertEqual(self.status(), [])
        path.write_text(head + "x" * 500 + "\n" + line)  # the others count
        self.assertEqual(len(self.status()), 1)
        path.chmod(0o666)
        self.assertEqual(self.status(), [])

    def test_another_file_in_the_way(self):
        """Of somebody else, or with another name elsewhere: it is not emptied, and not written to."""
        self.converter()
        victim = self.lab.file("victim", "dear diary\n")
        new = pathlib.Path(self.lab.state + ".mappings.new")
        for user in [0, 65534] if L.owns_several_users() else [0]:
            os.link(victim, new)
            os.chown(victim, user, 0)
            m = self.map("8080")
            self.wait_status("external")
            self.assertEqual(m.stop(), 0, m.text())
            self.assertEqual((victim.read_text(), victim.stat().st_nlink), ("dear diary\n", 1))
            self.assertFalse(new.exists())

    def test_without_a_state_file(self):
        self.converter()
        m = self.map("8080", CONVERT_STATE="none")
        m.wait_event("made")
        m.stop()
        self.assertEqual(len(m.events("ended")), 1)

    def test_named_twice(self):
        """Is one mapping."""
        self.converter()
        m = self.map("8080", "8443", "8080", "08080")
        m.wait_event("made", n=2)
        self.assertEqual(sorted(s["client"].rpartition(":")[2] for s in self.status()), ["8080", "8443"])
        m.stop()
        self.assertEqual((len(m.events("made")), len(m.events("ended"))), (2, 2))

    def test_more_than_few(self):
        """All of them are written down before a server hears of one, and known again."""
        addresses = [f"10.1.0.{n}" for n in range(50, 55)]  # nobody's
        conf = self.lab.file("c.conf", "[converter lab]\n" + "".join(f"address = {a}\n" for a in addresses) +
                             f"[state]\nfile = {self.lab.state}\n")
        kept = pathlib.Path(self.lab.state + ".mappings")
        nonces = []
        for _ in range(2):
            m = Map(self.lab, "-c", conf, *map(str, range(1, 65)), env={})
            m.wait_for("the file", kept.exists)
            m.wait_for("their state", lambda: len(self.status()) == 5 * 64)
            m.stop(signal.SIGKILL)
            nonces.append({line.split()[0] for line in kept.read_text().splitlines()[1:]})
        self.assertEqual((len(nonces[0]), nonces[1]), (5 * 64, nonces[0]))

    def full(self):
        """A file system of its own for the state; returns its folder, and what fills it."""
        place = self.lab.file("full")
        place.mkdir()
        L.command(["mount", "-t", "tmpfs", "-o", "size=32k", "none", place])
        self.addCleanup(L.command, ["umount", "-l", place])
        self.lab.state = str(place / "state")
        return place, place / "filler"

    def fill(self, filler):
        with open(filler, "wb", buffering=0) as f:
            try:
                while True:
                    f.write(b"x" * 512)
            except OSError as e:
                self.assertEqual(e.errno, errno.ENOSPC)

    def test_a_full_disk(self):
        """What was written stays as it was, what cannot be is said once, and written when there is room."""
        place, filler = self.full()
        self.converter("--pcp-least", 1, "--pcp-most", 8)
        m = self.map("-t", "8", "8080")
        m.wait_event("made")
        self.wait_status("external")
        m.stop(signal.SIGKILL)
        before = (place / "state.mappings").read_bytes()
        self.fill(filler)
        m = self.text("-t", "8", "8080", "8443")
        said = f"{place}/state.mappings: cannot be written: No space left on device; "
        m.wait_for("its complaint", lambda: said in m.text())
        m.wait_for("both", lambda: m.text().count(" is reached at ") == 2)
        self.assertEqual((place / "state.mappings").read_bytes(), before)
        self.assertFalse((place / "state.mappings.new").exists())
        filler.unlink()
        L.wait_for("both in the file", lambda: len(self.status()) == 2)
        self.fill(filler)
        m.wait_for("the next one", lambda: m.text().count(said) == 2)
        self.assertEqual(m.stop(), 0)  # none is left, and so no file
        self.assertEqual([p.name for p in place.iterdir() if "mappings" in p.name], [])

    def test_a_disk_that_is_read_only(self):
        place, _ = self.full()
        L.command(["mount", "-o", "remount,ro", place])
        m = self.text("8080")
        m.wait_for("its complaint", lambda: f"{place}/state.map: Read-only file system; " in m.text())
        self.assertEqual(m.stop(), 1)

    def test_output_that_cannot_be_written(self):
        """Is said when it is lost, and not when all is over; the mapping is kept and given back as any other."""
        converter = self.converter()
        m = self.lab.start("client", ["sh", "-c", 'exec "$@" >/dev/full', "sh", BOOTSTRAP, "map", "8080"], name="map",
                           env=self.environment())
        m.wait_for("its complaint", lambda: m.text() == "standard output: cannot be written: No space left on device\n")
        self.assertEqual(m.stop(), 1)
        self.assertEqual([e["why"] for e in converter.events("unmap", 1)], ["deleted"])

    def test_a_reader_that_has_gone(self):
        """Ends it, as SIGPIPE would, when the mapping has been given back."""
        head = """
import os, signal, sys
read, write = os.pipe()
if os.fork() == 0:
    os.close(write)
    os._exit(os.read(read, 1) == b"")
os.close(read)
os.dup2(write, 1)
os.close(write)
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
os.execv(sys.argv[1], sys.argv[1:])
"""
        converter = self.converter()
        r = self.lab.run(["/usr/bin/python3", "-c", head, BOOTSTRAP, "map", "8080"], env=self.environment(), timeout=10)
        self.assertEqual((r.code, r.err.splitlines()[0]), (1, "standard output: cannot be written: Broken pipe"), r)
        self.assertEqual([e["why"] for e in converter.events("unmap", 1)], ["deleted"])

    def test_one_for_each_state_file(self):
        self.converter()
        self.map("8080").wait_event("made")
        second = self.lab.run([BOOTSTRAP, "map", "8080"], env=self.environment())
        self.assertEqual(second.code, 1)
        self.assertIn("another convert-bootstrap keeps", second.err)

    def test_somebody_looks_at_it(self):
        """... whether anybody keeps the mappings, and takes his time: that keeps nobody from them."""
        self.need("strace")
        self.converter()
        lock, trace = f"{self.lab.state}.map", self.lab.file("trace")
        m = self.map("8080")
        self.wait_status("external")
        m.stop(signal.SIGKILL)  # there is something to look at
        look = self.lab.start("client", ["strace", "-o", trace, "-P", lock, "-e", "inject=close:delay_enter=60000000",
                                         BOOTSTRAP, "status"], name="status", env=self.environment())
        look.wait_for("the look", lambda: trace.exists() and lock in trace.read_text() and
                      re.search(r"^(flock|fcntl)", trace.read_text(), re.M))
        self.map("8080").wait_event("made")
        self.assertIsNone(look.process.poll())


class Lost(Case):
    def test_a_storm_of_announcements(self):
        """That it has forgotten is looked into once, within five seconds, and nothing waits for the rest."""
        peer = Peer(self.lab, "storm")
        m = self.map("8080")
        m.wait_event("made")
        peer.wait_for("a storm", lambda: "storm" in peer.text())
        self.assertEqual(m.stop(), 0)
        self.assertEqual(m.events()[-1]["event"], "ended")
        self.assertLess(len(peer.requests()), 5)

    def test_another_address_of_this_host(self):
        """What another address has mapped stays the other's."""
        self.converter()
        m = self.map("8080")
        m.wait_event("made")
        route = ["ip", "-n", "client", "route", "replace", "10.1.0.0/24", "dev", "c0", "src"]
        L.command(["ip", "-n", "client", "addr", "add", "10.1.0.7/24", "dev", "c0"])
        self.addCleanup(L.command, ["ip", "-n", "client", "addr", "del", "10.1.0.7/24", "dev", "c0"])
        self.addCleanup(L.command, route + [L.CLIENT])
        L.command(route + ["10.1.0.7"])
        self.assertNotEqual(m.wait_event("made", n=2)["external"], f"{L.ROUTER}:8080")
        L.wait_for("the file", lambda: self.status()[0]["client"] == "10.1.0.7:8080")

    def test_no_way_for_a_while(self):
        """Its network has gone and come back: asked for anew, and what it had is what it gets; also by the
        next one, as the server has not heard of an end."""
        self.converter()
        m = self.map("8080")
        m.wait_event("made")
        route = ["ip", "-n", "client", "route"]
        L.command([*route, "add", "unreachable", L.CONVERTER])
        self.assertIsNone(m.wait_event("away")["external"])
        status = self.wait_status("error")
        self.assertEqual((status["external"], status["error"], status["result"]), (None, "ENETUNREACH", None))
        L.command([*route, "del", "unreachable", L.CONVERTER])
        self.assertEqual(m.wait_event("made", n=2)["external"], f"{L.ROUTER}:8080")
        for n, end in ((2, signal.SIGKILL), (1, signal.SIGTERM)):
            L.command([*route, "add", "unreachable", L.CONVERTER])
            m.wait_event("away", n=n)
            self.wait_status("error")
            m.stop(end)
            L.command([*route, "del", "unreachable", L.CONVERTER])
            m = self.map("8080")
            again = m.wait_event("made", "refused")
            self.assertEqual((again["result_name"], again["external"]), ("SUCCESS", f"{L.ROUTER}:8080"))

    def test_not_at_home(self):
        self.converter()
        conf = self.lab.file("c.conf", f"[converter lab]\naddress = {L.CONVERTER}\ninterface = wwan0\n")
        m = self.map("-c", conf, "8080")
        m.wait_event("away")
        self.assertEqual(m.stop(), 0)
        self.assertEqual(len(m.events()), 1)


class Refused(Case):
    def test_by_its_own_reasons(self):
        self.converter("--pcp-quota", 1)
        m = self.map("8080", "8443")
        self.assertEqual(m.wait_event("refused")["result_name"], "USER_EX_QUOTA")
        m.wait_event("made")

    def test_another_version(self):
        self.converter("--pcp-version", 1)
        self.assertEqual(self.map("8080").wait_event("refused")["result_name"], "UNSUPP_VERSION")

    def test_no_client(self):
        self.converter()
        m = Map(self.lab, "-s", L.CONVERTER, "8080", ns="server")
        self.assertEqual(m.wait_event("refused")["result_name"], "NOT_AUTHORIZED")

    def test_a_port_that_is_taken(self):
        taken = self.lab.start("converter", ["nc", "-l", L.ROUTER, "8080"])
        taken.wait_for_listeners(8080)
        self.converter()
        external = self.map("8080").wait_event("made")["external"]
        self.assertNotEqual(external, f"{L.ROUTER}:8080")
        self.assertTrue(self.is_open(external.rsplit(":", 1)[1]))

    def test_usage(self):
        for code, said, *arguments in ((2, "Usage", "0"), (2, "Usage", "65536"), (2, "Usage", "http"),
                                       (2, "Usage", "-t", "0", "80"), (2, "Usage", "-s", "x", "80"),
                                       (1, "no port is named"), (1, "no converter", "80")):
            with self.subTest(arguments):
                done = self.lab.run([BOOTSTRAP, "map", *arguments])
                self.assertEqual((done.code, done.out), (code, b""), done)
                self.assertIn(said, done.err)


class Configured(Case):
    """Ports of [incoming], by run --watch and check."""

    def conf(self, rule="accept app nginx port 8080", more="", converter=f"address = {L.CONVERTER}"):
        return self.lab.file("c.conf", f"[converter lab]\n{converter}\n[incoming]\nrule = {rule}\n{more}\n")

    def check(self, conf):
        done = self.lab.run([BOOTSTRAP, "check", "-j", "-c", conf], env=self.environment(), timeout=60)
        found = L.validated("check", done.out)["findings"]
        return [f for f in found if f["id"].startswith("mapping")]

    def test_rules(self):
        """Whose program it is for does not matter to the port."""
        self.converter()
        conf = self.conf("accept port 8080-8081,8443", "rule = accept app nginx port 8443,90")
        m = self.map("-c", conf)
        self.assertEqual([m.wait_event("made", n=n)["port"] for n in (1, 2, 3, 4)], [90, 8080, 8081, 8443])

    def test_rules_without_a_port(self):
        without, named = "accept app nginx", "accept app sshd port 8080"
        for rule, said in ((without, "no port is named"), ("accept", "no port is named"),
                           ("accept port 1-65", "more than 64")):
            done = self.lab.run([BOOTSTRAP, "map", "-c", self.conf(rule)])
            self.assertEqual(done.code, 1)
            self.assertIn(said, done.err)
        self.assertEqual(self.check(self.conf(without)), [])
        self.assertEqual([f["id"] for f in self.check(self.conf("accept port 1-65"))], ["mapping-ports"])
        self.converter()
        for rules in (named, without), (without, named):
            conf = self.conf(rules[0], f"rule = {rules[1]}")
            m = self.map("-c", conf)
            self.assertEqual(m.wait_event("made")["port"], 8080)
            self.assertEqual(m.stop(), 0)
            self.assertEqual(len(m.events("ended")), 1)
            self.assertEqual([(f["id"], f["values"]["external"]) for f in self.check(conf)],
                             [("mapping", f"{L.ROUTER}:8080")])

    def test_server_of_the_configuration(self):
        self.converter(listen=[L.ROUTER])
        m = self.map("-c", self.conf(more=f"pcp = {L.ROUTER}"))
        self.assertEqual(m.wait_event("made")["server"], f"{L.ROUTER}:{PCP}")
        done = self.lab.run([BOOTSTRAP, "check", "--config", "-c", self.conf(more="pcp = router")])
        self.assertIn("expected an address", done.err)

    def test_run_watch(self):
        converter = self.converter()
        conf = self.conf()
        watch = self.lab.start("client", [BOOTSTRAP, "run", "-w", "-c", conf], env=self.environment())
        line = f"lab {L.CONVERTER}:{PCP}: port 8080 is reached at {L.ROUTER}:8080, for 3600 s\n"
        watch.wait_for("a mapping", lambda: line in watch.text())
        second = self.lab.run([BOOTSTRAP, "map", "-c", conf], env=self.environment())
        self.assertIn("another convert-bootstrap keeps", second.err)
        self.assertEqual([(f["id"], f["verdict"]) for f in self.check(conf)], [("mapping", "ok")])
        self.assertEqual(watch.stop(), 0)
        self.assertEqual([e["why"] for e in converter.events("unmap", 1)], ["deleted"])

    def test_run_watch_beside_a_map(self):
        """Whoever keeps the mappings when it begins may end before it."""
        self.converter()
        conf = self.conf()
        first = self.map("-c", conf)
        first.wait_event("made")
        watch = self.lab.start("client", [BOOTSTRAP, "run", "-w", "-c", conf], env=self.environment())
        said = "another convert-bootstrap keeps this user's mappings\n"
        watch.wait_for("its complaint", lambda: said in watch.text())
        self.assertEqual(first.stop(), 0)
        for change in "add", "del":  # it looks again when the network is another
            L.command(["ip", "-n", "client", "address", change, "192.0.2.77/32", "dev", "lo"])
        watch.wait_for("a mapping", lambda: f"port 8080 is reached at {L.ROUTER}:8080" in watch.text())
        self.assertEqual(watch.text().count(said), 1)
        self.assertEqual(watch.stop(), 0)

    def test_check(self):
        """What it has made for a look is gone again."""
        converter = self.converter()
        found, = self.check(self.conf())
        self.assertEqual((found["id"], found["verdict"], found["values"]["external"]),
                         ("mapping", "note", f"{L.ROUTER}:8080"))
        self.assertEqual([e["why"] for e in converter.events("unmap", 1)], ["deleted"])
        self.assertEqual(self.status(), [])

    def test_check_beside_a_map_of_other_ports(self):
        """That keeps none of these, so what has been made for a look is ended."""
        converter = self.converter()
        self.map("8080").wait_event("made")
        found, = self.check(self.conf("accept port 9090", f"[state]\nfile = {self.lab.state}"))
        self.assertEqual((found["id"], found["verdict"]), ("mapping", "note"))
        self.assertEqual([(e["client"], e["why"]) for e in converter.events("unmap", 1)],
                         [(f"{L.CLIENT}:9090", "deleted")])
        self.assertTrue(self.is_open(8080))
        self.assertEqual(self.map("9090", CONVERT_STATE="none").wait_event("made", "refused")["event"], "made")

    def test_check_of_what_is_kept(self):
        """It ends when it would have."""
        converter = self.converter("--pcp-least", 1, "--pcp-most", 86400)
        m = self.map("-t", "86400", "8080")
        m.wait_event("made")
        self.wait_status("external")
        found, = self.check(self.conf(more=f"[state]\nfile = {self.lab.state}"))
        self.assertEqual((found["id"], found["verdict"], found["values"]["external"]),
                         ("mapping", "ok", f"{L.ROUTER}:8080"))
        first, second = converter.events("pcp")
        self.assertTrue(0 <= int(first["lifetime"]) - int(second["lifetime"]) <= 60, second)
        self.assertEqual(converter.events("unmap"), [])
        self.assertEqual((m.stop(), len(m.events("ended"))), (0, 1))

    def test_each_result(self):
        """map, status and check name it."""
        for code in range(1, 14):
            with self.subTest(NAMES[code]):
                converter = self.converter("--pcp-result", code)
                found, = self.check(self.conf())
                self.assertEqual((found["id"], found["verdict"], found["values"]["result"]),
                                 ("mapping-refused", "problem", code))
                self.assertIn(NAMES[code], found["what"])
                self.assertTrue(found["mend"])
                m = self.map("8080")
                event = m.wait_event("refused", "made")
                self.assertEqual((event["event"], event["result"], event["result_name"], event["external"]),
                                 ("refused", code, NAMES[code], None))
                status = self.wait_status("result")
                self.assertEqual((status["result_name"], status["external"]), (NAMES[code], None))
                m.stop()
                converter.stop()

    def test_check_without_a_server(self):
        self.lab.converter()
        found, = self.check(self.conf())
        self.assertEqual((found["id"], found["verdict"]), ("mapping-server", "problem"))


class Waits(Case):
    """What takes seconds is begun at once for all, and each test waits for its own. Every map has a server at
    a port of its own, whose number says which port of the client's it is for."""

    begun = {"renewed": (["--pcp-least", 8], ["-t", "8"]), "unanswered": (["--pcp-drop", 1], []),
             "refused": (["--pcp-quota", 0], []), "killed": (["--pcp-least", 1, "--pcp-most", 8], [])}

    @classmethod
    def begin(cls, port, *arguments, ports=None):
        return Map(cls.lab, "-s", f"{L.CONVERTER}:{port}", *arguments, *(ports or [str(port)]),
                   env={"CONVERT_STATE": str(cls.lab.file("state"))})

    @classmethod
    def serve(cls, port, *options, quiet=True):
        return cls.lab.converter("--pcp", "--pcp-port", port, "--pcp-external", L.ROUTER, "--pcp-error-lifetime", 3,
                                 *(["--pcp-quiet"] if quiet else []), *options, port=port)

    @classmethod
    def setUpClass(cls):
        cls.at, cls.maps = {}, {}
        for port, (name, (options, arguments)) in enumerate(cls.begun.items(), 7001):
            cls.at[name], cls.maps[name] = cls.serve(port, *options), cls.begin(port, *arguments)
        cls.at["forgets"] = Peer(cls.lab, "forgets", port=7101)
        cls.maps["forgets"] = cls.begin(7101, ports=["8080", "8443"])
        cls.at["hostile"] = Peer(cls.lab, "hostile", L.ROUTER, port=7102)
        n = len(pcp_peer.HOSTILE) + 2
        cls.maps["hostile"] = cls.begin(7102, ports=[str(pcp_peer.FIRST_PORT + i) for i in range(n)])
        first = cls.serve(7104, "--pcp-epoch", 1000)
        cls.maps["announced"] = cls.begin(7104)
        cls.maps["announced"].wait_event("made")
        first.stop()
        cls.at["announced"] = cls.serve(7104, quiet=False)
        cls.maps["nobody"] = cls.begin(7103)
        cls.maps["nobody"].wait_event("no-answer")
        cls.at["nobody"] = cls.serve(7103)

    def of(self, name):
        return self.at[name], self.maps[name]

    def test_renewed(self):
        converter, m = self.of("renewed")
        made, renewed = m.wait_event("made"), m.wait_event("renewed", timeout=20)
        self.assertEqual((renewed["external"], renewed["lifetime_s"]), (made["external"], 8))
        times = [float(e["t"]) for e in converter.events("pcp")]
        self.assertGreater(times[1] - times[0], 3.9)
        self.assertEqual(converter.events("unmap"), [])
        self.assertTrue(self.is_open(7001))

    def test_an_answer_is_lost(self):
        converter, m = self.of("unanswered")
        m.wait_event("made", timeout=15)
        self.assertEqual([e["event"] for e in m.events()], ["no-answer", "made"])
        times = [float(e["t"]) for e in converter.events("pcp")]
        self.assertGreater(times[1] - times[0], 2.6)  # 8.1.1: three seconds, a tenth less or more

    def test_asked_again(self):
        converter, m = self.of("refused")
        m.wait_event("refused", n=2, timeout=15)
        times = [float(e["t"]) for e in converter.events("pcp")]
        self.assertGreater(times[1] - times[0], 2.9)

    def test_nobody_renews_it(self):
        converter, m = self.of("killed")
        self.assertEqual(m.wait_event("made")["lifetime_s"], 8)
        m.stop(signal.SIGKILL)
        before = len(converter.events("unmap"))
        L.wait_for("the end", lambda: [e["why"] for e in converter.events("unmap")[before:]] == ["expired"], 20)
        self.assertFalse(self.is_open(7004))

    def test_nobody_there(self):
        m = self.maps["nobody"]
        event = m.events("no-answer")[0]
        self.assertEqual((event["error"], event["external"]), ("ECONNREFUSED", None))
        self.assertEqual(m.wait_event("made", timeout=15)["error"], None)

    def test_restarted_with_an_announcement(self):
        """14.1: a multicast tells that the server begins anew; asked again within five seconds."""
        _, m = self.of("announced")
        self.assertEqual(m.wait_event("renewed", timeout=15)["external"], f"{L.ROUTER}:7104")
        self.assertTrue(self.is_open(7104))

    def test_restarted_without_an_announcement(self):
        """8.5: what the epoch of one mapping's answer says is believed of them all."""
        peer, m = self.of("forgets")
        L.wait_for("both, again", lambda: len(peer.requests()) >= 4, 20)
        self.assertEqual(peer.requests()[:4], [8080, 8443, 8080, 8443])
        m.wait_event("renewed", n=2)

    def test_a_hostile_server(self):
        """What is no answer of this server's to this request is as nothing: asked again after three seconds.
        What comes twice counts once."""
        peer, m = self.of("hostile")
        rows = [(name, is_one) for name, (_, is_one) in pcp_peer.HOSTILE.items()]
        rows += [("from another address", False), ("from another port", False)]
        m.wait_event("made", n=len(rows), timeout=20)
        for port, (name, is_one) in enumerate(rows, pcp_peer.FIRST_PORT):
            with self.subTest(name):
                events = [e["event"] for e in m.events() if e["port"] == port]
                self.assertEqual(events, ["made"] if is_one else ["no-answer", "made"])
                self.assertEqual(peer.requests().count(port), 1 if is_one else 2)


# The chains that miniupnpd's rules go to, as Debian's script makes them; of iptables' two kernel interfaces
# its library knows the older one.
CHAINS = ["-t nat -N MINIUPNPD", "-t nat -A PREROUTING -i wan -j MINIUPNPD", "-t nat -N MINIUPNPD-POSTROUTING",
          "-t nat -A POSTROUTING -o wan -j MINIUPNPD-POSTROUTING", "-t filter -N MINIUPNPD",
          "-t filter -A FORWARD -i wan ! -o wan -j MINIUPNPD", "-t mangle -N MINIUPNPD",
          "-t mangle -A PREROUTING -i wan -j MINIUPNPD"]
MINI = """
ext_ifname=wan
listening_ip=lan
enable_natpmp=yes
enable_upnp=no
system_uptime=no
min_lifetime={least}
allow 1024-65535 10.3.0.0/24 1024-65535
"""


class Miniupnpd(Case):
    """A PCP server that is another's: Debian's miniupnpd, which a gateway would run, on a gateway of its own
    between the client and the server: 10.3.0.2, fd03::2, and outside an address that nobody takes for private,
    which miniupnpd would not map."""
    gateway, outside = "10.3.0.2", "11.0.0.1"

    @classmethod
    def setUpClass(cls):
        lab = cls.lab
        lab.namespace("gateway")
        L.sysctl("gateway", net__ipv4__ip_forward=1)
        lab.link("client", "g0", "gateway", "lan", 0)
        lab.link("gateway", "wan", "server", "g1", 0)
        for ns, device, address in (("client", "g0", "10.3.0.1/24"), ("gateway", "lan", "10.3.0.2/24"),
                                    ("client", "g0", "fd03::1/64"), ("gateway", "lan", "fd03::2/64"),
                                    ("gateway", "wan", "11.0.0.1/24"), ("server", "g1", "11.0.0.2/24")):
            L.command(["ip", "-n", ns, "addr", "add", address, "dev", device,
                       *(["nodad"] if ":" in address else [])])
        L.command(["ip", "-n", "client", "route", "add", "11.0.0.0/24", "via", "10.3.0.2"])

    def setUp(self):
        super().setUp()
        self.need("miniupnpd", "iptables-legacy")
        probe = self.lab.run(["iptables-legacy", "-t", "nat", "-S", "MINIUPNPD"], ns="gateway", user="")
        if probe.code:
            for line in CHAINS:
                L.command(L.inside("gateway", ["iptables-legacy", *line.split()]))
            for line in (line for line in CHAINS if "-t nat" not in line):
                L.command(L.inside("gateway", ["ip6tables-legacy", *line.split()]))

    def gate(self, least=8):
        conf = self.lab.file("mini.conf", MINI.format(least=least))
        gate = self.lab.start("gateway", ["miniupnpd", "-d", "-f", conf, "-P", self.lab.file("mini.pid")],
                              name="miniupnpd")
        gate.wait_for("readiness", lambda: "NAT-PMP/PCP traffic on port 5351" in gate.text())
        return gate

    def map(self, *arguments, server=None):
        return Map(self.lab, "-s", server or self.gateway, *arguments, env=self.environment())

    def rules(self):
        return L.command(L.inside("gateway", ["iptables-legacy", "-t", "nat", "-S", "MINIUPNPD"])).count("--dport 8080 ")

    def test_made_renewed_restarted_and_ended(self):
        gate = self.gate()
        m = self.map("-t", "8", "8080")
        made = m.wait_event("made")
        self.assertEqual((made["external"], made["lifetime_s"], made["converter"]),
                         (f"{self.outside}:8080", 8, None))
        self.assertEqual(self.rules(), 1)
        listener = self.lab.start("client", ["nc", "-l", "10.3.0.1", "8080"])
        listener.wait_for_listeners(8080)
        self.assertEqual(self.lab.run(["nc", "-N", "-w", "5", self.outside, "8080"], ns="server", stdin=b"hello\n").code, 0)
        listener.process.wait(5)
        self.assertEqual(listener.text(), "hello\n")
        m.wait_event("renewed", timeout=20)  # four seconds: its epoch then goes back by more than it may
        gate.stop()
        self.gate()
        m.wait_event("renewed", n=2, timeout=20)
        self.assertEqual(m.stop(), 0)
        self.assertEqual(m.events("ended")[0]["result"], 0)
        self.assertEqual(self.rules(), 0)

    def test_ipv6(self):
        """There is no NAT: a hole in a firewall, where the port keeps its address."""
        self.gate()
        m = self.map("8080", server="fd03::2")
        self.assertEqual(m.wait_event("made", "refused")["external"], "[fd03::1]:8080")

    def test_refused(self):
        """Where its rules cannot be made; they are renamed meanwhile."""
        self.gate()
        rename = ["iptables-legacy", "-t", "nat", "-E"]
        L.command(L.inside("gateway", [*rename, "MINIUPNPD", "OTHER"]))
        self.addCleanup(L.command, L.inside("gateway", [*rename, "OTHER", "MINIUPNPD"]))
        event = self.map("8080").wait_event("refused", "made")
        self.assertEqual((event["result_name"], event["external"]), ("NO_RESOURCES", None))

    def test_not_there(self):
        event = self.map("8080").wait_event("no-answer")
        self.assertEqual(event["error"], "ECONNREFUSED")


if __name__ == "__main__":
    L.main()
