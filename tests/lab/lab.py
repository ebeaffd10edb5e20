# SPDX-License-Identifier: MIT
"""The lab: three network namespaces in a row, programs in them, and the test runner.

    client ---- converter ---- server
    10.1.0.1    10.1.0.2  10.2.0.1    10.2.0.2
    fd01::1     fd01::2   fd02::1     fd02::2

The converter's namespace is also the router between the other two, so that a direct connection
takes the same path as a converted one. enter() starts the process again inside namespaces of its
own (network, mounts, process ids; users too if it is not root); whatever happens, all of it is gone
with the process. Files live on a tmpfs over /run in there, and /dev/shm is another. Nothing here looks at the host's
network, its services, or its /etc/convert.conf.
"""
import concurrent.futures
import contextlib
import ctypes
import dataclasses
import functools
import json
import os
import pathlib
import pwd
import random
import re
import shlex
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
import traceback
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("BUILD", ROOT / "build"))
if not BUILD.is_absolute():
    BUILD = ROOT / BUILD
TOOLS = BUILD / "e2e"
LAB_TOOLS = BUILD / "lab"
TMP = pathlib.Path("/run/lab")
BUILT_SHIM = BUILD / "libconvert-preload.so"
SHIM = TMP / BUILT_SHIM.name  # a copy: for every user, and while somebody builds another one

PORT = 5124
CLIENT, CLIENT6 = "10.1.0.1", "fd01::1"
CONVERTER, CONVERTER6 = "10.1.0.2", "fd01::2"
ROUTER, ROUTER6 = "10.2.0.1", "fd02::1"  # the converter as servers see it
SERVER, SERVER6 = "10.2.0.2", "fd02::2"

# Multipath TCP in the client: auto, on, off (by configuration), or kernel-off (by its sysctl). A suite
# that is about the bytes and calls of TCP alone says off before it calls main(). There is one path; but
# to the client's kernel it looks as if there were another (Lab.endpoints), so that auto is MPTCP.
MPTCP = os.environ.get("LAB_MPTCP", "auto")

# Whom the programs under test run as, without any capability: a user's name, or nothing for root, who
# makes the namespaces and runs servers and converters in any case.
USER = os.environ.get("LAB_USER", "")

# What programs in the lab find in their environment, and nothing else. What one test has taught
# the shim must not decide in the next. What one that is killed leaves behind ends with the lab.
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(TMP / "home"), "LC_ALL": "C",
               "TMPDIR": str(TMP / "tmp"), "CONVERT_STATE": "none"}

TEST_LIMIT = 120  # seconds for one test

# A file for all that passes the client's link c0 in a suite.
CAPTURE = os.environ.get("LAB_CAPTURE")


# ------------------------------------------------------------------------ namespaces

def look_at_kernel():
    for name, what in ("ipv6", "IPv6"), ("mptcp", "Multipath TCP"):
        if not os.path.isdir(f"/proc/sys/net/{name}"):
            sys.exit(f"the lab needs a kernel with {what}: there is no /proc/sys/net/{name}")


def enter():
    """Returns inside the namespaces, in a process started anew."""
    if os.environ.pop("LAB_INSIDE", None):
        mount_private()
        return
    look_at_kernel()
    unshare = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    users = ["--user", "--map-root-user"]
    tries = {"with user namespaces": unshare + users}
    if os.geteuid() == 0:
        tries = {"as root": unshare} | tries
    said = []
    for how, command in tries.items():
        probe = subprocess.run(command + ["true"], capture_output=True, text=True)
        if probe.returncode == 0:
            os.environ["LAB_INSIDE"] = "1"
            sys.stdout.flush()
            os.execvp("unshare", command + ["/usr/bin/python3", "-B"] + sys.argv)
        said.append(f"\n  {how}: {probe.stderr.strip()}")
    sys.exit("cannot make namespaces:" + "".join(said))


