#!/usr/bin/python3 -B
# SPDX-License-Identifier: MIT
"""Programs that wait by epoll and select, and long-lived ones with many connections, as clients
through a converter: the same bytes, messages and exit status as without the shim, and every
server sees the converter. With HEAVY=1 thousands of connections, Java and Boost.Asio too."""
import collections
import concurrent.futures
import difflib
import hashlib
import os
import pathlib
import re
import sys
import time

sys.path.insert(1, sys.path[0] + "/../lab")
import lab as L
import servers

HEAVY = bool(os.environ.get("HEAVY"))
MANY = 5000 if HEAVY else 400  # connections of a long-lived program, to each server

HERE = L.ROOT / "tests/programs/waiters"
PYTHON = "/usr/bin/python3"
CLOSED, REDIS, ECHO, RSYNC, FRONT = 81, 6400, 7000, 873, 8080
WHO = {L.SERVER: L.ROUTER, L.SERVER6: L.ROUTER6}  # whom that server sees behind a converter

BACKEND = """
user root;
daemon off; master_process off; worker_processes 1; worker_rlimit_nofile 20000;
pid {dir}/pid; error_log {dir}/error.log;
events {{ worker_connections 9000; }}
http {{
    access_log {dir}/access.log combined;
    default_type application/octet-stream;
    keepalive_requests 1000000;
    client_body_temp_path {dir}/t0; proxy_temp_path {dir}/t1; fastcgi_temp_path {dir}/t2;
    uwsgi_temp_path {dir}/t3; scgi_temp_path {dir}/t4;
    server {{
        listen 80 backlog=8000; listen [::]:80 backlog=8000;
        root {dir}/www;
    }}
}}
"""

PROXY = """
user root;
daemon off; worker_processes 2; pid {dir}/pid; error_log {dir}/error.log;
events {{ worker_connections 4000; }}
http {{
    access_log off;
    client_body_temp_path {dir}/t0; proxy_temp_path {dir}/t1; fastcgi_temp_path {dir}/t2;
    uwsgi_temp_path {dir}/t3; scgi_temp_path {dir}/t4;
    upstream warm {{ server {v4}; keepalive 8; }}
    server {{
        listen 127.0.0.1:{port} backlog=8000;
        location /{v4}/ {{ proxy_pass http://{v4}/; }}
        location /{v6}/ {{ proxy_pass http://[{v6}]/; }}
        location /warm/ {{ proxy_pass http://warm/; proxy_http_version 1.1;
                           proxy_set_header Connection ""; }}
        location /closed/ {{ proxy_pass http://{v4}:{closed}/; }}
        location /mute/ {{ proxy_pass http://{mute}/; proxy_connect_timeout 700ms; }}
    }}
}}
"""

HAPROXY = """
global
    maxconn 4000
    nbthread 2
defaults
    mode http
    retries 0
    option http-server-close
    http-reuse never
    timeout connect 700ms
    timeout client 20s
    timeout server 20s
frontend front
    bind 127.0.0.1:{port}
    use_backend v6 if {{ path_beg /{v6}/ }}
    use_backend closed if {{ path_beg /closed/ }}
    use_backend mute if {{ path_beg /mute/ }}
    default_backend v4
backend v4
    http-request replace-path /[^/]*/(.*) /\\1
    timeout connect 10s
    server s {v4}:80 check inter 500ms fall 5
backend v6
    timeout connect 10s
    http-request replace-path /[^/]*/(.*) /\\1
    server s [{v6}]:80 check inter 500ms fall 5
backend closed
    server s {v4}:{closed}
backend mute
    server s {mute}:80
"""

RSYNCD = """
pid file = {dir}/pid
log file = {dir}/log
use chroot = no
reverse lookup = no
uid = 0
gid = 0
[tree]
path = {dir}/tree
[upload]
path = {dir}/upload
read only = no
"""


def setup(lab):
    global backend, page_sum
    for ns in ("client", "converter"):  # thousands of connections: ports must come back
        L.sysctl(ns, net__ipv4__tcp_max_tw_buckets=500,
                 net__ipv4__ip_local_port_range="10000 65000")
    for ns in ("client", "converter", "server"):
        L.sysctl(ns, net__core__somaxconn=8192, net__ipv4__tcp_max_syn_backlog=8192)
    servers.nowhere(lab)
    backend = nginx(lab, "server", BACKEND, 80)
    page = servers.random_bytes(30000)
    (backend.base / "www").mkdir()
    (backend.base / "www/page").write_bytes(page)
    page_sum = hashlib.sha256(page).hexdigest()
    lab.start("server", [L.TOOLS / "echo-server", ECHO]).wait_for_listeners(ECHO)


def nginx(lab, ns, text, port, shim=None):
    base = lab.file("nginx")
    base.mkdir()
    (base / "config").write_text(text.format(dir=base, port=port, v4=L.SERVER, v6=L.SERVER6,
                                             closed=CLOSED, mute=servers.MUTE))
    server = lab.start(ns, shimmed(["nginx", "-c", base / "config", "-e", base / "error.log"],
                                   shim))
    server.wait_for_listeners(port)
    server.base = base
    return server


def shimmed(argv, shim):
    """For what runs in the background. lab.run() does the same for what ends by itself."""
    if shim is None:
        return argv
    settings = shim | {"LD_PRELOAD": L.SHIM}
    return ["env"] + [f"{name}={value}" for name, value in settings.items()] + argv


