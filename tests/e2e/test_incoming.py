#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Incoming connections: a converter takes a remote host's, and makes one to an unmodified server here."""
import os
import socket

import lab as L

EXTERNAL, LISTENS = 8080, 8000


def setup(lab):
    L.sysctl("client", net__ipv4__tcp_fastopen=3)


def rules(*more):
    return "\n".join(["[incoming]", "rule = accept port 8000-8099", *more])


class Incoming(L.TestCase):
    def serve(self, argv, port=LISTENS, converter="fast-open = no-cookie", policy="", incoming=rules(), ns="client"):
        """An unmodified server under the library. Its log is in .shim."""
        env = self.lab.config(converter=converter + "\n" + incoming, policy=policy,
                              address=(L.CONVERTER, L.CONVERTER6))
        log = env["LAB_LOG"]
        process = self.lab.start(ns, ["env", f"LD_PRELOAD={L.SHIM}", f"CONVERT_CONF={env['CONVERT_CONF']}",
                                      *map(str, argv)])
        process.shim = log
        process.wait_for_listeners(port)
        return process

    def http(self, **more):
        folder = self.lab.file("www")
        folder.mkdir()
        (folder / "page").write_bytes(b"a page\n")
        return self.serve(["/usr/bin/python3", "-u", "-m", "http.server", "-b", "::", "-d", folder, LISTENS],
                          **more)

    def curl(self, *argv, address=L.ROUTER, port=EXTERNAL, code=0):
        r = self.lab.run(["curl", "-sS", "-m", "15", *argv, f"http://{address}:{port}/page"], ns="server")
        self.assertEqual(r.code, code, r)
        return r.out

    def call(self, port, *words, ns="converter", address=L.CLIENT):
        words = words or (".",)
        r = self.lab.run(["/usr/bin/python3", "-c", CALLER, address, port, *words], ns=ns)
        self.assertEqual(r.code, 0, r)
        return r.out.decode("latin1")

    def said(self, server, ends=1):
        server.wait_for("its end", lambda: server.text().split("\n").count("end") >= ends)
        return server.text()

    def shim_says(self, server, text, timeout=10):
        L.wait_for(text, lambda: text in open(server.shim).read(), timeout)
        return open(server.shim).read()


class Programs(Incoming):
    def test_http_server(self):
        """Its log says the remote host's address, over IPv4 and IPv6, and the client's leg is MPTCP."""
        self.need("curl")
        server = self.http()
        self.lab.converter("--mptcp", "--incoming", f"{EXTERNAL}={L.CLIENT}:{LISTENS}",
                                       "--incoming", f"{EXTERNAL + 1}=[{L.CLIENT6}]:{LISTENS}")
        for _ in range(3):
            self.assertEqual(self.curl(), b"a page\n", server.text())
        self.assertEqual(self.curl(address=f"[{L.ROUTER6}]", port=EXTERNAL + 1), b"a page\n")
        self.assertEqual(self.curl(address=L.ROUTER, port=EXTERNAL + 1), b"a page\n")
        said = [line.split()[0] for line in server.text().splitlines() if '"GET' in line]
        self.assertEqual(said, [f"::ffff:{L.SERVER}"] * 3 + [L.SERVER6, f"::ffff:{L.SERVER}"])
        log = open(server.shim).read()
        self.assertEqual(log.count("message in the SYN, "), 5, log)
        self.assertEqual(log.count("connected, MPTCP"), 5, log)


