#!/usr/bin/python3 -B
# SPDX-License-Identifier: MIT
"""convert-run asks first: a line for what stands in the way, none where nothing does; --strict."""
import ctypes
import os
import pathlib
import re
import shlex
import shutil
import signal
import stat
import sys
import time

sys.path.insert(1, sys.path[0] + "/../lab")
import elf
import lab as L
import servers

RUN = L.BUILD / "convert-run"
WHO = f"http://{L.SERVER}/who"
HELLO = "int main(void) { return 0; }\n"
GOOD = ["-a", L.CONVERTER]
STRICT = 3  # not started


def setup(lab):
    servers.nginx(lab)
    lab.converter()


class Run(L.TestCase):
    def file(self, name, content=b"", mode=0o755):
        path = self.lab.file(name, content)
        path.chmod(mode)
        return path

    def compile(self, name, *options, compiler="gcc", source=HELLO):
        path, code = self.lab.file(name), self.lab.file(name + ".c", source)
        L.command([compiler, "-o", path, code, *options])
        return path

    def run_it(self, *words, **more):
        return self.lab.run([RUN, *words], **more)

    def silent(self, *words, code=0, strict=True, **more):
        for options in [[], ["--strict"]] if strict else [[]]:
            r = self.run_it(*options, *words, **more)
            self.assertEqual((r.code, r.err), (code, ""), r)

    def says(self, line, *words, code=0, **more):
        """One line, which has that in it; -q: none; --strict: it is not started."""
        r = self.run_it(*words, **more)
        if code is not None:
            self.assertEqual(r.code, code, r)
        first, _, rest = r.err.partition("\n")
        self.assertRegex(first, f"^convert-run: .*{line}", r)
        self.assertNotIn("convert-run", rest, r)
        r = self.run_it("-q", *words, **more)
        self.assertNotIn("convert-run:", r.err, r)
        r = self.run_it("--strict", *words, **more)
        self.assertEqual(r.code, STRICT, r)
        self.assertRegex(r.err, f"\\Aconvert-run: not started: .*{line}.*\n\\Z", r)
        self.assertEqual(r.out, b"", r)
        r = self.run_it("-q", "--strict", *words, **more)
        self.assertEqual((r.code, r.err, r.out), (STRICT, "", b""), r)

    def supervised(self, line, *words, code=0):
        """One line, and it is started under a supervisor; --preload: as by the library."""
        for options in [], ["--strict"], ["-q"]:
            r = self.run_it(*options, *words)
            self.assertEqual(r.code, r.code if code is None else code, r)
            said = "" if "-q" in options else f"convert-run: .*{line.partition('; mend')[0]}.*; " \
                "so it is supervised \\(--any\\)\n"
            self.assertRegex(r.err, f"\\A{said}", r)
            self.assertEqual(r.err.count("convert-run:"), 1 if said else 0, r)
        self.says(line, "--preload", *words, code=code)

    def no_start(self, line, *words, code):
        """The kernel refuses it, and that is the line."""
        for options in [], ["-q"], ["--strict"]:
            r = self.run_it(*options, *GOOD, *words)
            self.assertEqual(r.code, code, r)
            self.assertRegex(r.err, f"\\Aconvert-run: .*{line}\n\\Z")


