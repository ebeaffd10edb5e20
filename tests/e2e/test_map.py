#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""convert-bootstrap map: external ports by the Port Control Protocol (RFC 6887), at the lab's converter
and at miniupnpd, which is another's. Lifetimes are the shortest in which a renewal can be seen: half of
them is four seconds, the least that may lie between two requests."""
import pathlib
import signal
import time

import lab as L
import schemas

BOOTSTRAP = L.BUILD / "convert-bootstrap"
PCP = 5351
NAMES = ["SUCCESS", "UNSUPP_VERSION", "NOT_AUTHORIZED", "MALFORMED_REQUEST", "UNSUPP_OPCODE", "UNSUPP_OPTION",
         "MALFORMED_OPTION", "NETWORK_FAILURE", "NO_RESOURCES", "UNSUPP_PROTOCOL", "USER_EX_QUOTA",
         "CANNOT_PROVIDE_EXTERNAL", "ADDRESS_MISMATCH", "EXCESSIVE_REMOTE_PEERS"]


class Map(L.Process):
    """A `map -j` at work."""

    def __init__(self, lab, *arguments, ns="client", env=None):
        super().__init__(ns, [BOOTSTRAP, "map", "-j", *arguments], name="map",
                         env={"CONVERT_STATE": lab.state} | (env or {}))
        lab.started(self)

    def events(self, *names):
        found = [schemas.validated("map", line) for line in self.text().splitlines(True) if line[-1] == "\n"]
        return [e for e in found if not names or e["event"] in names]

    def wait_event(self, *names, n=1, timeout=10):
        return self.wait_for(f"{n} of {names}", lambda: (self.events(*names)[n - 1:n] or [None])[0],
                             timeout)


# A server of which each port has another lifetime, and that knows nothing any more when a port is asked for
# a second time: the epoch begins anew.
FAKE = """
import socket, sys, time
lifetimes = eval(sys.argv[2])
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind((sys.argv[1], 5351))
seen, start = set(), time.time() - 1000
print("ready", flush=True)
while True:
    q, peer = s.recvfrom(2000)
    port = int.from_bytes(q[40:42], "big")
    if port in seen:
        seen, start = set(), time.time()
    seen.add(port)
    print(time.time(), port, flush=True)
    s.sendto(q[:1] + b"\\x81\\0\\0" + lifetimes[port].to_bytes(4, "big") +
             int(time.time() - start).to_bytes(4, "big") + bytes(12) + q[24:44] +
             bytes(10) + b"\\xff\\xff" + socket.inet_aton("203.0.113.1"), peer)
