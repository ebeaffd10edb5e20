#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""CPython's network tests as judges: every outcome without the shim and with it, compared.

    test_cpython.py [--mode immediate|slow|hold] [--helper] [all | MODULE...]

Without a module the quick ones; `make check-python` runs all of them.

--helper: convert-bootstrap watches the converter meanwhile, and another one asks it all the time, so
that the state file is written to under the programs' hands.

In network namespaces of their own, with every TCP connection to a loopback address converted by
rule. A test whose outcome differs is a failure unless EXPECTED lists it. Nothing
is run twice (but see [mptcp] there). What the runs have printed is kept in
build/check-python/MODE/.
"""
import argparse
import collections
import concurrent.futures
import dataclasses
import json
import os
import pathlib
import sys

sys.path.insert(1, sys.path[0] + "/../lab")
import lab as L

RECORD = L.ROOT / "tests/programs/record_cpython.py"

# Longest first, so that two at a time end together.
MODULES = """
    test_asyncio test_ssl test_imaplib test_xmlrpc test_socket test_selectors test_asyncore
    test_ftplib test_multiprocessing_spawn test_multiprocessing_forkserver
    test_multiprocessing_fork test_poll test_poplib test_urllib2_localnet test_smtplib
    test_select test_asynchat test_httplib test_httpservers test_socketserver test_epoll
    test_telnetlib