def mount_private():
    command(["mount", "-t", "tmpfs", "-o", "mode=755", "lab", "/run"])
    for name in ("netns", "sshd", "lab", "lab/home", "lab/tmp"):
        pathlib.Path("/run", name).mkdir()
    for folder in (TMP, TMP / "home"):
        os.chmod(folder, 0o777 if USER else 0o755)
    os.chmod(TMP / "tmp", 0o1777)
    command(["mount", "-t", "tmpfs", "-o", "mode=1777", "lab", "/dev/shm"])
    shutil.copy(BUILT_SHIM, SHIM)
    if os.path.lexists("/etc/convert.disable"):
        sys.exit("/etc/convert.disable is there: no program of the lab would use the library")
    for file in ("/etc/convert.conf", "/etc/ld.so.preload"):
        if os.path.exists(file):
            command(["mount", "--bind", "/dev/null", file])


def owns_several_users():
    """False in a user namespace with one user: no setuid(), no sshd."""
    return sum(int(line.split()[2]) for line in open("/proc/self/uid_map")) > 1


def command(argv, timeout=60, **more):
    """Runs a set-up command that has to succeed."""
    done = subprocess.run([str(a) for a in argv], env=ENVIRONMENT, stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=timeout, **more)
    if done.returncode:
        raise RuntimeError(f"{shlex.join(map(str, argv))}: {done.stdout}{done.stderr}")
    return done.stdout


def inside(ns, argv):
    """The command line that runs argv in a namespace; it becomes argv, with the same pid."""
    return ["nsenter", f"--net=/run/netns/{ns}", "--"] + [str(a) for a in argv]


def as_user(user, argv):
    """The command line that runs argv as a user without capabilities; it becomes argv, with the same
    pid. A user namespace with one user has no other, who then loses the capabilities alone."""
    if not user:
        return argv
    words = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]
    if owns_several_users():
        group = pwd.getpwnam(user).pw_gid if isinstance(user, str) else user
        words += [f"--reuid={user}", f"--regid={group}", "--clear-groups"]
    return words + ["--"] + argv


def nobody_else():
    """The number of a user who has no process: the kernel counts a user's, whatever namespace they are in."""
    return random.SystemRandom().randrange(20000, 60000) if owns_several_users() else "nobody"


def sysctl(ns, **values):
    command(inside(ns, ["sysctl", "-qw"] + [f"{k.replace('__', '.')}={v}"
                                            for k, v in values.items()]))


def wait_for(what, condition, timeout=10):
    """Polls, every 2 ms at first; for what has no descriptor to wait on."""
    end, pause = time.monotonic() + timeout, 0.002
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise TimeoutError(f"waited {timeout} s for {what}")
        time.sleep(pause)
        pause = min(pause * 1.5, 0.05)


# -------------------------------------------------------------------------- programs

@dataclasses.dataclass
class Result:
    argv: list
    code: int        # exit status, or minus the signal
    out: bytes
    err: str
    log: str         # what the shim wrote
    seconds: float

    def __str__(self):
        argv = shlex.join(a if len(a) < 150 else a.strip()[:20] + "..." for a in self.argv)
        return (f"{argv}\n  exit {self.code} after {self.seconds:.2f} s\n"
                f"  out {self.out[-300:]!r}\n  err {self.err[-800:]!r}\n"
                f"  shim {self.log[-800:]!r}")


class Process:
    """A background process in a namespace, with its output in files."""

    def __init__(self, ns, argv, name=None, env=None, **more):
        self.name = name or pathlib.Path(str(argv[0])).name
        self.out = TMP / f"{self.name}.{time.monotonic_ns()}.out"
        with open(self.out, "wb") as out:
            self.process = subprocess.Popen(
                inside(ns, argv), env=ENVIRONMENT | (env or {}), stdin=subprocess.DEVNULL,
                stdout=out, stderr=subprocess.STDOUT, cwd=TMP, start_new_session=True, **more)
        self.pid = self.process.pid

    def text(self):
        return self.out.read_text(errors="replace")

    def wait_for(self, what, condition, timeout=10):
        def check():
            if self.process.poll() is not None:
                raise RuntimeError(f"{self.name} ended ({self.process.returncode}) before "
                                   f"{what}:\n{self.text()}")
            return condition()
        try:
            return wait_for(what, check, timeout)
        except TimeoutError as late:
            raise TimeoutError(f"{self.name}: {late}\n{self.text()}") from None

    def wait_for_listeners(self, *ports):
        """/proc/PID/net is the network namespace of that process."""
        def listening():
            found = set()
            try:
                lines = [line for table in ("tcp", "tcp6")
                         for line in open(f"/proc/{self.pid}/net/{table}").readlines()[1:]]
            except FileNotFoundError:
                return False  # it has just ended, which is told with what it has said
            for line in lines:
                local, _, state = line.split()[1:4]
                if state == "0A":
                    found.add(int(local.rsplit(":")[-1], 16))
            return found.issuperset(ports)
        self.wait_for(f"ports {ports}", listening)

    def stop(self, how=signal.SIGTERM):
        if self.process.poll() is None:
            os.killpg(self.pid, how)
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                os.killpg(self.pid, signal.SIGKILL)
                self.process.wait(5)
        return self.process.returncode