class Others(Incoming):
    """Each asked by a remote host over plain TCP; what it believes of its peer."""

    def behind(self, port, *more):
        return self.lab.converter("--mptcp", "--incoming", f"{port}={L.CLIENT}:{port}", *more)

    def accepted(self, server, n=1):
        L.wait_for("the log", lambda: open(server.shim).read().count("accepted ") >= n)
        log = open(server.shim).read()
        self.assertEqual(log.count(f"accepted {L.SERVER}:"), n, log)
        self.assertEqual(log.count("connected, MPTCP"), n, log)

    def test_nginx(self):
        self.need("nginx", "curl")
        base = self.lab.file("nginx")
        base.mkdir()
        big = os.urandom(1 << 20) * 8
        (base / "page").write_bytes(big)
        os.chmod(base, 0o755)
        conf = self.lab.file("nginx.conf", f"""
            {"user root;" * (os.geteuid() == 0)} daemon off; worker_processes 2; pid {base}/pid; error_log stderr;
            events {{ worker_connections 64; }}
            http {{ access_log {base}/access; root {base};
                    server {{ listen 8001 reuseport; listen [::]:8001; }} }}""")
        server = self.serve(["nginx", "-c", conf, "-e", "stderr"], 8001)
        self.behind(8001)
        for _ in range(3):
            self.assertEqual(self.curl(port=8001), big, server.text())
        said = [line.split()[0] for line in (base / "access").read_text().splitlines()]
        self.assertEqual(said, [L.SERVER] * 3)
        self.accepted(server, 3)

    def test_redis(self):
        self.need("redis-server", "redis-cli")
        server = self.serve(["redis-server", "--port", 8002, "--bind", "0.0.0.0", "--save", "", "--protected-mode",
                             "no", "--dir", self.lab.file("x").parent], 8002)
        self.behind(8002)
        r = self.lab.run(["redis-cli", "-h", L.ROUTER, "-p", 8002, "client", "list"], ns="server")
        self.assertIn(f"addr={L.SERVER}:".encode(), r.out, (r, server.text()))
        self.accepted(server)

    def test_node(self):
        self.need("node", "curl")
        server = self.serve(["node", "-e", """require("http").createServer((q, r) =>
            r.end(q.socket.remoteAddress)).listen(8003)"""], 8003)
        self.behind(8003)
        self.assertEqual(self.curl(port=8003), f"::ffff:{L.SERVER}".encode())
        self.accepted(server)


# A server that says of each step what it has seen: argv[1] how it waits, argv[2] what follows.
SERVER = r"""
import os, select, socket, sys, time
how, port = sys.argv[1], int(sys.argv[2])
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(("0.0.0.0", port))
s.listen(5)
s.setblocking(how == "block")
names = {select.POLLIN: "IN", select.POLLOUT: "OUT", select.POLLERR: "ERR", select.POLLHUP: "HUP",
         select.POLLRDHUP: "RDHUP"}
def said(events):
    return "+".join(n for bit, n in names.items() if events & bit)
def wait(sock, write=False):
    if how == "block":
        return
    if how == "select":
        r, w, x = select.select([sock], [sock] if write else [], [sock], 10)
        print("select", bool(r), bool(w), bool(x))
    elif how == "poll":
        p = select.poll()
        p.register(sock, select.POLLIN | (select.POLLOUT if write else 0))
        print("poll", [said(e) for _, e in p.poll(10000)])
    else:
        e = select.epoll()
        more = {"level": 0, "edge": select.EPOLLET, "oneshot": select.EPOLLONESHOT,
                "exclusive": select.EPOLLEXCLUSIVE}[how]
        e.register(sock, select.EPOLLIN | (select.EPOLLOUT if write else 0) | more)
        print("epoll", [said(e) for _, e in e.poll(10)])
        if how in ("edge", "oneshot"):
            print("again", e.poll(0))
        e.close()
def step(what, *a):
    try:
        r = what(*a)
    except OSError as err:
        r = err.__class__.__name__
    print(what.__name__, r)
    return r
while True:
    wait(s)
    try:
        c, name = s.accept()
    except OSError as err:
        print("accept", err.__class__.__name__, flush=True)
        continue
    print("accept", name[0], name[1] > 0)
    c.setblocking(how == "block")
    wait(c)
    step(c.recv, 100)
    try:
        print("peer", c.getpeername()[0])
    except OSError as err:
        print("peer", err.__class__.__name__)
    wait(c, True)
    step(c.send, b"answer\n")
    wait(c)
    step(c.recv, 100)
    step(c.recv, 100)
    c.close()
    print("end", flush=True)
"""

