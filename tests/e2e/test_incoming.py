#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Incoming connections: a converter takes a remote host's, and makes one to an unmodified server here."""
import json
import socket
import struct
import subprocess
import time

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


if __name__ == "__main__":
    L.main(setup)
