#!/usr/bin/python3 -B
# SPDX-License-Identifier: MIT
"""mptcp = auto: Multipath TCP where it gains something, and not where the program says by which network
it goes (policy/paths.h).

Two networks as in paths.py, both with IPv6 too, and a third way to the converter that is like a VPN: vpn0,
which only sockets that are bound to it, or carry its mark, are routed by. What counts are the bytes that
each device of the client's has received, and for the rest what the log says: that is true, as test_mptcp.py
and test_paths.py look at the wire.
"""
import json
import os
import subprocess
import sys
import time

sys.path.insert(1, sys.path[0] + "/../lab")
import lab as L
import paths
import servers

V4 = {"c0": (L.CLIENT, L.CONVERTER), "c1": (paths.CLIENT2, paths.CONVERTER2), "vpn0": ("10.5.0.1", "10.5.0.2")}
V6 = {"c0": (L.CLIENT6, L.CONVERTER6), "c1": ("fd03::1", "fd03::2"), "vpn0": ("fd05::1", "fd05::2")}
PEERS = {"c0": "k0", "c1": "k2", "vpn0": "k3"}
SIZE = 4 * 10**6
MARK = 7

# How a program names a network; dev: its interface, v4 and v6: its address there; how it waits for its connect().
GET = """
import os, select, socket, struct, sys
family, server, what, dev, address, how = sys.argv[1:]
family = socket.AF_INET6 if family == "6" else socket.AF_INET
s = socket.socket(family)
number = socket.if_nametoindex(dev)
if what == "device":
    s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, dev.encode() + bytes(1))
elif what == "device and none":
    s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, dev.encode() + bytes(1))
    s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"")
elif what == "index":
    s.setsockopt(socket.SOL_SOCKET, 62, number)  # SO_BINDTOIFINDEX
elif what == "unicast":
    level, name = (41, 76) if family == socket.AF_INET6 else (0, 50)  # IPV6_ and IP_UNICAST_IF
    s.setsockopt(level, name, struct.pack("!i", number))
elif what == "mark":
    s.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, 7)
elif what == "address":
    s.bind((address, 0))
elif what == "address, port later":
    s.setsockopt(0, 24, 1)  # IP_BIND_ADDRESS_NO_PORT
    s.bind((address, 0))
elif what == "port":
    s.bind(("::" if family == socket.AF_INET6 else "0.0.0.0", 0))
s.setblocking(how == "blocking")
err = s.connect_ex((server, 80))
if how == "poll":
    poll = select.poll()
    poll.register(s, select.POLLOUT)
    poll.poll()
    err = s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    s.setblocking(True)
if err:
    raise OSError(err, os.strerror(err))
s.sendall(b"GET /big HTTP/1.0\\r\\n\\r\\n")
n = 0
while got := s.recv(1 << 16):
    n += len(got)
sys.exit(n < 4000000)
"""


# One end of a tunnel: packets of tun0, in datagrams from one address to another.
TUNNEL = """
import fcntl, os, select, socket, struct, subprocess, sys
own, other, inner = sys.argv[1:]
tun = os.open("/dev/net/tun", os.O_RDWR)
fcntl.ioctl(tun, 0x400454ca, struct.pack("16sH22x", b"tun0", 0x1001))  # TUNSETIFF: IFF_TUN, IFF_NO_PI
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind((own, 4500))
s.connect((other, 4500))
for words in (["link", "set", "tun0", "mtu", "1400", "up"], ["addr", "add", inner + "/24", "dev", "tun0"]):
    subprocess.run(["ip", *words], check=True)
print("ready", flush=True)
while True:
    for ready in select.select([tun, s], [], [])[0]:
        try:
            s.send(os.read(tun, 2000)) if ready == tun else os.write(tun, s.recv(2000))
        except ConnectionRefusedError:  # the other end is not there yet
            pass
"""
TUN = "10.6.0.1", "10.6.0.2"


