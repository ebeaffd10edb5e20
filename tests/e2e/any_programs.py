#!/usr/bin/python3 -B
# SPDX-License-Identifier: MIT
"""Real programs under convert-run: by the library (--preload), by a supervisor (--any), and by the way that it
takes by itself. Each has to do what it does directly, with the same bytes. docs/reach.md says of each what came of it, in
a table that is compared with what is seen here; REACH=write writes it. `make check-programs` runs this (what it needs is large).
"""
import contextlib
import dataclasses
import hashlib
import os
import pathlib
import re
import shutil
import sys
import typing

sys.path.insert(1, sys.path[0] + "/../lab")
import lab as L
import servers

DOC = L.ROOT / "docs/reach.md"
MARK = "<!-- make check-programs -->\n"
RUN = L.BUILD / "convert-run"
BUILT = L.TOOLS / "any"
WHO = f"http://{L.SERVER}/who"
BIG = f"http://{L.SERVER}/big"
BODY = servers.random_bytes(3 << 20, 7)
ECHO = 7000
L.TEST_LIMIT = 400  # four runs each


def setup(lab):
    global sshd
    www = servers.nginx(lab).base / "www"
    for name in "big", "big.json":
        (www / name).write_bytes(BODY)
    (www / "big.txt").write_text("from the server\n")
    servers.git_repository(www)
    servers.git_http(lab, www)
    servers.redis(lab)
    lab.start("server", ["socat", f"TCP-LISTEN:{ECHO},fork,reuseaddr", "EXEC:cat"]).wait_for_listeners(ECHO)
    sshd = servers.sshd(lab) if L.owns_several_users() else None
    shutil.copy(L.BUILT_SHIM, L.SHIM)


# --------------------------------------------------------------------------- the programs
# Each is given the lab and who is to start it, [] or convert-run, and returns the outcome of its run.

def plain(*words, **more):
    return lambda lab, by, env: lab.run([*by, *words], env=env, timeout=90, **more)


def hugo(lab, by, env):
    site = lab.file("site")
    (site / "layouts").mkdir(parents=True)
    for name in "hugo.toml", "config.toml":
        (site / name).write_text('baseURL = "http://x/"\ndisableKinds = ["taxonomy", "term"]\n')
    (site / "layouts/index.html").write_text(
        f'{{{{ with resources.GetRemote "http://{L.SERVER}/big.txt" }}}}{{{{ .Content }}}}{{{{ end }}}}\n')
    r = lab.run([*by, "hugo", "--quiet", "-s", site, "--cacheDir", lab.file("hugo")], env=env, timeout=90)
    with contextlib.suppress(FileNotFoundError):
        r.out = (site / "public/index.html").read_bytes()
    return r


def proxy(port, *words):
    """Asked when it has begun; convert-run is in front of it alone."""
    def run(lab, by, env):
        process = lab.started(L.Process("client", [*by, *words], env=env))
        process.wait_for("its port", lambda: not lab.run(
            ["curl", "-s", "-o", "/dev/null", f"http://127.0.0.1:{port}/small"]).code, 90)
        r = lab.run(["curl", "-sS", f"http://127.0.0.1:{port}/big"], timeout=60)
        process.stop()
        r.err += process.text()
        return r
    return run