class Programs(Run):
    def test_fine(self):
        for words in (["true"], ["/bin/true"], ["sh", "-c", "true"], ["/usr/bin/python3", "-c", ""],
                      ["env", "A=1", "true"], ["nice", "-n", "1", "true"],
                      ["timeout", "9", "true"], [RUN, "true"],
                      [self.file("script", "#!/usr/bin/env python3\n")],
                      [self.file("script", "#!/bin/sh\n")],
                      ["env", "-u", "LD_PRELOADS", "true"],
                      [self.file("named like env -i", "#!/bin/sh\n"), "-i"]):
            with self.subTest(words):
                self.silent(*GOOD, *words)

    def test_does_convert(self):
        r = self.run_it("--strict", *GOOD, "curl", "-sS", WHO)
        self.assertEqual((r.code, r.out.decode().strip(), r.err), (0, L.ROUTER, ""), r)

    def test_static(self):
        for option in "-static", "-static-pie":
            self.supervised("statically linked.*; mend: .*dynamically", *GOOD,
                      self.compile("static", option))

    def test_go(self):
        self.need("fzf")
        self.supervised("fzf: a Go program.*; mend: GODEBUG", *GOOD, "fzf", "--version")

    def test_no_proc(self):
        """Then nothing can be said of it, and it starts."""
        hide = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /proc && exec "$@"', "sh"]
        env = {"CONVERT_PRELOAD": str(L.BUILT_SHIM)}
        for options, code in ([], 0), (["--strict"], STRICT):
            r = self.lab.run([*hide, RUN, *options, *GOOD, "/bin/true"], env=env)
            self.assertEqual((r.code, r.err.count("\n")), (code, code and 1), r)
            if code and L.owns_several_users():
                for user, mend in ([], "mount"), (["setpriv", "--reuid=65534"], "sudo mount"):
                    r = self.lab.run([*hide, *user, RUN, *options, *GOOD, "/bin/true"], env=env, user="")
                    self.assertIn(f"; mend: {mend} -t proc proc /proc\n", r.err)

    def test_musl(self):
        self.need("musl-gcc")
        self.silent(*GOOD, self.compile("musl", compiler="musl-gcc"))
        r = self.run_it("--strict", *GOOD, L.BUILD / "musl/clients/e2e/transcript", "blocking_exchange",
                        L.SERVER, 80, env={"CONVERT_LOG": "stderr"})
        self.assertIn("converted", r.err, r)

    def test_another_libc(self):
        program = self.compile("other", "-Wl,--dynamic-linker=/lib/ld-other.so.1")
        line = "its loader is /lib/ld-other.so.1, and the library's .*: another libc; "
        for options, more in (["--preload"], "mend: a build of it"), ([], "so it is supervised"):
            r = self.run_it(*options, *GOOD, program)
            self.assertEqual(r.code, 127, r)  # as there is no such loader
            self.assertRegex(r.err, line + more, r)

    def test_another_word_size(self):
        program = self.compile("i386", "-m32", "-nostdlib", "-pie", "-ffreestanding",
                               "-Wl,--dynamic-linker=/lib/ld-linux.so.2",
                               source="void _start(void) { for (;;) ; }\n")
        r = self.run_it("--strict", "--preload", *GOOD, program)
        self.assertEqual(r.code, STRICT, r)
        self.assertIn("it is for i386 (32 bits), and the library for", r.err)
        natively = self.lab.run(["timeout", "0.2", program])
        self.assertIn(natively.code, (124, 2))  # a kernel without i386 lets a shell read it
        r = self.run_it("--strict", *GOOD, "timeout", "0.2", program)
        self.assertEqual(r.code, natively.code, r)
        self.assertIn("it is for i386 (32 bits)", r.err)
        self.assertIn("so it is supervised (--any)", r.err)

    def test_another_machine(self):
        program = self.file("arm64", elf.make(machine=elf.ARM64))
        self.says("it is for arm64", *GOOD, program, code=None)

    def test_privileges(self):
        path = self.file("setuid", pathlib.Path("/bin/true").read_bytes(), 0o4755)
        self.silent(*GOOD, path, user="")  # it is his own
        if not L.owns_several_users():
            self.skipTest("one user only in this namespace")
        self.says("set-user-ID: the loader ignores LD_PRELOAD", *GOOD, path, user="nobody")

    def test_capabilities(self):
        self.need("setcap")
        path = self.file("capable", pathlib.Path("/bin/true").read_bytes())
        r = self.lab.run(["setcap", "cap_net_raw+ep", path], user="")
        if r.code:
            self.skipTest("no file capabilities here: " + r.err.strip())
        self.silent(*GOOD, path, user="")  # root has all of them
        if not L.owns_several_users():
            self.skipTest("one user only in this namespace")
        r = self.run_it("--strict", *GOOD, path, user="nobody")
        self.assertEqual(r.code, STRICT, r)
        self.assertRegex(r.err, f"\\Aconvert-run: not started: {path}: with file capabilities: .*\n\\Z")

    def test_address_sanitizer(self):
        program = self.compile("asan", "-fsanitize=address")
        self.says("AddressSanitizer.*; mend: ASAN_OPTIONS=verify_asan_link_order=0", *GOOD, program,
                  code=None)
        env = {"ASAN_OPTIONS": "verify_asan_link_order=0:detect_leaks=0"}
        self.silent(*GOOD, program, env=env)

    def test_scripts(self):
        static = self.compile("static", "-static")
        self.supervised(f"{static}: statically linked", *GOOD, self.file("script", f"#!{static}\n"))
        again = self.file("inner", f"#!{static}\n")
        self.supervised(f"{static}: statically linked", *GOOD, self.file("script", f"#!{again}\n"))
        self.supervised("env takes LD_PRELOAD away", *GOOD,
                  self.file("script", "#!/usr/bin/env -S -i true\n"))

    def test_what_they_start(self):
        static = self.compile("static", "-static")
        for words in (["env", static], ["env", "A=1", "B=2", static], ["nice", static],
                      ["nice", "-n", "1", static], ["timeout", "-k", "1", "9", static],
                      ["nohup", static], ["stdbuf", "-oL", static], ["setsid", "-w", static],
                      ["env", "nice", "timeout", "9", static],
                      ["timeout", "--signal", "TERM", "--kill-after", "1", "9", static],
                      ["timeout", "--sig", "TERM", "-vk", "1", "9", static],
                      ["env", "--unset", "A", "--chdir", "/", "-vu", "B", static],
                      ["nice", "--adjustment", "1", static], ["stdbuf", "--output", "L", static],
                      ["ionice", "--class", "3", static], [self.file("s", f"#!/usr/bin/env -S -u A -C / {static}\n")]):
            with self.subTest(words):
                self.supervised(f"{static}: statically linked", *GOOD, *words)

    def test_what_they_start_is_not_found(self):
        """... here; env may find it all the same. Strict: not without being looked at."""
        place = self.lab.file("elsewhere")
        place.mkdir()
        self.compile("static", "-static").rename(place / "static")
        script = self.file("script", "#!/usr/bin/env -S PATH=" + str(place) + " static\n")
        for words in ["env", f"PATH={place}", "static"], ["env", "-C", place, "./static"], [script]:
            with self.subTest(words):
                r = self.run_it(*GOOD, *words)
                self.assertEqual((r.code, r.err), (0, ""), r)
                r = self.run_it(*GOOD, "--strict", *words)
                self.assertEqual(r.code, STRICT, r)
                self.assertRegex(r.err, "\\Aconvert-run: not started: (./)?static: [^\n]*\n\\Z", r)
        for words in ["env", "nowhere"], [self.file("script", "#!/usr/bin/env nowhere\n")]:
            self.assertEqual(self.run_it(*GOOD, *words).code, 127)

    def test_cleaners(self):
        for words in (["env", "-i", "true"], ["env", "-", "true"], ["env", "-uLD_PRELOAD", "true"],
                      ["env", "-u", "LD_PRELOAD", "true"], ["env", "--unset=LD_PRELOAD", "true"],
                      ["env", "-vi", "true"], ["env", "LD_PRELOAD=", "true"],
                      ["env", "--unset", "LD_PRELOAD", "true"], ["env", "-vu", "LD_PRELOAD", "true"],
                      ["env", "-iu", "A", "true"], ["env", "--ignore-env", "true"],
                      [self.file("s", "#!/usr/bin/env -S -u LD_PRELOAD true\n")],
                      [self.file("s", "#!/usr/bin/env -iS true\n")]):
            with self.subTest(words):
                self.supervised("env takes LD_PRELOAD away.*; mend:", *GOOD, *words)

    def test_known_by_name(self):
        """None of them has to be installed: here they are names of /bin/true."""
        place = self.lab.file("known")
        place.mkdir()
        for name, line in (("bwrap", "a sandbox.*; mend: bwrap .*convert-run PROGRAM"),
                           ("firejail", "a sandbox.*; mend: firejail convert-run PROGRAM"),
                           ("flatpak", "files of their own"), ("snap", "files of their own"),
                           ("mptcpize", "in place of LD_PRELOAD; mend: mptcpize run convert-run"),
                           ("sudo", "an environment of its own; mend: sudo convert-run PROGRAM"),
                           ("su", "an environment of its own; mend: su -c 'convert-run PROGRAM'$"),
                           ("exim4", "a daemon.*; mend: the library in /etc/ld.so.preload"),
                           ("squid", "started by root, its worker")):
            with self.subTest(name):
                shutil.copy("/bin/true", place / name)
                self.says(line, *GOOD, place / name)
        self.silent(*GOOD, place / "bwrap", "--unshare-pid", "--dev-bind", "/", "/", "curl")

    def test_sudo(self):
        sudo = shutil.which("sudo")
        if not sudo or not os.stat(sudo).st_mode & stat.S_ISUID:
            self.skipTest("no sudo here")
        self.says("sudo: .*mend: sudo convert-run PROGRAM", *GOOD, "sudo", "-V")

    def test_not_to_be_started(self):
        self.no_start("nowhere: no program of this name is in PATH", "nowhere", code=127)
        self.no_start("/nowhere: there is no such file", "/nowhere", code=127)
        self.no_start("a built-in of the shell: no program of its own", "cd", code=127)
        self.no_start("a directory, no program", "/etc", code=126)
        self.no_start("it may not be executed", self.file("plain", "x", 0o644), code=126)
        self.no_start("/no/python: there is no such file", self.file("x", "#!/no/python\n"), code=127)

    def test_too_large_to_be_looked_at(self):
        """It does start, so --strict cannot leave it to exec."""
        path = self.file("large", pathlib.Path("/bin/true").read_bytes())
        os.truncate(path, 1025 << 20)
        for options in [], ["--strict", "--any"]:
            r = self.run_it(*options, *GOOD, path)
            self.assertEqual((r.code, r.err), (0, ""), r)
        r = self.run_it("--strict", *GOOD, path)
        self.assertEqual(r.code, STRICT, r)
        self.assertEqual(r.err, f"convert-run: not started: {path}: it cannot be read, and so not explained: File too large\n")

    def test_nobody_may_read_it(self):
        if not L.owns_several_users():
            self.skipTest("one user only in this namespace")
        path = self.file("secret", pathlib.Path("/bin/true").read_bytes(), 0o711)
        user = ["setpriv", "--reuid", "1234", "--regid", "1234", "--clear-groups", RUN]
        r = self.lab.run([*user, *GOOD, path])
        self.assertEqual((r.code, r.err), (0, ""), r)
        r = self.lab.run([*user, "--strict", *GOOD, path])
        self.assertEqual(r.code, STRICT, r)
        self.assertIn("it cannot be read", r.err)