""".split()
QUICK = ["test_selectors", "test_poll", "test_select", "test_asynchat", "test_httplib",
         "test_socketserver", "test_epoll", "test_telnetlib"]

# Of these hundreds, the ones that use TCP (found by counting conversions test by test).
ONLY = {"multiprocessing": ["*.TestTimeouts.*", "*.TestWait.*", "*TestManagerRestart.*",
                            "*TestRemoteManager.*", "*TestListener.*", "*TestListenerClient.*",
                            "*TestPicklingConnections.*"]}
# These hang on machines without AF_VSOCK, whatever is preloaded.
LEFT_OUT = "*VSOCK*"
# Only pipes and socket pairs in these.
WITHOUT_TCP = {"test_select", "test_poll", "test_selectors"}

# "slow": each reply is 20 ms late, as on a way that takes that long, and comes byte by byte.
MODES = {"immediate": [],
         "slow": ["--fault", "late=20", "--fault", "split=1,gap=1"],
         "hold": ["--hold"]}
# Groups of EXPECTED that each run proves, by a run without the shim in such a place.
PROOFS = {"mptcp": "bare"}

# They sleep most of the time: on two idle cores the outcomes are the same with 1 and with 4.
JOBS = int(os.environ.get("JOBS", 4))
LIMIT = 400  # seconds for one module

# With LAB_MPTCP=on both ends of the way to the converter are MPTCP sockets, and some tests have to
# see that the connections are. BARE_MPTCP makes a program's own sockets such ones, without the shim.
BARE_MPTCP = {"LD_PRELOAD": str(L.LAB_TOOLS / "mptcp-sockets.so")}
MPTCP = "on" if os.environ.get("LAB_MPTCP") == "on" else "off"

CONFIG = """
[converter lo]
address = 127.0.0.1
address = ::1
fast-open = no-cookie
[policy]
mptcp = {mptcp}
rule = convert to 127.0.0.0/8,::1/128
fallback = none
[log]
file = {log}
level = info
format = json
"""


class Loopback(L.Lab):
    """Instead of three namespaces in a row, as many unconnected ones as there are runs."""

    def __init__(self, helper=False):
        self.running = []
        self.files = self.addresses = 0
        self.netstat = {}
        self.helper = helper
        self.helpers = {}

    def help(self, name, config):
        """The state file and what else programs find in their environment."""
        config = config | {"CONVERT_STATE": str(L.TMP / name / "state")}
        program = L.BUILD / "convert-bootstrap"
        self.helpers[name] = [
            self.start(name, [program, "run", "--watch"], env=config, name=f"watch-{name}"),
            self.start(name, ["sh", "-c", f"while :; do {program} run; sleep 0.05; done"],
                       env=config, name=f"run-{name}")]
        return config

    def end_help(self, name):
        """How often the converter was asked."""
        texts = [h.text() for h in self.helpers.get(name, []) if h.stop() is not None]
        return sum(text.count(" by lo: ") for text in texts)

    def place(self, name, mode):
        """A namespace with loopback only; mode: the converter in it, "bare" MPTCP, or None."""
        self.namespace(name)
        # Small buffers, because a relay has some of its own, and tests write "more than fits".
        L.sysctl(name, net__ipv4__tcp_fastopen=3, net__ipv4__tcp_rmem="4096 32768 65536",
                 net__ipv4__tcp_wmem="4096 16384 65536")
        (L.TMP / name).mkdir()
        if mode in (None, "bare"):
            return None
        ready = L.TMP / name / "ready"
        converter = self.start(name, [
            L.BUILD / "lab-converter", "--listen", "127.0.0.1", "--listen", "[::1]",
            "--allow", "127.0.0.0/8", "--allow", "::1/128", "--allow-loopback",
            "--log", L.TMP / name / "converter.log", "--ready-file", ready] + MODES[mode] + ["--mptcp"] * (MPTCP == "on"))
        converter.wait_for("readiness", ready.exists)
        log = L.TMP / name / "shim.log"
        config = L.TMP / name / "convert.conf"
        config.write_text(CONFIG.format(log=log, mptcp=MPTCP))
        shim = {"CONVERT_CONF": str(config), "LAB_LOG": str(log)}
        return self.help(name, shim) if self.helper else shim


# ------------------------------------------------------------------------------ one run

@dataclasses.dataclass
class Run:
    outcomes: dict  # test id: worst outcome
    whys: dict      # test id: the last exception, or the reason for skipping
    code: int
    seconds: float
    converted: int
    mptcp: int
    direct: int     # TCP connections to a loopback address that were not converted
    output: pathlib.Path


def run(lab, module, mode, results, only=()):
    """mode: None or "bare" without the shim; only: ids of tests, all if empty."""
    name = f"{module}.{mode or 'plain'}"
    shim = lab.place(name, mode)
    record, output = L.TMP / name / "record", results / f"{name}.txt"
    options = ["-u", "network", "-v", "-i", LEFT_OUT]
    options += [word for test in only for word in ("-m", test)]
    for part, patterns in ONLY.items():
        if part in module:
            options += [word for pattern in patterns for word in ("-m", pattern)]
    r = lab.run(["/usr/bin/python3", "-B", RECORD, record] + options + [module],
                ns=name, shim=shim, timeout=LIMIT,
                env={"LC_ALL": "C.UTF-8", "TMPDIR": str(L.TMP / name)} |
                (BARE_MPTCP if mode == "bare" else {}))
    asked = lab.end_help(name)
    if asked:
        print(f"{name:32} {asked:5} probes by convert-bootstrap", flush=True)
    output.write_text(r.out.decode(errors="replace") + r.err +
                      f"\nexit status {r.code}\n\n" + r.log)
    outcomes, whys = read_record(record)
    lines = [L.validated("log", line) for line in r.log.splitlines()]
    return Run(outcomes, whys, r.code, r.seconds,
               sum(line["event"] in ("converted", "failed") and "converter" in line for line in lines),
               sum(line.get("protocol") == "MPTCP" for line in lines),
               sum(line["event"] == "direct" and line["server"].startswith(("127.", "[::1]")) for line in lines),
               output)


def read_record(path):
    rank = ["ok", "expected failure", "skipped", "unexpected success", "failed", "not finished"]
    outcomes, whys, unfinished = {}, {}, set()
    for text in path.read_text().splitlines() if path.exists() else ():
        line = json.loads(text)
        test, what = line["test"], line["what"]
        if what == "begin":
            unfinished.add(test)
        elif what == "end":
            unfinished.discard(test)
        else:
            outcomes[test] = max(outcomes.get(test, "ok"), what, key=rank.index)
            if "why" in line:
                whys[test] = line["why"]
    return outcomes | dict.fromkeys(unfinished, "not finished"), whys


# --------------------------------------------------------------------------- comparison

# The tests whose outcome with the shim may differ from the one without: a test id and its reason a line. Anything else
# that differs is a failure.
EXPECTED = """
[inherent]
# No relay can pass these; that one of them passes is a failure too.

