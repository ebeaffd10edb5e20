# SPDX-License-Identifier: MIT
"""The lab with a second network between client and converter.

               +---- c0 10.1.0.1 -- path 1 -- 10.1.0.2 k0 ----+
    client ----+                                              +---- converter ---- server 10.2.0.2
               +---- c1 10.3.0.1 -- path 2 -- 10.3.0.2 k2 ----+

Both paths have a rate (tbf at either end) and a delay, and can be cut. The client's kernel is told
of the second network as an administrator would: one MPTCP endpoint, and a route for packets that
come from that address. Path 1 is what connections begin on.
"""
import collections
import hashlib
import os
import signal
import statistics
import subprocess
import time

import captures
import lab as L
import servers

CLIENT2, CONVERTER2 = "10.3.0.1", "10.3.0.2"
DEVICES = ("c0", "c1")
DELAY = (3, 5)  # ms one way, of each path (and of the server's link)
RATE = 50         # Mbit/s, of each path

MP_CAPABLE, MP_JOIN = 0, 1


class TwoPaths(L.Lab):
    endpoints = ()

    def __init__(self, delay_ms=DELAY, rate=RATE):
        super().__init__(delay_ms=(*delay_ms, 0)[::2][:2])
        self.link("client", "c1", "converter", "k2", delay_ms[1])
        for ns, dev, address in (("client", "c1", CLIENT2), ("converter", "k2", CONVERTER2)):
            L.command(["ip", "-n", ns, "addr", "add", address + "/24", "dev", dev])
        L.command(["ip", "-n", "client", "rule", "add", "from", CLIENT2, "lookup", "2"])
        self.set_routes()
        if rate:
            for ns, dev in (("client", "c0"), ("client", "c1"),
                            ("converter", "k0"), ("converter", "k2")):
                L.command(["tc", "-n", ns, "qdisc", "add", "dev", dev, "root", "tbf", "rate",
                           f"{rate}mbit", "burst", "32kbit", "latency", "50ms"])
        for ns in ("client", "converter", "server"):
            L.command(["ip", "-n", ns, "mptcp", "limits", "set", "subflows", "2",
                       "add_addr_accepted", "2"])
        self.second_network(True)

    def set_routes(self):
        """Path 1 first. Path 2 for subflows from its address, and for all if path 1 is gone."""
        for route in (["default", "via", L.CONVERTER, "dev", "c0"],
                      ["default", "via", CONVERTER2, "dev", "c1", "metric", "100"],
                      ["default", "via", CONVERTER2, "dev", "c1", "table", "2"]):
            L.command(["ip", "-n", "client", "route", "replace"] + route)

    def second_network(self, used):
        """Whether the client's kernel makes a subflow over path 2."""
        self.endpoint(*[f"{CLIENT2} dev c1 subflow"] * used)

    def mptcp_in_server(self, enabled):
        L.sysctl("server", net__mptcp__enabled=int(enabled))

    def cut(self, path, silently=False):
        """The client's kernel learns of it, as when a plug is pulled; or nobody does."""
        if silently:
            self.line(path).process.send_signal(signal.SIGUSR1)
        else:
            L.command(["ip", "-n", "client", "link", "set", DEVICES[path], "down"])

    def mend(self, path):
        """After either cut. Routes over a device go when it does."""
        self.line(path).process.send_signal(signal.SIGUSR2)
        L.command(["ip", "-n", "client", "link", "set", DEVICES[path], "up"])
        self.set_routes()

    def line(self, path):
        return self.boxes[DEVICES[path]]

    def wide_converter(self, *options, **more):
        """One that subflows can join: it listens on every address (LINUX-FACTS 5.4)."""
        return self.converter("--allow", "10.3.0.0/24", *options,
                              **{"listen": ["0.0.0.0"]} | more)


def serve_files(lab, **files):
    """A web server with files of these sizes. It has no Multipath TCP."""
    lab.nginx = servers.nginx(lab)
    lab.digests = {}
    for name, size in files.items():
        content = servers.random_bytes(size)
        (lab.nginx.base / "www" / name).write_bytes(content)
        lab.digests[name] = hashlib.sha256(content).hexdigest()
    return lab.nginx


def serve(lab, **files):
    """The same and a converter."""
    serve_files(lab, **files)
    lab.wide = lab.wide_converter("--mptcp", "--fastopen", "cookie")
    lab.run(bare("get", "/small"))  # now the client's kernel has the converter's cookie


def bare(what, argument, *options, port=servers.HTTP):
    """The command line of a client that speaks Convert by itself."""
    return [L.LAB_TOOLS / "bare-client", "-c", f"{L.CONVERTER}:{L.PORT}", *options, what,
            L.SERVER, port, argument]


def shim(lab, mptcp, more="", **converter):
    """Its environment; a state file of its own, so that it does not know what others learned."""
    return lab.config(policy=f"mptcp = {mptcp}\nfallback = none\n{more}\n"
                             f"[state]\nfile = {lab.file('state')}", **converter)


def subtype(packet):
    """Of its MPTCP option, or None."""
    value = packet.option(captures.MPTCP)
    return value[0] >> 4 if value else None


Download = collections.namedtuple("Download", "code size digest seconds longest_gap gap_at err log")


def download(lab, argv, shim=None, at=None, then=None, rests=None):
    """Runs a program that writes what it fetches to its standard output, and watches it come.
    then() is called once, when `at` bytes are there. The gaps are between any two pieces.
    rests: (bytes, seconds): nothing is taken from it for that long, each time that as many have come."""
    environment = L.ENVIRONMENT | (shim or {})
    if shim is not None:
        environment["LD_PRELOAD"] = str(L.SHIM)
    err = lab.file("download.err")
    with open(err, "wb") as stderr:
        process = subprocess.Popen(
            L.inside("client", ["env", "-i"] + [f"{k}={v}" for k, v in environment.items()]
                     + [str(a) for a in argv]),
            env=L.ENVIRONMENT, cwd=L.TMP, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=stderr, start_new_session=True)
    digest, size, gap, gap_at = hashlib.sha256(), 0, 0, 0
    started = last = time.monotonic()
    try:
        while block := os.read(process.stdout.fileno(), 1 << 16):
            now = time.monotonic()
            if size and now - last > gap:
                gap, gap_at = now - last, size
            last = now
            digest.update(block)
            if rests and size // rests[0] != (size + len(block)) // rests[0]:
                time.sleep(rests[1])
            size += len(block)
            if then and size >= at:
                then, act = None, then
                act()
        seconds = time.monotonic() - started
        code = process.wait(10)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        process.stdout.close()
    log = environment.get("LAB_LOG")
    return Download(code, size, digest.hexdigest(), seconds, gap, gap_at,
                    err.read_text(errors="replace"),
                    open(log).read() if log and os.path.exists(log) else "")


def mbit(d):
    """Goodput, from the program's start to its end."""
    return d.size * 8 / d.seconds / 1e6


def summary(values, digits=2):
    """min/median/max"""
    return "/".join(f"{v:.{digits}f}" for v in
                    (min(values), statistics.median(values), max(values)))
