#!/usr/bin/python3 -B
# SPDX-License-Identifier: MIT
"""How much stack the shim needs in each call that it interposes: less than 4 KiB more than libc
itself, whatever the converter does, so that the smallest thread that there may be (16 KiB) can
connect. STACK=all: with every kind of converter."""
import os
import sys

sys.path.insert(1, sys.path[0] + "/../lab")
import lab as L
import servers

LIMIT = 4096

CONVERTERS = {
    "late": ("--fault", "delay=10"),
    "garbage": ("--fault", "raw=ffffffffff"),
    "silence": ("--fault", "silence"),
    "request owed": ("--fastopen", "cookie"),
}
MORE_CONVERTERS = {
    "at once": (),
    "error 96": ("--fault", "error=96"),
    "error 64": ("--fault", "error=64:01"),
    "missing cookie": ("--cookie-required",),
    "error 33": ("--fault", "error=33:1e22"),
    "SYN held": ("--hold",),
}
if os.environ.get("STACK") == "all":
    CONVERTERS |= MORE_CONVERTERS


def setup(lab):
    servers.nginx(lab)


class Stack(L.TestCase):
    def config(self, address, fast_open="no-cookie", fallback="direct"):
        rules = [f"rule = direct to 10.{n}.0.0/16 port {n}-{n + 100}" for n in range(3, 50)]
        shim = self.lab.config(f"fast-open = {fast_open}\nfrom = 10.1.0.0/16\ninterface = c0",
                               "\n".join(rules) + f"\nfallback = {fallback}\nmptcp = {L.MPTCP}\ntimeout = 30ms"
                               "\n[log]\nlevel = debug\nfile = " + str(self.lab.file("log")),
                               address=address, log=False)
        return shim | {"CONVERT_STATE": str(self.lab.file("state"))}

    def measure(self, wait_ms=1, shim=None):
        r = self.lab.run([L.TOOLS / "stack", L.SERVER, 80, wait_ms], shim=shim, timeout=110,
                         env={"LD_BIND_NOW": "1"})  # else the loader's is measured
        self.assertEqual((r.code, r.err), (0, ""), r)
        most = {}
        for line in r.out.decode().splitlines():
            name, depth = line.split()
            most[name] = max(int(depth), most.get(name, 0))
        return most

    def test_each_call(self):
        plain = self.measure()
        most = dict.fromkeys(plain, (0, "nowhere"))
        for kind, options in CONVERTERS.items():
            for fallback in ["none"] + ["direct"] * (kind == "silence"):
                address = self.lab.fresh_addresses()[0]
                converter = self.lab.converter(*options, listen=[address])
                fast_open = "auto" if kind == "request owed" else "no-cookie"
                depths = self.measure(40, self.config(address, fast_open, fallback))
                self.assertTrue(converter.events("request"), kind)
                converter.stop()
                for name, depth in depths.items():
                    most[name] = max(most[name], (depth - plain[name], f"{kind}, {fallback}"))
        worst = sorted(((depth, name, where) for name, (depth, where) in most.items()),
                       reverse=True)
        for depth, name, where in worst[:6]:
            self.note(f"{name}: {depth} bytes more than libc's {plain[name]} ({where})")
        self.assertEqual([w for w in worst if w[0] >= LIMIT], [])

    def test_smallest_thread(self):
        self.lab.converter()
        r = self.lab.run([L.TOOLS / "stack", "-t", L.SERVER, 80],
                         shim=self.config(L.CONVERTER))
        self.assertEqual((r.code, r.out), (0, b"connected\n"), r)


if __name__ == "__main__":
    L.main(setup)
