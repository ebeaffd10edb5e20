#!/usr/bin/python3 -B
# SPDX-License-Identifier: MIT
"""convert-run enable and disable: one file below a root of the test's own, as systemd reads it; and what
a service that is hardened as systemd.exec(5) can do sees of it: the same restrictions, made by hand."""
import os
import re
import shutil
import sys

sys.path.insert(1, sys.path[0] + "/../lab")
import lab as L
import servers

RUN = L.BUILD / "convert-run"
PLACE = "etc/systemd/system"
LIBRARY = "/opt/lib/libconvert-preload.so.0"


def setup(lab):
    servers.nginx(lab)
    lab.converter("--mptcp")


class Enable(L.TestCase):
    def setUp(self):
        super().setUp()
        self.root = self.lab.file("root")
        (self.root / PLACE).mkdir(parents=True)
        self.file(LIBRARY[1:], "")
        self.file("usr/lib/systemd/system/web.service", "[Service]\nExecStart=/usr/bin/web\n")

    def file(self, name, text):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def run_it(self, *words, code=0, err="", **env):
        r = self.lab.run([RUN, "--root", self.root, *words], env={"CONVERT_PRELOAD": LIBRARY} | env,
                         user="")
        self.assertEqual(r.code, code, r)
        self.assertRegex(r.err, f"\\A{err}\\Z", r)
        return r

    def files(self):
        return {str(p.relative_to(self.root)): p.read_text() if p.is_file() else None
                for p in self.root.rglob("*")}

    def written(self, unit="web.service"):
        return (self.root / PLACE / f"{unit}.d/convert.conf").read_text()

    def test_one_file_and_no_more(self):
        before = self.files()
        for name in "web", "web.service":
            self.run_it("enable", name)
            new = self.files()
            self.assertEqual(set(new) - set(before), {f"{PLACE}/web.service.d",
                                                      f"{PLACE}/web.service.d/convert.conf"})
            self.assertEqual(before, {k: v for k, v in new.items() if k in before})
            self.run_it("enable", name)  # once more is the same
            self.assertEqual(new, self.files())
            self.assertEqual(os.stat(self.root / PLACE / "web.service.d/convert.conf").st_mode,
                             0o100644)
            self.run_it("disable", name)
            self.assertEqual(self.files(), before)
        self.run_it("disable", "web", code=1, err="convert-run: web.service is not enabled\n")

    def test_no_systemd(self):
        (self.root / PLACE).rmdir()
        folder = self.root / PLACE
        self.run_it("enable", "web", code=1, err=f"convert-run: {folder}: not there, so neither is "
                                                 f"systemd; mend: mkdir -p {folder}\n")

    def test_folders_that_were_there(self):
        """One of somebody else stays, empty or not; ours stays when it is used."""
        (self.root / PLACE / "web.service.d").mkdir()
        before = self.files()
        self.run_it("enable", "web")
        self.run_it("-v", "enable", "web")
        self.run_it("disable", "web")
        self.assertEqual(self.files(), before)
        self.run_it("enable", "other", err="convert-run: other.service: no unit .* yet\n")
        self.file(f"{PLACE}/other.service.d/more.conf", "[Service]\n")
        before = set(self.files()) - {f"{PLACE}/other.service.d/convert.conf"}
        self.run_it("disable", "other")
        self.assertEqual(set(self.files()), before)

    def test_what_systemd_reads(self):
        """systemd's own parser, on the whole unit with the drop-in."""
        self.need("systemd-analyze")
        odd = self.file("etc/odd %n \"x\\y.conf", "")
        self.run_it("-v", "--strict", "-c", odd, "-a", "192.0.2.1", "-p", "99", "enable", "web",
                    CONVERT_COOKIE="00112233")
        self.file("usr/bin/web", "#!/bin/sh\n").chmod(0o755)
        r = self.lab.run(["systemd-analyze", "verify", "--man=no", f"--root={self.root}",
                          "web.service"], user="")
        self.assertNotIn("convert.conf", r.err + r.out.decode(), r)
        bad = self.file(f"{PLACE}/web.service.d/bad.conf", '[Service]\nEnvironment="A=%\n')
        r = self.lab.run(["systemd-analyze", "verify", "--man=no", f"--root={self.root}",
                          "web.service"], user="")
        self.assertIn(f"{bad.name}:2", r.err, r)  # or it would not have looked
        text = self.written()
        self.assertNotIn("COOKIE", text)
        variables = re.findall(r'^Environment="(\w+)=(.*)"$', text, re.M)
        plain = {k: re.sub(r"\\(.)|%(%)", r"\1\2", v) for k, v in variables}
        self.assertEqual(plain, {"LD_PRELOAD": LIBRARY, "CONVERT_CONF": str(odd),
                                 "CONVERT_ADDR": "192.0.2.1", "CONVERT_PORT": "99",
                                 "CONVERT_LOG": "stderr",
                                 "CONVERT_LOG_LEVEL": "info", "CONVERT_LOG_FORMAT": "text",
                                 "CONVERT_STRICT": "1"})

    def test_refuses(self):
        """What is not ours, what cannot be, and what would take another library from a unit."""
        theirs = self.file(f"{PLACE}/web.service.d/convert.conf", "[Service]\nNice=1\n")
        before = self.files()
        for verb in "enable", "disable":
            self.run_it(verb, "web", code=1, err="convert-run: .*web.service.d/convert.conf is not"
                                                 " from convert-run\n")
        self.assertEqual(self.files(), before)
        theirs.unlink()
        for name in "", "..", "../web", "a/b", "x" * 250, "a b", "@x":
            self.run_it("enable", name, code=2, err="convert-run: .*: no name of a service\n")
        self.run_it("enable", code=2, err="[^$]*")
        self.run_it("enable", "web", "db", code=2, err="[^$]*")
        self.run_it("enable", "web", code=1, CONVERT_PRELOAD="/not/there", err=".*not there.*\n")
        self.run_it("-a", "1\n[Service]", "enable", "web", code=1,
                    err="convert-run: CONVERT_ADDR: expected UTF-8 without control characters, which no unit can have\n")
        for file, unit in (("usr/lib/systemd/system/db@.service", "db@one"),
                           (f"{PLACE}/web.service.d/malloc.conf", "web")):
            path = self.file(file, "[Service]\n# LD_PRELOAD=/no\nEnvironment=LD_PRELOAD=/malloc.so\n")
            self.run_it("enable", unit, code=1,
                        err=f"convert-run: {re.escape(str(path))}:3 sets LD_PRELOAD, .*{LIBRARY}.*\n")
        self.assertEqual([k for k in self.files() if k.endswith("convert.conf")], [])

    def test_a_disk_that_is_full_for_a_moment(self):
        """What was lost in the middle leaves no half of a unit."""
        r = self.lab.run(["strace", "-o", self.lab.file("trace"), "-e", "inject=write:error=ENOSPC:when=1", RUN, "--root",
                          self.root, "-a", "1" * 10000, "enable", "web"], env={"CONVERT_PRELOAD": LIBRARY}, user="")
        self.assertEqual(r.code, 1, r)
        self.assertRegex(r.err, "convert-run: .*/web.service.d/convert.conf: .*\n")
        self.assertEqual([k for k in self.files() if "web.service.d" in k], [])

    def test_what_is_to_be_started_anew(self):
        """A template is not: systemctl refuses it."""
        etc = self.lab.file("etc")
        (etc / "systemd/system").mkdir(parents=True)
        around = ["unshare", "--mount", "sh", "-c", f'mount --bind {etc} /etc && exec "$@"', "sh"]
        for name, restarted in ("web", "web.service"), ("db@one", "db@one.service"), ("db@", "'db@*.service'"):
            for verb in "enable", "disable":
                r = self.lab.run([*around, RUN, verb, name], env={"CONVERT_PRELOAD": str(L.SHIM)}, user="")
                self.assertEqual(r.code, 0, r)
                self.assertTrue(r.out.decode().endswith(f"daemon-reload && systemctl restart {restarted}\n"), r)

    def test_refuses_what_no_unit_can_say(self):
        """A value that systemd would leave out, for what it is in; the same as systemd's own look."""
        self.file("usr/bin/web", "#!/bin/sh\n").chmod(0o755)
        for value in (b"\xe9", b"\xff\xfe", b"a\xc3", b"\xc0\x80", b"\xc1\xbf", b"\xe0\x9f\xbf", b"\xf0\x8f\xbf\xbf",
                      b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xf8\x88\x80\x80\x80", b"\xef\xbf\xbf", b"\xef\xb7\x90",
                      b"\xf0\x9f\xbf\xbe", b"\x7f", b"\xc2\x80", b"\xc3\xa9", b"\xdf\xbf", b"\xe0\xa0\x80", b"\xed\x9f\xbf",
                      b"\xee\x80\x80", b"\xef\xbf\xbd", b"\xf0\x90\x80\x80", b"\xf4\x8f\xbf\xbd", b"x\xf0\x9f\x8c\x90%"):
            with self.subTest(value):
                bad = True
                try:
                    text = value.decode()
                    bad = any(ord(c) & 0xfffe == 0xfffe or 0xfdd0 <= ord(c) < 0xfdf0 for c in text)
                except UnicodeDecodeError:
                    pass
                if shutil.which("systemd-analyze"):
                    unit = self.file(f"{PLACE}/web.service.d/x.conf", "")
                    unit.write_bytes(b"[Service]\nEnvironment=\"A=" + value.replace(b"%", b"%%") + b"\"\n")
                    r = self.lab.run(["systemd-analyze", "verify", "--man=no", f"--root={self.root}",
                                      "web.service"], user="")
                    unit.unlink()
                    self.assertEqual("not UTF-8 clean" in r.err, bad, r)
                conf = "/" + os.fsdecode(value)
                if bad:
                    self.run_it("-c", conf, "enable", "web", code=1,
                                err="convert-run: CONVERT_CONF: expected UTF-8 without control characters.*\n")
                else:
                    self.run_it("-c", conf, "enable", "web")
                    written = self.root / PLACE / "web.service.d/convert.conf"
                    self.assertIn(b'"CONVERT_CONF=/' + value.replace(b"%", b"%%") + b'"\n', written.read_bytes())
                    self.run_it("disable", "web")

    def refuses(self, unit, path, line, what="sets LD_PRELOAD, .*"):
        self.run_it("enable", unit, code=1, err=f"convert-run: {re.escape(str(path))}:{line} {what}\n")

    def test_refuses_what_holds_for_several(self):
        """Of all services, of those with the same beginning, of its other names, and of systemd itself; and not of
        others. What systemd reads of these says systemd."""
        self.file("usr/lib/systemd/system/my-web-1@.service", "[Service]\nExecStart=/usr/bin/web\n")
        self.file("usr/bin/web", "#!/bin/sh\n").chmod(0o755)
        for link, to in (("nick.service", "/usr/lib/systemd/system/nora.service"), ("n-@.service", "my-web-1@.service")):
            (self.root / PLACE / link).symlink_to(to)
        (self.root / PLACE / "nora@a-b.service").symlink_to("/usr/lib/systemd/system/my-web-1@.service")
        beside = "web", "my-web-1-", "a-", "my-web-1@a-", "nick", "nora", "nora@a", "my-web-1@b", "n@a-b", "n-"
        for name in ("my-", "my-web-", "my-@", "my-web-@", "my-web-1@", "my-web-1@a-b", "my-@a-b", "my-web-@a-b",
                     "n-@", "n-@a-b", "nora@a-b", "nora@", *beside):
            for place in PLACE, "run/systemd/system", "etc/systemd/system.control", "usr/lib/systemd/system":
                with self.subTest(place=place, name=name):
                    path = self.file(f"{place}/{name}.service.d/x.conf",
                                     "[Service]\nEnvironment=A=1 LD_PRELOAD=/malloc.so \"A=%\n")
                    if place == PLACE and shutil.which("systemd-analyze"):
                        r = self.lab.run(["systemd-analyze", "verify", "--man=no", f"--root={self.root}",
                                          "my-web-1@a-b.service"], user="")
                        self.assertEqual(f"{path}:2" in r.err, name not in beside, r)
                    if name not in beside:
                        self.refuses("my-web-1@a-b", path, 2, f"sets LD_PRELOAD, .*{LIBRARY}.*")
                    else:
                        self.run_it("enable", "my-web-1@a-b")
                        self.run_it("disable", "my-web-1@a-b")
                    path.unlink()
        for file in (f"{PLACE}/service.d/all.conf", "usr/lib/systemd/system/service.d/all.conf",
                     "etc/systemd/system.conf", "usr/lib/systemd/system.conf.d/default.conf"):
            path = self.file(file, "[Service]\nEnvironment=A=1 LD_PRELOAD=/malloc.so\n")
            self.refuses("my-web-1@a-b", path, 2)
            path.unlink()
        path = self.file("usr/lib/systemd/system/nora.service", "[Service]\nEnvironment=LD_PRELOAD=/malloc.so\n")
        for name in "nora", "nick":
            self.refuses(name, self.root / PLACE / "nick.service" if name == "nick" else path, 2)

    def test_refuses_what_takes_it_away(self):
        path = self.file(f"{PLACE}/web.service.d/x.conf", "[Service]\nEnvironment=MY_LD_PRELOAD=1\n")
        self.run_it("enable", "web")
        path.write_text("[Service]\n\nUnsetEnvironment=A LD_PRELOAD\n")
        self.refuses("web", path, 3, "takes LD_PRELOAD away; mend: no such line")

    def test_refuses_what_empties_the_environment_behind_it(self):
        """Drop-ins are read in the order of their names, wherever they are."""
        for folder in "web.service.d", "service.d":
            for name, line, behind in (("override", "Environment=", True), ("d", " Environment = \t", True),
                                       ("convert.conf", "Environment=", True), ("a", "Environment=", False),
                                       ("Z", "Environment=", False), ("override", "Environment=A=", False),
                                       ("override", "#Environment=", False), ("override", "EnvironmentFile=", False),
                                       ("override", "Environment=\\\n  A=1", False)):
                with self.subTest(folder=folder, name=name, line=line):
                    path = self.file(f"usr/lib/systemd/system/{folder}/{name}.conf", f"[Service]\n{line}\n")
                    if behind:
                        self.refuses("web", path, 2, "takes LD_PRELOAD away; mend: no such line")
                    else:
                        self.run_it("enable", "web")
                        self.run_it("disable", "web")
                    path.unlink()
        self.file(f"{PLACE}/web.service", "[Service]\nEnvironment=\n")
        self.run_it("enable", "web")

    def test_ours_is_in_nobodys_way(self):
        """A template of which one has more to say: the nearer one's drop-in of that name holds."""
        self.file(f"{PLACE}/db@.service", "[Service]\n")
        self.run_it("enable", "db@")
        self.run_it("-v", "enable", "db@one")
        self.run_it("disable", "db@one")
        self.run_it("disable", "db@")

    def test_another_system(self):
        """Its links lead to where they lead there, and nothing of this one is read or written."""
        outside = self.lab.file("outside")
        (outside / "place").mkdir(parents=True)
        (outside / "web.service").write_text("[Service]\nEnvironment=LD_PRELOAD=/malloc.so\n")
        web = self.root / PLACE / "web.service"
        web.symlink_to(outside / "web.service")
        (self.root / PLACE / "web.service.d").symlink_to(outside / "place")
        self.run_it("enable", "web", code=1, err="convert-run: .*web.service.d/convert.conf: No such file.*\n")
        self.assertEqual(list((outside / "place").iterdir()), [])
        there = self.file(f"{str(outside)[1:]}/web.service", "[Service]\n")
        (there.parent / "place").mkdir()
        self.run_it("enable", "web")
        self.assertEqual([f.name for f in (there.parent / "place").iterdir()], ["convert.conf"])
        self.run_it("disable", "web")
        self.assertEqual(list((there.parent / "place").iterdir()) + list((outside / "place").iterdir()), [])

    def test_another_system_without_openat2(self):
        """Before Linux 5.6, and under some filters, links there cannot be followed within it: none is."""
        outside = self.lab.file("outside")
        outside.mkdir()
        (self.root / PLACE / "web.service.d").symlink_to(outside)
        (outside / "convert.conf").write_text(self.drop_in())
        before = (outside / "convert.conf").read_text()
        for error, said in ("ENOSYS", "Function not implemented"), ("EPERM", "Operation not permitted"):
            for verb in "enable", "disable":
                r = self.lab.run(["strace", "-o", self.lab.file("trace"), "-e", f"inject=openat2:error={error}", RUN, "--root",
                                  self.root, verb, "web"], env={"CONVERT_PRELOAD": LIBRARY}, user="")
                self.assertEqual(r.code, 1, r)
                self.assertRegex(r.err, rf"\Aconvert-run: .*/web.service.d: {said}\n\Z")
                self.assertEqual((outside / "convert.conf").read_text(), before)

    def drop_in(self):
        """As it is written for another unit."""
        self.file("usr/lib/systemd/system/other.service", "[Service]\n")
        self.run_it("enable", "other")
        return self.written("other.service")

    def test_no_files(self):
        """What nobody writes to is not waited for."""
        web = self.root / PLACE / "web.service"
        (self.root / PLACE / "web.service.d").mkdir()
        for fifo in web, self.root / PLACE / "web.service.d/x.conf":
            os.mkfifo(fifo)
        self.run_it("enable", "web")
        (self.root / PLACE / "web.service.d/convert.conf").unlink()
        os.mkfifo(self.root / PLACE / "web.service.d/convert.conf")
        for verb in "enable", "disable":
            self.run_it(verb, "web", code=1, err="convert-run: .* is not from convert-run\n")

    def test_of_programs(self):
        for option in "--any", "--preload", "-q", "--receipt", "--receipt=/nowhere/x":
            for verb in "enable", "disable":
                self.run_it(option, verb, "web", code=2, err=f"convert-run: {option.partition('=')[0]} is of a program; .*\n")

    def test_help(self):
        """Whoever asks how it goes, or gets it wrong, has not asked for a drop-in."""
        before = self.files()
        for verb in "enable", "disable":
            for words in ([verb, "--help"], [verb, "-h"], [verb, "web", "--help"], [verb, "--help", "web"],
                          ["-v", verb, "-h"]):
                r = self.run_it(*words)
                self.assertTrue(r.out.startswith(b"usage: convert-run "), r)
            for words in ([verb, "--helo"], [verb, "-x"], [verb, "--", "-x"], [verb, "web", "--root"],
                          [verb, "-v", "web"]):
                r = self.run_it(*words, code=2, err="convert-run: .*see convert-run -h\n")
                self.assertEqual(r.out, b"", r)
        self.assertEqual(self.files(), before)

    def on_this_system(self, *words, cwd=None, **env):
        """With an /etc of its own; what it prints, and the drop-in."""
        script = """mount -t tmpfs none /etc && mkdir -p /etc/systemd/system || exit 99
"$@" || exit; echo; cat /etc/systemd/system/*/convert.conf"""
        r = self.lab.run(["unshare", "--mount", "sh", "-c", script, "sh", RUN, *words], user="", cwd=cwd,
                         env={"CONVERT_PRELOAD": str(L.SHIM)} | env)
        self.assertEqual(r.code, 0, r)
        return r.out.decode().split("\n\n")

    def run_proposal(self, command):
        """By a shell, as it is written; what a systemctl in it is asked for."""
        log = self.lab.file("systemctl.log", "")
        tool = self.lab.file("bin/systemctl")
        tool.parent.mkdir()
        tool.write_text(f'#!/bin/sh\nprintf "%s\\n" "$*" >>{log}\n')
        tool.chmod(0o755)
        r = self.lab.run(["sh", "-c", command], user="", env={"PATH": f"{tool.parent}:/usr/bin"})
        self.assertEqual((r.code, r.err), (0, ""), r)
        return log.read_text().splitlines()

    def test_proposals_are_commands(self):
        for name in "web", r"a\x2db", r"a\tb@\x2f":
            said, _ = self.on_this_system("enable", name)
            command = said.partition("From the next start on: ")[2]
            self.assertEqual(self.run_proposal(command), ["daemon-reload", f"restart {name}.service"])
        self.root = self.lab.file("it's; touch a$(x)")
        self.root.mkdir()
        self.file(LIBRARY[1:], "")
        r = self.run_it("enable", "web", code=1, err=".*; mend: mkdir -p .*\n")
        self.run_proposal(r.err.partition("mend: ")[2])
        self.run_it("enable", "web", err="convert-run: web.service: no unit .* yet\n")

    def test_relative_names(self):
        """systemd starts it from elsewhere: names that are whole, or none."""
        place = self.lab.file("place")
        place.mkdir()
        shutil.copy(L.SHIM, place / "lib.so")
        _, unit = self.on_this_system("-c", "a.conf", "enable", "web", cwd=place, CONVERT_PRELOAD="lib.so",
                                      CONVERT_LOG="log")
        self.assertEqual(dict(v.split("=", 1) for v in re.findall('^Environment="(.*)"$', unit, re.M)),
                         {"LD_PRELOAD": f"{place}/lib.so", "CONVERT_CONF": f"{place}/a.conf",
                          "CONVERT_LOG": f"{place}/log"})
        before = self.files()
        for words, env in (([], {"CONVERT_PRELOAD": LIBRARY[1:]}), (["-c", "etc/convert.conf"], {}),
                           ([], {"CONVERT_LOG": "log"}), ([], {"CONVERT_CONF": "c"})):
            self.run_it(*words, "enable", "web", code=2, **env,
                        err="convert-run: CONVERT_\\w+=[a-z]\\S*: expected a name from / on, as --root has "
                            "another\n")
        self.run_it("disable", "web", code=1, err="convert-run: web.service is not enabled\n", CONVERT_LOG="log")
        self.assertEqual(self.files(), before)

    def test_a_program_of_that_name(self):
        program = self.lab.file("bin/enable")
        program.parent.mkdir()
        program.write_text("#!/bin/sh\necho $1\n")
        program.chmod(0o755)
        r = self.lab.run([RUN, "-q", "--", "enable", "web"], user="",
                         env={"PATH": f"{program.parent}:/usr/bin", "CONVERT_PRELOAD": str(L.SHIM)})
        self.assertEqual((r.code, r.out), (0, b"web\n"), r)