class Configurations(Run):
    def conf(self, text, **more):
        return ["-c", self.lab.file("some.conf", text, **more)]

    def test_fine(self):
        self.silent(*self.conf(f"[converter a]\naddress = {L.CONVERTER}\n"), "true")
        self.silent("-c", self.lab.config("interface = up0\ninterface = " + self.interface())
                    ["CONVERT_CONF"], "true")
        self.silent("true", env={"CONVERT_ADDR": L.CONVERTER})

    def interface(self):
        r = self.lab.run(["ip", "-o", "route", "get", L.CONVERTER])
        return r.out.decode().split(" dev ")[1].split()[0]

    def test_files(self):
        fifo = self.lab.file("fifo")
        os.mkfifo(fifo)
        for words, line in ((["-c", "/nowhere/x"], "/nowhere/x: no such file"),
                            (["-c", "/etc"], "/etc: a directory, not a file"),
                            (["-c", fifo], "not a regular file"),
                            (self.conf(""), "no converter is configured"),
                            (self.conf("[policy]\nfallback = none\n"), "no converter is configured"),
                            (self.conf("nonsense\n"), "some.conf:1: .*; mend: expected"),
                            (self.conf("[policy]\nfallback = nothing\n"), "some.conf:2: fallback"),
                            ([], "no converter is configured")):
            with self.subTest(words):
                self.says(line, *words, "true")

    def test_no_configuration_at_all(self):
        """Something else, in which each line is a mistake, as large as one may be: it costs no more to say so."""
        bad = self.lab.file("bad", "x\n" * 2000000)
        few = "prlimit", "--as=100000000"
        r = self.lab.run([*few, RUN, "-c", bad, "echo", "done"])
        self.assertEqual((r.code, r.out), (0, b"done\n"), r)
        self.assertRegex(r.err, r"\Aconvert-run: configuration: .*bad:1: .*\n\Z")
        for words in ["check", "--config"], ["status"]:
            r = self.lab.run([*few, L.BUILD / "convert-bootstrap", *words, "-c", bad])
            lines = r.err.splitlines()
            self.assertEqual((r.code, r.out, len(lines)), (1, b"", 101), r)
            self.assertRegex(lines[99], "bad:100: ")
            self.assertRegex(lines[100], "bad: 1999900 mistakes more: mend these first")

    def test_addresses(self):
        for address in "name.example", f"{L.CONVERTER}:5124", "0.0.0.0":
            self.says("CONVERT_ADDR = .*; mend: expected", "-a", address, "true")
        self.says("CONVERT_PORT = http; mend: expected a port", *GOOD, "-p", "http", "true")
        self.says("CONVERT_PORT is not looked at without CONVERT_ADDR; mend: CONVERT_ADDR=ADDRESS",
                  "true", env={"CONVERT_PORT": "5"})
        self.says("the port is CONVERT_PORT, or -p of convert-run", "-a", f"{L.CONVERTER}:5124",
                  "true")
        self.says("CONVERT_PORT is not looked at without CONVERT_ADDR", "-c",
                  self.lab.config()["CONVERT_CONF"], "true", env={"CONVERT_PORT": "5"})

    def test_words(self):
        """A mistake in convert-run's own words is one at once."""
        for words in (["-a", ""], ["-c", ""], ["-p", "80"], ["-a"], ["--nonsense"], []):
            r = self.run_it(*words, *(["true"] if words and words != ["-a"] else []))
            self.assertEqual((r.code, r.out), (2, b""), r)
            self.assertIn("convert-run", r.err)
        r = self.run_it(f"-a{L.CONVERTER}", "--verbose", "curl", "-sS", WHO)
        self.assertEqual((r.code, r.out.decode().strip()), (0, L.ROUTER), r)

    def test_switches(self):
        self.says("CONVERT_DISABLE is set.*; mend: unset CONVERT_DISABLE", *GOOD, "true",
                  env={"CONVERT_DISABLE": "1"})
        etc = self.lab.file("etc")
        L.command(["cp", "-a", "/etc", etc])
        (etc / "convert.disable").touch()
        L.command(["mount", "--bind", etc, "/etc"])
        try:
            self.says("/etc/convert.disable is there.*rm /etc/convert.disable", *GOOD, "true")
        finally:
            L.command(["umount", "/etc"])

    def test_another_network(self):
        for key in "interface = nowhere0", "from = 192.0.2.0/24":
            conf = self.lab.file("it's; touch x")
            conf.write_text(open(self.lab.config(key)["CONVERT_CONF"]).read())
            quoted = re.escape(shlex.quote(str(conf)).replace("\"'\"", "\\'"))
            self.says(f"no converter may be used in this network.*; mend: convert-bootstrap check -c {quoted}   # ",
                      "-c", conf, "true")

    def test_log(self):
        self.says("the log /nowhere/log cannot be written", *GOOD, "true",
                  env={"CONVERT_LOG": "/nowhere/log"})
        text = f"[converter a]\naddress = {L.CONVERTER}\n[log]\nfile = /nowhere/log\n"
        self.says("the log /nowhere/log cannot be written", *self.conf(text), "true")

    def test_terminals(self):
        r = self.run_it("-a", "\x1b[31m\nx", "true")
        self.assertNotIn("\x1b", r.err)
        self.assertEqual(r.err.count("\n"), 1, r)