def url(server, path="", port=None):
    host = f"[{server}]" if ":" in server else server
    return f"http://{host}{f':{port}' if port else ''}/{path}"


def masked(text):
    """Without what differs from run to run: socat's clock, and process ids."""
    return re.sub(r"(?m)^\S+ \S+ socat\[\d+\]", "socat", re.sub(r"pid=\d+", "pid", text))


class Base(L.TestCase):
    CONVERTER = ()
    FAULT = ()
    SETTINGS = "fast-open = no-cookie"
    POLICY = "timeout = 20s"

    def setUp(self):
        super().setUp()
        faults = [word for fault in self.FAULT for word in ("--fault", fault)]
        self.converter = self.lab.converter("--max-connections", 9000, "--max-pending", 9000,
                                            *self.CONVERTER, *faults)
        self.seen = backend_log_size()

    def shim(self, log=True):
        return self.lab.config(self.SETTINGS, self.POLICY, [L.CONVERTER, L.CONVERTER6], log=log)

    def both(self, argv, stdin=b"", timeout=60, env=None):
        """Runs it without and with the shim; returns the two results."""
        direct = self.lab.run(argv, stdin=stdin, timeout=timeout, env=env)
        self.seen = backend_log_size()
        shim = self.lab.run(argv, stdin=stdin, timeout=timeout, env=env, shim=self.shim())
        return direct, shim

    def same(self, argv, converted=1, **more):
        """The same output, messages and exit status, after so many conversions."""
        direct, shim = self.both(argv, **more)
        self.assertEqual(direct.code, shim.code, shim)
        self.assertEqual(direct.out, shim.out, shim)
        self.assertEqual(masked(direct.err), masked(shim.err), shim)
        self.assertEqual(self.conversions(shim.log), converted, shim)
        return shim

    def conversions(self, log):
        """How many, but for those that the program has closed before; and nothing may have gone direct."""
        lines = [line for line in log.splitlines() if " direct 127.0.0." not in line and ": given up " not in line]
        for line in lines:
            self.assertRegex(line, r": (converted|failed) \S+ via \S+ ")
        return len(lines)

    def check_backend(self, requests, who=None):
        """The web server has answered so many requests since the direct run, each with the
        whole page, and they came from the converter."""
        def written():  # nginx logs a request after its last byte
            lines = backend_log(self.seen)
            return lines if len(lines) >= requests else None
        lines = L.wait_for(f"{requests} requests in the web server's log", written, 5)
        self.assertEqual(len(lines), requests, lines[-3:])
        answers = collections.Counter()
        for line in lines:
            words = line.split('"')
            answers[words[0].split()[0], words[2].strip()] += 1
        expected = [who] if who else sorted(WHO.values())
        self.assertEqual(sorted(w for w, _ in answers), expected)
        for _, answer in answers:
            self.assertEqual(answer, "200 30000")


def backend_log_size():
    """When what was cut off before is written, too: nginx does that later."""
    path, sizes = backend.base / "access.log", []

    def is_quiet():
        time.sleep(0.05)
        sizes.append(os.path.getsize(path))
        return len(sizes) > 1 and sizes[-1] == sizes[-2]
    L.wait_for("the end of the web server's log", is_quiet)
    return sizes[-1]


def backend_log(since):
    """Its whole lines from this size on: hundreds of thousands, in the end."""
    with open(backend.base / "access.log") as log:
        log.seek(since)
        return log.read().rpartition("\n")[0].splitlines()


# ------------------------------------------------------------------ waiting programs

class Waiters:
    """Subclasses say how the converter replies."""

    def test_asyncio(self):
        for server, who in WHO.items():
            with self.subTest(server):
                self.same([PYTHON, "-B", HERE / "many.py", server, 80, 20, "/page"], converted=20)
                self.check_backend(20, who)

    def test_node_fetch(self):
        self.need("node")
        for server, who in WHO.items():
            with self.subTest(server):
                shim = self.same(["node", HERE / "http.js", "fetch", url(server, "page"), 20],
                                 converted=20)
                self.assertEqual(len(shim.out), 20 * 30000)
                self.check_backend(20, who)

    def dialogue(self, argv_for):
        """A request on standard input, the answer on standard output."""
        for server, who in WHO.items():
            with self.subTest(server):
                direct, shim = self.both(argv_for(server), stdin=b"GET /page HTTP/1.0\r\n\r\n")
                self.assertEqual(direct.code, shim.code, shim)
                bodies = [r.out.partition(b"\r\n\r\n")[2] for r in (direct, shim)]
                self.assertEqual(len(bodies[0]), 30000, direct)
                self.assertEqual(*bodies)
                self.assertEqual(masked(direct.err), masked(shim.err))
                self.assertEqual(self.conversions(shim.log), 1, shim)
                self.check_backend(1, who)

    def test_ncat(self):
        self.need("ncat")
        self.dialogue(lambda server: ["ncat", server, 80])

    def test_socat(self):
        self.need("socat")
        self.dialogue(lambda server: ["socat", "-t5", "-", "TCP:" + url(server)[7:-1] + ":80"])
        self.dialogue(lambda server: ["socat", "-t5", "-",
                                      "TCP:" + url(server)[7:-1] + ":80,connect-timeout=10"])

    def test_refused(self):
        """A closed port: the same message and exit status."""
        self.need("node", "ncat", "socat")
        for server in WHO:
            host = url(server)[7:-1]
            for argv in ([PYTHON, "-B", HERE / "many.py", server, CLOSED, 1, "/page"],
                         ["node", HERE / "http.js", "fetch", url(server, "page", CLOSED), 1],
                         ["ncat", server, CLOSED],
                         ["socat", "-", f"TCP:{host}:{CLOSED}"],
                         ["socat", "-", f"TCP:{host}:{CLOSED},connect-timeout=10"]):
                with self.subTest(argv[0], server=server):
                    shim = self.same(argv)
                    self.assertIn("refused", (shim.out.decode() + shim.err).lower(), shim)


