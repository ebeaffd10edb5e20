#!/usr/bin/python3 -B
# SPDX-License-Identifier: MIT
"""Ends of a connection over Multipath TCP, or fallen back from it, and what can be asked of it on the way:
as direct, but for what only a hook in each read could change."""
import re

import lab as L

ENDS, HTTP = 7700, 7701
CLIENT2 = "10.1.0.99"
LENGTHS = [1, 2, 7, 104, 192, 232, 280]  # of TCP_INFO, as the kernel answers it
HERE = L.ROOT / "tests/e2e"
PYTHON = "/usr/bin/python3"

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
            how = set(re.findall(r"connected, (\w+)", r.log))
            self.assertEqual(how, {"direct": set(), "mptcp": {"MPTCP"}, "fallback": {"TCP"}}[kind], r)
            yield kind, r.out.decode().splitlines()

    def same(self, *argv):
        said = dict(self.each(*argv))
        for kind, lines in said.items():
            self.assertEqual(lines, said["direct"], kind)
        return said["direct"]

    def test_java(self):
        """InputStream.available() is FIONREAD."""
        self.need("javac")
        source = self.lab.file("java", JAVA)
        source = source.rename(source.with_name("Available.java"))
        L.command(["javac", "-d", L.TMP, source])
        self.assertEqual(self.same("java", "-cp", L.TMP, "-Xshare:auto", "Available", L.SERVER, ENDS),
                         ["5000 0 -1 0"])

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
