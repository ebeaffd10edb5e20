#!/usr/bin/python3 -B
# SPDX-License-Identifier: MIT
"""The shim in every process, by /etc/ld.so.preload: the system's own programs, without a
configuration, with one, with a bad one, and switched off; and processes that have a hard time.

All of it on copies of /etc, each seen by one program and what that starts only.

HEAVY=1: chromium too.
"""
import hashlib
import json
import os
import pathlib
import re
import shutil
import sys

sys.path.insert(1, sys.path[0] + "/../lab")
import lab as L
import servers

WHO = f"http://{L.SERVER}/who"
CURL = ["curl", "-sS", WHO]
NOBODY = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
POSTGRES = pathlib.Path("/usr/lib/postgresql/15/bin")

# A converter that belongs to the client's network only: the lab's other hosts would find it too.
CONFIG = f"""
[converter lab]
address = {L.CONVERTER}
interface = c0
[policy]
fallback = none
[log]
file = %s
"""

# To whom it says, as a page that a browser shows, who they are.
PAGES = """
import http.server
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(f"<p>{self.client_address[0]}</p>".encode())
http.server.ThreadingHTTPServer(("", 8080), Handler).serve_forever()
"""

JAVA = """
public class Who {
    public static void main(String[] a) throws Exception {
        System.out.write(new java.net.URL(a[0]).openStream().readAllBytes());
        System.out.flush();
    }
}
"""


def setup(lab):
    global nginx
    nginx = servers.nginx(lab)
    servers.nowhere(lab)
    lab.converter("--mptcp")


class Everywhere(L.TestCase):
    def setUp(self):
        super().setUp()
        if not L.owns_several_users():
            self.skipTest("needs more than one user in the namespace")
        self.log = self.lab.file("shim.log", "")
        os.chmod(self.log, 0o666)

    def etc(self, config=None, preload=True, switched_off=False, **files):
        """A copy of /etc. files: what else is in it, '__' for a slash."""
        etc = self.lab.file("etc")
        L.command(["cp", "-a", "/etc", etc])
        for name in ("ld.so.preload", "convert.conf", "convert.disable"):
            (etc / name).unlink(missing_ok=True)
        if preload:
            (etc / "ld.so.preload").write_text(f"{L.SHIM}\n")
        if config is not None:
            (etc / "convert.conf").write_text(config % self.log if "%" in config else config)
        if switched_off:
            (etc / "convert.disable").touch()
        for name, text in files.items():
            path = etc / name.replace("__", "/")
            path.unlink(missing_ok=True)
            path.write_text(text)
            os.chmod(path, 0o440 if "sudoers" in name else 0o644)
        return etc

    def on(self, etc, argv):
        """The command line that runs argv where etc is /etc."""
        return ["unshare", "--mount", "sh", "-c", 'mount --bind "$0" /etc && exec "$@"', etc,
                *argv]

    def run_on(self, etc, argv, **more):
        return self.lab.run(self.on(etc, argv), **more)

    def kinds(self, **files):
        """For each kind of configuration its /etc."""
        return self.two_kinds(**files) | {
            "a mistake": self.etc("nonsense\n", **files),
            "switched off": self.etc(CONFIG, switched_off=True, **files)}

    def two_kinds(self, **files):
        return {"no configuration": self.etc(**files), "configured": self.etc(CONFIG, **files)}

    def same(self, argv, **files):
        """What it prints and says is what it prints and says without the library."""
        plain = self.run_on(self.etc(preload=False, **files), argv)
        for kind, etc in self.kinds(**files).items():
            r = self.run_on(etc, argv)
            self.assertEqual((r.code, r.out, r.err), (plain.code, plain.out, plain.err),
                             f"{kind}: {r}")
        return plain

    def seen(self, argv, kinds=None, **files):
        """It connects to the server: through the converter where that is configured, else not."""
        plain = self.run_on(self.etc(preload=False, **files), argv)
        self.assertEqual((plain.code, plain.out.decode()), (0, L.CLIENT + "\n"), plain)
        for kind, etc in (kinds or self.kinds(**files)).items():
            r = self.run_on(etc, argv)
            wanted = L.ROUTER if kind == "configured" else L.CLIENT
            self.assertEqual((r.code, r.out.decode(), r.err), (0, wanted + "\n", plain.err),
                             f"{kind}: {r}")


