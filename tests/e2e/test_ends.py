#!/usr/bin/python3 -B
# SPDX-License-Identifier: MIT
"""Ends of a connection over Multipath TCP, or fallen back from it, and what can be asked of it on the way:
as direct, but for what only a hook in each read could change."""
import re
import sys

sys.path.insert(1, sys.path[0] + "/../lab")
import lab as L

ENDS, HTTP = 7700, 7701
CLIENT2 = "10.1.0.99"
LENGTHS = [1, 2, 7, 104, 192, 232, 280]  # of TCP_INFO, as the kernel answers it
HERE = L.ROOT / "tests/programs"
PYTHON = "/usr/bin/python3"

# What stays: patterns of the client's line as it is direct, and of ours.
# A read of a connection that was ended and then reset takes the error, where TCP says the end for ever.
EPIPE = (r"resets end, reset, receive first: receive 0 .*",
         r".*: receive (EPIPE|0) poll IN\|OUT\|HUP\|RDHUP .*")
# After a fallback a reset leaves the server's direction open, until SO_ERROR has told of it.
OPEN = (r"resets (data, reset|reset|unread)( poll|, (receive|send) first:) .*",
        r"resets ((?!receive 0).)* poll (IN\|)?OUT\|(ERR\|)?HUP epoll .*")
OPEN_LOOP = "reset_loop then ECONNRESET 0", "reset_loop then ECONNRESET ENOTCONN"
KNOWN = {"mptcp": [EPIPE], "fallback": [EPIPE, OPEN, OPEN_LOOP]}

JAVA = """
public class Available {
    public static void main(String[] a) throws Exception {
        var s = new java.net.Socket(a[0], Integer.parseInt(a[1]));
        var in = s.getInputStream();
        s.getOutputStream().write('D');
        for (int i = 0; i < 500 && in.available() < 5000; i++)
            Thread.sleep(10);
        Thread.sleep(100);
        int rounds = 0;
        while (in.available() > 0 && rounds < 10000) {
            in.read();
            rounds++;
        }
        System.out.println(rounds + " " + in.available() + " " + in.read() + " " + in.available());
    }
}
"""

# Each asks three times by one pool, which looks whether its connection is still there, and says how many
# it took.
URLLIB3 = """
import sys, time, urllib3
from urllib3.util.connection import is_connection_dropped
pool = urllib3.HTTPConnectionPool(sys.argv[1], int(sys.argv[2]), retries=0, maxsize=1)
for _ in range(3):
    print(pool.request("GET", "/" + sys.argv[3]).data.decode())
    c = pool.pool.get()
    for _ in range(10 if sys.argv[3] == "keep" else 200):
        dropped = c.sock is None or is_connection_dropped(c)
        if dropped:
            break
        time.sleep(0.01)
    print("dropped", dropped)
    pool.pool.put(c)
print(pool.num_connections)
"""
NODE = """
const [host, port, how] = process.argv.slice(1), http = require("http");
const agent = new http.Agent({keepAlive: true, maxSockets: 1});
let made = 0;
setInterval(() => 0, 1000); // a socket that nobody uses keeps no program alive
const get = () => new Promise(done => http.get({host, port, path: "/" + how, agent}, r => {
    let text = "";
    const s = r.socket;
    if (!s.seen) made++;
    s.seen = true;
    s.once("error", e => console.log("socket", e.code));
    s.once("close", hadError => { console.log("close", hadError); done(); });
    if (how == "keep") setTimeout(done, 100);
    r.on("data", d => text += d).on("end", () => console.log(text));
}).on("error", e => { console.log("request", e.code); done(); }));
(async () => {
    for (let i = 0; i < 3; i++) await get();
    console.log(made, Object.keys(agent.freeSockets).length);
    process.exit();
})();
"""
# One request by a bufferevent: what it is called back for, with errno, and how much came.
LIBEVENT = """
import ctypes, errno, socket, struct, sys
core = ctypes.CDLL("libevent_core-2.1.so.7", use_errno=True)
for name in "event_base_new", "bufferevent_socket_new", "bufferevent_get_input":
    getattr(core, name).restype = ctypes.c_void_p
core.evbuffer_get_length.restype = ctypes.c_size_t
pointer, number = ctypes.c_void_p, ctypes.c_short
base = pointer(core.event_base_new())
pipe = pointer(core.bufferevent_socket_new(base, -1, 1))
count = lambda: core.evbuffer_get_length(pointer(core.bufferevent_get_input(pipe)))
NAMES = {1: "READING", 2: "WRITING", 16: "EOF", 32: "ERROR", 64: "TIMEOUT", 128: "CONNECTED"}
def event(_, what, arg):
    err = ctypes.get_errno() if what & 32 else 0
    print(*[name for bit, name in NAMES.items() if what & bit], errno.errorcode.get(err, ""), count())
    if not what & 128:
        core.event_base_loopbreak(base)
ended = ctypes.CFUNCTYPE(None, pointer, number, pointer, use_errno=True)(event)
core.bufferevent_setcb(pipe, None, None, ended, None)
core.bufferevent_enable(pipe, number(2 | 4))
request = f"GET /{sys.argv[3]} HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n".encode()
core.bufferevent_write(pipe, request, ctypes.c_size_t(len(request)))
core.bufferevent_set_timeouts(pipe, struct.pack("ll", 2, 0), None)
to = struct.pack("=HH4s8x", socket.AF_INET, socket.htons(int(sys.argv[2])), socket.inet_aton(sys.argv[1]))
core.bufferevent_socket_connect(pipe, to, len(to))
core.event_base_dispatch(base)
"""
CURL = ["curl", "-sS", "--rate", "5/s", "-w", " %{num_connects} %{errormsg}\n"]