test.test_asyncore.TestAPI_UseIPv4Poll.test_handle_expt                     urgent data does not cross a relay
test.test_asyncore.TestAPI_UseIPv4Select.test_handle_expt                   urgent data does not cross a relay
test.test_asyncore.TestAPI_UseIPv6Poll.test_handle_expt                     urgent data does not cross a relay
test.test_asyncore.TestAPI_UseIPv6Select.test_handle_expt                   urgent data does not cross a relay
test.test_asyncio.test_sock_lowlevel.EPollEventLoopTests.test_sock_accept   the server sees the converter's address
test.test_asyncio.test_sock_lowlevel.PollEventLoopTests.test_sock_accept    the server sees the converter's address
test.test_asyncio.test_sock_lowlevel.SelectEventLoopTests.test_sock_accept  the server sees the converter's address
test.test_ssl.ThreadedTests.test_server_accept                              the server sees the converter's address

[mptcp]
# With LAB_MPTCP=on, besides. Every run proves it: these run once more, without the shim and over bare
# MPTCP sockets, and a difference is a failure unless that has the same outcome for the same reason.

test.test_asynchat.TestAsynchat.test_close_when_done           a closed MPTCP socket takes what still comes for a minute (net.mptcp.close_timeout), and resets nobody
test.test_asynchat.TestAsynchat_WithPoll.test_close_when_done  a closed MPTCP socket takes what still comes for a minute (net.mptcp.close_timeout), and resets nobody

[tcp]
# Without LAB_MPTCP=on, besides: on an MPTCP socket urgent data comes in band.

test.test_ftplib.TestFTPClass.test_abort                                    urgent data does not cross a relay

[racing]
# A race between the ends of a connection, which one process plays both. These may pass.