# A remote host, or the converter itself: argv[1:3] where to, then perhaps "mptcp", and "syn" with what is in
# it; bytes in hexadecimal, "." a short pause, "readN", "fin", "rst"; all that is read is told.
CALLER = r"""
import socket, struct, sys, time
words = sys.argv[3:]
mptcp = words[0] == "mptcp"
s = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262 if mptcp else 0)
s.settimeout(10)
to = sys.argv[1], int(sys.argv[2])
words = words[mptcp:]
if words and words[0] == "syn":
    s.setsockopt(socket.IPPROTO_TCP, 34, 1)  # TCP_FASTOPEN_NO_COOKIE
    s.sendto(bytes.fromhex(words[1]), socket.MSG_FASTOPEN, to)
    words = words[2:]
else:
    s.connect(to)
s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
got = b""
def read(n):
    global got
    while len(got) < n:
        try:
            more = s.recv(n - len(got))
        except ConnectionResetError:
            got += b"RESET"
            break
        if not more:
            got += b"END"
            break
        got += more
for word in words:
    if word == ".":
        time.sleep(0.02)
    elif word.startswith("read"):
        read(len(got) + int(word[4:]))
    elif word == "fin":
        s.shutdown(socket.SHUT_WR)
    elif word == "rst":
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        s.close()
        sys.exit()
    else:
        s.sendall(bytes.fromhex(word))
read(1000)
sys.stdout.write(got.decode("latin1"))
"""

REMOTE = "198.51.100.7"
HEADER = "\x01\x01\x22\x63"


def message(address=REMOTE, port=4711, words=6, word="2263", tlv="0a05"):
    ip = socket.inet_pton(socket.AF_INET, address).hex()
    return f"01{words:02x}{word}{tlv}{port:04x}" + "00" * 10 + "ffff" + ip


def bytewise(text):
    return [w for i in range(0, len(text), 2) for w in (text[i:i + 2], ".")]