"""


class Fake(L.Process):
    def __init__(self, lab, lifetimes):
        super().__init__("converter", ["/usr/bin/python3", "-BES", "-c", FAKE, L.CONVERTER, repr(lifetimes)],
                         name="fake")
        lab.started(self)
        self.wait_for("ready", lambda: "ready" in self.text())

    def requests(self):
        lines = [line.split() for line in self.text().splitlines()[1:]]
        return [(float(when), int(port)) for when, port in lines]


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
        return schemas.validated("status", done.out)["mappings"]

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

    def test_renewed(self):
        converter = self.converter("--pcp-least", 8)
        m = self.map("-t", "8", "8080")
        made, renewed = m.wait_event("made"), m.wait_event("renewed", timeout=20)
        self.assertEqual((renewed["external"], renewed["lifetime_s"]), (made["external"], 8))
        times = [float(e["t"]) for e in converter.events("pcp")]
        self.assertGreater(times[1] - times[0], 3.9)
        self.assertEqual(converter.events("unmap"), [])
        self.assertTrue(self.is_open(8080))

    def test_nobody_renews_it(self):
        converter = self.converter("--pcp-least", 1, "--pcp-most", 2)
        m = self.map("8080")
        self.assertEqual(m.wait_event("made")["lifetime_s"], 2)
        m.stop(signal.SIGKILL)
        status, = self.status()
        self.assertFalse(status["kept"])
        self.assertEqual(status["external"], f"{L.ROUTER}:8080")
        L.wait_for("the end", lambda: [e["why"] for e in converter.events("unmap")] == ["expired"], 20)
        self.assertFalse(self.is_open(8080))
        L.wait_for("nothing", lambda: self.status() == [])

    def test_killed_and_started_anew(self):
        """The nonce is kept, without which nobody has a say in the mapping."""
        self.converter()
        for _ in range(2):
            m = self.map("8080")
            self.assertEqual(m.wait_event("made", "refused")["external"], f"{L.ROUTER}:8080")
            m.stop(signal.SIGKILL)
        pathlib.Path(self.lab.state + ".mappings").unlink()
        self.assertEqual(self.map("8080").wait_event("made", "refused")["result_name"], "NOT_AUTHORIZED")

    def test_status(self):
        self.converter()
        m = self.map("8080")
        m.wait_event("made")
        status = L.wait_for("the file", self.status)[0]
        self.assertTrue(3500 < status.pop("lifetime_s") <= 3600)
        self.assertEqual(status, {
            "server": f"{L.CONVERTER}:{PCP}", "name": "environment", "client": f"{L.CLIENT}:8080",
            "external": f"{L.ROUTER}:8080", "kept": True, "result": 0, "result_name": "SUCCESS",
            "error": None})
        text = self.lab.run([BOOTSTRAP, "status"], env=self.environment()).out.decode()
        self.assertRegex(text, rf"(?m)^mapping of port 8080 at environment, {L.CONVERTER}:{PCP}\n"
                               rf"    external   {L.ROUTER}:8080\n    lifetime   3\d\d\d s left$")
        self.assertEqual(pathlib.Path(self.lab.state + ".mappings").stat().st_mode & 0o777, 0o600)

    def test_without_a_state_file(self):
        self.converter()
        m = self.map("8080", CONVERT_STATE="none")
        m.wait_event("made")
        m.stop()
        self.assertEqual(len(m.events("ended")), 1)

    def test_one_for_each_state_file(self):
        self.converter()
        self.map("8080").wait_event("made")
        second = self.lab.run([BOOTSTRAP, "map", "8080"], env=self.environment())
        self.assertEqual(second.code, 1)
        self.assertIn("another convert-bootstrap keeps", second.err)


class Lost(Case):
    def test_restarted_with_an_announcement(self):
        """14.1: a multicast tells that the server begins anew; asked again within five seconds."""
        converter = self.converter("--pcp-epoch", 1000)
        m = self.map("8080")
        m.wait_event("made")
        converter.stop()
        self.assertFalse(self.is_open(8080))
        self.converter()
        self.assertEqual(m.wait_event("renewed", timeout=15)["external"], f"{L.ROUTER}:8080")
        self.assertTrue(self.is_open(8080))

    def test_restarted_without_one(self):
        """8.5: what the epoch of one mapping's answer says is believed of them all."""
        fake = Fake(self.lab, lifetimes={8080: 8, 8443: 3600})
        m = self.map("8080", "8443", "-t", "3600")
        m.wait_event("made", n=2)
        L.wait_for("both, again", lambda: len(fake.requests()) == 4, 20)
        ports = [port for _, port in fake.requests()]
        self.assertEqual(ports, [8080, 8443, 8080, 8443])
        m.wait_event("renewed", n=2)

    def test_an_answer_is_lost(self):
        converter = self.converter("--pcp-drop", 1)
        m = self.map("8080")
        m.wait_event("made", timeout=15)
        self.assertEqual([e["event"] for e in m.events()], ["no-answer", "made"])
        times = [float(e["t"]) for e in converter.events("pcp")]
        self.assertGreater(times[1] - times[0], 2.6)  # 8.1.1: three seconds, a tenth less or more

    def test_nobody_there(self):
        m = self.map("8080")
        event = m.wait_event("no-answer")
        self.assertEqual((event["error"], event["external"]), ("ECONNREFUSED", None))
        self.converter("--pcp-quiet")
        m.wait_event("made", timeout=15)
        self.assertEqual(m.events("made")[0]["error"], None)

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

    def test_not_at_home(self):
        self.converter()
        conf = self.lab.file("c.conf", f"[converter lab]\naddress = {L.CONVERTER}\ninterface = wwan0\n")
        m = self.map("-c", conf, "8080")
        m.wait_event("away")
        self.assertEqual(m.stop(), 0)
        self.assertEqual(len(m.events()), 1)