test.test_epoll.TestEPoll.test_control_and_wait                                  has sent both ways and wants both ends readable in one epoll call; a relay passes it on later
test.test_asyncore.TestAPI_UseIPv4Poll.test_connection_attributes                expects its client connected after 100 loops, which do not wait once the server has accepted
test.test_asyncore.TestAPI_UseIPv4Select.test_connection_attributes              expects its client connected after 100 loops, which do not wait once the server has accepted
test.test_asyncore.TestAPI_UseIPv6Poll.test_connection_attributes                expects its client connected after 100 loops, which do not wait once the server has accepted
test.test_asyncore.TestAPI_UseIPv6Select.test_connection_attributes              expects its client connected after 100 loops, which do not wait once the server has accepted
test.test_ssl.TestPreHandshakeClose.test_preauth_data_to_tls_server              expects the client's reset to arrive together with its data; a relay passes it on later
test.test_socket.SendfileUsingSendfileTest.testWithTimeoutTriggeredSend          expects 10 MB not to be taken within 10 ms; a relay's buffers take more
"""


def read_expected():
    """{test id: (group, reason)}"""
    expected, group = {}, None
    for line in EXPECTED.splitlines():
        if line.startswith("["):
            group = line.strip("[] ")
        elif line.strip() and not line.startswith("#"):
            test, reason = line.split(None, 1)
            if group != {"on": "tcp", "off": "mptcp"}[MPTCP]:
                expected[test] = (group, reason)
    return expected


class Verdict:
    """Compares module by module, prints what differs, and counts."""

    def __init__(self):
        self.expected = read_expected()
        self.same = self.failed = self.converted = 0
        self.skips = collections.Counter()
        self.listed = {"inherent": 0, "tcp": 0, "mptcp": 0, "racing": 0}

    def to_prove(self, module):
        """{mode: ids of the tests}"""
        found = collections.defaultdict(list)
        for test, (group, _) in self.expected.items():
            if group in PROOFS and test.startswith(f"test.{module}."):
                found[PROOFS[group]].append(test)
        return found

    def fail(self, text, number=1):
        self.failed += number
        print(f"FAIL {text}", flush=True)

    def module(self, name, plain, shim, proofs):
        """proofs: {mode: Run}"""
        self.converted += shim.converted
        if MPTCP == "on" and shim.converted and not shim.mptcp:
            self.fail(f"{name}: no connection was MPTCP")
        print(f"{name:32} {len(plain.outcomes):5} tests {shim.converted:5} connections converted"
              f" {plain.seconds:7.1f} s plain {shim.seconds:7.1f} s converted", flush=True)
        before = self.failed
        for test in sorted(plain.outcomes.keys() & shim.outcomes.keys()):
            self.test(test, plain, shim, proofs)
        for which, other in ("with", plain.outcomes.keys() - shim.outcomes.keys()), (
                "without", shim.outcomes.keys() - plain.outcomes.keys()):
            if other:  # one of the others has hung, or the module has crashed
                self.fail(f"{name}: {len(other)} tests not run {which} the shim, such as "
                          + min(other), len(other))
        for test in self.expected:
            if test.startswith(f"test.{name}.") and test not in plain.outcomes:
                self.fail(f"{test} is listed and there is no such test")
        for which in (plain, shim, *proofs.values()):  # regrtest: 0, or 2 if a test has failed
            ends = (0, 2) if "failed" in which.outcomes.values() else (0,)
            if which.code not in ends:
                self.fail(f"{name}: exit status {which.code}")
        if shim.direct:
            self.fail(f"{name}: {shim.direct} connections went direct")
        if not shim.converted and name not in WITHOUT_TCP:
            self.fail(f"{name}: nothing was converted")
        if self.failed > before:
            print(f"     output: {plain.output} {shim.output}", flush=True)

    def test(self, test, plain, shim, proofs):
        a, b = plain.outcomes[test], shim.outcomes[test]
        group, reason = self.expected.get(test, (None, None))
        proof = proofs.get(PROOFS.get(group))
        if proof and (proof.outcomes.get(test), proof.whys.get(test)) != (b, shim.whys.get(test)):
            group = None
        why = f"\n     {shim.whys[test]}"[:500] if test in shim.whys else ""
        if group in ("inherent", "tcp", "mptcp") and a == b:
            self.fail(f"{test}: {a} in both runs although it is listed as one that no relay can "
                      "pass: was it converted?")
        elif a == b == "skipped":
            self.skips[shim.whys.get(test, "no reason given")] += 1
        elif a == b in ("ok", "expected failure"):
            self.same += 1
        elif a == b:
            self.fail(f"{test}: {a} in both runs, so it judges nothing{why}")
        elif a == "ok" and b in ("failed", "skipped") and group:
            self.listed[group] += 1
            print(f"     differs as listed ({group}): {test}: {b}: {reason}", flush=True)
        else:
            self.fail(f"{test}: {a} without the shim, {b} with it{why}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--mode", choices=MODES, default="immediate")
    parser.add_argument("--helper", action="store_true")
    parser.add_argument("modules", nargs="*", metavar="MODULE")
    options = parser.parse_args()
    modules = MODULES if options.modules == ["all"] else options.modules or QUICK
    L.enter()
    results = L.BUILD / "check-python" / options.mode
    results.mkdir(parents=True, exist_ok=True)
    lab, verdict = Loopback(options.helper), Verdict()
    try:
        with concurrent.futures.ThreadPoolExecutor(JOBS) as pool:
            runs = [(m, pool.submit(run, lab, m, None, results),
                     pool.submit(run, lab, m, options.mode, results)) for m in modules]
            for module, plain, shim in runs:
                proofs = {where: pool.submit(run, lab, module, where, results, tests)
                          for where, tests in verdict.to_prove(module).items()}
                verdict.module(module, plain.result(), shim.result(),
                               {where: proof.result() for where, proof in proofs.items()})
    finally:
        lab.stop()
    if not verdict.converted and not WITHOUT_TCP.issuperset(modules):
        verdict.fail("nothing was converted")
    skipped = verdict.skips.total()
    total = verdict.same + skipped + verdict.failed + sum(verdict.listed.values())
    for reason, number in verdict.skips.most_common():
        print(f"skipped: {number} by CPython: {' '.join(str(reason).split())}")
    print(f"{total} tests in {len(modules)} modules, without the shim and with it "
          f"({options.mode}): {verdict.converted} connections converted, "
          + ", ".join(f"{n} {group}" for group, n in verdict.listed.items())
          + " differences as listed")
    print(f"{verdict.same} passed, {verdict.failed} failed, {skipped} skipped")
    sys.exit(1 if verdict.failed else 0)


if __name__ == "__main__":
    main()