class Libraries(Run):
    def test_places(self):
        for name in "a b", "a:b":
            place = self.lab.file(name)
            place.mkdir()
            shutil.copy(L.BUILT_SHIM, place)
            self.says("splits LD_PRELOAD at spaces and colons", *GOOD, "/bin/true",
                      env={"CONVERT_PRELOAD": str(place / L.BUILT_SHIM.name)})

    def test_not_loaded(self):
        for bad in self.file("cut.so", L.BUILT_SHIM.read_bytes()[:4000]), self.file("text.so", "x"):
            self.says(f"{bad}: the loader does not load it", *GOOD, "/bin/true",
                      env={"CONVERT_PRELOAD": str(bad)}, code=None)

    def test_relative(self):
        """The program may go elsewhere before it starts others."""
        place = self.lab.file("place")
        place.mkdir()
        shutil.copy(L.BUILT_SHIM, place / "lib.so")
        for said in "lib.so", "./lib.so", f"../{place.name}/lib.so":
            r = self.run_it(*GOOD, "sh", "-c", f"cd / && curl -sS {WHO}", cwd=place,
                            env={"CONVERT_PRELOAD": said})
            self.assertEqual((r.code, r.out.decode().strip(), r.err), (0, L.ROUTER, ""), r)

    def test_proposal_is_a_command(self):
        place = self.lab.file("it's;$(x)")
        place.mkdir()
        (place / "bad.so").write_text("x")
        r = self.run_it(*GOOD, "/bin/true", env={"CONVERT_PRELOAD": str(place / "bad.so")})
        command = r.err.partition("; mend: ")[2].partition("\n")[0]
        r = self.lab.run(["sh", "-c", command])
        self.assertEqual(r.code, 0, r)
        self.assertIn(f"object '{place}/bad.so' from LD_PRELOAD cannot be preloaded", r.err)

    def test_not_there(self):
        r = self.run_it(*GOOD, "true", env={"CONVERT_PRELOAD": "/nowhere.so"})
        self.assertEqual((r.code, r.out), (1, b""), r)
        r = self.run_it("--strict", *GOOD, "true", env={"CONVERT_PRELOAD": "/nowhere.so"})
        self.assertEqual(r.code, STRICT, r)


