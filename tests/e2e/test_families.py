#!/usr/bin/python3 -B
# SPDX-License-Identifier: MIT
"""Case 2.5. Sockets of either family to servers of either family, through converters that have one family or
both, with IPV6_V6ONLY and with options that MPTCP refuses: converted wherever a direct connection
works, and the program is told nothing else than directly."""
import itertools
import json
import sys

sys.path.insert(1, sys.path[0] + "/../lab")
import captures
import lab as L

PORT, GRPC, CLOSED = 7100, 7101, 81
GRPC_WHO = ["/usr/bin/python3", "-B", L.ROOT / "tests/programs/waiters/grpc_who.py"]

# answers with whom it sees
SERVER = """
import socket
listener = socket.create_server(("::", int(__import__("sys").argv[1])), family=socket.AF_INET6,
                                dualstack_ipv6=True, backlog=100)
while True:
    s, peer = listener.accept()
    s.send(peer[0].encode() + b"\\n")
    s.close()
"""
BOTH = """
import socket, sys
six, four = socket.socket(socket.AF_INET6), socket.socket()
six.bind((sys.argv[1], 0))
four.bind(("0.0.0.0", six.getsockname()[1]))
four.connect((sys.argv[2], int(sys.argv[3])))
print(four.makefile().readline())
"""
# an IPv4 address of the server's as DNS64 says it, where there is no NAT64: the converter's network
BEHIND, BEHIND64, PRIVATE64 = "198.51.100.7", "64:ff9b::c633:6407", "64:ff9b::a02:2"
WHO = """
import socket, sys
s = socket.create_connection((sys.argv[1], int(sys.argv[2])), 20)
print(s.getpeername()[0], s.makefile().readline().strip())
"""
CONVERTERS = {"IPv4": [L.CONVERTER], "IPv6": [L.CONVERTER6], "both": [L.CONVERTER, L.CONVERTER6]}
IS_V4 = {"v4": True, "mapped": True, "v6": False}
MAPPED = "::ffff:"


def setup(lab):
    lab.start("server", ["/usr/bin/python3", "-c", SERVER, PORT]).wait_for_listeners(PORT)
    lab.start("server", GRPC_WHO + ["serve", GRPC]).wait_for_listeners(GRPC)
    L.command(["ip", "-n", "server", "addr", "add", BEHIND + "/32", "dev", "s0"])
    L.command(["ip", "-n", "converter", "route", "add", BEHIND, "via", L.SERVER])
    lab.converter("--mptcp", listen=["0.0.0.0", "[::]"])


def via_v4(target, converter):
    """The family of the converter's address that is used."""
    return {"IPv4": True, "IPv6": False, "both": IS_V4[target]}[converter]


def is_out_of_reach(case, direct, v4):
    """The program's socket cannot reach the converter, or not come back from it, and no other one can take its place."""
    target, _, _, _, bound, made = case
    if bound in IS_V4 and not direct["bind"]:  # an address of the other family
        return IS_V4[bound] != v4
    return made == "unseen" and (target == "v6" or direct["before"]["V6ONLY"] == 1 if v4 else target == "v4")


def expected(case, direct, converter):
    """What the program shall see, by what it sees directly."""
    target = case[0]
    v4 = via_v4(target, converter)
    if is_out_of_reach(case, direct, v4):
        return direct
    name = L.CLIENT if v4 else L.CLIENT6
    if target == "v4":
        name = name if v4 else "0.0.0.0"
    elif v4:
        name = MAPPED + name
    want = {key: value for key, value in direct.items() if key != "set late"}
    for when, result in (("refused", "ECONNREFUSED"), ("connect", None)):
        state = f"after {when}"
        if direct.get(when, "not tried") == result:
            want[state] = direct[state] | {"name": [name] + direct[state]["name"][1:]}
    if direct["saw"]:
        want["saw"] = (MAPPED + L.ROUTER) if IS_V4[target] else L.ROUTER6
    return want


def flat(said, prefix=""):
    answers = {}
    for key, value in said.items():
        answers |= flat(value, f"{key}: ") if isinstance(value, dict) else {prefix + key: value}
    return answers


