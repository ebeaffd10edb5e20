#!/usr/bin/python3 -B
# SPDX-License-Identifier: MIT
"""Real programs under convert-run --any, each against a direct run: the right bytes, over Multipath TCP.
`make check-programs` runs it (what it needs is large).
"""
import hashlib
import os
import pathlib
import sys

sys.path.insert(1, sys.path[0] + "/../lab")
import lab as L
import servers

RUN = L.BUILD / "convert-run"
WHO = f"http://{L.SERVER}/who"
BIG = f"http://{L.SERVER}/big"
BODY = servers.random_bytes(3 << 20, 7)


def setup(lab):
    www = servers.nginx(lab).base / "www"
    for name in "big", "big.json":
        (www / name).write_bytes(BODY)
    (www / "big.txt").write_text("from the server\n")
    lab.converter("--mptcp")


class Any(L.TestCase):
    """env: of a run, with a log of its own."""

    def setUp(self):
        self.conf = self.lab.config("", "mptcp = on", address=[L.CONVERTER, L.CONVERTER6])

    def any(self, *words, timeout=60, **more):
        return self.lab.run([RUN, "--any", *words], env=self.conf | more, timeout=timeout)

    def multipath(self, least=1):
        text = pathlib.Path(self.conf["LAB_LOG"]).read_text()
        self.assertGreaterEqual(text.count(": connected, MPTCP"), least, text[-1000:])
        self.assertEqual(text.count("connected, TCP"), 0, text[-1000:])

    def who(self, *words, **more):
        r = self.any(*words, **more)
        self.assertEqual((r.code, r.out.decode().split()[-1:]), (0, [L.ROUTER]), r)
        self.multipath()

    def big(self, *words, **more):
        r = self.any(*words, **more)
        self.assertEqual((r.code, hashlib.sha1(r.out).digest()), (0, hashlib.sha1(BODY).digest()), r)
        self.multipath()


class Static(Any):
    def test_busybox(self):
        self.need("busybox")
        self.big("busybox", "wget", "-qO-", BIG)
        self.who("busybox", "sh", "-c", f"printf 'GET /who HTTP/1.0\\r\\n\\r\\n' | "
                 f"busybox nc {L.SERVER} 80")


    def test_curl(self):
        self.big(L.TOOLS / "any/get-curl", BIG)

    def test_rust(self):
        for n, at in (1, 1), (1000, 100):
            r = self.any(L.TOOLS / "any/get-rust", f"{L.SERVER}:80", n, at)
            self.assertEqual(r.out.decode(), f"{n} answers: {L.ROUTER}\n", r)
            self.multipath(n)

    def test_npm(self):
        """dprint says the sum of what it has fetched if it should be another one."""
        program = L.TOOLS / "any/dprint"
        if not program.exists():
            self.skipTest("npm is not installed")
        r = self.any(program, "check", "--config", self.lab.file("dprint.json", "{}"), "--plugins", f"{BIG}.json@aaa")
        self.assertIn(f"Actual: {hashlib.sha256(BODY).hexdigest()}", r.err, r)
        self.multipath()