class Children(Run):
    """SIGCHLD is ignored by whoever has started us: then the kernel keeps no status for who waits."""

    IGNORING = "env", "--ignore-signal=CHLD"
    WAYS = ["--preload"], ["--any"], ["--preload", "--receipt"], ["--any", "--receipt"]

    def run_ignoring(self, *words, **more):
        return self.lab.run([*self.IGNORING, RUN, *GOOD, *words], **more)

    def test_status(self):
        for options in self.WAYS:
            for code, end in (7, "exit 7"), (-15, "kill -TERM $$"):
                with self.subTest(options=options, code=code):
                    r = self.run_ignoring(*options, "sh", "-c", end)
                    said = "convert-run: no connection was seen\n" if "--receipt" in options else ""
                    self.assertEqual((r.code, r.err), (code, said), r)

    def test_it_stays_ignored(self):
        look = "grep", "SigIgn", "/proc/self/status"
        for before in self.IGNORING, ():
            expected = self.lab.run([*before, *look]).out
            for options in self.WAYS:
                with self.subTest(before=before, options=options):
                    r = self.lab.run([*before, RUN, *GOOD, *options, *look])
                    self.assertEqual((r.code, r.out), (0, expected), r)

    def test_library(self):
        bad = self.file("text.so", "x")
        r = self.run_ignoring("--strict", "/bin/true", env={"CONVERT_PRELOAD": str(bad)})
        self.assertEqual(r.code, STRICT, r)
        self.assertIn(f"{bad}: the loader does not load it", r.err)

    def test_not_there(self):
        for options in self.WAYS:
            self.assertEqual(self.run_ignoring(*options, "/nowhere/program").code, 127)