def nginx(lab, by, env):
    temporary = " ".join(f"{kind}_temp_path /run/lab/t;" for kind in
                         ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    conf = lab.file("nginx.conf", f"""
        daemon off; master_process off; pid {lab.file("pid")}; error_log stderr;
        events {{ }}
        http {{ access_log off; {temporary}
            server {{ listen 127.0.0.1:8098; location / {{ proxy_pass http://{L.SERVER}; }} }} }}""")
    return proxy(8098, "nginx", "-c", conf, "-e", "stderr")(lab, by, env)


def java(lab, by, env):
    source = lab.file("Get.java", """
        import java.net.*; import java.net.http.*;
        public class Get { public static void main(String[] a) throws Exception {
            System.out.write(HttpClient.newHttpClient().send(
                HttpRequest.newBuilder(URI.create(a[0])).build(),
                HttpResponse.BodyHandlers.ofByteArray()).body()); System.out.flush(); } }""")
    return plain("java", "-XX:-UsePerfData", source, BIG)(lab, by, env)


def ssh(lab, by, env):
    return plain(*sshd.client, f"root@{L.SERVER}", "echo from the server")(lab, by, env)


def set_user_id(lab, by, env):
    """An ordinary user's; the server says who has asked."""
    program = L.TMP / "curl-of-root"
    shutil.copy(shutil.which("curl"), program)
    program.chmod(0o4755)
    return plain(program, "-sS", BIG, user="nobody")(lab, by, env)


ASYNCIO = f"""if True:
    import asyncio, sys
    async def one():
        r, w = await asyncio.open_connection("{L.SERVER}", 80)
        assert w.get_extra_info("peername") == ("{L.SERVER}", 80)
        w.write(b"GET /small HTTP/1.0\\r\\n\\r\\n")
        return (await r.read()).split(b"\\r\\n\\r\\n")[1].decode()
    async def all():
        print(*await asyncio.gather(*[one() for _ in range(100)]))
    asyncio.run(all())"""
PERL = f"""use IO::Socket; $s = IO::Socket::INET->new("{L.SERVER}:80") or die; print $s
    "GET /small HTTP/1.0\\r\\n\\r\\n"; @all = <$s>; print $all[-1]"""
BASH = f"exec 3<>/dev/tcp/{L.SERVER}/80; printf 'GET /small HTTP/1.0\\r\\n\\r\\n' >&3; tail -n 1 <&3"

OWN_CALLS = "its file does not say that it makes system calls without libc"
PRIVILEGES = "a supervisor would take its privileges (no_new_privs) from it, so somebody has to want it (`--any`)"
URING = "what an io_uring connects passes by the library and by seccomp"


@dataclasses.dataclass
class Program:
    kind: str
    run: typing.Callable
    needs: typing.Sequence = ()
    # why convert-run does not take by itself what would convert it, or nothing would
    why: str = ""


PROGRAMS = {
    "curl": Program("C", plain("curl", "-sS", BIG), ["curl"]),
    "wget": Program("C", plain("wget", "-qO-", BIG), ["wget"]),
    "git (smart HTTP)": Program("C, starts others", plain("git", "ls-remote", f"http://{L.SERVER}:{servers.GIT}/repo.git"),
                                ["git"]),
    "ssh": Program("C", ssh, ["ssh"]),
    "bash, /dev/tcp": Program("C", plain("bash", "-c", BASH), ["bash"]),
    "redis-cli": Program("C", plain("redis-cli", "-h", L.SERVER, "PING"), ["redis-cli"]),
    "openssl s_client": Program("C", plain("openssl", "s_client", "-quiet", "-connect", f"{L.SERVER}:443",
                                           stdin=b"GET /small HTTP/1.0\r\n\r\n"), ["openssl"]),
    "nginx, as a proxy": Program("C, a server", nginx, ["nginx"]),
    "perl": Program("interpreter", plain("perl", "-e", PERL), ["perl"]),
    "python3, asyncio": Program("interpreter", plain("/usr/bin/python3", "-c", ASYNCIO)),
    "node": Program("interpreter, libuv", plain("node", "-e", f"require('http').get('{BIG}', r => r.pipe(process.stdout))"),
                    ["node"]),
    "java, java.net.http": Program("JVM", java, ["java"]),
    "busybox-static wget": Program("static, glibc", plain("busybox", "wget", "-qO-", BIG), ["busybox"]),
    "libcurl, static": Program("static, glibc", plain(BUILT / "get-curl", BIG)),
    "Rust's std, static": Program("static, glibc", plain(BUILT / "get-rust", f"{L.SERVER}:80", "20", "5")),
    # it says the sum of what it has fetched, as it should be another one
    "dprint, of npm": Program("static, Rust, musl",
                              lambda lab, by, env: plain(BUILT / "dprint", "check", "--config", lab.file("dprint.json", "{}"),
                                                         "--plugins", f"{BIG}.json@aaa")(lab, by, env), [BUILT / "dprint"]),
    "a program of musl": Program("musl, dynamic", plain(L.BUILD / "musl/clients/e2e/transcript", "blocking_exchange",
                                                        L.SERVER, "80")),
    "Go's net/http": Program("Go, static", plain(BUILT / "get", f"http://{L.SERVER}/small", "20", "5")),
    "Go's net/http with cgo": Program("Go, dynamic, glibc", plain(BUILT / "get-cgo", f"http://{L.SERVER}/small", "20", "5")),
    "rclone": Program("Go", plain("rclone", "--config=/dev/null", "copyurl", "--stdout", BIG), ["rclone"]),
    "hugo": Program("Go", hugo, ["hugo"]),
    "caddy, as a proxy": Program("Go, a server", proxy(8099, "caddy", "reverse-proxy", "--from", ":8099", "--to",
                                                       f"{L.SERVER}:80"), ["caddy"]),
    "`int $0x80` in x86-64": Program("C, calls by instructions of its own",
                                     plain(L.TOOLS / "abis", "i386", L.SERVER, "80"), why=OWN_CALLS),
    "io_uring": Program("C, an io_uring", plain(L.TOOLS / "limits", "own-ring", L.SERVER, ECHO), why=URING),
    "curl, set-user-ID": Program("C, of an ordinary user", set_user_id, ["curl"], why=PRIVILEGES),
}
REASONS = list(dict.fromkeys(program.why for program in PROGRAMS.values() if program.why))
WAYS = {"--preload": ["--preload"], "--any": ["--any"], "by itself": []}


def strip(out):
    """Without what no two runs have in common, and whom the server has seen."""
    return re.sub(rb"(?m)^(\d+ threads|Date: .*)\n|\b10\.[12]\.0\.1$", b"", out)


class Zoo(L.TestCase):
    rows: typing.ClassVar = {}

    def by(self, program, options):
        """How it came to be connected, and whether the program was put under a supervisor."""
        converter = self.lab.converter("--mptcp")
        env = self.lab.config("", "mptcp = on\nfallback = direct", address=[L.CONVERTER, L.CONVERTER6])
        r = program.run(self.lab, [RUN, *options], env | {"CONVERT_PRELOAD": str(L.SHIM)})
        accepts = {event["mptcp"] for event in converter.events("accept")}
        converter.stop()
        how = "direct" if not accepts else "MPTCP" if accepts == {"yes"} else "TCP"
        return r, how, "so it is supervised" in r.err

    def look(self, name, program):
        for needed in program.needs:
            if not shutil.which(needed, path=L.ENVIRONMENT["PATH"]):
                self.skipTest(f"{needed} is not installed")
        direct = program.run(self.lab, [], {})
        self.assertTrue(direct.out or direct.err, direct)
        seen = {}
        for way, options in WAYS.items():
            r, seen[way], supervised = self.by(program, options)
            with self.subTest(way):
                self.assertEqual((r.code, hashlib.sha1(strip(r.out)).digest()),
                                 (direct.code, hashlib.sha1(strip(direct.out)).digest()), f"{direct}\n{r}")
        took = "supervisor" if supervised else "library"
        self.row(name, program, seen, took)
        converts = {way for way, how in seen.items() if how != "direct"}
        # whatever either way converts is converted by the way that it takes by itself
        self.assertTrue("by itself" in converts or program.why, seen)
        self.assertFalse("by itself" in converts and program.why, seen)
        self.assertNotIn("TCP", seen.values())

    def row(self, name, program, seen, took):
        note = f" [{1 + REASONS.index(program.why)}]" if program.why else ""
        Zoo.rows[name] = (f"| {name} | {program.kind} | {seen['--preload']} | {seen['--any']} | {took} | "
                          f"{seen['by itself']}{note} |")


for number, (a_name, a_program) in enumerate(PROGRAMS.items()):
    def test(self, name=a_name, program=a_program):
        self.look(name, program)
    setattr(Zoo, f"test_{number:02} {a_name}", test)


class ZooWritten(L.TestCase):
    def test_the_document(self):
        """Programs that are not installed here keep their row."""
        before, mark, written = DOC.read_text().partition(MARK)
        self.assertTrue(mark)
        there = {line.split(" | ")[0][2:]: line for line in written.splitlines() if line.startswith("| ")}
        lines = ["| program | what it is | `--preload` | `--any` | takes by itself | and is |",
                 "| --- | --- | --- | --- | --- | --- |"]
        lines += [Zoo.rows.get(name) or there.get(name, "") for name in PROGRAMS]
        text = "\n".join([*lines, "", *(f"[{n}] {why}" for n, why in enumerate(REASONS, 1))]) + "\n"
        if os.environ.get("REACH") == "write":
            DOC.write_text(before + mark + text)
        self.assertEqual(DOC.read_text(), before + mark + text, "REACH=write make check-programs")


class Many(L.TestCase):
    """More connections than a person makes, each of which has to be over Multipath TCP."""

    def many(self, n, *words, **more):
        converter = self.lab.converter("--mptcp")
        conf = self.lab.config("", "mptcp = on", address=[L.CONVERTER, L.CONVERTER6])
        r = self.lab.run([RUN, "--any", *words], env=conf, **more)
        self.assertIn(f"{n} answers: {L.ROUTER}\n", r.out.decode(), r)
        converter.stop()
        text = pathlib.Path(conf["LAB_LOG"]).read_text()
        self.assertEqual((text.count(": connected, MPTCP"), text.count("connected, TCP")), (n, 0),
                         [line for line in text.splitlines() if not line.endswith("MPTCP")])
        return r

    def test_go(self):
        for n, at in (50, 1), (int(os.environ.get("N", 10000)), 300):
            r = self.many(n, BUILT / "get", WHO, n, at, timeout=300)
            self.note(f"{n} requests, {at} at once: {r.seconds:.1f} s, {r.out.decode().split()[-2]} threads")

    def test_rust(self):
        self.many(1000, BUILT / "get-rust", f"{L.SERVER}:80", 1000, 100, timeout=100)

    def test_busybox(self):
        """A shell with a pipe."""
        self.need("busybox")
        self.lab.converter()
        conf = self.lab.config(address=[L.CONVERTER])
        r = self.lab.run([RUN, "--any", "busybox", "sh", "-c", f"printf 'GET /who HTTP/1.0\\r\\n\\r\\n' | busybox nc "
                          f"{L.SERVER} 80"], env=conf)
        self.assertEqual((r.code, r.out.decode().split()[-1:]), (0, [L.ROUTER]), r)


if __name__ == "__main__":
    L.main(setup)