class Families(L.TestCase):
    def run_all(self, shim, every):
        r = self.lab.run(["/usr/bin/python3", "-B", L.ROOT / "tests/programs/families.py", L.SERVER,
                          L.SERVER6, PORT, CLOSED, every], shim=shim, timeout=60)
        self.assertEqual((r.code, r.err), (0, ""), r)
        lines = [json.loads(line) for line in r.out.decode().splitlines()]
        return {tuple(line[:-1]): line[-1] for line in lines}, r

    def check(self, every):
        direct, _ = self.run_all(None, every)
        connected = sum(1 for said in direct.values() if said["saw"])
        self.assertGreater(connected, len(direct) // 2)
        self.note(f"{len(direct)} sockets, {connected} of them connect directly")
        for converter, addresses in CONVERTERS.items():
            for mptcp in "auto", "off":
                with self.subTest(converter=converter, mptcp=mptcp):
                    ours, r = self.run_all(self.shim(addresses, mptcp), every)
                    self.compare({case: expected(case, said, converter)
                                  for case, said in direct.items()}, ours)
                    if mptcp == "auto":  # what is not MPTCP has a reason
                        self.assertIn("connected, MPTCP\n", r.log)
                        self.assertNotIn("connected, TCP\n", r.log)

    def shim(self, addresses, mptcp):
        return self.lab.config(policy=f"mptcp = {mptcp}\nfallback = direct", address=addresses)

    def compare(self, expected_of, ours):
        wrong = []
        for case, said in expected_of.items():
            want, got = flat(said), flat(ours[case])
            wrong += [f"{', '.join(map(str, case))}: {key}: {got.get(key)}, not {want[key]}"
                      for key in want if got.get(key) != want[key]]
        if wrong:
            self.fail(f"{len(wrong)} answers\n" + "\n".join(wrong[:20]))

    def test_every_socket(self):
        self.check("every")

    def test_a_port_that_an_ipv6_socket_has(self):
        """The one exception: the kernel gives it to IPv4 as well, but then to no other IPv6 socket."""
        r = self.lab.run(["/usr/bin/python3", "-c", BOTH, L.CLIENT6, L.SERVER, PORT],
                         shim=self.shim([L.CONVERTER6], "off"))
        self.assertEqual(r.out.decode().strip(), MAPPED + L.CLIENT, r)
        self.assertIn("cannot be reached: EAFNOSUPPORT: its bound address\n", r.log)

    def test_bindv6only(self):
        """IPv6 sockets that take IPv6 alone although nobody has said so."""
        L.sysctl("client", net__ipv6__bindv6only=1)
        self.addCleanup(L.sysctl, "client", net__ipv6__bindv6only=0)
        self.check("few")

    def test_no_way_to_the_converter(self):
        """Nothing of ours is left on a socket that then goes direct."""
        for prefix in "10.4.0.0/16", "fd04::/16":
            L.command(["ip", "-n", "client", "route", "add", "unreachable", prefix])
        direct, _ = self.run_all(None, "few")
        for addresses in ["10.4.0.1"], ["fd04::1"], ["10.4.0.1", "fd04::1"]:
            with self.subTest(addresses=addresses):
                ours, r = self.run_all(self.shim(addresses, "auto"), "few")
                self.compare({case: said for case, said in direct.items()
                              if "refused first" not in case}, ours)
                self.assertIn("cannot be reached: EHOSTUNREACH", r.log)

    def test_no_way_to_several(self):
        """The line names the converter whose errno it says."""
        for kind, to in ("unreachable", "10.14.0.1"), ("prohibit", "10.15.0.1"):
            L.command(["ip", "-n", "client", "route", "add", kind, to])
        shim = self.lab.config("[converter second]\naddress = 10.15.0.1",
                               "fallback = direct", address="10.14.0.1")
        r = self.lab.run(["/usr/bin/python3", "-c", WHO, L.SERVER, PORT], shim=shim)
        self.assertEqual(r.code, 0, r)
        self.assertRegex(r.log, r"next converter after .*10\.14\.0\.1.* \(lab\).*EHOSTUNREACH")
        self.assertIn("converter 10.15.0.1:5124 (second) cannot be reached: EACCES", r.log)


# connects and sends, and sets what an option then is before it sends more
MARKED = """
import socket, sys
family, host, port = sys.argv[1:]
s = socket.socket(int(family))
(level, only), (tos, hops) = ((0, None), (1, 2)) if family == "2" else ((41, 1), (67, 16))
if only:
    s.setsockopt(41, 26, 1)
s.setsockopt(level, tos, 0x20)
s.setsockopt(level, hops, 33)
s.connect((host, int(port)))
s.setsockopt(level, tos, 0x40)
s.setsockopt(level, hops, 34)
assert (s.getsockopt(level, tos), s.getsockopt(level, hops)) == (0x40, 34)
s.send(b"x")
s.recv(1)
"""


BACK = """
import ctypes, errno, os, select, socket, sys
how, host, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
s = socket.socket(socket.AF_INET6)
if how == "option":
    s.setsockopt(socket.IPPROTO_TCP, 18, 5000)  # TCP_USER_TIMEOUT, which MPTCP refuses
elif how.startswith("V6ONLY"):
    s.setsockopt(socket.IPPROTO_IPV6, 26, int(how[-1]))
elif how == "bound":
    s.bind(("::", 0))
elif how == "named":
    s.bind(("fd01::1", 0))
elif how == "duplicated":
    copy = s.dup()
elif how == "refused first":
    s.connect_ex((host, port + 2))
    s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
elif how.startswith("disconnected"):
    if how.endswith("in epoll"):
        waits = select.epoll()
        waits.register(s, select.EPOLLIN)
    s.connect((host, port))
    print(s.makefile().readline().strip())
    if how.endswith("duplicate"):
        copy = s.dup()
    nobody = (ctypes.c_uint16 * 8)()
    assert ctypes.CDLL(None).connect(s.fileno(), nobody, 16) == 0
    port += 1
s.setblocking(how == "blocking")
err = s.connect_ex((host, port))
if how.startswith("duplicated late"):
    copy = s.dup()
select.select([], [s], [], 5)
if how.endswith("then direct"):
    print(os.strerror(s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)))
    s.connect_ex((host, port + 1))
    err = s.connect_ex((host, port + 1))
    select.select([], [s], [], 5)
s.setblocking(True)
if err not in (0, errno.EINPROGRESS):
    sys.exit(print(os.strerror(err)))
print(os.strerror(s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)))
print(s.getsockname()[0], s.getpeername()[0], s.makefile("rb").readline().strip() if how != "disconnected" else "")
"""
DIRECT = f"Success\n{L.CLIENT6} {L.SERVER6}"


class Back(L.TestCase):
    """An IPv6 socket that was connected by IPv4 cannot go to an IPv6 server any more (LINUX-FACTS 3.14): nobody is to
    notice that his was, on the way to a converter of IPv4 alone."""

    def check(self, expected, log, *hows, policy="fallback = direct", more="", fault=()):
        port = L.PORT + 100
        converter = self.lab.converter("--mptcp", *fault, port=port)
        for how, mptcp in itertools.product(hows, ("auto", "off")):
            with self.subTest(how, mptcp=mptcp):
                shim = self.lab.config("fast-open = no-cookie" + more, f"mptcp = {mptcp}\ntimeout = 500ms\n{policy}",
                                       port=port)
                r = self.lab.run(["/usr/bin/python3", "-c", BACK, how, L.SERVER6, PORT], shim=shim)
                self.assertEqual(r.out.decode().strip(), expected, r)
                self.assertRegex(r.log, log, r)
        converter.stop()

    def test_converter_fails(self):
        self.check(f"{DIRECT} b'{L.CLIENT6}'", "falling back", "blocking", "not blocking", "option", "V6ONLY 0",
                   "V6ONLY 1", "bound", fault=("--fault", "close"))

    def test_converter_is_silent(self):
        self.check(f"{DIRECT} b'{L.CLIENT6}'", "falling back", "blocking", "not blocking", fault=("--fault", "silence"))

    def test_server_refuses(self):
        """And then the program goes to one that it may reach directly."""
        self.check(f"{DIRECT} b'{L.CLIENT6}'", "failed .*ECONNREFUSED", "refused first",
                   policy=f"rule = direct port {PORT}")

    def test_disconnected(self):
        self.check(f"{L.ROUTER6}\n{DIRECT}", "converted .*(?s:.*)direct .*rule", "disconnected",
                   policy=f"rule = direct port {GRPC}")

    def test_no_other_socket(self):
        """Where none can take its place it goes direct at once, and by a converter where it never would."""
        self.check(f"{DIRECT} b'{L.CLIENT6}'", "cannot be reached: EAFNOSUPPORT: it may have other numbers",
                   "duplicated")

    def test_no_other_socket_but_another_converter(self):
        """... of IPv6, which comes second."""
        for fallback in "direct", "none":
            self.check(f"Success\n{L.CLIENT6} {L.SERVER6} b'{L.ROUTER6}'", rf"converted .* via \[{L.CONVERTER6}\]",
                       *["duplicated"] * (fallback == "direct"), "named", policy=f"fallback = {fallback}",
                       more=f"\n[converter second]\naddress = {L.CONVERTER6}\nport = {L.PORT + 100}")

    def test_no_other_socket_nor_way_back(self):
        self.check(f"Success\n{MAPPED}{L.CLIENT} {L.SERVER6} b'{L.ROUTER6}'", "converted", "duplicated",
                   policy="fallback = none")

    def test_duplicated_too_late(self):
        """It is told, and does not wait for nobody's answer."""
        self.check("No route to host", "falling back", "duplicated late", fault=("--fault", "close"))

    def test_no_way_back_any_more(self):
        """From now on it is told at once."""
        policy = f"fallback = direct\nrule = direct port {GRPC}"
        for how, log in ("in epoll", "converted .*(?s:.*)direct .*rule"), ("with a duplicate", "converted "):
            self.check(f"{L.ROUTER6}\nNo route to host", log, f"disconnected {how}", policy=policy)
        self.check("No route to host\nNo route to host", "falling back .*(?s:.*)direct .*rule",
                   "duplicated late, then direct", policy=policy, fault=("--fault", "close"))


class Across(L.TestCase):
    def test_what_packets_look_like(self):
        """Type of service and time to live, set on a socket whose packets are of the other family."""
        for family, server, converter in ((2, L.SERVER, L.CONVERTER6), (10, L.SERVER6, L.CONVERTER)):
            with self.subTest(server=server, converter=converter):
                capture = captures.Capture(self.lab)
                r = self.lab.run(["/usr/bin/python3", "-c", MARKED, family, server, PORT],
                                 shim=self.lab.config("fast-open = no-cookie", address=converter))
                self.assertEqual(r.code, 0, r)
                (connection,) = captures.connections(capture.packets())
                syn, *others = [p for p in connection if p.dst == converter]
                self.assertEqual((syn.tos, syn.hops), (0x20, 33), syn)
                (last,) = [p for p in others if p.data == b"x"]
                self.assertEqual((last.tos, last.hops), (0x40, 34), last)


class Nat64(L.TestCase):
    def ask(self, server, converter):
        return self.lab.run(["/usr/bin/python3", "-c", WHO, server, PORT],
                            shim=self.lab.config(address=CONVERTERS[converter]))

    def test_the_converter_has_none(self):
        """It is told the IPv4 address; the program, and the log, have what DNS64 has said."""
        for converter in CONVERTERS:
            with self.subTest(converter):
                r = self.ask(BEHIND64, converter)
                self.assertEqual((r.code, r.out.decode()), (0, f"{BEHIND64} {MAPPED}{L.ROUTER}\n"), r)
                self.assertIn(f"info: converted [{BEHIND64}]:{PORT} via ", r.log, r)

    def test_an_address_that_is_not_global(self):
        """No NAT64 has anybody there, but a converter may (the server is at that one)."""
        r = self.ask(PRIVATE64, "both")
        self.assertEqual(r.code, 1, r)
        self.assertRegex(r.log, r"info: direct .*: an address of NAT64 with an IPv4 address that is not global\n\Z")


class Grpc(L.TestCase):
    """Its sockets are IPv6 ones also to IPv4 servers, have IPV6_V6ONLY 0, and TCP_USER_TIMEOUT if
    connections are kept alive."""

    CALLS = 3

    def ask(self, server, keepalive_ms, shim):
        r = self.lab.run(GRPC_WHO + ["ask", server, GRPC, self.CALLS, keepalive_ms], shim=shim,
                         timeout=60)
        self.assertEqual(r.code, 0, r)
        return r.out.decode(), r

    def check(self, keepalive_ms, kind):
        for server, own, who in ((L.SERVER, "ipv4:" + L.CLIENT, "ipv4:" + L.ROUTER),
                                 (L.SERVER6, f"ipv6:%5B{L.CLIENT6}%5D", f"ipv6:%5B{L.ROUTER6}%5D")):
            said, r = self.ask(server, keepalive_ms, None)
            self.assertEqual(said, "".join(f"{i} {own}\n" for i in range(self.CALLS)), r)
            for converter, addresses in CONVERTERS.items():
                with self.subTest(server=server, converter=converter):
                    said, r = self.ask(server, keepalive_ms, self.lab.config(address=addresses))
                    self.assertEqual(said, "".join(f"{i} {who}\n" for i in range(self.CALLS)), r)
                    self.assertEqual(r.log.count(kind), self.CALLS, r)

    def test_calls(self):
        self.check(0, "connected, MPTCP\n")

    def test_calls_on_connections_that_are_kept_alive(self):
        self.check(20000, "connected, TCP: TCP_USER_TIMEOUT\n")


if __name__ == "__main__":
    L.MPTCP = "auto"
    L.main(setup)