def open_netstat(ns):
    """/proc/net/netstat of that namespace, to be read as often as wanted."""
    def enter():
        with open(f"/run/netns/{ns}", encoding="ascii") as namespace:
            if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), 0):
                raise OSError(ctypes.get_errno(), f"setns {ns}")
        return open("/proc/thread-self/net/netstat", encoding="ascii")
    with concurrent.futures.ThreadPoolExecutor(1) as thread:  # the others stay where they are
        return thread.submit(enter).result()


def kill(process):
    """And its session, if it has not ended."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def last_words(killed):
    """What has left its session may have its output open for as long as it likes."""
    try:
        return killed.communicate(timeout=10)
    except subprocess.TimeoutExpired as e:
        return e.output or b"", e.stderr or b""


def state_of(pid):
    return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def has_ended(pid):
    try:
        return state_of(pid) == "Z"
    except OSError:  # and was waited for
        return True


def waiting(session):
    """{thread of that session: its state, its system call, and where in the kernel that is}"""
    found = {}
    for entry in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            for task in (entry / "task").iterdir() if os.getsid(int(entry.name)) == session else ():
                name, _, rest = (task / "stat").read_text().rpartition(")")
                found[name] = " ".join([rest.split()[0], *((task / file).read_text().strip() for file in
                                                           ("syscall", "wchan"))])
        except (OSError, ValueError):  # it has just ended
            pass
    return found


@functools.cache
def validator(name):
    import jsonschema  # nothing else needs it
    (file,) = (f for room in ("common", "bootstrap-helper/*") for f in ROOT.glob(f"{room}/{name}.schema.json"))
    schema = json.loads(file.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def validated(name, output):
    """convert-bootstrap's JSON, parsed, after the schema of that name that is installed with it has agreed to it."""
    value = json.loads(output)
    validator(name).validate(value)
    return value


class Box(Process):
    """A wire with a delay, a link's relay. Inside `with box.rules("strip-tfo"):` it is a middlebox
    (tests/lab/middlebox.c has its rules), and box.did("strip-tfo") tells what it has done to whom. It is
    started anew for other rules; what passes meanwhile is lost."""

    LINE = re.compile(r"([a-z0-9-]+) \[?([0-9a-f.:]+?)\]?:(\d+) > \[?([0-9a-f.:]+?)\]?:(\d+)")

    def __init__(self, ns, delay_ms):
        self.ns, self.delay_ms = ns, delay_ms
        self.begin()

    def begin(self, *rules, port=None):
        limits = ["--port", port] if port else []
        super().__init__(self.ns, [LAB_TOOLS / "middlebox", "--delay", self.delay_ms, *limits,
                                   "d1", "d2", *rules], name=self.ns)
        self.wait_for("ready", lambda: "ready" in self.text())

    @contextlib.contextmanager
    def rules(self, *rules, port=None):
        self.stop()
        self.begin(*rules, port=port)
        try:
            yield self
        finally:
            self.stop()
            self.begin()

    def did(self, rule):
        """[(source, port, destination, port)] of the segments that the rule was applied to."""
        found = [self.LINE.fullmatch(line) for line in self.text().splitlines()]
        return [(m[2], int(m[3]), m[4], int(m[5])) for m in found if m and m[1] == rule]