class Go(Any):
    def test_net_http(self):
        program = L.TOOLS / "any/get"
        for n, at in (50, 1), (int(os.environ.get("N", 10000)), 300):
            r = self.any(program, WHO, n, at, timeout=110)
            self.assertIn(f"{n} answers: {L.ROUTER}\n", r.out.decode(), r)
            self.note(f"{n} requests, {at} at once: {r.seconds:.1f} s, "
                      f"{r.out.decode().split()[-2]} threads")
            self.multipath(n)

    def test_rclone(self):
        self.need("rclone")
        self.big("rclone", "--config=/dev/null", "copyurl", "--stdout", BIG)

    def test_hugo(self):
        self.need("hugo")
        site = self.lab.file("site")
        (site / "layouts").mkdir(parents=True)
        (site / "hugo.toml").write_text('baseURL = "http://x/"\ndisableKinds = ["taxonomy", "term"]\n')
        (site / "config.toml").write_text('baseURL = "http://x/"\n')
        (site / "layouts/index.html").write_text(
            f'{{{{ with resources.GetRemote "http://{L.SERVER}/big.txt" }}}}{{{{ .Content }}}}{{{{ end }}}}\n')
        r = self.any("hugo", "-s", site, "--cacheDir", self.lab.file("hugo"))
        self.assertEqual(r.code, 0, r)
        self.assertIn("from the server", (site / "public/index.html").read_text(), r)
        self.multipath()

    def test_caddy(self):
        self.need("caddy")
        caddy = self.lab.started(L.Process(
            "client", [RUN, "--any", "caddy", "reverse-proxy", "--from", ":8099", "--to",
                       f"{L.SERVER}:80"], env=self.conf))
        caddy.wait_for("its port", lambda: not self.lab.run(
            ["curl", "-s", "-o", "/dev/null", "http://127.0.0.1:8099/small"]).code, 60)
        r = self.lab.run(["curl", "-sS", "http://127.0.0.1:8099/big"])
        self.assertEqual(hashlib.sha1(r.out).digest(), hashlib.sha1(BODY).digest(), r)
        r = self.lab.run(["curl", "-sS", "http://127.0.0.1:8099/who"])
        self.assertEqual(r.out.decode().strip(), L.ROUTER, r)
        self.multipath()


class Others(Any):
    """The library would reach them; here it is not loaded."""

    def test_curl(self):
        self.need("curl")
        self.big("curl", "-sS", BIG)

    def test_wget(self):
        self.need("wget")
        self.big("wget", "-qO-", BIG)

    def test_node(self):
        self.need("node")
        self.big("node", "-e", f"require('http').get('{BIG}', r => r.pipe(process.stdout))")

    def test_asyncio(self):
        self.who("/usr/bin/python3", "-c", f"""if True:
            import asyncio
            async def one():
                r, w = await asyncio.open_connection("{L.SERVER}", 80)
                assert w.get_extra_info("peername") == ("{L.SERVER}", 80)
                w.write(b"GET /who HTTP/1.0\\r\\n\\r\\n")
                return (await r.read()).split(b"\\r\\n\\r\\n")[1].decode()
            async def all():
                answers = set(await asyncio.gather(*[one() for _ in range(100)]))
                assert len(answers) == 1
                print(*answers)
            asyncio.run(all())""")

    def test_java(self):
        self.need("java")
        source = self.lab.file("Get.java", """
            import java.net.*; import java.net.http.*;
            public class Get { public static void main(String[] a) throws Exception {
                System.out.print(HttpClient.newHttpClient().send(
                    HttpRequest.newBuilder(URI.create(a[0])).build(),
                    HttpResponse.BodyHandlers.ofString()).body()); } }""")
        self.who("java", "-XX:-UsePerfData", source, WHO, timeout=100)

    def test_nginx(self):
        conf = self.lab.file("nginx.conf", f"""
            daemon off; master_process off; pid {self.lab.file("pid")};
            events {{ }}
            http {{ access_log off; client_body_temp_path /run/lab/t; proxy_temp_path /run/lab/t;
                fastcgi_temp_path /run/lab/t; uwsgi_temp_path /run/lab/t; scgi_temp_path /run/lab/t;
                server {{ listen 127.0.0.1:8098; location / {{ proxy_pass http://{L.SERVER}; }} }} }}""")
        proxy = self.lab.started(L.Process("client", [RUN, "--any", "nginx", "-c", conf, "-e", "stderr"],
                                           env=self.conf))
        proxy.wait_for("its port", lambda: not self.lab.run(
            ["curl", "-s", "-o", "/dev/null", "http://127.0.0.1:8098/small"]).code)
        r = self.lab.run(["curl", "-sS", "http://127.0.0.1:8098/big"])
        self.assertEqual(hashlib.sha1(r.out).digest(), hashlib.sha1(BODY).digest(), r)
        r = self.lab.run(["curl", "-sS", "http://127.0.0.1:8098/who"])
        self.assertEqual(r.out.decode().strip(), L.ROUTER, r)
        self.multipath(2)


if __name__ == "__main__":
    L.main(setup)