class Hardened(L.TestCase):
    """Each kind of program with all of it at once."""

    def setUp(self):
        super().setUp()
        self.need("systemd-analyze")
        if not L.owns_several_users():
            self.skipTest("needs more than one user in the namespace")

    def service(self, families, *argv, **env):
        """What a unit's Environment= says is in the environment of the program alone."""
        shim = self.lab.via() | {"CONVERT_LOG": "stderr", "CONVERT_STATE": "",
                                 "LD_PRELOAD": str(L.SHIM)} | env
        words = [f"{k}={v}" for k, v in shim.items()]
        r = self.lab.run(["unshare", "--mount", L.ROOT / "tests/lab/hardened", families, "env", *words,
                          *argv], user="")
        self.assertEqual(r.code, 0, r)
        return r

    def who(self, families, **env):
        r = self.service(families, "curl", "-sS", f"http://{L.SERVER}/who", **env)
        return r.out.decode().strip(), r.err

    def test_restrictions(self):
        """They hold, or the rest proves nothing."""
        code = """
import ctypes, mmap, os, socket
def tried(call, *args, **more):
    try:
        call(*args, **more)
        return "done"
    except OSError as e:
        return os.strerror(e.errno)
print(os.getuid(), tried(socket.socket, socket.AF_NETLINK, socket.SOCK_RAW),
      tried(mmap.mmap, -1, 4096, prot=mmap.PROT_WRITE | mmap.PROT_EXEC),
      tried(open, "/run/lab/x", "w"), tried(open, "/tmp/x", "w"), sep=", ", flush=True)
if os.fork() == 0:
    ctypes.CDLL(None).swapoff(b"/")  # not one of @system-service
print(os.waitstatus_to_exitcode(os.wait()[1]))
"""
        r = self.service("AF_INET,AF_INET6", "python3", "-c", code)
        self.assertEqual(r.out.decode(), "61184, Address family not supported by protocol, "
                         "Operation not permitted, Read-only file system, done\n-31\n", r)

    def test_converted(self):
        """With a state of its own, so that nothing is lost from one start to the next."""
        address, log = self.who("AF_INET,AF_INET6,AF_UNIX,AF_NETLINK")
        self.assertEqual(address, L.ROUTER)
        self.assertIn(": connected, MPTCP\n", log)
        self.assertTrue((L.pathlib.Path("/dev/shm") / "convert-61184/state").is_file())
        one = L.pathlib.Path(shutil.copy(L.TOOLS / "one", self.lab.file("one")))  # /tmp is not this one there
        for how in "blocking", "poll", "select", "epoll":
            r = self.service("AF_INET,AF_NETLINK", one, how, L.SERVER, 80, "/page")
            self.assertIn(": connected, MPTCP\n", r.err, how)
            self.assertIn(b"bytes, hash", r.out, r)

    def test_without_netlink(self):
        """What the routes say is not known then: a converter that is bound to a network is not used."""
        address, log = self.who("AF_INET")
        self.assertEqual(address, L.ROUTER)
        self.assertIn(": connected", log)
        conf = self.lab.file("convert.conf", f"[converter lab]\naddress = {L.CONVERTER}\n"
                                             "interface = c0\n[log]\nfile = stderr\n")
        address, log = self.who("AF_INET", CONVERT_CONF=str(conf), CONVERT_ADDR="")
        self.assertEqual(address, L.CLIENT)
        self.assertIn("direct", log)
        address, log = self.who("AF_INET,AF_NETLINK", CONVERT_CONF=str(conf), CONVERT_ADDR="")
        self.assertEqual(address, L.ROUTER, log)


if __name__ == "__main__":
    L.main(setup)