class Lab:
    """The namespaces, addresses and routes; and all that runs in them until stop()."""

    relayed = ()  # devices whose link has a relay even without a delay
    endpoints = "10.4.0.1", "fd04::1"  # of the client's MPTCP; no device has them: no packet is sent

    def __init__(self, delay_ms=(0, 0)):
        """delay_ms: one way, on the client's and on the server's link."""
        self.running = []
        self.boxes = {}
        self.files = self.addresses = 0
        self.netstat = {}
        for ns in ("client", "converter", "server"):
            self.namespace(ns)
        sysctl("converter", net__ipv4__ip_forward=1, net__ipv6__conf__all__forwarding=1,
               net__ipv4__tcp_fastopen=3, net__ipv4__icmp_ratelimit=0,
               net__ipv6__icmp__ratelimit=0)
        if MPTCP not in ("auto", "on"):
            sysctl("client", net__mptcp__enabled=0)
        self.link("client", "c0", "converter", "k0", delay_ms[0])
        self.link("converter", "k1", "server", "s0", delay_ms[1])
        for ns, dev, *addresses in (("client", "c0", CLIENT + "/24", CLIENT6 + "/64"),
                                    ("converter", "k0", CONVERTER + "/24", CONVERTER6 + "/64"),
                                    ("converter", "k1", ROUTER + "/24", ROUTER6 + "/64"),
                                    ("server", "s0", SERVER + "/24", SERVER6 + "/64")):
            for address in addresses:
                more = ["nodad"] if ":" in address else []
                command(["ip", "-n", ns, "addr", "add", address, "dev", dev] + more)
        for ns, via, via6 in (("client", CONVERTER, CONVERTER6), ("server", ROUTER, ROUTER6)):
            command(["ip", "-n", ns, "route", "add", "default", "via", via])
            command(["ip", "-n", ns, "-6", "route", "add", "default", "via", via6])
        self.endpoint(*self.endpoints)

    def endpoint(self, *addresses, ns="client"):
        """These, each with what ip-mptcp(8) says about it, and no others."""
        command(["ip", "-n", ns, "mptcp", "endpoint", "flush"])
        for address in addresses:
            command(["ip", "-n", ns, "mptcp", "endpoint", "add",
                     *(address if " " in address else address + " subflow").split()])

    def tokens_missed(self):
        """How many MPTCP sockets the host's kernel has let go on over TCP, as it had no token for them: there is
        one table for all namespaces, and it can lose room until the next boot (LINUX-FACTS 4.17)."""
        return sum(self.counters(ns).get("MPFallbackTokenInit", 0) for ns in self.netstat)

    def counters(self, ns):
        """The kernel's of Multipath TCP, {name: how many}."""
        netstat = self.netstat[ns]
        netstat.seek(0)
        names, values = [line.split()[1:] for line in netstat if line.startswith("MPTcpExt:")] or ([], [])
        return dict(zip(names, map(int, values)))

    def namespace(self, ns):
        command(["ip", "netns", "add", ns])
        self.netstat[ns] = open_netstat(ns)
        command(["ip", "-n", ns, "link", "set", "lo", "up"])
        sysctl(ns, net__ipv4__tcp_fastopen=1, net__ipv4__tcp_congestion_control="reno",
               net__ipv4__tcp_no_metrics_save=1,
               net__ipv4__conf__all__rp_filter=0, net__ipv4__conf__default__rp_filter=0,
               net__ipv6__conf__all__disable_ipv6=0, net__ipv6__conf__default__disable_ipv6=0,
               net__ipv6__conf__default__accept_dad=0, net__ipv6__conf__default__accept_ra=0)

    def link(self, ns1, dev1, ns2, dev2, delay_ms):
        """Two ends of one wire; with a delay, of two wires with a relay between them."""
        has_relay = delay_ms or dev1 in self.relayed
        if not has_relay:
            ends = [(ns1, dev1, ns2, dev2)]
        else:
            relay = f"relay-{dev1}"
            command(["ip", "netns", "add", relay])
            ends = [(ns1, dev1, relay, "d1"), (relay, "d2", ns2, dev2)]
        for n1, d1, n2, d2 in ends:
            command(["ip", "link", "add", d1, "netns", n1, "type", "veth",
                     "peer", "name", d2, "netns", n2])
            command(["ip", "-n", n1, "link", "set", d1, "up"])
            command(["ip", "-n", n2, "link", "set", d2, "up"])
        if has_relay:
            self.boxes[dev1] = self.started(Box(relay, delay_ms))

    def start(self, ns, argv, **more):
        process = Process(ns, argv, **more)
        self.running.append(process)
        return process

    def file(self, name, content=None):
        """A path that nobody has used before, with content if given."""
        self.files += 1
        path = TMP / f"{self.files}-{name}"
        if content is not None:
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def fresh_addresses(self):
        """More addresses of the converter's, IPv4 and IPv6: the client's kernel holds no Fast
        Open cookie for them. (To delete its cookies would need the host's root.)"""
        self.addresses += 1
        addresses = f"10.1.0.{99 + self.addresses}", f"fd01::{self.addresses + 0x100:x}"
        command(["ip", "-n", "converter", "addr", "add", addresses[0] + "/24", "dev", "k0"])
        command(["ip", "-n", "converter", "addr", "add", addresses[1] + "/64", "dev", "k0",
                 "nodad"])
        return addresses

    def stop(self):
        for process in reversed(self.running):
            process.stop()
        self.running.clear()

    # ------------------------------------------------------------ programs to test

    def run(self, argv, ns="client", shim=None, timeout=20, stdin=b"", env=None, cwd=None,
            user=None):
        """Runs a program to its end. shim: None for a plain run, else its environment (see
        via() and config()); its log then goes to a file of its own. user: as LAB_USER."""
        environment = ENVIRONMENT | (env or {})
        log = None
        if shim is not None:
            environment |= {"LD_PRELOAD": str(SHIM)} | shim
            if "CONVERT_LOG" not in environment and "CONVERT_CONF" not in environment:
                environment["CONVERT_LOG"] = str(self.file("shim.log"))
            log = environment.get("CONVERT_LOG") or environment.get("LAB_LOG")
        # nsenter itself must not run under the shim
        argv = [str(a) for a in argv]
        wrapped = ["env", "-i"] + [f"{k}={v}" for k, v in environment.items()] + argv
        wrapped = inside(ns, as_user(USER if user is None else user, wrapped))
        started = time.monotonic()
        process = subprocess.Popen(wrapped, env=ENVIRONMENT, cwd=cwd or TMP,
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, start_new_session=True)
        try:
            out, err = process.communicate(stdin, timeout)
            code = process.returncode
        except subprocess.TimeoutExpired:
            where = self.where_it_waits(process.pid)
            kill(process)
            out, err = last_words(process)
            code = -signal.SIGKILL
            err += f"\n[killed after {timeout} s]\n{where}".encode()
        finally:
            kill(process)
        text = ""
        if log and os.path.isfile(log):
            text = pathlib.Path(log).read_text(errors="replace")
        return Result(argv, code, out, err.decode(errors="replace"), text,
                      time.monotonic() - started)

    def where_it_waits(self, session):
        """Of a program that takes too long, for whoever looks for the reason: what its threads wait for, and a
        second later; the sockets and counters of all namespaces; what converters have last written down."""
        first = waiting(session)
        time.sleep(1)
        then = waiting(session)
        found = [f"{name}): {first.get(name, '-')}; a second later {then.get(name, 'gone')}"
                 for name in sorted(first | then)]
        for ns in self.netstat:
            with contextlib.suppress(subprocess.TimeoutExpired):
                ss = subprocess.run(inside(ns, ["ss", "-MtanieH"]), env=ENVIRONMENT, capture_output=True, text=True,
                                    timeout=5, check=False)
                found += [f"--- {ns}", ss.stdout[-3000:], ss.stderr[-200:]]
            found.append(" ".join(f"{name} {n}" for name, n in self.counters(ns).items() if n))
        for process in self.running:
            if isinstance(process, Converter):
                found += ["--- " + process.name, process.log.read_text(errors="replace")[-2000:]]
        return "\n".join(found)

    def via(self, address=CONVERTER, port=PORT):
        """The shim's environment for one converter without a file."""
        return {"CONVERT_ADDR": address, "CONVERT_PORT": str(port)}

    def config(self, converter="", policy="", address=CONVERTER, port=PORT, log=True):
        """The shim's environment for a configuration file. Without `fallback` in policy it is
        none: a test of the converted path must not succeed by going direct."""
        log_file = self.file("shim.log")
        if "fallback" not in policy:
            policy += "\nfallback = none"
        if "mptcp" not in policy and MPTCP != "kernel-off":
            policy += f"\nmptcp = {MPTCP}"
        addresses = [address] if isinstance(address, str) else address
        lines = ["[converter lab]"] + [f"address = {a}" for a in addresses]
        lines += [f"port = {port}", converter, "[policy]", policy]
        if log:
            lines += ["[log]", f"file = {log_file}"]
        return {"CONVERT_CONF": str(self.file("convert.conf", "\n".join(lines) + "\n")),
                "LAB_LOG": str(log_file)}

    def converter(self, *options, listen=(CONVERTER, f"[{CONVERTER6}]"), port=PORT):
        """Starts a lab-converter and waits until it is ready."""
        return self.started(Converter(self, options, listen, port))

    def started(self, process):
        self.running.append(process)
        return process