class ReplyWhole(Waiters, Base):
    pass


class ReplySplit(Waiters, Base):
    """Into bytes, 2 ms apart."""
    FAULT = ("split=1,gap=2",)


class ReplyLate(Waiters, Base):
    FAULT = ("delay=300",)


class SynHeld(Waiters, Base):
    """The converter answers the SYN when the server has answered."""

    CONVERTER = ("--hold",)


class Owed:
    """The kernel asks for a Fast Open cookie first, so the message follows the handshake."""
    SETTINGS = "fast-open = cookie"

    def shim(self, log=True):
        addresses = self.lab.fresh_addresses()
        self.lab.converter("--fastopen", "cookie", "--fault", ",".join(self.FAULT),
                           listen=[addresses[0], f"[{addresses[1]}]"])
        return self.lab.config(self.SETTINGS, self.POLICY, addresses, log=log)


class MessageOwed(Owed, ReplySplit):
    pass


# --------------------------------------------------------- many at once in one process

class AtOnce(Base):
    """All connections of a process pending at the same time, in one epoll set."""
    FAULT = ("delay=1500",)
    COUNT = 5000

    def echoed(self, argv, count):
        shim = self.same(argv, converted=count, timeout=110)
        self.note(shim.out.decode().strip().replace("\n", ", ") + f", {shim.seconds:.1f} s")
        return shim

    def test_asyncio(self):
        shim = self.echoed([PYTHON, "-B", HERE / "many.py", L.SERVER, ECHO, self.COUNT],
                           self.COUNT)
        self.assertEqual(shim.out.decode(),
                         f"{self.COUNT} connected to ('{L.SERVER}', {ECHO}), echoed\n")

    def test_asyncio_refused(self):
        shim = self.echoed([PYTHON, "-B", HERE / "many.py", L.SERVER6, CLOSED, 300], 300)
        self.assertRegex(shim.out.decode(), r"^300 ConnectionRefusedError: ")


class Heavy:
    """Only with HEAVY=1."""


