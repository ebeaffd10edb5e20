#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""convert-bootstrap map at a PCP server that is another's: Debian's miniupnpd, which a gateway would run."""
import sys

sys.path.insert(1, sys.path[0] + "/../lab")
import lab as L
import test_map as M

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


class Miniupnpd(M.Case):
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
        return M.Map(self.lab, "-s", server or self.gateway, *arguments, env=self.environment())

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