class BoxedLab(Lab):
    """The lab with a middlebox, which is a plain wire at first: L.main(setup, kind=L.BoxedLab)

    client ---- box ---- converter ---- server"""
    relayed = ("c0",)

    @property
    def box(self):
        return self.boxes["c0"]


class Converter(Process):
    def __init__(self, lab, options, listen, port):
        self.log = lab.file("converter.log")
        ready = lab.file("converter.ready")
        argv = [BUILD / "lab-converter", "--log", self.log, "--ready-file", ready,
                "--allow", "10.1.0.0/24", "--allow", "fd01::/64"]
        for address in listen:
            argv += ["--listen", f"{address}:{port}"]
        super().__init__("converter", argv + [str(o) for o in options])
        self.wait_for("readiness", ready.exists)

    def events(self, name=None, count=0):
        """[{"t": .., "ev": .., ...}], those of one name if given. A client that does not wait for
        the reply ends before the converter has looked at what it sent: with a count, so many are
        waited for, ten seconds at most."""
        end = time.monotonic() + 10
        while len(found := self.events_now(name)) < count and time.monotonic() < end:
            time.sleep(0.01)
        return found

    def events_now(self, name):
        found = []
        for line in self.log.read_text(errors="replace").splitlines():
            event = dict(word.split("=", 1) for word in shlex.split(line) if "=" in word)
            if name in (None, event.get("ev")):
                found.append(event)
        return found