# Nobody reads its standard error any more, nor what it has under 9.
UNREAD = """
import os, signal, sys
read, write = os.pipe()
os.close(read)
os.dup2(write, 2)
os.dup2(write, 9)
signal.signal(signal.SIGPIPE, getattr(signal, sys.argv[1]))
os.execv(sys.argv[2], sys.argv[2:])
"""


class Unread(Run):
    """What convert-run has to say nobody reads. That is no reason for the program not to be started, or to be told
    otherwise how it has ended."""

    WAYS = *Children.WAYS, ["--preload", "--receipt=/dev/fd/9"], ["--any", "--receipt=/dev/fd/9"]

    def run_unread(self, *words, pipes="SIG_DFL"):
        # the port without an address is a remark
        return self.lab.run(["/usr/bin/python3", "-c", UNREAD, pipes, RUN, "-c", self.lab.config()["CONVERT_CONF"], *words],
                            env={"CONVERT_PORT": "5"})

    def test_status(self):
        for options in self.WAYS:
            for code, *program in ((7, "sh", "-c", "exit 7"), (-15, "sh", "-c", "kill -TERM $$"),
                                   (-13, "sh", "-c", "kill -PIPE $$"), (127, "/nowhere/program")):
                with self.subTest(options=options, code=code):
                    self.assertEqual(self.run_unread(*options, *program).code, code)

    def test_program_has_it_as_it_was(self):
        look = "grep", "SigIgn", "/proc/self/status"
        for pipes in "SIG_DFL", "SIG_IGN":
            expected = self.lab.run(["/usr/bin/python3", "-c", UNREAD, pipes, "/usr/bin/env", *look]).out
            for options in self.WAYS:
                with self.subTest(options=options, pipes=pipes):
                    r = self.run_unread(*options, *look, pipes=pipes)
                    self.assertEqual((r.code, r.out), (0, expected), r)

    def test_usage(self):
        """Whoever has read enough of it ends it, as of any other."""
        r = self.lab.run(["/usr/bin/python3", "-c", UNREAD, "SIG_DFL", "/bin/sh", "-c", f"exec {RUN} --help >&9"])
        self.assertEqual(r.code, -signal.SIGPIPE, r)


# Says what comes to it: which signal, and the value that came with it.
LISTENS = """
import ctypes, signal, struct
all, info, libc = (ctypes.c_ulong * 16)(*[~0] * 16), ctypes.create_string_buffer(128), ctypes.CDLL(None)
libc.sigprocmask(signal.SIG_BLOCK, all, None)
print("ready", flush=True)
while (number := libc.sigwaitinfo(all, info)) != signal.SIGTERM:
    print(number, struct.unpack_from("i", info, 24)[0] if struct.unpack_from("i", info, 8)[0] == -1 else "", flush=True)
"""
# Has a terminal, which hangs up when the program is ready.
HANGS_UP = """
import os, pty, sys, time
pid, terminal = pty.fork()
if pid == 0:
    os.execv(sys.argv[1], sys.argv[1:])
while b"ready" not in os.read(terminal, 99):
    pass
time.sleep(0.2)
os.close(terminal)
raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""


# The time that was set before, as alarm() sets it, is left to whoever is executed.
SETS = """
import os, signal, sys
signal.setitimer(getattr(signal, sys.argv[1]), *eval(sys.argv[2]))
os.execv(sys.argv[3], sys.argv[3:])
"""
# An alarm that nobody has taken yet.
OWES = """
import os, signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])
signal.setitimer(signal.ITIMER_REAL, 0.001)
while not signal.sigpending():
    pass
os.execv(sys.argv[1], sys.argv[1:])
"""
# Nobody reads its standard error, which is full. Who reads on does it by 9.
FULL = """
import os, sys
read, write = os.pipe()
os.set_blocking(write, False)
try:
    while True:
        os.write(write, bytes(4096))
except BlockingIOError:
    os.set_blocking(write, True)
