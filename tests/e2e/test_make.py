#!/usr/bin/python3 -B
# SPDX-License-Identifier: MIT
"""What the Makefile does with compilers, flags and folders that a distribution or an integrator has. Next to nothing is
compiled: it is looked at with which words it would be."""
import pathlib
import re
import shlex
import sys

sys.path.insert(1, sys.path[0] + "/../lab")
import lab as L

LACKS = """#!/bin/sh
case "$*" in *" -E "*) echo "%s" >&2; exit 1 ;; esac
"""


class Make(L.TestCase):
    def setUp(self):
        super().setUp()
        self.build = self.lab.file("build")
        self.bin = self.lab.file("bin")
        self.bin.mkdir()

    def program(self, name, text):
        file = self.bin / name
        file.write_text(text)
        file.chmod(0o755)
        return file

    def make(self, *words):
        path = f"PATH={self.bin}:{L.ENVIRONMENT['PATH']}"
        return L.command(["env", path, "make", "-s", "-C", L.ROOT, f"BUILD={self.build}", "DEPS=no", *words])

    def flags(self, *words):
        """The words of the compiler's command line."""
        self.make(*words, self.build / "flags")
        return shlex.split((self.build / "flags").read_text())

    def link(self, file, *words):
        said = self.make("-n", "V=1", *words, self.build / file)
        (line,) = (line for line in said.replace("\\\n", "").splitlines() if f" -o {self.build / file} " in line)
        return shlex.split(line)

    def test_compilers_of_musl(self):
        """This machine's headers are for a musl-gcc that is this machine's gcc, and not for one that has its own,
        whose wrapper may refuse them (Buildroot's does)."""
        for name, machine, headers in (("musl-gcc", "x86_64-linux-gnu", True),
                                       ("x86_64-linux-musl-gcc", "x86_64-linux-gnu", True),
                                       ("musl-gcc", "x86_64-linux-musl", False),
                                       ("aarch64-buildroot-linux-musl-gcc", "aarch64-buildroot-linux-musl", False),
                                       ("aarch64-linux-gnu-gcc -specs=/x/musl-gcc.specs", "aarch64-linux-gnu", False),
                                       ("gcc", "x86_64-linux-gnu", False)):
            file, _, words = name.partition(" ")
            cc = self.program(file, f'#!/bin/sh\n[ "$1" != -dumpmachine ] || exec echo {machine}\n'
                                    'exec /usr/bin/gcc "$@"\n')
            for before in "", "env ":
                found = self.flags(f"CC={before}{cc} {words}")
                self.assertEqual("/usr/include/" in found, headers, (name, machine, before))
                self.assertEqual(f"/usr/include/{machine}" in found, headers, (name, machine, before))

    def test_fortify(self):
        """Ours goes with optimisation, and what is given takes its place."""
        source = self.lab.file("empty.c", "#include <stdio.h>\nint main(void)\n{\n\treturn 0;\n}\n")
        ours = ["-U_FORTIFY_SOURCE", "-D_FORTIFY_SOURCE=2"]
        for words, there in (([], ours), (["CFLAGS=-Os"], ours), (["CFLAGS=-O0 -O"], ours),
                             (["CC=gcc -O2", "CFLAGS="], ours),
                             (["CFLAGS="], []), (["CFLAGS=-g"], []), (["CFLAGS=-O2 -O0"], []),
                             (["CFLAGS=-O2 -D_FORTIFY_SOURCE=3"], ["-D_FORTIFY_SOURCE=3"]),
                             (["CPPFLAGS=-D_FORTIFY_SOURCE=3"], ["-D_FORTIFY_SOURCE=3"]),
                             (["CFLAGS=-O2 -Wp,-U_FORTIFY_SOURCE,-D_FORTIFY_SOURCE=3"],
                              ["-Wp,-U_FORTIFY_SOURCE,-D_FORTIFY_SOURCE=3"])):
            found = [word for word in self.flags(*words) if "FORTIFY" in word]
            self.assertEqual(found, there, words)
            L.command([*shlex.split((self.build / "flags").read_text()), "-Werror", "-fsyntax-only", "-MF", "/dev/null",
                       source])

    def test_what_is_given_is_last(self):
        """Of two words that say the opposite the compiler and the linker take the last."""
        line = self.link("libconvert-preload.so", "CFLAGS=-O2 -fno-stack-protector", "LDFLAGS=-Wl,-z,lazy")
        now = [n for n, word in enumerate(line) if word.startswith("-Wl,-z,now")]
        self.assertEqual(len(now), 1, line)
        self.assertGreater(line.index("-Wl,-z,lazy"), now[0])
        found = self.flags("CFLAGS=-O2 -fno-stack-protector", "CPPFLAGS=-UX")
        self.assertGreater(found.index("-fno-stack-protector"), found.index("-fstack-protector-strong"))
        self.assertGreater(found.index("-UX"), found.index("-D_GNU_SOURCE"))

    def test_unit_tests_with_flags(self):
        """What they put in the place of functions stays, whatever is given."""
        for name, replaced in ("config_load", "malloc realloc free"), ("kernel", "dlsym"), ("log", "clock_read"):
            line = self.link(f"unit/test_{name}", "LDFLAGS=-Wl,-O1")
            self.assertIn("-Wl,-O1", line)
            found = [word.partition("=")[2] for word in line if word.startswith("-Wl,--wrap=")]
            self.assertEqual(found, replaced.split(), name)

    def test_unit_tests_with_lto(self):
        """The library is the linker's, as the flags say; what has functions replaced is not. make compile-lto runs
        it."""
        words = "CC=gcc", "CFLAGS=-O2 -flto=auto -fno-fat-lto-objects"
        self.assertNotIn("-fno-lto", self.link("libconvert-preload.so", *words))
        for file in "unit/test_cookies", "fuzz/libconvert-preload.so":
            line = self.link(file, *words)
            self.assertGreater(line.index("-fno-lto"), line.index("-flto=auto"), file)
        found = self.flags(*words)
        self.assertGreater(found.index("-ffat-lto-objects"), found.index("-fno-fat-lto-objects"))
        self.assertNotIn("-ffat-lto-objects", self.flags("CC=gcc"))

    def test_header_or_compiler(self):
        """A header that is not there is one line with its package; what else is wrong, the compiler says."""
        error = "gcc: error: unrecognized command-line option '-march=x'"
        fails = self.program("fails", f'#!/bin/sh\necho "{error}" >&2\nexit 1\n')
        missing = "jansson.h: not found, which is in Debian's libjansson-dev\nmake: "
        for cc, said in ((fails, f"jansson.h: asked for with {fails}, which says:\n{error}\n"),
                         ("no-such-compiler", "no-such-compiler: not found\n"),
                         ("gcc -nostdinc", "no include path in which to search for stdarg.h\n"),
                         (self.program("lacks", LACKS % "<stdin>:5:10: fatal error: jansson.h: No such file"), missing),
                         (self.program("lacks2", LACKS % "<stdin>:5:10: fatal error: 'jansson.h' file not found"),
                          missing),
                         (self.program("within", LACKS % "jansson.h:9: fatal error: other.h: No such file or directory"),
                          "fatal error: other.h: No such file or directory\nmake: ")):
            with self.assertRaises(RuntimeError) as failed:
                self.make(f"CC={cc}", self.build / "has/jansson.h")
            self.assertIn(said, str(failed.exception))
            self.assertEqual("not found, which" in str(failed.exception), "not found, which" in said, cc)
            self.assertFalse((self.build / "has/jansson.h").exists())
        self.make("CC=gcc", self.build / "has/stdio.h")

    def test_package_of_another_folder(self):
        """What this build was told of its folders is not said to the package's, which begins with make clean."""
        self.program("dpkg-buildpackage", "#!/bin/sh\nmake -s clean && echo ${BUILD-} ${PREFIX-} ${BINDIR-} cleaned\n")
        said = self.make("PREFIX=/nowhere", "BINDIR=/nowhere/bin", "deb")
        self.assertEqual(said, "cleaned\n")
        (copy,) = self.build.glob("deb/convert-preload-*/")
        for name in "Makefile", "debian/control", "tests/e2e/test_make.py":
            self.assertTrue((copy / name).is_file(), name)
        self.assertFalse((copy / "build").exists())
        said = self.make("-n", f"BUILD={L.ROOT}/other", f"DEB={L.ROOT}/out", "deb")
        for folder in "other", "out":
            self.assertIn(f"--exclude='./{folder}'", said)

    def test_daemons_that_deps_installs(self):
        """Of each package that make installs, and of its own other half (nginx-common), tests/deps knows the units that
        would be started; of those packages that are here."""
        self.need("dpkg-query")
        known = set(re.findall(r"[\w@-]+\.(?:service|socket)", (L.ROOT / "tests/deps").read_text()))
        words = re.findall(r"^DEPS_\w+\s*:= ((?:.*\\\n)*.*)$", (L.ROOT / "Makefile").read_text(), re.M)
        packages = {word for line in words for word in line.split() if re.fullmatch(r"[a-z0-9][\w.+-]*", word)}
        self.assertIn("postgresql-15", packages)
        found = {}
        for package in packages:
            r = self.lab.run(["dpkg-query", "-W", "-f", "${Depends}", package])
            half = {word for word in re.split(r"[ ,|]+", r.out.decode()) if word.split("-")[0] == package.split("-")[0]}
            for name in {package} | half:
                files = self.lab.run(["dpkg-query", "-L", name]).out.decode().split()
                units = (file for file in files if re.search(r"/systemd/system/[^/@]+\.(service|socket)$", file))
                found |= {file: package for file in units if "[Install]" in pathlib.Path(file).read_text()}
        if not found:
            self.skipTest("no package with a service is installed")
        self.note(", ".join(sorted(pathlib.Path(file).name for file in found)))
        self.assertEqual({file: package for file, package in found.items() if pathlib.Path(file).name not in known}, {})


if __name__ == "__main__":
    L.main()