# ------------------------------------------------------------------------- the runner

class Late(BaseException):
    """A test is over its time. Nobody who means the errors of system calls, or all of a program's, catches this."""


class TestCase(unittest.TestCase):
    """Subclasses find `lab` set by main(); each test has its own time limit. One that fails where the kernel
    had no token for a socket has another try, and says so: that is the host's trouble, and counted."""

    maxDiff = 1000
    lab = None
    longMessage = True

    def run(self, result=None):
        missed, bad = self.lab.tokens_missed() if self.lab else 0, result.bad
        self.try_once(result)
        if result.bad > bad and self.lab and self.lab.tokens_missed() > missed:
            self.tried_again(f"the kernel had no MPTCP token {self.lab.tokens_missed() - missed} times")
            result.bad = bad
            self.forget()
            self.try_once(result)

    def figures(self, paper, pattern):
        """The numbers that a paper says, however its lines are broken: what a test has counted is compared with them."""
        text = " ".join((ROOT / paper).read_text().split())
        found = re.findall(pattern, text)
        self.assertEqual(len(found), 1, (paper, pattern))
        return [int(n.replace(",", "")) for n in (found[0] if isinstance(found[0], tuple) else found)]

    def tried_again(self, why):
        """For the reader of the output, and for tests/run, which names it at the end."""
        print(f"     again: {self.id().removeprefix('__main__.')}: {' '.join(why.split())[:300]}", flush=True)

    def forget(self):
        """Drops what is kept of earlier runs, before another try."""

    def try_once(self, result):
        def late(*_):
            raise Late(f"test took more than {TEST_LIMIT} s")
        before = list(self.lab.running) if self.lab else []
        signal.signal(signal.SIGALRM, late)
        signal.setitimer(signal.ITIMER_REAL, TEST_LIMIT, min(10, TEST_LIMIT))  # and again, for what comes at its end
        try:
            super().run(result)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            if self.lab:  # what a test has started ends with it
                for process in [p for p in self.lab.running if p not in before]:
                    process.stop()
                    self.lab.running.remove(process)

    def note(self, text):
        """A measured number for the reader of the output."""
        print(f"     {text}", flush=True)

    def need(self, *programs):
        for program in programs:
            if not shutil.which(program, path=ENVIRONMENT["PATH"]):
                self.skipTest(f"{program} is not installed")