os.dup2(read, 9)
os.dup2(write, 2)
os.execv(sys.argv[1], sys.argv[1:])
"""


class Signals(Run):
    """What is meant for the program is sent to convert-run, which stays in front of it."""

    WAYS = ["--preload"], ["--preload", "--receipt"], ["--any"], ["--any", "--receipt"]

    def test_passed_on(self):
        sent = [signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGABRT, signal.SIGUSR1, signal.SIGUSR2,
                signal.SIGALRM, signal.SIGVTALRM, signal.SIGPROF, signal.SIGIO, signal.SIGPWR, signal.SIGWINCH,
                signal.SIGRTMIN, signal.SIGRTMIN + 3, signal.SIGRTMAX]
        for name in signal.SIGINT, signal.SIGQUIT, signal.SIGHUP:  # whoever has started the tests may ignore them
            self.addCleanup(signal.signal, name, signal.signal(name, signal.SIG_DFL))
        for options in self.WAYS:
            with self.subTest(options=options):
                process = self.lab.started(L.Process("client", [RUN, *GOOD, *options, "/usr/bin/python3", "-c",
                                                                LISTENS]))
                process.wait_for("ready", lambda: "ready" in process.text())  # noqa: B023
                said = "ready\n"
                for number in sent:
                    os.kill(process.pid, number)
                    said += f"{int(number)} \n"
                    process.wait_for(number, lambda: process.text() == said)  # noqa: B023
                ctypes.CDLL(None).sigqueue(process.pid, int(signal.SIGRTMAX), ctypes.c_void_p(4711))
                process.wait_for("a value", lambda: process.text() == f"{said}{int(signal.SIGRTMAX)} 4711\n")  # noqa: B023
                os.kill(process.pid, signal.SIGTERM)
                self.assertEqual(process.process.wait(10), 0)

    def test_passed_on_though_ignored(self):
        """... when we were started (nohup): the program may have a handler for it since, or ignore it as well."""
        ignores = "sh", "-c", "echo ready; sleep 0.3; echo 1 ''; exec sleep 60"
        listens = "/usr/bin/python3", "-c", LISTENS
        for options in self.WAYS:
            for how, program in ("ignore", listens), ("ignore", ignores), ("block", listens):
                with self.subTest(options=options, how=how, program=program[0]):
                    process = self.lab.started(L.Process("client", ["env", f"--{how}-signal=HUP", RUN, *GOOD, *options,
                                                                    *program]))
                    process.wait_for("ready", lambda: "ready" in process.text())  # noqa: B023
                    os.kill(process.pid, signal.SIGHUP)
                    process.wait_for("it", lambda: process.text() == "ready\n1 \n")  # noqa: B023
                    os.kill(process.pid, signal.SIGTERM)
                    self.assertEqual(process.process.wait(10), -signal.SIGTERM if program == ignores else 0)

    def test_ended_by_one_that_was_blocked(self):
        for options in self.WAYS:
            with self.subTest(options=options):
                r = self.lab.run(["env", "--block-signal=USR1", RUN, *GOOD, *options, "/usr/bin/python3", "-c", """