class Steps(Incoming):
    def server(self, how, port, **more):
        return self.serve(["/usr/bin/python3", "-u", "-c", SERVER, how, port], port, **more)

    def test_transcripts(self):
        """Line by line as if the remote host had connected directly, whichever way a server waits."""
        for n, how in enumerate(("block", "select", "poll", "level", "edge", "oneshot", "exclusive")):
            with self.subTest(how):
                server = self.server(how, 8010 + n)
                answer = self.call(8010 + n, ".", b"hello".hex(), "read7", "fin", ns="server")
                self.assertEqual(answer, "answer\nEND")
                direct = self.said(server)
                for i, by in enumerate(([], ["mptcp"])):
                    before = len(self.said(server, 1 + i))
                    answer = self.call(8010 + n, *by, "syn", message(), "read4", ".", b"hello".hex(), "read7",
                                       "fin")
                    self.assertEqual(answer, HEADER + "answer\nEND")
                    whole = self.said(server, 2 + i)[before:]
                    self.assertEqual(whole, direct.replace(L.SERVER, REMOTE), by)

    def test_split(self):
        """Byte by byte behind the handshake: nobody has accepted it before the message is whole. And with the
        remote host's first bytes right behind the message."""
        for n, how in enumerate(("block", "select", "poll", "level", "edge", "oneshot", "exclusive")):
            with self.subTest(how):
                server = self.server(how, 8020 + n)
                self.call(8020 + n, ".", b"hello".hex(), "read7", "fin", ns="server")
                direct = self.said(server)
                answer = self.call(8020 + n, *bytewise(message()), "read4", ".", b"hello".hex(), "read7", "fin")
                self.assertEqual(answer, HEADER + "answer\nEND")
                said = [line for line in self.said(server, 2)[len(direct):].splitlines()
                        if line != "accept BlockingIOError"]
                expected = direct.replace(L.SERVER, REMOTE).splitlines()
                # what woke the server for an accept() that had nothing yet
                self.assertEqual(said[-len(expected):], expected)
                self.assertLessEqual(len(said) - len(expected), 2, said)
                answer = self.call(8020 + n, message() + b"hello".hex(), "read11", "fin")
                self.assertEqual(answer, HEADER + "answer\nEND")
                self.assertEqual(self.said(server, 3).count("recv b'hello'"), 3)
                self.assertNotIn(L.CONVERTER, server.text())

    def test_mute(self):
        """Who says nothing, or not all of it, is reset when the time is over, and the server goes on."""
        for n, how in enumerate(("block", "poll", "level")):
            for words in [([], ["01"], [message()[:20]])[n]]:
                with self.subTest(how, words=words):
                    port = 8030 + n
                    server = self.server(how, port, policy="timeout = 700ms")
                    self.assertEqual(self.call(port, *words), "RESET")
                    log = self.shim_says(server, "refused ")
                    self.assertEqual(log.count("refused "), 1, log)
                    self.assertIn("no message in time", log)
                    self.call(port, ".", b"hello".hex(), "read7", "fin", ns="server")
                    said = server.text()
                    self.assertIn(f"accept {L.SERVER} True", said)
                    self.assertNotIn(L.CONVERTER, said)
                    self.assertNotIn("accept 0.0.0.0", said)
                    server.stop()

    def test_malformed(self):
        """A reset, and one line in the log that says why."""
        server = self.server("poll", 8050)
        bad = {"TLV of length 0": message(tlv="0a00"),
               "total length 0": message(words=0),
               "TLV crosses the end of the message": message(tlv="0a09"),
               "TLV with an impossible length": "01020000".replace("0000", "2263") + "0a01" + "0050",
               "TLV in the wrong direction": "01022263" + "01010000",
               "no Connect TLV with a remote host": message(port=0)}
        for n, (why, words) in enumerate(bad.items()):
            with self.subTest(why):
                self.assertEqual(self.call(8050, words), "RESET")
                self.assertEqual(self.shim_says(server, why).count("refused "), n + 1)
        for address in "127.0.0.1", "224.0.0.1", "255.255.255.255", "0.0.0.0":
            self.assertEqual(self.call(8050, message(address)), "RESET", address)
        self.assertEqual(self.call(8050, message()[:30], "fin"), "RESET")
        self.assertNotIn("recv b'\\x", server.text())

    def test_whose(self):
        """Only a converter's message is one: from everybody else its bytes are data. So are a converter's
        own that begin otherwise, and all of them where no rule speaks of the listener."""
        forged = [message(), ".", "read7", "fin"]
        data = repr(bytes.fromhex(message()))
        server = self.server("poll", 8060)
        self.assertEqual(self.call(8060, *forged, ns="server"), "answer\nEND")
        said = self.said(server)
        self.assertIn(f"accept {L.SERVER} True\n", said)
        self.assertIn(f"recv {data}\n", said)
        for n, first in enumerate(("GET / HTTP/1.0", "\x01", "\x01\x06\x22")):
            words = [first.encode().hex(), "fin"] if n else [first.encode().hex(), "read7", "fin"]
            self.call(8060, *words)
            self.assertIn(f"recv {first.encode()!r}\n", self.said(server, 2 + n))
        for port, more in ((8061, {"incoming": rules().replace("port", "app other port")}),
                           (8100, {}), (8062, {"converter": "interface = elsewhere"}),
                           (8063, {"converter": "from = 10.9.0.0/16"})):
            with self.subTest(port):
                server = self.server("poll", port, **more)
                self.assertEqual(self.call(port, *forged), "answer\nEND")
                self.assertIn(f"accept {L.CONVERTER} True\n", self.said(server))
                self.assertIn(f"recv {data}\n", server.text())


# Says to each connection what accept() and getpeername() have said: argv[1] processes of argv[2] threads.
# With a third argument the listener is descriptor 3, made by somebody else.
CROWD = r"""
import os, socket, sys, threading
processes, threads = int(sys.argv[1]), int(sys.argv[2])
if len(sys.argv) > 3:
    s = socket.socket(fileno=3)
else:
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(("0.0.0.0", 8090))
    s.listen(50)
def serve():
    while True:
        c, name = s.accept()
        line = c.recv(100)
        c.sendall(("%s:%d %s:%d " % (*name, *c.getpeername())).encode() + line)
        c.close()
for _ in range(processes - 1):
    if os.fork() == 0:
        break
for _ in range(threads - 1):
    threading.Thread(target=serve, daemon=True).start()
serve()
"""