class System(Everywhere):
    def test_init_scripts(self):
        """What each does with a word that it does not know: it says so."""
        scripts = sorted(p for p in pathlib.Path("/etc/init.d").iterdir()
                         if os.access(p, os.X_OK) and p.is_file())
        self.same(["sh", "-c", "for s; do $s no-such-action; echo $?; done", "sh", *scripts])
        self.note(f"{len(scripts)} of them: {', '.join(p.name for p in scripts)}")

    def test_shells(self):
        self.same(["bash", "-c", "x=$(ls /etc | wc -l); (echo $((x > 3)); trap 'echo bye' EXIT) |"
                   " tac; cat <(echo in) & wait; type curl"])
        self.seen(["bash", "-c", "exec 3<>/dev/tcp/10.2.0.2/80; printf 'GET /who HTTP/1.0\\r\\n"
                   "\\r\\n' >&3; cat <&3 | tail -1"])

    def test_su(self):
        self.need("su")
        self.seen(["su", "-s", "/bin/sh", "nobody", "-c", "curl -sS " + WHO])

    def test_sudo(self):
        self.need("sudo")
        rule = {"sudoers.d__lab": "nobody ALL=(ALL) NOPASSWD: ALL\nDefaults !fqdn\n"}
        self.seen([*NOBODY, "sudo", "-n", *CURL], **rule)
        self.seen(["sudo", "-n", "-u", "nobody", *CURL], **rule)

    def test_systemd(self):
        self.need("systemd-run", "systemctl")
        self.same(["systemd-run", "--wait", "--pipe", "true"])
        self.same(["systemctl", "--version"])

    def test_cron(self):
        """A job that is due when cron starts. The host's own tables are out of sight."""
        self.need("cron")
        for kind, wanted in (("no configuration", L.CLIENT), ("configured", L.ROUTER)):
            out = self.lab.file("cron.out")
            etc = self.two_kinds(crontab="\n")[kind]
            shutil.rmtree(etc / "cron.d", ignore_errors=True)
            (etc / "cron.d").mkdir()
            (etc / "cron.d/lab").write_text(f"@reboot root curl -sS {WHO} >{out}.new 2>&1; "
                                            f"mv {out}.new {out}\n")
            pathlib.Path("/run/crond.reboot").unlink(missing_ok=True)
            cron = self.lab.start("client", self.on(etc, [
                "sh", "-c", "mount -t tmpfs none /var/spool/cron && exec cron -f"]))
            cron.wait_for("the job", out.exists)
            cron.stop()
            self.assertEqual(out.read_text(), wanted + "\n", kind)

    def test_sshd(self):
        """Logged in from the server: what is done in the session goes through the converter."""
        self.need("sshd", "ssh")
        base = self.lab.file("ssh")
        base.mkdir(mode=0o755)
        for name in ("host", "user"):
            L.command(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", base / name])
        for kind, wanted in (("no configuration", L.CLIENT), ("configured", L.ROUTER)):
            etc = self.two_kinds()[kind]
            # -o UsePAM=no: not the host's modules
            sshd = self.lab.start("client", self.on(etc, [
                "/usr/sbin/sshd", "-D", "-e", "-f", "/dev/null", "-o", f"HostKey={base}/host",
                "-o", f"AuthorizedKeysFile={base}/user.pub", "-o", "StrictModes=no",
                "-o", "UsePAM=no", "-o", "PermitRootLogin=yes", "-o", "PidFile=none"]))
            sshd.wait_for_listeners(22)
            r = self.lab.run(["ssh", "-F", "none", "-i", base / "user", "-o", "BatchMode=yes",
                              "-o", "StrictHostKeyChecking=no", "-o", "LogLevel=ERROR",
                              "-o", f"UserKnownHostsFile={base}/known", f"root@{L.CLIENT}",
                              "curl", "-sS", WHO], ns="server")
            sshd.stop()
            self.assertEqual((r.code, r.out.decode(), r.err), (0, wanted + "\n", ""),
                             f"{kind}: {r}\n{sshd.text()}")

    def test_apt(self):
        """An index and a package by http, which apt's method fetches as a user of its own."""
        self.need("apt-get", "dpkg-deb")
        tree, repository = self.lab.file("package"), nginx.base / "www/apt"
        (tree / "DEBIAN").mkdir(parents=True)
        (tree / "DEBIAN/control").write_text("Package: lab-package\nVersion: 1\nArchitecture: all\n"
                                             "Maintainer: lab <lab@example.net>\n"
                                             "Description: nothing\n")
        repository.mkdir(exist_ok=True)
        L.command(["dpkg-deb", "--build", tree, repository / "lab.deb"])
        deb = (repository / "lab.deb").read_bytes()
        (repository / "Packages").write_text(
            (tree / "DEBIAN/control").read_text() + f"Filename: ./lab.deb\nSize: {len(deb)}\n"
            f"SHA256: {hashlib.sha256(deb).hexdigest()}\n")
        sources = self.lab.file("sources.list", f"deb [trusted=yes] http://{L.SERVER}/apt ./\n")
        before = len(nginx.lines_so_far())
        seen = {}
        for kind, etc in self.kinds().items():
            home = self.lab.file("apt")
            (home / "state").mkdir(parents=True)
            (home / "state/status").touch()
            options = [f"-oDir::Etc::sourcelist={sources}", "-oDir::Etc::sourceparts=-",
                       f"-oDir::State={home}/state", f"-oDir::State::status={home}/state/status",
                       f"-oDir::Cache={home}/cache", "-qq"]
            for command in (["update"], ["-s", "install", "lab-package"],
                            ["download", "lab-package"]):
                r = self.run_on(etc, ["apt-get", *options, *command], cwd=home)
                self.assertEqual(r.code, 0, f"{kind}: {r}")
            self.assertEqual((home / "lab-package_1_all.deb").read_bytes(), deb, kind)
            lines = nginx.lines_so_far()
            seen[kind] = {line.split()[0] for line in lines[before:]}
            before = len(lines)
        wanted = {kind: {L.ROUTER if kind == "configured" else L.CLIENT} for kind in seen}
        self.assertEqual(seen, wanted)


class Languages(Everywhere):
    def test_node(self):
        self.need("node")
        for kind, etc in self.two_kinds().items():
            r = self.run_on(etc, ["node", L.ROOT / "tests/programs/waiters/http.js", "fetch", WHO, "3"])
            wanted = L.ROUTER if kind == "configured" else L.CLIENT
            self.assertEqual((r.code, r.out.decode(), r.err), (0, 3 * (wanted + "\n"), ""),
                             f"{kind}: {r}")

    def test_java(self):
        self.need("javac")
        source = self.lab.file("Who.java", JAVA)
        source = source.rename(source.with_name("Who.java"))
        L.command(["javac", "-J-XX:-UsePerfData", "-d", L.TMP, source])
        self.seen(["java", "-XX:-UsePerfData", "-cp", L.TMP, "-Xshare:auto", "Who", WHO],
                  self.two_kinds())

    def test_postgres(self):
        """A cluster that is made, served and asked over a Unix socket and over TCP."""
        if not (POSTGRES / "initdb").exists():
            self.skipTest("postgresql-15 is not installed")
        etc = self.etc(CONFIG)
        home = self.lab.file("postgres")
        home.mkdir()
        shutil.chown(home, "postgres", "postgres")
        user = ["setpriv", "--reuid", "postgres", "--regid", "postgres", "--init-groups"]
        r = self.run_on(etc, [*user, POSTGRES / "initdb", "-N", "-A", "trust", "-D", home / "data"],
                        timeout=60, cwd=home)
        self.assertEqual(r.code, 0, r)
        server = self.lab.start("client", self.on(etc, [
            *user, POSTGRES / "postgres", "-D", home / "data", "-k", home, "-F"]))
        server.wait_for_listeners(5432)
        for host in (home, "127.0.0.1", L.CLIENT):
            r = self.run_on(etc, [*user, POSTGRES / "psql", "-h", host, "-d", "postgres", "-Atc",
                                  "select sum(n) from generate_series(1, 1000) n"], cwd=home)
            if host == L.CLIENT:  # where it does not listen: the refusal has come all the same
                self.assertIn("Connection refused", r.err, r)
            else:
                self.assertEqual((r.code, r.out, r.err), (0, b"500500\n", ""), r)
        server.stop()

    def test_chromium(self):
        if os.environ.get("HEAVY") != "1":
            self.skipTest("HEAVY=1 only")
        self.need("chromium")
        pages = self.lab.start("server", ["/usr/bin/python3", "-c", PAGES])
        pages.wait_for_listeners(8080)
        for kind, etc in self.kinds().items():
            home = self.lab.file("chromium")
            home.mkdir()
            os.chmod(home, 0o777)
            r = self.run_on(etc, [*NOBODY, "env", f"HOME={home}", "chromium", "--headless",
                                  "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                                  f"--user-data-dir={home}/data", "--dump-dom",
                                  f"http://{L.SERVER}:8080/"], timeout=60)
            wanted = L.ROUTER if kind == "configured" else L.CLIENT
            self.assertRegex(r.out.decode(), rf">{re.escape(wanted)}\s*<", f"{kind}: {r}")


def documented_calls():
    """What convert.conf(5) says that the library calls for a connection."""
    page = (L.ROOT / "policy/convert.conf.5").read_text()
    section = page.split(".Sh SYSTEM CALLS\n")[1].split(".Sh ")[0]
    return re.findall(r"^\.Fn (\w+)", section, re.M)


# Those "to make, use and poll sockets in general", and those by which programs are loaded.
GENERAL = set("socket connect getsockopt sendto recvfrom close read write fcntl poll epoll_ctl openat mmap munmap"
              " fstat".split())
# What the library may call by libc's function.
BY_LIBC = {"sched_yield", "mprotect", "geteuid", "pread64", "getrandom"}
# Which stand for the program's own calls.
OF_THE_PROGRAM = "preload/calls/syscall.c", "preload/kernel/libc.c"
# What only convert-bootstrap asks for.
NEVER = {"ftruncate"}


class Documented(L.TestCase):
    def test_every_call(self):
        """The library makes none but those that convert.conf(5) names, and the program's own (in these files)."""
        made = set()
        for room in "preload", "policy", "common":
            for file in (L.ROOT / room).rglob("*.[ch]"):
                if str(file.relative_to(L.ROOT)) not in OF_THE_PROGRAM:
                    made |= set(re.findall(r"\bSYS_([a-z]\w*)", file.read_text()))
        named = {re.sub(r"_time64$|64$|32$", "", name) for name in made}  # as machines of 32 bits have them
        page = {re.sub("64$", "", name) for name in documented_calls()}
        self.assertGreater(len(named), 30)
        self.assertFalse(named - GENERAL - NEVER - page, "not in the manual")
        imported = set(re.findall(r" U (\w+)", L.command(["nm", "-D", "--undefined-only", L.BUILT_SHIM])))
        self.assertFalse({re.sub("64$", "", name) for name in imported & BY_LIBC} - page, "not in the manual")


class HardTimes(L.TestCase):
    """A program that makes one connection and whose own calls are few (one.c)."""

    HOWS = "blocking", "poll", "epoll", "epoll_pwait"

    def setUp(self):
        super().setUp()
        self.direct = self.lab.run([L.TOOLS / "one", "blocking", L.SERVER, 80, "/page"])
        self.assertEqual(self.direct.code, 0, self.direct)

    def one(self, *options, shim, wrapped=(), program=L.TOOLS / "one"):
        """The bytes are right and nothing is left, each way; returns what the log has then."""
        for how in self.HOWS:
            r = self.lab.run([*wrapped, program, *options, how, L.SERVER, 80, "/page"], shim=shim)
            self.assertEqual((r.code, r.out, r.err), (0, self.direct.out, ""), r)
        return r.log

    def settings(self):
        """Where nothing is converted, and logging is off."""
        nothing = {"CONVERT_LOG": "", "CONVERT_STATE": ""}
        return {"a rule": self.lab.config(policy="rule = direct", log=False) | nothing,
                "no configuration": nothing,
                "switched off": self.lab.via() | nothing | {"CONVERT_DISABLE": "1"}}

    def filtered(self, state):
        return self.lab.config("fast-open = no-cookie\ninterface = c0", "fallback = direct") | {
            "CONVERT_STATE": state}

    def test_killed_for_any_other_call(self):
        """Not one system call that neither the program nor its loader makes."""
        for kind, shim in self.settings().items():
            with self.subTest(kind):
                self.one("-f", "kill", shim=shim)
                self.one("-t", "-f", "kill", shim=shim)

    def test_killed_for_another_under_the_number(self):
        """dup2() asks nobody about a connection that is not converted."""
        some = self.lab.config(policy="rule = direct port 80", log=False) | {"CONVERT_STATE": "none"}
        for kind, shim in self.settings().items():
            with self.subTest(kind):
                self.one("-f", "kill", "-d", shim=shim)
        self.one("-f", "kill", "-a", "getpid", "-a", "madvise", "-d", shim=some | {"CONVERT_LOG": ""})

    def test_killed_at_exit(self):
        """Nor when it ends: what was counted is written before the program's own filter, and where the rules
        leave nothing to be converted nothing is counted."""
        state = {"CONVERT_STATE": str(self.lab.file("state"))}
        for kind, shim in self.settings().items():
            with self.subTest(kind):
                self.one("-f", "kill", "-x", shim=shim | state)
        for n, rule in enumerate(("rule = direct to 10.0.0.0/8", "rule = direct port 81"), 1):
            shim = self.lab.config("fast-open = no-cookie", rule, log=False) | state
            for filtered in ("-f", "kill"), ("-f", "kill", "-r"):
                r = self.lab.run([L.TOOLS / "one", *filtered, "-b", "-x", "blocking", L.SERVER, 80, "/page"],
                                 shim=shim | {"CONVERT_LOG": ""})
                self.assertEqual((r.code, r.err, len(r.out.splitlines())), (0, "", 3), r)
            if n == 1:  # and a later one is not counted, in place of a death
                self.one("-f", "kill", "-a", "getpid", "-a", "madvise", "-x", shim=shim | {"CONVERT_LOG": ""})
        counts = self.lab.run([L.BUILD / "convert-bootstrap", "status", "-j"], env=state).out
        self.assertEqual({way: json.loads(counts)["counts"][way] for way in ("direct", "converted")},
                         {"direct": 4, "converted": 4})

    def test_filter_says_no(self):
        for errno in "EPERM", "ENOSYS":
            for late in [], ["-l"]:
                with self.subTest(errno, late=late):
                    log = self.one("-f", errno, *late, shim=self.filtered("none"))
                    self.assertNotIn(": connected", log)
                    for shim in self.settings().values():
                        self.one("-f", errno, *late, shim=shim)

    def test_documented_calls(self):
        """With what the manual lists allowed, and death for all else, it is converted."""
        allowed = [word for name in documented_calls() for word in ("-a", name)]
        self.assertGreater(len(allowed), 20)
        for state in "none", str(self.lab.file("state")):
            for thread in [], ["-t"]:
                log = self.one(*thread, "-f", "kill", *allowed, shim=self.filtered(state))
                self.assertEqual(log.count(": connected"), len(self.HOWS), log)
        self.lab.converter("--fault", "error=64:01", port=5125)
        shim = self.lab.config("fast-open = no-cookie", "fallback = direct", port=5125)
        log = self.one("-f", "kill", *allowed, shim=shim)
        self.assertEqual(log.count("falling back"), len(self.HOWS), log)

    def test_no_descriptors(self):
        """One is left, for the socket itself: no twin, and no file can be read or written."""
        self.one("-n", shim=self.filtered("none"))
        log = self.one("-n", "-l", shim=self.lab.config("fast-open = no-cookie") | {
            "CONVERT_LOG": ""})
        self.assertEqual(log, "")

    def test_no_memory(self):
        self.one("-m", shim=self.filtered("none"))
        log = self.one("-m", "-l", shim=self.filtered("none"))
        self.assertNotIn(": connected", log)

    def mounts(self, script):
        return ["unshare", "--mount", "sh", "-c", script + ' && exec "$@"', "sh"]

    def test_read_only_root(self):
        shim = self.lab.config("fast-open = no-cookie")
        log = self.lab.file("log")
        self.one(shim=shim | {"CONVERT_STATE": "/run/convert/state", "CONVERT_LOG": str(log)},
                 wrapped=self.mounts("mount --bind / / && mount -o remount,bind,ro / &&"
                                     " mount -o remount,bind,ro /run"))
        self.assertFalse(log.exists())

    def test_no_proc(self):
        log = self.one(shim=self.lab.config("fast-open = no-cookie"),
                       wrapped=self.mounts("mount -t tmpfs none /proc"))
        self.assertEqual(log.count(": connected"), len(self.HOWS), log)

    def test_chroot(self):
        """Nothing there but what the loader needs: no /proc, /dev or /run."""
        root = self.lab.file("root")
        libraries = re.findall(r"(/\S+) \(0x", L.command(["ldd", L.TOOLS / "one"]))
        for file in [*libraries, L.TOOLS / "one", L.SHIM]:
            copy = root / str(file)[1:]
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, copy)
        (root / "etc").mkdir()
        (root / "etc/ld.so.preload").write_text(f"{L.SHIM}\n")
        argv = ["chroot", root, L.TOOLS / "one", "blocking", L.SERVER, 80, "/page"]
        self.assertEqual(self.lab.run(argv).out, self.direct.out)
        (root / "etc/convert.conf").write_text(CONFIG % "/log")
        r = self.lab.run(argv, env={"CONVERT_STATE": ""})
        self.assertEqual((r.code, r.out, r.err), (0, self.direct.out, ""), r)
        self.assertIn(": connected", (root / "log").read_text())


if __name__ == "__main__":
    L.main(setup)