class ThreeWays(paths.TwoPaths):
    def __init__(self):
        super().__init__(delay_ms=(1, 1), rate=0)
        self.link("client", "vpn0", "converter", "k3", 0)
        for dev in V4:
            for ends, bits, more in (V4, 24, []), (V6, 64, ["nodad"]):
                for ns, name, address in zip(("client", "converter"), (dev, PEERS[dev]), ends[dev]):
                    if not (dev == "c0" or (dev == "c1" and bits == 24)):
                        L.command(["ip", "-n", ns, "addr", "add", f"{address}/{bits}", "dev", name, *more])
        for family, ends in ("-4", V4), ("-6", V6):
            def ip(*words):
                L.command(["ip", family, "-n", "client", *words])
            for dev, table in ("c1", "3"), ("vpn0", "4"):
                ip("rule", "add", "from", ends[dev][0], "lookup", table)
                ip("route", "add", "default", "via", ends[dev][1], "dev", dev, "table", table)
                ip("route", "add", "default", "via", ends[dev][1], "dev", dev, "metric", "200" + table)
            ip("rule", "add", "fwmark", str(MARK), "lookup", "4")
        self.plug()

    def plug(self):
        self.endpoint(*(f"{v[0]} dev {dev} subflow" for v in (V4["c1"], V6["c1"]) for dev in ["c1"]))


def setup(lab):
    lab.nginx = servers.nginx(lab)
    (lab.nginx.base / "www" / "big").write_bytes(servers.random_bytes(SIZE))
    lab.wide_converter("--mptcp", "--fastopen", "cookie", "--allow", "fd03::/64", "--allow", "10.5.0.0/24",
                       "--allow", "fd05::/64", "--allow", "10.6.0.0/24", listen=["0.0.0.0", "[::]"])


def received():
    """Bytes, by device."""
    devices = json.loads(L.command(["ip", "-n", "client", "-j", "-s", "link", "show"]))
    return {d["ifname"]: d["stats64"]["rx"]["bytes"] for d in devices if d["ifname"] in V4}


class Case(L.TestCase):
    def get(self, what, dev="c0", family=4, mptcp="auto", address=None, how="blocking", home=(), **options):
        ends, to = (V4, L.SERVER) if family == 4 else (V6, L.SERVER6)
        shim = self.lab.config(*home, policy=f"mptcp = {mptcp}\nfallback = none",
                               address=address or ends["c0"][1])
        before = received()
        r = self.lab.run(["/usr/bin/python3", "-c", GET, family, to, what, dev, ends[dev][0], how],
                         shim=shim | options.pop("env", {}), **options)
        self.assertEqual(r.code, 0, r)
        self.carried = {d: n - before[d] for d, n in received().items()}
        return r

    def only_by(self, dev, r):
        for other, n in self.carried.items():
            self.assertTrue(n >= SIZE if other == dev else n < SIZE / 100, f"{self.carried} {r}")


class Bound(Case):
    """Case 6.1."""

    WAYS = "device", "index", "address", "address, port later"

    def check(self, what, dev, family):
        with self.subTest(f"{what}, {dev}, IPv{family}"):
            r = self.get(what, dev, family)
            self.only_by(dev, r)
            self.assertIn("connected, TCP: the program has bound it to a network", r.log, r)

    def test_an_interface_or_an_address(self):
        for family in 4, 6:
            for what in self.WAYS:
                for dev in V4:
                    if (what, family) != ("address, port later", 6):
                        self.check(what, dev, family)

    def test_unicast_if(self):
        """Which the kernel heeds for the first subflow, and only there where no route says otherwise."""
        for family in 4, 6:
            r = self.get("unicast", "c0", family)
            self.only_by("c0", r)
            self.assertIn("connected, TCP: the program has bound it to a network", r.log, r)

    def test_a_mark(self):
        for family in 4, 6:
            r = self.get("mark", "vpn0", family, user="")  # takes CAP_NET_ADMIN
            self.only_by("vpn0", r)
            self.assertIn("connected, TCP: the program has bound it to a network", r.log, r)

    def test_it_means_no_network(self):
        """The control: both carry."""
        for family in 4, 6:
            for what in "nothing", "port", "device and none":
                with self.subTest(f"{what}, IPv{family}"):
                    r = self.get(what, family=family)
                    self.assertRegex(r.log, "connected, MPTCP$", r)
                    self.assertGreater(min(self.carried["c0"], self.carried["c1"]), SIZE / 20)

    def test_on_does_it_all_the_same(self):
        r = self.get("address", mptcp="on")
        self.assertIn("connected, MPTCP: mptcp = on, although the program has bound it to a network",
                      r.log, r)
        self.assertGreater(self.carried["c1"], SIZE / 20)