# Many connections at once: how many were told their own name, twice, and got their own line back.
MANY = r"""
import socket, sys, threading
right = []
def one(n):
    s = socket.create_connection((sys.argv[1], int(sys.argv[2])), 10)
    name = "%s:%d" % s.getsockname()
    s.sendall(b"line %d" % n)
    got = b""
    while more := s.recv(100):
        got += more
    right.append(got == ("%s %s line %d" % (name, name, n)).encode() or print(name, got))
threads = [threading.Thread(target=one, args=(n,)) for n in range(40)]
for t in threads: t.start()
for t in threads: t.join()
print(sum(map(bool, right)))
"""


class Crowd(Incoming):
    def many(self, *options, port=8090):
        self.lab.converter("--incoming", f"{port}={L.CLIENT}:{port}", *options)
        r = self.lab.run(["/usr/bin/python3", "-c", MANY, L.ROUTER, port], ns="server", timeout=60)
        self.assertEqual(r.out, b"40\n", r)

    def test_threads_and_processes(self):
        """Whoever of them accepts it, a connection is its own remote host's, with the message in the SYN or
        behind the handshake."""
        self.serve(["/usr/bin/python3", "-c", CROWD, 3, 3], 8090)
        self.many("--mptcp")
        self.lab.running.pop().stop()
        self.many("--fastopen", "off")

    def test_inherited_listener(self):
        """Made before the library was there, as a service manager makes it."""
        listener = """import os, socket, sys
s = socket.socket()
s.bind(("0.0.0.0", 8091))
s.listen(50)
os.dup2(s.fileno(), 3)
os.set_inheritable(3, True)
os.execvp(sys.argv[1], sys.argv[1:])"""
        env = self.lab.config(converter=rules(), address=(L.CONVERTER, L.CONVERTER6))
        server = self.lab.start("client", ["/usr/bin/python3", "-c", listener, "env", f"LD_PRELOAD={L.SHIM}",
                                           f"CONVERT_CONF={env['CONVERT_CONF']}", "/usr/bin/python3", "-c", CROWD,
                                           2, 2, "inherited"])
        server.wait_for_listeners(8091)
        self.many("--fastopen", "off", port=8091)


class Costs(Incoming):
    def calls(self, how, port, **more):
        """The system calls of a server from the accept that succeeds to the close of what it has accepted."""
        trace = self.lab.file("strace")
        env = {k: v for k, v in more.items()}
        server = self.lab.start("client", ["strace", "-f", "-qq", "-o", trace, *(f"-E{k}={v}" for k, v in env.items()),
                                           "/usr/bin/python3", "-u", "-c", SERVER, how, port])
        server.wait_for_listeners(port)
        self.call(port, ".", b"hello".hex(), "read7", "fin", ns="server")
        self.said(server)
        server.stop()
        lines = [line.split(None, 1)[1].split("(")[0] for line in trace.read_text().splitlines()]
        return lines, lines[lines.index("accept4"):]

    def shim(self, incoming):
        env = self.lab.config(converter="fast-open = no-cookie\n" + incoming)
        return {"LD_PRELOAD": L.SHIM, "CONVERT_STATE": "none", "CONVERT_CONF": env["CONVERT_CONF"]}

    def test_direct(self):
        """A direct connection to a listener of a rule costs no system call more, and without a rule a listener
        costs none either."""
        self.need("strace")
        for n, how in enumerate(("block", "poll", "level")):
            with self.subTest(how):
                all_plain, plain = self.calls(how, 8070 + n)
                _, ruled = self.calls(how, 8070 + n, **self.shim(rules()))
                self.assertEqual(ruled, plain)
                off, without = self.calls(how, 8070 + n, **self.shim(""))
                self.assertEqual(without, plain)
                at = all_plain.index("listen"), off.index("listen")
                self.assertEqual(off[at[1] - 2:], all_plain[at[0] - 2:])


if __name__ == "__main__":
    L.main(setup)