class Results(unittest.TestResult):
    def __init__(self):
        super().__init__()
        self.passed = 0
        self.bad = 0
        self.started = time.monotonic()

    def startTest(self, test):
        super().startTest(test)
        self.started = time.monotonic()

    def line(self, verdict, test, text=""):
        name = test.id().removeprefix("__main__.")
        print(f"{verdict:4} {name}  {time.monotonic() - self.started:.2f} s{text}", flush=True)

    def addSuccess(self, test):
        self.passed += 1
        self.line("ok", test)

    def addFailure(self, test, error):
        super().addFailure(test, error)
        self.bad += 1
        self.line("FAIL", test)
        lines = "".join(traceback.format_exception(*error)).splitlines()
        lines = [line for line in lines if line.strip() and "unittest/case.py" not in line]
        if len(lines) > 200:
            lines[50:-150] = ["..."]
        print(*(f"     {line[:1000]}" for line in lines), sep="\n", flush=True)

    addError = addFailure

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self.started = getattr(self, "started", time.monotonic())
        self.line("skip", test, f": {reason}")

    def addSubTest(self, test, subtest, error):
        if error:
            self.addFailure(subtest, error)


def main(setup=None, kind=Lab, **lab_options):
    """Runs the tests of the calling file in a lab of that kind. setup(lab) starts what all of
    them share.
    Arguments: -k PATTERN to choose tests, -f to stop at the first failure."""
    enter()
    arguments = sys.argv[1:]
    loader = unittest.TestLoader()
    results = Results()
    if "-f" in arguments:
        results.failfast = True
        arguments.remove("-f")
    if "-k" in arguments:
        loader.testNamePatterns = [f"*{arguments[arguments.index('-k') + 1]}*"]
    TestCase.lab = kind(**lab_options)
    try:
        if CAPTURE:
            TestCase.lab.start("client", ["/usr/bin/python3", "-BES", __file__, "c0", CAPTURE])
        if setup:
            setup(TestCase.lab)
        loader.loadTestsFromModule(sys.modules["__main__"]).run(results)
    finally:
        TestCase.lab.stop()
    skipped = len(results.skipped)
    for test, reason in results.skipped:
        print(f"skipped: {test.id().removeprefix('__main__.')}: {reason}")
    print(f"{results.passed} passed, {results.bad} failed, {skipped} skipped")
    sys.exit(1 if results.bad or results.unexpectedSuccesses else 0)


ETH_P_ALL = 3
SO_RCVBUFFORCE = 33
SO_TIMESTAMPNS = 35
BUFFER = 16 << 20


def record(interface, path):
    """Writes what passes an interface into a pcap file, with the kernel's time stamps, in a process of its own: lab.py
    INTERFACE FILE. tcpdump does not start in a user namespace of one user, as it wants to become another one."""
    link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    link.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    try:
        link.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER)
    except PermissionError:  # then as much as net.core.rmem_max lets us
        link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
    link.bind((interface, 0))
    with open(path, "wb", buffering=0) as pcap:
        pcap.write(struct.pack("=IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 1 << 18, 1))  # nanoseconds, Ethernet
        print("recording", flush=True)
        while True:
            frame, ancillary, _, _ = link.recvmsg(1 << 17, 100)
            seconds, nanoseconds = struct.unpack("qq", ancillary[0][2])
            pcap.write(struct.pack("=IIII", seconds, nanoseconds, len(frame), len(frame)) + frame)


if __name__ == "__main__":
    record(*sys.argv[1:])
