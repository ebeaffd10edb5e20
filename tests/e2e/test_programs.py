#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Unmodified programs through a converter: the same bytes as without, by real servers."""
import lab as L
import servers


def setup(lab):
    global nginx
    nginx = servers.nginx(lab)
    lab.converter()


class Curl(L.TestCase):
    def check(self, url, who):
        for path in ("/small", "/page"):
            direct = self.lab.run(["curl", "-sS", url + path])
            shim = self.lab.run(["curl", "-sS", url + path], shim=self.lab.config())
            self.assertEqual((direct.code, shim.code), (0, 0), f"{direct}\n{shim}")
            self.assertEqual(direct.out, shim.out)
            self.assertIn("converted", shim.log, shim)
            self.assertEqual(shim.err, "")
        seen = self.lab.run(["curl", "-sS", url + "/who"], shim=self.lab.config())
        self.assertEqual(seen.out.decode().strip(), who, seen)

    def test_ipv4(self):
        self.check(f"http://{L.SERVER}", L.ROUTER)

    def test_ipv6(self):
        self.check(f"http://[{L.SERVER6}]", L.ROUTER6)


if __name__ == "__main__":
    L.main(setup)