class Home(Case):
    """A converter's own network (F-01) is the one by which the SYN would leave: not the host's default, c0."""

    WAYS = "device", "index", "address", "mark"

    def each(self, is_home, says):
        for family, ends in (4, V4), (6, V6):
            for what in self.WAYS:
                # a mark takes CAP_NET_ADMIN, and leaves the source to the route
                dev, more = ("vpn0", {"user": ""}) if what == "mark" else ("c1", {})
                home = dev if is_home else "c0"
                for line in [f"interface = {home}", f"from = {ends[home][0]}"][:1 if more else 2]:
                    with self.subTest(f"{what}, {dev}, IPv{family}, {line}"):
                        r = self.get(what, dev, family, home=[line], **more)
                        self.only_by(dev, r)
                        self.assertRegex(r.log, says, r)

    def test_bound_to_another(self):
        self.each(False, r"info: direct .*: outside the networks of the converters\n\Z")

    def test_bound_to_its_own(self):
        self.each(True, "info: converted .*: connected, TCP: the program has bound it")

    def test_unicast_if_binds_to_nothing(self):
        """As TCP asks for the way without it."""
        for family in 4, 6:
            r = self.get("unicast", "c1", family, home=["interface = c0"])
            self.only_by("c0", r)
            self.assertIn("info: converted ", r.log)


