#!/usr/bin/python3 -B
# SPDX-License-Identifier: MIT
"""convert-bootstrap explain: real programs of every kind, and files made to confuse it."""
import os
import pathlib
import shutil
import stat
import sys

sys.path.insert(1, sys.path[0] + "/../lab")
import elf
import lab as L

HELPER = L.BUILD / "convert-bootstrap"
CAN, CANNOT, USAGE = 0, 1, 2
HELLO = "#include <unistd.h>\nint main(void) { return getpid() == 0; }\n"
BARE = "void _start(void) { for (;;) ; }\n"


class Explain(L.TestCase):
    def explain(self, *words, code, **more):
        """Returns {id: verdict} of all findings, and what people see."""
        before = self.lab.run([HELPER, "explain", *words], **more)
        self.assertEqual(before.code, code, before)
        text = before.out.decode()
        r = self.lab.run([HELPER, "explain", "--json", *words], **more)
        self.assertEqual(r.code, code, r)
        found = L.validated("explain", r.out)
        self.assertEqual(found["problems"], sum(f["verdict"] == "problem"
                                                for f in found["findings"]))
        self.assertEqual(found["problems"] == 0, code == CAN)
        for finding in found["findings"]:
            self.assertIn(finding["what"].split()[0], text)
        return {f["id"]: f["verdict"] for f in found["findings"]}, text

    def file(self, name, content=b"", mode=0o755):
        path = self.lab.file(name, content)
        path.chmod(mode)
        return path

    def compile(self, name, source, *options, compiler="gcc"):
        path, code = self.lab.file(name), self.lab.file(name + ".c", source)
        L.command([compiler, "-o", path, code, *options])
        return path

    # ------------------------------------------------------------------- real programs

    def test_the_systems_own(self):
        for program in ("/bin/ls", "ls", "curl", shutil.which("bash")):
            found, text = self.explain(program, code=CAN)
            self.assertEqual(found, {"program-libc": "ok"}, text)
            self.assertIn(f"The library can work in {program}.\n", text)

    def test_what_it_says_is_what_happens(self):
        """The loader itself is asked."""
        static = self.compile("static", HELLO, "-static")
        for program, code in (("/bin/true", CAN), (static, CANNOT)):
            self.explain(program, code=code)
            r = self.lab.run([program], env={"LD_PRELOAD": "/run/lab/nowhere.so"})
            self.assertEqual("nowhere.so" in r.err, code == CAN, r)

    def test_static(self):
        for option in ("-static", "-static-pie"):
            found, text = self.explain(self.compile("static", HELLO, option), code=CANNOT)
            self.assertEqual(found, {"program-static": "problem"}, text)

    def test_no_section_headers(self):
        """What strip leaves is enough; and a file without any symbols is said to be one."""
        program = self.compile("stripped", HELLO, "-s")
        self.assertEqual(self.explain(program, code=CAN)[0], {"program-libc": "ok"})
        bare = bytearray(program.read_bytes())
        bare[40:48] = bytes(8)  # e_shoff
        bare[60:64] = bytes(4)  # e_shnum, e_shstrndx
        found, _ = self.explain(self.file("bare", bytes(bare)), code=CAN)
        self.assertEqual(found, {"program-libc": "ok", "program-symbols": "note"})

    def test_set_user_id(self):
        for program in ("su", "/usr/bin/passwd"):
            if not shutil.which(program) or not os.stat(shutil.which(program)).st_mode & stat.S_ISUID:
                self.skipTest(f"{program} is not set-user-ID here")
            found, text = self.explain(program, code=CANNOT, user="nobody")
            self.assertEqual(found["program-privileges"], "problem", text)
            self.assertIn("/etc/ld.so.preload", text)
        if L.owns_several_users():  # else it is nobody's here
            found, text = self.explain("/usr/bin/passwd", code=CAN, user="")
            self.assertEqual(found["program-privileges"], "note", text)

    def test_set_group_id(self):
        self.of_several_users()
        path = self.file("setgid", pathlib.Path("/bin/true").read_bytes())
        os.chown(path, 0, 65534)
        path.chmod(0o2755)
        self.assertEqual(self.explain(path, code=CANNOT, user="")[0]["program-privileges"], "problem")
        path.chmod(0o2745)  # a mark of the old mandatory locks, and nothing else
        self.assertNotIn("program-privileges", self.explain(path, code=CAN)[0])

    def of_several_users(self):
        if not L.owns_several_users():
            self.skipTest("one user only in this namespace")

    def as_nobody(self, argv, env=(), before=()):
        """With the capabilities that a file may give."""
        words = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *before, "--", "env", *env]
        return self.lab.run(words + argv, user="")

    def test_file_capabilities(self):
        self.need("setcap")
        self.of_several_users()
        path = self.file("capable", pathlib.Path("/bin/true").read_bytes())
        r = self.lab.run(["setcap", "cap_net_raw+ep", path], user="")
        if r.code:
            self.skipTest("no file capabilities here: " + r.err.strip())
        found, text = self.explain(path, code=CANNOT, user="nobody")
        self.assertEqual(found["program-privileges"], "problem")
        self.assertIn("with file capabilities", text)
        found, text = self.explain(path, code=CAN, user="")
        self.assertEqual(found["program-privileges"], "note", text)

    def test_who_gains_something(self):
        """The loader complains of a library that is not there, unless it does not look at LD_PRELOAD."""
        self.of_several_users()
        preload = "LD_PRELOAD=/run/lab/nowhere.so"
        nosuid = self.lab.file("nosuid")
        nosuid.mkdir()
        L.command(["mount", "-t", "tmpfs", "-o", "nosuid,mode=755", "nosuid", nosuid])
        self.addCleanup(L.command, ["umount", nosuid])
        seen = set()
        for owner, group, mode in ((0, 0, 0o4755), (0, 0, 0o2755), (0, 0, 0o6755), (65534, 0, 0o4755), (0, 65534, 0o2755),
                                   (65534, 65534, 0o6755), (1234, 1234, 0o4755), (1234, 1234, 0o2755),
                                   (65534, 1234, 0o6755), (0, 1234, 0o2745)):
            for place in self.lab.file("program"), nosuid / "program":
                shutil.copy("/bin/true", place)
                os.chown(place, owner, group)
                place.chmod(mode)
                for start in (lambda argv, env=(): self.lab.run(["env", *env] + argv, user=""), self.as_nobody,
                              lambda argv, env=(): self.as_nobody(argv, env, ["--no-new-privs"])):
                    with self.subTest(str(place), owner=owner, group=group, mode=oct(mode)):
                        loads = "nowhere.so" in start([place], [preload]).err
                        r = start([HELPER, "explain", place])
                        self.assertEqual(r.code, CAN if loads else CANNOT, r)
                        seen.add(loads)
        self.assertEqual(seen, {True, False})

    def test_loaded_into_every_program(self):
        """Then set-user-ID programs have it too."""
        etc = L.TMP / "etc"
        etc.mkdir()
        for name in ("passwd", "group", "nsswitch.conf"):
            shutil.copy(f"/etc/{name}", etc)
        L.command(["mount", "--bind", etc, "/etc"])
        try:
            for line, code, verdict in (("/usr/local/lib/libconvert-preload.so", CAN, "note"),
                                        ("/lib/libm.so.6:/usr/$LIB/libconvert-preload.so.0 # ours", CAN, "note"),
                                        ("# /usr/local/lib/libconvert-preload.so", CANNOT, "problem"),
                                        ("/lib/libm.so.6 # not libconvert-preload.so", CANNOT, "problem")):
                (etc / "ld.so.preload").write_text(line + "\n")
                found, text = self.explain("su", code=code, user="nobody")
                self.assertEqual(found["program-privileges"], verdict, text)
        finally:
            L.command(["umount", "/etc"])

    def test_go(self):
        self.need("fzf")
        found, text = self.explain("fzf", code=CANNOT)
        self.assertEqual(found["program-go"], "problem", text)
        self.assertIn("GODEBUG=multipathtcp=1", text)

    def test_musl(self):
        self.need("musl-gcc")
        found, text = self.explain(self.compile("musl", HELLO, compiler="musl-gcc"), code=CAN)
        self.assertEqual(found, {"program-libc": "ok"}, text)
        self.assertIn("linked against musl", text)
        found, _ = self.explain(self.compile("musl", HELLO, "-static", compiler="musl-gcc"),
                                code=CANNOT)
        self.assertEqual(found, {"program-static": "problem"})

    def test_another_word_size(self):
        program = self.compile("i386", BARE, "-m32", "-nostdlib", "-pie", "-ffreestanding",
                               "-Wl,--dynamic-linker=/lib/ld-linux.so.2")
        found, text = self.explain(program, code=CANNOT)
        self.assertEqual(found, {"program-machine": "problem"}, text)
        self.assertIn("i386 (32 bits)", text)

    def test_system_calls_of_its_own(self):
        self.assertEqual(self.explain("/usr/bin/python3", code=CAN)[0]["program-syscall"], "note")

    # ------------------------------------------------------------------------- scripts

    def test_scripts(self):
        for first, program, code, more in (
                ("#!/usr/bin/python3", "/usr/bin/python3", CAN, {}),
                ("#! /usr/bin/python3 -B", "/usr/bin/python3", CAN, {}),
                ("#!/usr/bin/env python3", "/usr/bin/python3", CAN, {}),
                ("#!/usr/bin/env -S A=1 python3 -B", "/usr/bin/python3", CAN, {}),
                ("#!/usr/bin/env -S -i python3", "/usr/bin/python3", CANNOT,
                 {"script-environment": "problem"}),
                ("#!/bin/sh", "/bin/sh", CAN, {"script-shell": "note"}),
                ("#!/usr/bin/env fzf", "/usr/bin/fzf", CANNOT, {"program-go": "problem"}),
                ("#!/nowhere/python", "/nowhere/python", CANNOT, {"program-found": "problem"}),
                ("#!/usr/bin/env nowhere", "nowhere", CANNOT, {"program-found": "problem"}),
                ("#!/usr/bin/env", "", CANNOT, {"script": "problem"}),
                ("#!/usr/bin/python3\r", "", CANNOT, {"script": "problem"}),
                ("#!", "", CANNOT, {"script": "problem"}),
                ("#!" + " " * 300 + "/bin/sh", "", CANNOT, {"script": "problem"})):
            with self.subTest(first):
                if "fzf" in first:
                    self.need("fzf")
                found, text = self.explain(self.file("script", first + "\nx\n"), code=code)
                self.assertLessEqual(more.items(), found.items(), text)
                if program:
                    self.assertEqual(found["script"], "ok")
                    self.assertIn(f"\n{program}\n", text)

    def test_scripts_of_scripts(self):
        one = self.file("script", "#!/usr/bin/python3\n")
        for _ in range(4):
            one = self.file("script", f"#!{one}\n")
        self.assertEqual(self.explain(one, code=CAN)[0]["script"], "ok")
        self.assertEqual(self.lab.run([one]).code, 0)
        one = self.file("script", f"#!{one}\n")
        found, text = self.explain(one, code=CANNOT)
        self.assertIn("5 times over", text)
        self.assertEqual(self.lab.run([one]).code, 126)  # the kernel does not take it either
        loop = self.lab.file("loop")
        loop.write_text(f"#!{loop}\n")
        loop.chmod(0o4755)
        self.assertEqual(self.explain(loop, code=CANNOT)[0]["program-privileges"], "note")

    def test_proposal_is_a_command(self):
        path = self.file("it's; touch a$(x)", pathlib.Path("/bin/true").read_bytes(), 0o644)
        r = self.lab.run([HELPER, "explain", "-j", f"./{path.name}"], cwd=path.parent)
        (found,) = [f for f in L.validated("explain", r.out)["findings"] if f["id"] == "program-executable"]
        r = self.lab.run(["sh", "-c", *found["mend"]], cwd="/")
        self.assertEqual((r.code, r.err), (0, ""), r)
        self.assertEqual(path.stat().st_mode & 0o777, 0o755)

    def test_a_mount_where_nothing_is_executed(self):
        """No mode helps there."""
        noexec, elsewhere = self.lab.file("noexec"), self.lab.file("elsewhere")
        noexec.mkdir()
        L.command(["mount", "-t", "tmpfs", "-o", "noexec,mode=755", "noexec", noexec])
        self.addCleanup(L.command, ["umount", noexec])
        shutil.copy("/bin/true", noexec / "true")
        r = self.lab.run([HELPER, "explain", "-j", noexec / "true"])
        (found,) = [f for f in L.validated("explain", r.out)["findings"] if f["id"] == "program-executable"]
        self.assertEqual((found["what"], found["mend"]), ("it is on a mount that is noexec", ["a copy of it elsewhere"]))
        r = self.lab.run([L.BUILD / "convert-run", "-a", L.CONVERTER, noexec / "true"])
        self.assertEqual((r.code, r.err), (126, f"convert-run: {noexec}/true: it is on a mount that is noexec\n"))
        shutil.copy(noexec / "true", elsewhere)
        self.explain(elsewhere, code=CAN)

    def test_proposal_is_for_who_asks(self):
        """What only root may do has its sudo."""
        self.of_several_users()
        path = self.file("plain", pathlib.Path("/bin/true").read_bytes(), 0o644)
        for owner, user, mend in ((0, "", "chmod +x "), (0, "nobody", "sudo chmod +x "), (1234, "", "chmod +x "),
                                  (65534, "nobody", "chmod +x "), (1234, "nobody", "sudo chmod +x ")):
            os.chown(path, owner, 0)
            r = self.lab.run([HELPER, "explain", "-j", path], user=user)
            (found,) = [f for f in L.validated("explain", r.out)["findings"] if f["id"] == "program-executable"]
            self.assertEqual(found["mend"], [f"{mend}{path}"])

    # --------------------------------------------------------- what is no such program

    def test_names(self):
        found, text = self.explain("cd", code=CANNOT)
        self.assertEqual(found, {"program-builtin": "problem"})
        found, text = self.explain("echo", code=CAN)
        self.assertEqual(found, {"program-builtin": "note", "program-libc": "ok"})
        self.assertEqual(self.explain("nowhere", code=CANNOT)[0], {"program-found": "problem"})
        self.assertEqual(self.explain("ls", code=CANNOT, env={"PATH": "/nowhere:"})[0],
                         {"program-found": "problem"})
        found, text = self.explain("env", "", code=CANNOT)
        self.assertEqual(found, {"program-libc": "ok", "program-found": "problem"})
        self.assertIn('\n""\n', text)

    def test_long_names(self):
        """Whole: it was cut behind 95 bytes."""
        place = self.lab.file("long") / ("d" * 200) / ("e" * 200)
        place.mkdir(parents=True)
        shutil.copy("/bin/true", place / "program")
        self.assertIn(f"{place}/program\n", self.explain(place / "program", code=CAN)[1])
        self.assertIn(f"{place}/nowhere\n", self.explain(place / "nowhere", code=CANNOT)[1])
        r = self.lab.run([L.BUILD / "convert-run", "-a", L.CONVERTER, place / "nowhere"])
        self.assertIn(f"{place}/nowhere: there is no such file\n", r.err)

    def test_no_programs(self):
        fifo = self.lab.file("fifo")
        os.mkfifo(fifo)
        whole = pathlib.Path("/bin/true").read_bytes()
        for path, ids in (
                ("/etc", ["program-found"]), ("/nowhere/x", ["program-found"]),
                (fifo, ["program-found"]), ("/dev/null", ["program-found"]),
                (self.file("empty"), ["program-kind"]), (self.file("text", "ls\n"), ["program-kind"]),
                (self.file("true", whole, 0o644), ["program-executable"]),
                (self.file("cut", whole[:1000]), ["program-damaged"]),
                (self.file("cut", whole[:-20000]), ["program-damaged"]),
                (self.file("magic", b"\x7fELF"), ["program-damaged"]),
                (self.file("object", elf.make(type=elf.REL, loader=b"")), ["program-kind"]),
                (self.file("core", elf.make(type=elf.CORE, loader=b"")), ["program-kind"]),
                (self.file("library", elf.make(loader=b"", pie=False)), ["program-kind"])):
            with self.subTest(path):
                found, text = self.explain(path, code=CANNOT)
                self.assertEqual([i for i in found if found[i] == "problem"], ids, text)

    def test_made_by_hand(self):
        """What cannot be had here: other machines, a loader that is not there, liburing."""
        for options, code, expected in (
                ({}, CAN, {"program-libc": "ok", "program-symbols": "note"}),
                ({"imports": ["connect"]}, CAN, {"program-libc": "ok"}),
                ({"imports": ["io_uring_setup"]}, CAN, {"program-uring": "note"}),
                ({"needed": ["liburing.so.2"]}, CAN, {"program-uring": "note"}),
                ({"needed": ["liburingo.so"]}, CAN, {"program-libc": "ok"}),
                ({"note": elf.GO_NOTE}, CANNOT, {"program-go": "problem"}),
                ({"sections": [".go.buildinfo"], "loader": b"", "type": elf.EXEC, "dynamic": False},
                 CANNOT, {"program-go": "problem", "program-static": "problem"}),
                ({"machine": elf.ARM64, "loader": b"/lib/ld-linux-aarch64.so.1"}, CANNOT,
                 {"program-machine": "problem"}),
                ({"machine": elf.S390, "big": True}, CANNOT, {"program-machine": "problem"}),
                ({"bits": 32}, CANNOT, {"program-machine": "problem"}),
                ({"loader": b"/nowhere/ld-linux-x86-64.so.2"}, CANNOT,
                 {"program-libc": "ok", "program-loader": "problem"}),
                ({"loader": b"/system/bin/linker64"}, CANNOT, {"program-libc": "problem"}),
                ({"loader": b"x" * 300}, CANNOT, {"program-damaged": "problem"}),
                ({"loader": b"/lib/\x1b[31mld\xc2\x9b31m.so"}, CANNOT, {"program-libc": "problem"})):
            with self.subTest(options):
                if os.uname().machine != "x86_64":
                    self.skipTest("these are made for x86-64")
                found, text = self.explain(self.file("made", elf.make(**options)), code=code)
                self.assertLessEqual(expected.items(), found.items(), text)
                self.assertNotRegex(text, "[\x1b\x9b]")

    def test_sandboxes(self):
        self.file("x")
        exports = self.lab.file("flatpak")
        (exports / "flatpak/exports/bin").mkdir(parents=True)
        wrapper = exports / "flatpak/exports/bin/org.example.App"
        wrapper.write_text("#!/bin/sh\nexec /usr/bin/flatpak run org.example.App\n")
        wrapper.chmod(0o755)
        self.assertEqual(self.explain(wrapper, code=CANNOT)[0]["program-sandbox"], "problem")

    def test_by_their_names(self):
        """What a file does not show; test_run.py has more of them."""
        place = self.lab.file("known")
        place.mkdir()
        for name in "bwrap", "mptcpize", "squid", "exim4":
            shutil.copy("/bin/true", place / name)
            found, text = self.explain(place / name, code=CANNOT)
            self.assertEqual(found, {"program-drops": "problem", "program-libc": "ok"}, text)
        self.explain(place / "bwrap", "--bind", "/", "/", "curl", code=CAN)
        for name in "php", "php8.2", "php-fpm8.2", "phpdbg8.2":
            shutil.copy("/bin/true", place / name)
            found, text = self.explain(place / name, code=CAN)
            self.assertEqual(found, {"program-plugins": "note", "program-libc": "ok"}, text)
        self.assertNotIn("program-plugins", self.explain(self.file("phpize", b"#!/bin/sh\n"), code=CAN)[0])

    def test_what_a_command_starts(self):
        static = self.compile("static", HELLO, "-static")
        for words in ["env", "A=1", static], ["timeout", "9", "nice", static]:
            found, text = self.explain(*words, code=CANNOT)
            self.assertEqual(found, {"program-libc": "ok", "program-static": "problem"}, text)
        self.assertEqual(self.explain("env", "-i", "true", code=CANNOT)[0]["script-environment"],
                         "problem")

    def test_address_sanitizer(self):
        program = self.compile("asan", HELLO, "-fsanitize=address")
        self.assertEqual(self.explain(program, code=CANNOT)[0]["program-sanitizer"], "problem")
        for env in ({"ASAN_OPTIONS": "verify_asan_link_order=0"},
                    {"LD_PRELOAD": "/usr/lib/gcc/x86_64-linux-gnu/12/libasan.so"}):
            if os.path.exists(env.get("LD_PRELOAD", "/")):
                self.explain(program, code=CAN, env=env)

    def test_somebody_who_may_not_read_it(self):
        if not L.owns_several_users():
            self.skipTest("one user only in this namespace")
        path = self.file("secret", pathlib.Path("/bin/true").read_bytes(), 0o711)
        r = self.lab.run(["setpriv", "--reuid", "1234", "--regid", "1234", "--clear-groups", HELPER,
                          "explain", path])
        self.assertEqual(r.code, CANNOT, r)
        self.assertIn(b"cannot be read", r.out)

    def test_usage(self):
        for words in ([], ["-x", "ls"], [""]):
            r = self.lab.run([HELPER, "explain", *words])
            self.assertEqual((r.code, r.out), (USAGE, b""), r)


if __name__ == "__main__":
    L.main()