class Refused(Case):
    def test_each_result(self):
        for code in range(1, 14):
            with self.subTest(NAMES[code]):
                converter = self.converter("--pcp-result", code)
                m = self.map("8080")
                event = m.wait_event("refused", "made")
                self.assertEqual((event["event"], event["result"], event["result_name"], event["external"]),
                                 ("refused", code, NAMES[code], None))
                status = L.wait_for("the file", self.status)[0]
                self.assertEqual((status["result_name"], status["external"]), (NAMES[code], None))
                m.stop()
                converter.stop()

    def test_asked_again(self):
        converter = self.converter("--pcp-quota", 0)
        m = self.map("8080")
        m.wait_event("refused", n=2, timeout=15)
        times = [float(e["t"]) for e in converter.events("pcp")]
        self.assertGreater(times[1] - times[0], 2.9)

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
        found = schemas.validated("check", done.out)["findings"]
        return [f for f in found if f["id"].startswith("mapping")]

    def test_rules(self):
        """Whose program it is for does not matter to the port."""
        self.converter()
        conf = self.conf("accept port 8080-8081,8443", "rule = accept app nginx port 8443,90")
        m = self.map("-c", conf)
        self.assertEqual([m.wait_event("made", n=n)["port"] for n in (1, 2, 3, 4)], [90, 8080, 8081, 8443])

    def test_rules_without_a_port(self):
        for rule, said in (("accept app nginx", "more than 64 ports"), ("accept port 1-65", "more than 64")):
            done = self.lab.run([BOOTSTRAP, "map", "-c", self.conf(rule)])
            self.assertEqual(done.code, 1)
            self.assertIn(said, done.err)
        self.assertEqual([f["id"] for f in self.check(self.conf("accept app nginx"))], ["mapping-ports"])

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

    def test_check(self):
        """What it has made for a look is gone again."""
        converter = self.converter()
        found, = self.check(self.conf())
        self.assertEqual((found["id"], found["verdict"], found["values"]["external"]),
                         ("mapping", "note", f"{L.ROUTER}:8080"))
        self.assertEqual([e["why"] for e in converter.events("unmap", 1)], ["deleted"])
        self.assertEqual(self.status(), [])

    def test_check_names_each_result(self):
        for code in range(1, 14):
            converter = self.converter("--pcp-result", code)
            found, = self.check(self.conf())
            converter.stop()
            self.assertEqual((found["id"], found["verdict"], found["values"]["result"]),
                             ("mapping-refused", "problem", code))
            self.assertIn(NAMES[code], found["what"])
            self.assertTrue(found["mend"])

    def test_check_without_a_server(self):
        self.lab.converter()
        found, = self.check(self.conf())
        self.assertEqual((found["id"], found["verdict"]), ("mapping-server", "problem"))


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
    """A gateway of its own between the client and the server: 10.3.0.2, fd03::2, and outside an address
    that nobody takes for private, which miniupnpd would not map."""
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

    def test_made_renewed_and_ended(self):
        self.gate()
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
        m.wait_event("renewed", timeout=20)
        self.assertEqual(m.stop(), 0)
        self.assertEqual(m.events("ended")[0]["result"], 0)
        self.assertEqual(self.rules(), 0)

    def test_restarted(self):
        gate = self.gate()
        m = self.map("8080")
        m.wait_event("made")
        time.sleep(3)  # so that its epoch goes back by more than is allowed to an answer that was overtaken
        gate.stop()
        self.gate()
        m.wait_event("renewed", timeout=20)
        m.stop()
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