class Paths(Case):
    """What the kernel was told, and what follows."""

    def setUp(self):
        self.addCleanup(self.lab.plug)

    def check(self, verdict, *endpoints, **more):
        with self.subTest(f"{endpoints} {more}"):
            self.lab.endpoint(*endpoints)
            r = self.get("nothing", **more)
            self.assertRegex(r.log, f"connected, {verdict}$", r)
            return r

    def one(self, *endpoints, **more):
        self.only_by("c0", self.check("TCP: there is one path", *endpoints, **more))

    def limits(self, subflows, accepted, ns="client"):
        L.command(["ip", "-n", ns, "mptcp", "limits", "set", "subflows", subflows, "add_addr_accepted",
                   accepted])

    def test_one_path(self):
        self.limits(2, 0)
        self.addCleanup(self.limits, 2, 2)
        self.one()
        own, own6 = (f"{v['c0'][0]} dev c0 subflow" for v in (V4, V6))
        self.one(own)
        for family in 4, 6:
            self.one(own, own6, family=family)  # as NetworkManager has it
        self.one(f"{V4['c1'][0]} dev c1 signal")  # which a client only tells of
        self.one(f"{V4['c1'][0]} dev c1 fullmesh")
        self.one(f"{V6['c1'][0]} dev c1 subflow")  # the converter has told no IPv6 address

    def test_several(self):
        self.limits(2, 0)
        self.addCleanup(self.limits, 2, 2)
        for flags in "subflow", "subflow backup", "subflow fullmesh":
            self.check("MPTCP", f"{V4['c1'][0]} dev c1 {flags}")
        self.check("MPTCP", *(f"{V4[dev][0]} dev {dev} subflow" for dev in ("c0", "c1")))
        self.check("MPTCP", f"{V6['c1'][0]} dev c1 subflow", family=6)
        self.check("MPTCP", V4["c1"][0])
        self.assertGreater(self.carried["c1"], SIZE / 20)

    def test_no_subflows(self):
        self.limits(0, 0)
        self.addCleanup(self.limits, 2, 2)
        self.one(f"{V4['c1'][0]} dev c1 subflow")
        L.sysctl("client", net__mptcp__pm_type=1)  # in user space is one that we know nothing of
        self.addCleanup(L.sysctl, "client", net__mptcp__pm_type=0)
        self.check("MPTCP")

    def test_the_converter_tells_of_another_address(self):
        self.lab.endpoint(f"{V4['c1'][1]} dev k2 signal", ns="converter")
        self.addCleanup(self.lab.endpoint, ns="converter")
        self.check("MPTCP")
        self.assertGreater(self.carried["c1"], SIZE / 20)

    def test_a_tunnel(self):
        """Not beside it, unless it is meant to be one path of several."""
        if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
            self.skipTest("/dev/net/tun cannot be opened")
        for ns, own, other, inner in (("client", L.CLIENT, L.CONVERTER, TUN[0]),
                                      ("converter", L.CONVERTER, L.CLIENT, TUN[1])):
            end = self.lab.start(ns, ["/usr/bin/python3", "-c", TUNNEL, own, other, inner], name=f"tunnel-{ns}")
            end.wait_for("ready", lambda: "ready" in end.text())
        r = self.check("TCP: another path would go around the tunnel", f"{V4['c1'][0]} dev c1 subflow",
                       address=TUN[1])
        self.only_by("c0", r)  # that is where the tunnel's own packets are
        self.check("MPTCP", f"{V4['c1'][0]} dev c1 subflow", f"{TUN[0]} dev tun0 subflow", address=TUN[1])
        self.assertGreater(self.carried["c1"], SIZE / 20)

    def test_a_network_comes_and_goes(self):
        """In a process that goes on."""
        code = f"""
import socket, sys
for line in sys.stdin:
    socket.create_connection(("{L.SERVER}", 80)).close()
"""
        self.lab.endpoint()
        self.limits(2, 0)
        self.addCleanup(self.limits, 2, 2)
        shim = self.lab.config(policy="mptcp = auto\nfallback = none")
        environment = L.ENVIRONMENT | shim | {"LD_PRELOAD": str(L.SHIM)}
        argv = ["env", "-i"] + [f"{k}={v}" for k, v in environment.items()]
        p = subprocess.Popen(L.inside("client", argv + ["/usr/bin/python3", "-uc", code]),
                             stdin=subprocess.PIPE, text=True)
        self.addCleanup(p.wait)
        self.addCleanup(p.stdin.close)

        def said():
            return [line.split(": ", 1)[-1] for line in open(shim["LAB_LOG"]) if "connected," in line]

        def next_is(verdict):
            """Within the time that an answer holds, and a little more."""
            def once():
                n = len(said()) if os.path.exists(shim["LAB_LOG"]) else 0
                p.stdin.write("\n")
                p.stdin.flush()
                L.wait_for("a connection", lambda: os.path.exists(shim["LAB_LOG"]) and len(said()) > n)
                time.sleep(0.2)
                return verdict in said()[-1]
            L.wait_for(verdict, once, 20)

        next_is("connected, TCP: there is one path")
        self.lab.plug()
        next_is("connected, MPTCP")
        self.lab.endpoint()
        next_is("connected, TCP: there is one path")


class Bypass(Case):
    """A server that is known to speak MPTCP."""

    def setUp(self):
        self.addCleanup(self.lab.plug)
        self.env = {"CONVERT_STATE": str(self.lab.file("state"))}
        r = self.lab.run([L.BUILD / "convert-bootstrap", "pin", f"{L.SERVER}:80", "mptcp"], env=self.env)
        self.assertEqual(r.code, 0, r)

    def bypass(self, what, says):
        for how in "blocking", "poll":
            with self.subTest(how):
                r = self.get(what, how=how, env=self.env)
                self.assertRegex(r.log, f"bypass .*: the server speaks MPTCP{says}")
        return r

    def test_by_mptcp(self):
        self.bypass("nothing", "$")

    def test_of_a_bound_socket(self):
        self.only_by("c0", self.bypass("device", "; TCP: the program has bound it"))

    def test_on_one_path(self):
        self.lab.endpoint(f"{L.CLIENT} dev c0 subflow")
        L.command(["ip", "-n", "client", "mptcp", "limits", "set", "subflows", 2, "add_addr_accepted", 0])
        self.addCleanup(L.command, ["ip", "-n", "client", "mptcp", "limits", "set", "subflows", 2,
                                    "add_addr_accepted", 2])
        self.bypass("nothing", "; TCP: there is one path")


if __name__ == "__main__":
    L.main(setup, kind=ThreeWays)