def setup(lab):
    for what, port in ("serve", ENDS), ("http", HTTP):
        lab.start("server", [PYTHON, "-B", HERE / "ends.py", what, port]).wait_for_listeners(port)
    lab.converter("--mptcp", "--fastopen", "cookie", listen=["0.0.0.0"])
    lab.plain = lab.fresh_addresses()[0]
    lab.converter("--fastopen", "cookie", listen=[lab.plain], port=L.PORT + 1)
    L.command(["ip", "-n", "client", "addr", "add", CLIENT2 + "/24", "dev", "c0"])
    for ns in "client", "converter":
        L.command(["ip", "-n", ns, "mptcp", "limits", "set", "subflows", "2",
                   "add_addr_accepted", "2"])


class Ends(L.TestCase):
    def kinds(self):
        yield "direct", None
        yield "mptcp", self.lab.config("", "mptcp = on")
        yield "fallback", self.lab.config("", "mptcp = on", address=self.lab.plain,
                                          port=L.PORT + 1)

    def each(self, *argv):
        """What a program prints, of each kind; the library's log says that it is of that kind."""
        for kind, shim in self.kinds():
            r = self.lab.run(argv, shim=shim, timeout=60)
            self.assertEqual((r.code, r.err), (0, ""), r)
            how = re.findall(r"connected, (\w+)", r.log)
            wanted = {"direct": "", "mptcp": "MPTCP", "fallback": "TCP"}[kind]
            # a socket that connects again stays TCP
            self.assertLessEqual(len(how) - how.count(wanted), "ask" in argv, r)
            self.assertEqual(bool(how), bool(wanted), r)
            yield kind, r.out.decode().splitlines()

    def same(self, *argv):
        said = dict(self.each(*argv))
        for kind, lines in said.items():
            self.assertEqual(lines, said["direct"], kind)
        return said["direct"]

    def test_transcript(self):
        said = dict(self.each(PYTHON, "-B", HERE / "ends.py", "ask", L.SERVER, ENDS))
        direct = said.pop("direct")
        self.assertIn("loop rounds 5000", direct)
        for kind, lines in said.items():
            self.assertEqual(len(lines), len(direct))
            differ = [(a, b) for a, b in zip(direct, lines) if a != b]
            explained = [[pair for pair in differ if all(map(re.fullmatch, known, pair))]
                         for known in KNOWN[kind]]
            self.assertEqual([pair for pair in differ if pair not in sum(explained, [])], [], kind)
            self.assertTrue(all(explained), kind)  # or it does not differ any more

    def test_java(self):
        """InputStream.available() is FIONREAD."""
        self.need("javac")
        source = self.lab.file("java", JAVA)
        source = source.rename(source.with_name("Available.java"))
        L.command(["javac", "-J-XX:-UsePerfData", "-d", L.TMP, source])
        java = "java", "-XX:-UsePerfData", "-cp", L.TMP, "-Xshare:auto"
        self.assertEqual(self.same(*java, "Available", L.SERVER, ENDS), ["5000 0 -1 0"])

    def test_urllib3(self):
        for how, dropped in ("keep", "False"), ("end", "True"), ("reset", "True"):
            with self.subTest(how):
                lines = self.same(PYTHON, "-c", URLLIB3, L.SERVER, HTTP, how)
                self.assertEqual(lines[1::2], [f"dropped {dropped}"] * 3)

    def test_node(self):
        self.need("node")
        for how in "keep", "end", "reset":
            with self.subTest(how):
                lines = self.same("node", "-e", NODE, L.SERVER, HTTP, how)
                self.assertEqual(lines[-1], "1 1" if how == "keep" else "3 0")

    def test_libevent(self):
        for how, end in ("keep", "READING TIMEOUT"), ("end", "READING EOF"), ("reset", "READING ERROR ECONNRESET"):
            with self.subTest(how):
                lines = self.same(PYTHON, "-c", LIBEVENT, L.SERVER, HTTP, how)
                self.assertIn("CONNECTED", lines[0])
                self.assertIn(end, lines[1])
                self.note(f"{how}: {lines[1]}")

    def test_curl(self):
        for how in "keep", "end", "reset":
            with self.subTest(how):
                self.same(*CURL, *[f"http://{L.SERVER}:{HTTP}/{how}"] * 3)

    def test_first_path_gone(self):
        """TCP_INFO is the connection's: its state, and its bytes on all paths."""
        L.command(["ip", "-n", "client", "mptcp", "endpoint", "add", CLIENT2, "dev", "c0", "subflow"])
        self.addCleanup(L.command, ["ip", "-n", "client", "mptcp", "endpoint", "flush"])
        reject = ["-s", L.CLIENT, "-p", "tcp", "-j", "REJECT", "--reject-with", "tcp-reset"]
        shim = self.lab.config("", "mptcp = on")
        client = self.lab.start("client", [PYTHON, "-B", HERE / "ends.py", "paths", L.SERVER, ENDS],
                                env={"LD_PRELOAD": str(L.SHIM)} | shim)
        client.wait_for("the second path", lambda: "two paths" in client.text())
        L.command(L.inside("converter", ["iptables", "-I", "INPUT", *reject]))
        self.addCleanup(L.command, L.inside("converter", ["iptables", "-D", "INPUT", *reject]))
        L.wait_for("its end", lambda: client.process.poll() is not None, 20)
        self.assertEqual(client.text().splitlines(), [
            "two paths: ESTABLISHED ESTABLISHED TCP_INFO ESTABLISHED",
            f"one path: CLOSE ESTABLISHED TCP_INFO ESTABLISHED {LENGTHS}",
            "bytes: True True True round trip: True", "over: TCP_INFO CLOSE"])


if __name__ == "__main__":
    L.MPTCP = "auto"
    L.main(setup)
