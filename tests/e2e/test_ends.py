#!/usr/bin/python3 -B
# SPDX-License-Identifier: MIT
"""Ends of a connection over Multipath TCP, or fallen back from it, and what can be asked of it on the way:
as direct, but for what only a hook in each read could change."""
import re

import lab as L

ENDS, HTTP = 7700, 7701
CLIENT2 = "10.1.0.99"
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


if __name__ == "__main__":
    L.MPTCP = "auto"
    L.main(setup)