import os, signal
os.kill(os.getpid(), signal.SIGUSR1)
signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGUSR1])"""])
                self.assertEqual(r.code, -signal.SIGUSR1, r)

    def test_timers_of_before(self):
        busy = "sh", "-c", "while :; do :; done"
        for options in self.WAYS:
            for which, number, program in (("REAL", signal.SIGALRM, ("sleep", "60")), ("PROF", signal.SIGPROF, busy),
                                           ("VIRTUAL", signal.SIGVTALRM, busy)):
                with self.subTest(options=options, which=which):
                    r = self.lab.run(["/usr/bin/python3", "-c", SETS, f"ITIMER_{which}", "[0.5]", RUN, *GOOD, *options,
                                      *program], timeout=5)
                    self.assertEqual(r.code, -number, r)
            with self.subTest(options=options):
                r = self.lab.run(["/usr/bin/python3", "-c", SETS, "ITIMER_REAL", "[600, 7]", RUN, *GOOD, *options,
                                  "/usr/bin/python3", "-c",
                                  "import signal; left, each = signal.getitimer(0); print(500 < left < 600, each)"])
                self.assertEqual(r.out, b"True 7.0\n", r)

    def test_alarm_that_is_owed(self):
        for options in self.WAYS:
            with self.subTest(options=options):
                r = self.lab.run(["/usr/bin/python3", "-c", OWES, RUN, *GOOD, *options, "/usr/bin/python3", "-c",
                                  "import signal; print(signal.sigtimedwait([signal.SIGALRM], 10) is not None)"])
                self.assertEqual((r.code, r.out), (0, b"True\n"), r)

    def test_killed(self):
        """convert-run stands for the program, which dies with it."""
        for options in self.WAYS:
            with self.subTest(options=options):
                out = self.lab.file("pid")
                process = self.lab.started(L.Process("client", [RUN, *GOOD, *options, "sh", "-c",
                                                                f"echo $$ > {out}; exec sleep 60"]))
                pid = int(L.wait_for("its number", lambda: out.exists() and out.read_text()))  # noqa: B023
                os.kill(process.pid, signal.SIGKILL)
                process.process.wait(10)
                L.wait_for("its end", lambda: L.has_ended(pid))  # noqa: B023

    def test_parent_that_dies(self):
        """What a program is to get then it finds as it was set."""
        look = "/usr/bin/python3", "-c", "import ctypes; n = ctypes.c_int(); ctypes.CDLL(None).prctl(2, ctypes.byref(n)); print(n.value)"
        for options in self.WAYS[:2]:
            with self.subTest(options=options):
                r = self.lab.run(["setpriv", "--pdeathsig", "TERM", RUN, *GOOD, *options, *look])
                self.assertEqual(r.out, b"15\n", r)

    def ended_program(self, options):
        """convert-run that cannot write the receipt of a program that has ended with 7."""
        out = self.lab.file("pid")
        process = self.lab.started(L.Process("client", [
            "env", "--default-signal=HUP,INT,TERM", "/usr/bin/python3", "-c", FULL, RUN, "-q", *GOOD, *options,
            "sh", "-c", f"echo $$ > {out}; exit 7"]))
        L.wait_for("the program", lambda: out.exists() and out.read_text())
        children = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children")
        L.wait_for("its end", lambda: not children.read_text())
        return process

    def test_receipt_that_nobody_reads(self):
        """Once the program is gone signals are for who writes it."""
        processes = [(options, number, self.ended_program(options)) for options in self.WAYS[1::2]
                     for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)]
        for _, number, process in processes:
            os.kill(process.pid, number)
        for options, number, process in processes:
            with self.subTest(options=options, number=number):
                self.assertEqual(process.process.wait(10), -number)

    def test_signal_that_came_too_late(self):
        """It may have been the program's, who was quicker: the receipt is written all the same."""
        for options in self.WAYS[1::2]:
            with self.subTest(options=options):
                process = self.ended_program(options)
                os.kill(process.pid, signal.SIGTERM)
                text = b""
                with open(f"/proc/{process.pid}/fd/9", "rb", buffering=0) as said:
                    while b"\n" not in text and (more := said.read(4096)):
                        text += more
                self.assertEqual(text.strip(b"\0"), b"convert-run: no connection was seen\n")
                self.assertEqual(process.process.wait(10), 7)

    def test_hang_up(self):
        """The kernel tells the session's leader alone, and has it go on if it is stopped."""
        cases = [(options, ":") for options in self.WAYS] + [(options, "kill -STOP $$") for options in self.WAYS[:3]]
        for options, stop in cases:
            with self.subTest(options=options, stop=stop):
                r = self.lab.run(["env", "--default-signal=HUP", "/usr/bin/python3", "-c", HANGS_UP, RUN, *GOOD,
                                  *options, "sh", "-c", f"trap 'exit 7' HUP; echo ready; {stop}; "
                                  "for i in $(seq 150); do sleep 0.02; done"])
                self.assertEqual(r.code, 7, r)


class StrictRuns(Run):
    def test_no_connection_is_direct(self):
        """What the asking cannot know: a converter that does not answer, a file that goes away."""
        r = self.run_it("--strict", "-a", L.CONVERTER, "-p", "9", "curl", "-sS", WHO)
        self.assertEqual((r.code, r.out), (7, b""), r)
        conf = self.lab.config()["CONVERT_CONF"]
        r = self.run_it("--strict", "-c", conf, "sh", "-c", f"rm {conf}; exec curl -sS {WHO}")
        self.assertEqual((r.code, r.out), (7, b""), r)

    def test_by_the_environment(self):
        self.need("fzf")
        r = self.run_it("--preload", *GOOD, "fzf", "--version", env={"CONVERT_STRICT": "1"})
        self.assertEqual(r.code, STRICT, r)


class Costs(Run):
    def test_calls(self):
        """What a start by it has beside the program's own: two starts of its own, counted."""
        self.need("strace")
        found = {}
        for options in (), (RUN, *GOOD):
            trace = self.lab.file("strace")
            r = self.lab.run(["strace", "-f", "-qq", "-o", trace, *options, "/bin/true"])
            self.assertEqual(r.code, 0, r)
            found[options] = re.findall(r"^\d+ +(\w+)\(", trace.read_text(), re.M)
        plain, run = found.values()
        self.note(f"/bin/true: {len(plain)} calls, by convert-run {len(run)}")
        self.assertEqual(run.count("execve") - plain.count("execve"), 2)
        self.assertLess(len(run), 320)


if __name__ == "__main__":
    L.main(setup)