class Selectors(AtOnce):
    """Java's, and Boost.Asio's edge-triggered ones."""
    COUNT = 500
    FAULT = ("delay=700", "split=1,gap=2")
    test_asyncio = test_asyncio_refused = None

    def count_ends(self, argv_for, more=0):
        for server in WHO:
            with self.subTest(server):
                shim = self.echoed(argv_for(server), self.COUNT + more)
                ends = dict(reversed(line.split(None, 1))
                            for line in shim.out.decode().splitlines() if "blocking" not in line)
                self.assertEqual(sorted(map(int, ends.values())),
                                 [self.COUNT // 10, self.COUNT - self.COUNT // 10], shim)

    def test_java(self):
        self.need("javac")
        classes = self.lab.file("java")
        L.command(["javac", "-J-XX:-UsePerfData", "-d", classes, HERE / "Nio.java"])
        self.count_ends(lambda server: ["java", "-XX:-UsePerfData", "-cp", classes, "Nio", server, ECHO, CLOSED,
                                        self.COUNT], more=4)

    def test_asio(self):
        self.need("g++")
        if not pathlib.Path("/usr/include/boost/asio.hpp").exists():
            self.skipTest("libboost-dev is not installed")
        program = self.lab.file("asio")
        L.command(["g++", "-O0", "-o", program, HERE / "asio.cc", "-lpthread"], timeout=110)
        self.count_ends(lambda server: ["bash", "-c", 'ulimit -n 9000; exec "$@"', "sh", program,
                                        server, ECHO, CLOSED, self.COUNT])


class SelectorsAtOnce(Heavy, Selectors):
    FAULT = ()


class SelectorsMany(Heavy, Selectors):
    FAULT = ("delay=1500",)
    COUNT = 5000


# ----------------------------------------------------------------- long-lived programs

class LongLived:
    """Each with MANY connections. Subclasses say how the converter replies."""

    def check_front(self, process, log, prefixes):
        """What a proxy in the client's namespace gives to unshimmed clients."""
        for prefix, connections in prefixes.items():
            with self.subTest(prefix):
                self.seen = backend_log_size()
                before = self.conversions_in(log)
                r = self.lab.run(["ab", "-q", "-s", "60", "-n", MANY, "-c", 50,
                                  f"http://127.0.0.1:{FRONT}/{prefix}/page"], timeout=110)
                text = r.out.decode()
                self.assertEqual(r.code, 0, f"{r}\n{process.text()}")
                self.assertRegex(text, rf"(?m)^Complete requests: +{MANY}$")
                self.assertRegex(text, r"(?m)^Failed requests: +0$")
                self.assertRegex(text, rf"(?m)^HTML transferred: +{MANY * 30000} bytes$")
                self.assertNotIn("Non-2xx", text)
                self.check_backend(MANY, WHO.get(prefix, L.ROUTER))
                made = self.conversions_in(log) - before
                self.assertTrue(connections(made), f"{made} connections for {MANY} requests")
                r = self.lab.run(["curl", "-sS", f"http://127.0.0.1:{FRONT}/{prefix}/page"])
                self.assertEqual(hashlib.sha256(r.out).hexdigest(), page_sum, r)
                self.note(re.search(r"Requests per second: .*?(\d+)\.", text)[1] +
                          f" requests/s over {made} upstream connections")

    def conversions_in(self, log):
        return self.conversions(pathlib.Path(log).read_text()) if os.path.exists(log) else 0

    def compare_errors(self, start):
        """502 and its like: the same status and page without and with the shim."""
        results = []
        for shim in None, self.shim():
            process = start(shim)
            results.append([])
            for path in "closed", "mute":
                r = self.lab.run(["curl", "-sS", "-w", "\n%{http_code}",
                                  f"http://127.0.0.1:{FRONT}/{path}/page"])
                limit = r.seconds if path == "mute" else 0.7
                self.assertTrue(0.6 < limit < 3, r)
                results[-1].append(re.sub(rb"nginx/[\d.]+", b"", r.out))
            process.stop()
        self.assertEqual(*results)
        self.note(", ".join(r.decode().split()[-1] for r in results[0]) +
                  " of a closed port and of a silent server")

    def start_nginx(self, shim):
        return nginx(self.lab, "client", PROXY, FRONT, shim)

    def test_nginx(self):
        self.need("ab")
        shim = self.shim()
        self.check_front(self.start_nginx(shim), shim["LAB_LOG"], {
            L.SERVER: lambda made: made == MANY,
            L.SERVER6: lambda made: made == MANY,
            "warm": lambda made: 1 <= made <= MANY})

    def test_nginx_wrk(self):
        """A connection of nginx's for each request, as many as it can make."""
        self.need("wrk")
        shim = self.shim()
        self.start_nginx(shim)
        self.seen = backend_log_size()
        r = self.lab.run(["wrk", "-t2", "-c50", f"-d{10 if HEAVY else 1}s", "--timeout", "10s",
                          f"http://127.0.0.1:{FRONT}/{L.SERVER}/page"], timeout=60)
        requests = re.search(r"(\d+) requests in .* ([\d.]+)([MG])B read", r.out.decode())
        self.assertTrue(r.code == 0 and requests, r)
        self.assertNotRegex(r.out, b"Socket errors|Non-2xx")
        backend_log_size()  # all is written
        answers = collections.Counter(line.split()[0] + " " + line.split('"')[2].strip()
                                      for line in backend_log(self.seen))
        # at its end wrk cuts off up to one answer a connection
        self.assertEqual(list(answers)[0], f"{L.ROUTER} 200 30000")
        self.assertGreaterEqual(answers[f"{L.ROUTER} 200 30000"], int(requests[1]))
        self.assertLessEqual(answers.total(), int(requests[1]) + 50)
        read = float(requests[2]) * {"M": 2**20, "G": 2**30}[requests[3]]
        self.assertGreaterEqual(read, int(requests[1]) * 30000 * 0.99)  # it rounds
        made = self.conversions_in(shim["LAB_LOG"])
        self.assertIn(made - answers.total(), range(-1, 51))
        self.note(f"{requests[1]} requests, {made} connections")

    def test_nginx_errors(self):
        self.compare_errors(self.start_nginx)

    def start_haproxy(self, shim):
        config = self.lab.file("haproxy.cfg", HAPROXY.format(
            port=FRONT, v4=L.SERVER, v6=L.SERVER6, closed=CLOSED, mute=servers.MUTE))
        process = self.lab.start("client", shimmed(["haproxy", "-db", "-f", config], shim))
        process.wait_for_listeners(FRONT)
        return process

    def test_haproxy(self):
        """Its health checks are connections too, and close without a byte."""
        self.need("ab", "haproxy")
        shim = self.shim()
        process = self.start_haproxy(shim)
        self.check_front(process, shim["LAB_LOG"], {L.SERVER: lambda made: made >= MANY,
                                                    L.SERVER6: lambda made: made >= MANY})
        self.assertNotIn("is DOWN", process.text())

    def test_haproxy_errors(self):
        self.need("haproxy")
        self.compare_errors(self.start_haproxy)

    def test_node_agent(self):
        self.need("node")
        for server, who in WHO.items():
            for keep, connections in ("keep", 50), ("close", MANY):
                with self.subTest(keep, server=server):
                    shim = self.same(["node", HERE / "http.js", "agent", url(server, "page"), MANY, 50,
                                      keep], converted=connections)
                    self.assertEqual(shim.out.decode(), f"{MANY} 200 {page_sum}\n"
                                     f"{connections} connections\n")
                    self.check_backend(MANY, who)

    def test_redis_benchmark(self):
        self.need("redis-benchmark", "redis-server")
        for server, who in WHO.items():
            redis = self.lab.start("server", [
                "redis-server", "--bind", server, "--port", REDIS, "--save", "",
                "--protected-mode", "no", "--dir", L.TMP, "--loglevel", "verbose"])
            redis.wait_for_listeners(REDIS)
            # keeping 50 connections, and a new connection for each request
            for keep, requests in (1, 20 * MANY), (0, MANY):
                with self.subTest(server, keep=keep):
                    before = len(redis.text())
                    r = self.lab.run(["redis-benchmark", "-h", server, "-p", REDIS, "-c", 50,
                                      "-n", requests, "-k", keep, "-t", "set,get", "-d", 100,
                                      "--csv"], shim=self.shim(), timeout=100)
                    self.assertEqual(r.code, 0, r)
                    self.assertNotIn("rror", r.out.decode() + r.err, r)
                    self.assertEqual(r.out.count(b'\n"SET"') + r.out.count(b'\n"GET"'), 2, r)
                    text = redis.text()[before:]
                    accepted = re.findall(r"Accepted (\S+):\d+", text)
                    self.assertEqual(set(accepted), {who})
                    # it ends with up to 50 unfinished connections; they are not in the shim's log
                    made = self.conversions(r.log)
                    self.assertGreaterEqual(made, 100 if keep else 2 * requests, r)
                    self.assertIn(len(accepted) - made, range(101), r)
            redis.stop()

    def test_wrk(self):
        self.need("wrk")
        for server, who in WHO.items():
            for header in "Connection: keep-alive", "Connection: close":
                with self.subTest(header, server=server):
                    self.seen = backend_log_size()
                    r = self.lab.run(["wrk", "-t2", "-c50", f"-d{5 if HEAVY else 1}s",
                                      "--timeout", "10s", "-H", header, url(server, "page")],
                                     shim=self.shim(), timeout=60)
                    text = r.out.decode()
                    requests = re.search(r"(\d+) requests in", text)
                    self.assertTrue(r.code == 0 and requests, r)
                    self.assertNotIn("Socket errors", text)
                    self.assertNotIn("Non-2xx", text)
                    # wrk counts what it has read, which nginx logs after that; the last ones were cut
                    # off by its end
                    L.wait_for("the log", lambda: len(backend_log(self.seen)) >= int(requests[1]))
                    answers = backend_log(self.seen)
                    self.assertEqual({line.split()[0] for line in answers}, {who})
                    made = self.conversions(r.log)
                    self.assertGreaterEqual(made, 50 if "keep" in header else int(requests[1]))
                    self.note(f"{header}: {requests[1]} requests, {made} connections")

    def test_ab(self):
        self.need("ab")
        for server, who in WHO.items():
            for keep in [], ["-k"]:
                with self.subTest(server, keep=keep):
                    direct, shim = self.both(["ab", "-q", "-n", MANY, "-c", 50] + keep +
                                             [url(server, "page")], timeout=100)
                    for r in direct, shim:
                        self.assertEqual(r.code, 0, r)
                    counts = [re.findall(r"(?m)^(?:Complete|Failed|Keep-Alive|Write|Total|HTML).*"
                                         r"(?:requests|errors|transferred): .*", r.out.decode())
                              for r in (direct, shim)]
                    self.assertEqual(*counts)
                    self.assertIn(f"HTML transferred:       {MANY * 30000} bytes", counts[1])
                    self.check_backend(MANY, who)
                    # it opens connections until the last answer is there; of 50 that are kept, some
                    # may not have got there by then
                    self.assertIn(self.conversions(shim.log),
                                  range(1, 51) if keep else range(MANY, MANY + 50))

    def test_rsync(self):
        """A tree down and up again, by rsync's own protocol."""
        self.need("rsync")
        if not L.owns_several_users():
            self.skipTest("rsync's daemon needs more than one user in the namespace")
        base = self.lab.file("rsync")
        for number in range(300):
            file = base / f"tree/{number % 7}/{number}"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(servers.random_bytes(number * (1500 if HEAVY else 300), number))
        (base / "upload").mkdir()
        (base / "config").write_text(RSYNCD.format(dir=base))
        daemon = self.lab.start("server", ["rsync", "--daemon", "--no-detach", "--config",
                                           base / "config", "--port", RSYNC])
        daemon.wait_for_listeners(RSYNC)
        seen = set()
        for server, who in WHO.items():
            with self.subTest(server):
                down, host = self.lab.file("down"), url(server)[7:-1]
                for argv in (["rsync", "-a", f"rsync://{host}/tree/", down],
                             ["rsync", "-a", "--delete", "--checksum", f"{down}/",
                              f"rsync://{host}/upload/"]):
                    r = self.lab.run(argv, shim=self.shim(), timeout=60)
                    self.assertEqual((r.code, r.out, r.err), (0, b"", ""), r)
                    self.assertEqual(self.conversions(r.log), 1, r)
                for copy in down, base / "upload":
                    self.assertEqual(sums(copy), sums(base / "tree"))
                seen = set(re.findall(r"module (?:tree|upload) from \S+ \((\S+)\)",
                                      (base / "log").read_text()))
                self.assertIn(who, seen)
        self.assertEqual(seen, set(WHO.values()))

    def test_apt(self):
        """apt's http method, a child of apt-get: an index and packages."""
        self.need("apt-get")
        packages = repository(backend.base / "www/apt", 100 if HEAVY else 20)
        for server, who in WHO.items():
            with self.subTest(server):
                base = self.lab.file("apt")
                for directory in ("state/lists/partial", "cache/archives/partial", "etc",
                                  "downloads"):
                    (base / directory).mkdir(parents=True)
                (base / "status").touch()
                (base / "etc/sources.list").write_text(f"deb [trusted=yes] {url(server, 'apt')} "
                                                       "./\n")
                options = [word for option in (
                    f"Dir::State={base}/state", f"Dir::State::status={base}/status",
                    f"Dir::Cache={base}/cache", f"Dir::Etc={base}/etc", "APT::Architecture=all",
                    "APT::Sandbox::User=root", "Acquire::Languages=none", "Dir::Log=/dev/null",
                    "Acquire::Retries=0", "APT::Get::AllowUnauthenticated=true",
                    "Acquire::http::Pipeline-Depth=0") for word in ("-o", option)]
                self.seen = backend_log_size()
                logs = ""
                for argv in (["apt-get", "-q", "update"],
                             ["apt-get", "-q", "download"] + sorted(packages)):
                    r = self.lab.run([argv[0]] + options + argv[1:], shim=self.shim(), timeout=60,
                                     cwd=base / "downloads")
                    self.assertEqual(r.code, 0, r)
                    self.assertNotIn("Err:", r.out.decode(), r)
                    logs += r.log
                self.assertGreaterEqual(self.conversions(logs), 2, logs)
                self.assertEqual({line.split()[0] for line in backend_log(self.seen)}, {who})
                got = {file.name.partition("_")[0]: hashlib.sha256(file.read_bytes()).hexdigest()
                       for file in (base / "downloads").iterdir()}
                self.assertEqual(got, packages)


def sums(tree):
    return {str(file.relative_to(tree)): hashlib.sha256(file.read_bytes()).hexdigest()
            for file in pathlib.Path(tree).rglob("*") if file.is_file()}


def repository(path, number):
    """A flat one of `number` packages; apt checks their digests and looks into none. Returns
    {name: sha256}."""
    path.mkdir(exist_ok=True)
    index, packages = "", {}
    for i in range(number):
        name, content = f"lab{i}", servers.random_bytes(20000 + i * 1000, i)
        (path / f"{name}.deb").write_bytes(content)
        packages[name] = hashlib.sha256(content).hexdigest()
        index += (f"Package: {name}\nVersion: 1\nArchitecture: all\nFilename: ./{name}.deb\n"
                  f"Size: {len(content)}\nSHA256: {packages[name]}\nDescription: lab\n"
                  "Maintainer: lab\n\n")
    (path / "Packages").write_text(index)
    (path / "Release").write_text("Date: Sat, 01 Jan 2022 00:00:00 UTC\nSHA256:\n "
                                  f"{hashlib.sha256(index.encode()).hexdigest()} {len(index)} "
                                  "Packages\n")
    return packages


class Long(LongLived, Base):
    pass


class LongSplit(LongLived, Base):
    """Every reply 20 ms late and in single bytes."""
    FAULT = ("delay=20", "split=1,gap=1")


class LongHeld(Heavy, LongLived, Base):
    CONVERTER = ("--hold",)


# ----------------------------------------------------------------- what waiting costs

class Waiting(Base):
    """Two seconds for a late reply: fewer than 16 system calls of the whole program, once it waits."""
    FAULT = ("delay=2000",)

    def calls_while_waiting(self, out, shim, words):
        environment = [f"-E{name}={value}" for name, value in shim.items()]
        r = self.lab.run(["strace", "-f", "-qq", "-ttt", "-o", out] + environment +
                         [PYTHON, "-B", HERE / "wait.py", words[0], L.SERVER, ECHO] + words[1:])
        self.assertEqual(r.code, 0, r)
        lines = out.read_text().splitlines()
        start = [i for i, line in enumerate(lines) if "MSG_FASTOPEN" in line][-1]
        began = float(lines[start].split()[1])
        late = [line for line in lines[start:] if float(line.split()[1]) > began + 1.95]
        self.assertTrue(any("recv" in line for line in late), "\n".join(late))
        calls = [line for line in lines[start + 1:]
                 if float(line.split()[1]) < began + 1.95 and "resumed>" not in line]
        # what looks at the arguments, and for io_uring, comes before the waiting
        first = next(i for i, line in enumerate(calls)
                     if re.search(r" (p?poll|p?select6?|epoll_p?wait2?)\(", line))
        return calls[first:]

    def test_calls(self):
        """Alone, and with two other threads in the process."""
        self.need("strace")
        ways = [[how] + more for how in ("blocking", "poll", "select", "epoll")
                for more in ([], ["threads"])]
        arguments = [(self.lab.file("strace"),
                      self.shim(log=False) | {"LD_PRELOAD": L.SHIM}, way) for way in ways]
        with concurrent.futures.ThreadPoolExecutor(len(ways)) as pool:
            found = list(pool.map(lambda a: self.calls_while_waiting(*a), arguments))
        self.note(", ".join(f"{' '.join(way)} {len(calls)}" for way, calls in zip(ways, found)) +
                  " system calls in two seconds")
        for way, calls in zip(ways, found):
            with self.subTest(" ".join(way)):
                self.assertLess(len(calls), 16, "\n".join(calls[:40]))


# A child reads the pipe that the program polls, too, and before it has looked again: strace holds it up where it
# has read the reply.
EMPTIED = """
import os, select, signal, socket, sys, time
pipe, go = os.pipe(), os.pipe()
parent = os.getpid()
if os.fork() == 0:
    os.read(go[0], 1)
    time.sleep(0.2)
    os.kill(parent, signal.SIGSTOP)  # so that both are ready when it wakes
    time.sleep(1)
    os.write(pipe[1], b"1")
    os.kill(parent, signal.SIGCONT)
    time.sleep(0.7)  # it looks again after two recvfrom() of 0.7 s
    os.read(pipe[0], 1)
    time.sleep(2)
    os.write(pipe[1], b"2")
    os._exit(0)
s = socket.socket()
s.setblocking(False)
s.connect_ex((sys.argv[1], int(sys.argv[2])))
poll = select.poll()
poll.register(s, select.POLLIN)
poll.register(pipe[0], select.POLLIN)
os.write(go[1], b"x")
ready = poll.poll()
print([(fd == pipe[0], events) for fd, events in ready])
if ready:
    print(os.read(pipe[0], 1))
"""


class Emptied(Base):
    """What was ready beside a connection that is made is not any more, as another process has read it: the wait goes
    on, without a limit."""
    FAULT = ("delay=500",)

    def test_by_another_process(self):
        self.need("strace")
        out = self.lab.file("strace")
        environment = [f"-E{name}={value}" for name, value in (self.shim() | {"LD_PRELOAD": L.SHIM}).items()]
        r = self.lab.run(["strace", "-f", "-qq", "-o", out, "-e", "trace=recvfrom,ppoll",
                          "-e", "inject=recvfrom:delay_exit=700000", *environment,
                          PYTHON, "-B", "-c", EMPTIED, L.SERVER, ECHO])
        self.assertEqual((r.code, r.out.decode()), (0, "[(True, 1)]\nb'2'\n"), f"{r}\n{out.read_text()}")


class WaitingOwed(Heavy, Owed, Waiting):
    pass


def load_tests(loader, tests, _):
    return tests if HEAVY else loader.suiteClass(
        test for suite in tests for test in suite if not isinstance(test, Heavy))


# Who is told by signals: what has become of the connection when the first is there, which says so if it could not have come
# before it was asked for.
SIGNALLED = """
import errno, fcntl, os, select, signal, socket, struct, sys
port, how = int(sys.argv[1]), sys.argv[2]
number = signal.SIGRTMIN + 3
signal.pthread_sigmask(signal.SIG_BLOCK, [number])
s = socket.socket()
s.setblocking(False)
asking = s.dup() if "duplicate" in how else s
fcntl.fcntl(asking, fcntl.F_SETOWN, os.getpid())
fcntl.fcntl(asking, 10, number)  # F_SETSIG

def ask():
    if "ioctl" in how:
        fcntl.ioctl(asking, 0x5452, struct.pack("i", 1))  # FIOASYNC
    else:
        fcntl.fcntl(asking, fcntl.F_SETFL, os.O_NONBLOCK | os.O_ASYNC)

if "deferred" in how:
    s.setsockopt(socket.IPPROTO_TCP, 30, 1)  # TCP_FASTOPEN_CONNECT
if "later" not in how:
    ask()
s.connect_ex(("10.2.0.2", port))
if "later" in how:
    ask()
told = signal.sigtimedwait([number], 0.3 if "later" in how else 5)
poll = select.poll()
poll.register(s, select.POLLIN | select.POLLOUT)
print(bool(told) or "later" in how, poll.poll(0), os.strerror(s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)))
try:
    print(s.send(b"some bytes"))
except OSError as e:
    print(e.strerror)
"""


class Signals(L.TestCase):
    """Of F_SETFL and O_ASYNC: one tells the outcome, and no other comes to who only writes when he is told."""

    def check(self, *options, fallback="none"):
        self.lab.converter(*options)
        shim = self.lab.config("fast-open = no-cookie", f"fallback = {fallback}")
        for how in "fcntl", "ioctl", "duplicate", "deferred", "later", "ioctl later", "duplicate later", "deferred later":
            for port in ECHO, CLOSED:
                with self.subTest(how, port=port):
                    direct, ours = (self.lab.run([PYTHON, "-c", SIGNALLED, port, how], shim=way) for way in (None, shim))
                    self.assertTrue(direct.out.startswith(b"True"), direct)
                    self.assertEqual(direct.out.decode(), ours.out.decode(), ours)

    def test_at_once(self):
        self.check()

    def test_late(self):
        self.check("--fault", "delay=300")

    def test_fallback(self):
        self.check("--fault", "error=64:01,delay=100", fallback="direct")


# Waits by libc's function argv[3] for a connection, in a set where something else is always ready. Says what it is told of
# it, and when.
BUSY = """
import ctypes, os, select, socket, sys, time

class Event(ctypes.Structure):
    _pack_ = 1 if os.uname().machine == "x86_64" else 8
    _fields_ = [("events", ctypes.c_uint32), ("fd", ctypes.c_uint64)]

libc, found = ctypes.CDLL(None), (Event * 2)()
more = {"epoll_wait": (0,), "epoll_pwait": (0, None), "epoll_pwait2": ((ctypes.c_long * 2)(0, 0), None)}[sys.argv[3]]
always, other = socket.socketpair()
s = socket.socket()
s.setblocking(False)
epoll = select.epoll()
epoll.register(always, select.EPOLLOUT)
s.connect_ex((sys.argv[1], int(sys.argv[2])))
epoll.register(s, select.EPOLLOUT)
begun, told = time.monotonic(), []
while not told and time.monotonic() < begun + 5:
    n = getattr(libc, sys.argv[3])(epoll.fileno(), found, 2, *more)
    told = [event.events for event in found[:n] if event.fd & 0xffffffff == s.fileno()]
print(told, time.monotonic() - begun < 2, os.strerror(s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)))
"""

# By turns with this thread, and before it, one with a table of its own has a look at a set that has none of the connection.
TURNS = """
import ctypes, select, socket, sys, threading, time
alone, turn = threading.Event(), threading.Barrier(2)

def other():
    ctypes.CDLL(None).close_range(1000, 1000, 2)
    always, _ = socket.socketpair()
    epoll = select.epoll()
    epoll.register(always, select.EPOLLOUT)
    alone.set()
    while True:
        turn.wait()
        epoll.poll(0)
        turn.wait()

socket.socket().close()  # the configuration is read by now
threading.Thread(target=other, daemon=True).start()
alone.wait()
epoll = select.epoll()
s = socket.socket()
s.setblocking(False)
s.connect_ex((sys.argv[1], int(sys.argv[2])))
epoll.register(s, select.EPOLLOUT)
begun, told = time.monotonic(), []
while not told and time.monotonic() < begun + 2:
    time.sleep(0.015)  # longer than CONN_LOOK_NS
    turn.wait()
    turn.wait()
    told = [events for _, events in epoll.poll(0)]
print(told, s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
"""


class Busy(L.TestCase):
    def test_never_without_an_event(self):
        """What has to be done in time is, however much there is to do beside it."""
        self.lab.converter("--fault", "silence")
        shim = self.lab.config("fast-open = no-cookie", "timeout = 1s\nfallback = direct")
        for how in "epoll_wait", "epoll_pwait", "epoll_pwait2":
            with self.subTest(how):
                r = self.lab.run([PYTHON, "-c", BUSY, L.SERVER, ECHO, how], shim=shim)
                self.assertEqual(r.out, b"[4] True Success\n", r)

    def test_beside_another_table(self):
        """A thread that has none of it puts off nothing of the others'."""
        self.lab.converter("--fault", "silence")
        shim = self.lab.config("fast-open = no-cookie", "timeout = 1s\nfallback = direct")
        r = self.lab.run([PYTHON, "-c", TURNS, L.SERVER, ECHO], shim=shim)
        self.assertEqual(r.out, b"[4] 0\n", r)


DUPLICATE = """
import os, select, socket, sys, time
server, port = sys.argv[1], int(sys.argv[2])
s = socket.socket()
s.setblocking(False)
start = time.monotonic()
s.connect_ex((server, port))
copy = os.dup(s.fileno())
epoll = select.epoll()
epoll.register(copy, select.EPOLLIN | select.EPOLLOUT)
events = epoll.poll(10)
print(events == [(copy, select.EPOLLOUT)], s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
print(int((time.monotonic() - start) * 1000))
"""


class Duplicate(L.TestCase):
    """Who waits for another number of the socket is woken as soon, also when the next converter has been tried meanwhile,
    and its kernel has answered a SYN without the message."""

    def test_next_converter(self):
        second = L.PORT + 100
        self.lab.converter("--fault", "silence")
        self.lab.converter(port=second)
        shim = self.lab.config(f"fast-open = no-cookie\n[converter second]\naddress = {L.CONVERTER}\n"
                               f"port = {second}\nfast-open = cookie", "timeout = 4s")
        r = self.lab.run([PYTHON, "-c", DUPLICATE, L.SERVER, ECHO], shim=shim)
        said, ms = r.out.decode().splitlines()
        self.assertEqual(said, "True 0", r)
        self.assertRegex(r.log, "next converter after .*(?s:.*)converted .*\\(second\\)", r)
        self.note(f"{ms} ms")
        self.assertLess(int(ms), 3000, r)  # 2 s are the first one's


class Sets(L.TestCase):
    """Case 2.3. How far select(), poll() and epoll look at what they were given: as far as the kernel, which stops
    where the process has no descriptors any more, and says EFAULT where there is no memory."""

    def sets(self, highest, shim=None):
        return self.lab.run([L.TOOLS / "sets", highest, servers.MUTE, 80], shim=shim, timeout=60)

    def check(self, highest):
        self.lab.converter("--fault", "silence")
        direct = self.sets(highest)
        self.assertEqual(direct.code, 0, direct)
        shim = self.sets(highest, self.lab.config("fast-open = no-cookie", "timeout = 60s"))
        lines = [run.out.decode().splitlines() for run in (direct, shim)]
        different = list(difflib.unified_diff(*lines, n=0, lineterm=""))[:20]
        self.assertEqual((shim.code, different), (0, []), shim.log)
        self.assertIn("EFAULT", direct.out.decode())
        self.note(f"{len(lines[0])} calls, as direct")

    def test_few_descriptors(self):
        self.check(0)

    def test_more_than_a_word(self):
        self.check(100)

    def test_more_than_a_set(self):
        self.check(1500)

    def test_up_to_the_limit(self):
        self.check(19999)


if __name__ == "__main__":
    L.main(setup)
