#!/usr/bin/python3 -B
# SPDX-License-Identifier: MIT
"""What the Makefile does: with other people's compilers, flags and folders, and to a system where it installs.

INSTALL=all: 20,000 starts in place of 4,000, 200 a second or more (make check-install).
"""
import os
import pathlib
import re
import shlex
import shutil
import sys
import tempfile
import time

sys.path.insert(1, sys.path[0] + "/../lab")
import lab as L
import servers

LACKS = """#!/bin/sh
case "$*" in *" -E "*) echo "%s" >&2; exit 1 ;; esac
"""

STARTS = 4000
if os.environ.get("INSTALL") == "all":
    STARTS, L.TEST_LIMIT = 20000, 900
RATE = 200  # a second, of all of them
LIBDIR = "usr/local/lib"
NAME = "libconvert-preload.so"
LINE = f"/{LIBDIR}/{NAME}.0"


class Make(L.TestCase):
    """Compilers, flags and folders that a distribution or an integrator has. Next to nothing is compiled: it is looked at
    with which words it would be."""

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

    def test_deps_unmasks(self):
        """The units that it masks while it installs are not left so, whatever becomes of that."""
        pathlib.Path("/run/systemd/system").mkdir(parents=True)  # the lab's own
        self.addCleanup(shutil.rmtree, "/run/systemd")
        said = self.lab.file("said")
        self.program("dpkg-query", "#!/bin/sh\nexit 1\n")
        self.program("systemctl", f'#!/bin/sh\necho "$*" >> {said}\n[ "$2" != cat ]\n')
        for ends, code in (("exit 0", 0), ("exit 100", 100), ("kill -INT 0", 130), ("kill -TERM 0", 130),
                           ("kill -HUP 0", 130)):
            self.program("apt-get", f'#!/bin/sh\n[ "$2" != install ] || {ends}\n')
            said.write_text("")
            r = self.lab.run(["setsid", "-w", "env", "--default-signal", L.ROOT / "tests/deps", "cron"],
                             env={"PATH": f"{self.bin}:{L.ENVIRONMENT['PATH']}"})
            self.assertEqual(said.read_text(), "-q cat cron.service\n-q mask --runtime cron.service\n"
                                               "-q unmask --runtime cron.service\n-q disable cron.service\n", (ends, r))
            self.assertEqual(r.code, code, r)


# ------------------------------------------------------------------------------------- install

def make(build, root, *words, **more):
    """Of what is built already."""
    built = [word for name in ("convert-run", "convert-bootstrap", NAME)
             for word in ("-o", build / name)]
    return L.command(["make", "-s", "-C", L.ROOT, f"BUILD={build}", f"DESTDIR={root}", *built,
                      *words], **more)


def tree(root):
    """What is there, and what is in it."""
    return {p: os.readlink(p) if p.is_symlink() else p.read_bytes() if p.is_file() else "folder"
            for p in root.rglob("*")}


class Install(L.TestCase):
    """make install and uninstall: under programs that start all the time with the library in their /etc/ld.so.preload,
    which is that of a root of the test's own."""

    def setUp(self):
        super().setUp()
        self.root = self.lab.file("root")
        (self.root / "etc").mkdir(parents=True)

    def preload(self, line=LINE):
        (self.root / "etc/ld.so.preload").write_text(f"# a comment\n{line}\n")

    def programs(self, *programs):
        """Into the root, with what the loader needs for them."""
        for program in programs:
            for file in [program, *re.findall(r"(/\S+) \(0x", L.command(["ldd", program]))]:
                copy = self.root / str(file)[1:]
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(file, copy)

    def other_version(self):
        """A build folder whose library has other bytes: a symbol table less, and more behind it."""
        build = self.lab.file("build")
        build.mkdir()
        L.command(["strip", "-o", build / NAME, L.BUILT_SHIM])
        return build

    def test_versions_take_turns(self):
        """An upgrade, a downgrade, and so on: no program dies or says anything."""
        self.programs("/bin/true")
        shutil.copy(L.TOOLS / "static/starter", self.root)
        versions = [L.BUILD, self.other_version()]
        make(L.BUILD, self.root, "install-lib")
        sizes = {(self.root / LINE[1:]).stat().st_size}
        self.preload()
        began, installs = time.monotonic(), 0
        starters = [self.lab.start("client", ["chroot", self.root, "/starter", STARTS // 2, "/bin/true"])
                    for _ in range(2)]
        while any(s.process.poll() is None for s in starters):
            installs += 1
            make(versions[installs % 2], self.root, "install-lib")
            sizes.add((self.root / LINE[1:]).stat().st_size)
            time.sleep(0.1)  # most of an installation is make, beside which nothing starts
        rate = STARTS / (time.monotonic() - began)
        self.note(f"{installs} installations during {STARTS} starts, {rate:.0f} a second")
        for starter in starters:
            self.assertEqual(starter.text(), f"{STARTS // 2} lived\n")
        self.assertGreater(installs, 3)
        self.assertEqual(len(sizes), 2)
        if STARTS > 4000:
            self.assertGreaterEqual(rate, RATE)

    def of_another_soname(self):
        """A build folder whose library is that of the next version that cannot take the place of this one."""
        build = self.lab.file("build")
        build.mkdir()
        bytes_of_it = L.BUILT_SHIM.read_bytes()
        self.assertEqual(bytes_of_it.count(f"{NAME}.0\0".encode()), 1)
        (build / NAME).write_bytes(bytes_of_it.replace(f"{NAME}.0\0".encode(), f"{NAME}.1\0".encode()))
        return build

    def loaded(self):
        """Which of them a program in the root has, that says nothing of it."""
        r = self.lab.run(["chroot", self.root, "/lib64/ld-linux-x86-64.so.2", "--list", "/bin/true"])
        self.assertEqual((r.code, r.err), (0, ""), r)
        return re.findall(rf"/{LIBDIR}/(\S+)", r.out.decode())

    def test_two_versions_beside_each_other(self):
        """Each is loaded by its own name, each is taken away when nothing names that one; programs that have
        got both work."""
        self.programs("/bin/true", "/lib64/ld-linux-x86-64.so.2")
        one, other = f"{NAME}.0", f"{NAME}.1"
        make(L.BUILD, self.root, "install")
        make(self.of_another_soname(), self.root, "SOVERSION=1", "install-lib")
        folder = self.root / LIBDIR
        self.assertEqual({p.name for p in folder.glob("*.so*")}, {NAME, one, other})
        for line, name in (one, one), (other, other), (NAME, NAME):
            self.preload(f"/{LIBDIR}/{line}")
            self.assertEqual(self.loaded(), [name])
        self.assertEqual(os.readlink(folder / NAME), other)
        self.both_work(folder / one, folder / other)
        for line in NAME, other:
            self.preload(f"/{LIBDIR}/{line}")
            with self.assertRaises(RuntimeError):
                make(L.BUILD, self.root, "SOVERSION=1", "uninstall-lib")
        make(L.BUILD, self.root, "uninstall-lib")
        self.assertEqual({p.name for p in folder.glob("*.so*")}, {NAME, other})
        self.assertEqual(self.loaded(), [other])
        make(L.BUILD, self.root, "install-lib")
        self.preload(f"/{LIBDIR}/{one}")
        make(L.BUILD, self.root, "SOVERSION=1", "uninstall-lib")
        self.assertEqual({p.name for p in folder.glob("*.so*")}, {NAME, one})
        self.assertTrue((self.root / "usr/local/bin/convert-run").exists())

    def both_work(self, *files):
        """As when the one is in /etc/ld.so.preload and the other in a session's LD_PRELOAD."""
        servers.nginx(self.lab)
        converter = self.lab.converter("--mptcp")
        for n, both in enumerate((files, files[::-1]), 1):
            shim = self.lab.config(log=False) | {"LD_PRELOAD": ":".join(map(str, both))}
            r = self.lab.run(["curl", "-sS", f"http://{L.SERVER}/who"], shim=shim)
            self.assertEqual((r.code, r.out.decode(), r.err), (0, L.ROUTER + "\n", ""), r)
            self.assertEqual(len(converter.events("request", n)), n)

    def test_uninstall_refuses(self):
        """While anything names the library, with the line to take away; then nothing remains."""
        before = tree(self.root)
        make(L.BUILD, self.root, "install")
        installed = tree(self.root)
        def place(name):
            (self.root / name).parent.mkdir(parents=True, exist_ok=True)
            return self.root / name

        dropin = place("etc/systemd/system/x.service.d/convert.conf")
        for file, text, line in (
                (place("etc/environment.d/50-convert.conf"), f"A=b\nLD_PRELOAD={LINE}\n", 2),
                (place("run/environment.d/50-convert.conf"), f"LD_PRELOAD={LINE}\n", 1),
                (place("usr/lib/environment.d/50-convert.conf"), f"LD_PRELOAD={LINE}\n", 1),
                (place("usr/local/lib/environment.d/50-convert.conf"), f"LD_PRELOAD={LINE}\n", 1),
                (place("root/.config/environment.d/convert.conf"), f"LD_PRELOAD={LINE}\n", 1),
                (place("home/x y/.profile"), f"# {LINE}\nexport LD_PRELOAD='{LINE}'\n", 2),
                (place("etc/profile.d/convert.sh"), f"LD_PRELOAD={LINE}; export LD_PRELOAD\n", 1),
                (place("etc/default/x"), f"LD_PRELOAD='{NAME}'\n", 1),
                (place("etc/security/pam_env.conf"), f"LD_PRELOAD DEFAULT={LINE}\n", 1),
                (place("etc/systemd/system/x:y.service"), f"# {LINE}\nEnvironment=LD_PRELOAD={LINE}\n", 2),
                (place("etc/systemd/system.conf"), f"[Manager]\nDefaultEnvironment=LD_PRELOAD={LINE}\n", 2),
                (self.root / "etc/ld.so.preload", f"# {LINE}\n/lib/other.so {LINE}\n", 2),
                (self.root / "etc/ld.so.preload", f"/usr/local/$LIB/{NAME}.0\n", 1),
                (self.root / "etc/ld.so.preload", f"/lib/other.so:{NAME}\n", 1),
                (self.root / "etc/environment", f"LD_PRELOAD={LINE[:-2]}\n", 1),
                (dropin, f"[Service]\nEnvironment=A=b LD_PRELOAD={LINE}\n", 2)):
            file.write_text(text)
            with self.assertRaises(RuntimeError) as refused:
                if file == dropin:
                    make(L.BUILD, self.root, "uninstall")
                else:  # what it asks, which is quicker
                    L.command([L.ROOT / "packaging/named", self.root, f"/{LIBDIR}", f"{NAME}.0"])
            self.assertIn(f"{file}:{line}:{text.splitlines()[line - 1]}\n", str(refused.exception))
            self.assertNotIn(f"{file}:{3 - line}:", str(refused.exception))
            self.assertLessEqual(installed.keys(), tree(self.root).keys())
            file.unlink()
        others = {place("etc/ld.so.preload"): f"#{LINE}\n/opt/lib/{NAME}\n",
                  place("etc/apparmor.d/x"): f"{LINE} mr,\n",
                  place("etc/environment.d/50-convert.conf~"): f"LD_PRELOAD={LINE}\n"}
        for file, text in others.items():
            file.write_text(text)
        make(L.BUILD, self.root, "uninstall")
        for file in others:
            file.unlink()
        left = {p for p in tree(self.root).keys() - before.keys() if not p.is_dir()}
        self.assertEqual(left, set())

    def commands(self, **own):
        """A PATH of what there is by these names, and of one's own."""
        folder = self.lab.file("commands")
        folder.mkdir()
        for name in ("sh", "make", "install", "mv", "ln", "rm", "grep", "sort", "find", "sed", "head", "dirname", "cat",
                     "readlink", "uname", "mkdir", "cmp", "echo", "gcc", "printf", "nproc", "git", "sync"):
            text = own.get(name, shutil.which(name))
            if text and text.startswith("#!"):
                (folder / name).write_text(text)
                (folder / name).chmod(0o755)
            elif text:
                (folder / name).symlink_to(text)
        return {"PATH": str(folder)}

    def test_no_sync(self):
        """bitbake lets recipes have none."""
        built = [word for name in ("convert-run", "convert-bootstrap", NAME) for word in ("-o", L.BUILD / name)]
        r = self.lab.run(["make", "-s", "-C", L.ROOT, f"BUILD={L.BUILD}", f"DESTDIR={self.root}", *built, "install-lib"],
                         env=self.commands(sync=""))
        self.assertEqual((r.code, r.err), (0, ""), r)
        self.assertEqual({p.name for p in (self.root / LIBDIR).iterdir()}, {NAME, f"{NAME}.0"})

    def test_uninstall_refuses_with_a_small_grep(self):
        """Such as busybox', which knows fewer options."""
        self.preload()
        small = f"""#!/bin/sh
while getopts lnqvscFiHhe:f:Lorm:wA:B:C:EzaIx option; do
	[ "$option" != "?" ] || exit 1
done
exec {shutil.which("grep")} "$@"
"""
        r = self.lab.run([L.ROOT / "packaging/named", self.root, f"/{LIBDIR}", f"{NAME}.0"], env=self.commands(grep=small))
        self.assertEqual(r.code, 1, r)
        self.assertIn(f"{self.root}/etc/ld.so.preload:2:{LINE}\n", r.err)

    def test_what_links_lead_to(self):
        """Is asked, in the root where they are, and named once."""
        (self.root / "usr/lib/systemd/system").mkdir(parents=True)
        (self.root / "lib").symlink_to("usr/lib")
        setting = f"LD_PRELOAD={LINE}\n"
        for link, to, file, text in (
                ("etc/ld.so.preload", "/usr/share/preload", "usr/share/preload", LINE + "\n"),
                ("etc/environment", "environment.mine", "etc/environment.mine", setting),
                ("etc/environment.d/x.conf", "../../opt/env", "opt/env", setting),
                ("home/x y/.profile", "dot/profile", "home/x y/dot/profile", setting),
                ("home/x y/.config/systemd", "../dot/systemd", "home/x y/dot/systemd/user/a.service",
                 f"Environment={setting}"),
                ("etc/systemd/system/a.service.d", "/opt/drop-ins", "opt/drop-ins/convert.conf",
                 f"Environment={setting}"),
                ("etc/systemd/system/multi-user.target.wants/b.service", "/lib/systemd/system/b.service",
                 "usr/lib/systemd/system/b.service", f"Environment={setting}"),
                ("etc/systemd/system/multi-user.target.wants/c.service", "../c.service", "etc/systemd/system/c.service",
                 f"Environment={setting}")):
            for path in link, file:
                (self.root / path).parent.mkdir(parents=True, exist_ok=True)
            (self.root / link).symlink_to(to)
            (self.root / file).write_text(text)
            r = self.lab.run([L.ROOT / "packaging/named", self.root, f"/{LIBDIR}", f"{NAME}.0"])
            self.assertEqual(r.code, 1, (link, r))
            named = [line for line in r.err.splitlines() if line.startswith(str(self.root))]
            self.assertEqual(named, [f"{self.root / file}:1:{text[:-1]}"], r)
            (self.root / link).unlink()
            (self.root / file).unlink()
        (self.root / "etc/environment").symlink_to("environment")
        r = self.lab.run([L.ROOT / "packaging/named", self.root, f"/{LIBDIR}", f"{NAME}.0"])
        self.assertEqual((r.code, r.err), (0, ""), r)

    def test_what_uninstall_proposes(self):
        """Commands that take the library out of each place, and nothing else; whatever the folders are called."""
        root = self.lab.file("it's a root")
        texts = {"etc/ld.so.preload": f"# {LINE}\n/lib/other.so {LINE}\n/opt/lib/{NAME}\n",
                 "etc/environment": f"A={LINE}.txt\nLD_PRELOAD=\"/lib/other.so:{LINE}\"\n",
                 "etc/environment.d/it's.conf": f"LD_PRELOAD={LINE}\n# LD_PRELOAD\nLD_PRELOAD={LINE}:/lib/other.so\n"}
        for name, text in texts.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text)
        for folder in "etc/systemd/system", LIBDIR:
            (root / folder).mkdir(parents=True)
        shutil.copy(L.BUILT_SHIM, root / LINE[1:])
        for unit in "it", "x:y@", "x\\x2d1":
            r = self.lab.run([L.BUILD / "convert-run", "--root", root, "enable", unit])
            self.assertEqual(r.code, 0, r)
        def named(**env):
            r = self.lab.run([L.ROOT / "packaging/named", root, f"/{LIBDIR}", f"{NAME}.0"], env=env)
            self.assertEqual(r.code, 1, r)
            return [line for line in r.err.splitlines() if line.startswith("  ")]

        self.assertEqual({line.rpartition("/etc/")[2] for line in named() if " rm " in line},
                         {f"systemd/system/{unit}.service.d/convert.conf'" for unit in ("it", "x:y@", "x\\x2d1")})
        proposed = named(PATH=f"{L.BUILD}:/usr/bin:/bin")
        self.assertEqual(len(proposed), len(texts) + 3, proposed)
        self.assertEqual(sum("convert-run" in line for line in proposed), 3, proposed)
        commands = "set -e\n" + "\n".join(proposed)
        done = self.lab.run(["sh", "-c", commands], env={"PATH": f"{L.BUILD}:/usr/bin:/bin"})
        self.assertEqual(done.code, 0, done)
        r = self.lab.run([L.ROOT / "packaging/named", root, f"/{LIBDIR}", f"{NAME}.0"])
        self.assertEqual((r.code, r.err), (0, ""), r)
        self.assertEqual({name: (root / name).read_text() for name in texts}, {
            "etc/ld.so.preload": f"# {LINE}\n/lib/other.so \n/opt/lib/{NAME}\n",
            "etc/environment": f"A={LINE}.txt\nLD_PRELOAD=\"/lib/other.so:\"\n",
            "etc/environment.d/it's.conf": "LD_PRELOAD=\n# LD_PRELOAD\nLD_PRELOAD=:/lib/other.so\n"})
        self.assertEqual(list((root / "etc/systemd/system").iterdir()), [])
        for name in texts:
            (root / name).unlink()
        r = self.lab.run([L.ROOT / "packaging/named", root, f"/{LIBDIR}", f"{NAME}.0"])
        self.assertEqual((r.code, r.err), (0, ""), r)

    def test_over_the_one_before(self):
        """Over a library that had no version in its name; both names are right all the time."""
        (self.root / LIBDIR).mkdir(parents=True)
        (self.root / LIBDIR / NAME).write_text("the one before")
        make(L.BUILD, self.root, "install-lib")
        self.assertEqual((self.root / LIBDIR / NAME).read_bytes(), L.BUILT_SHIM.read_bytes())
        names = {p.name for p in (self.root / LIBDIR).iterdir()}
        self.assertEqual(names, {NAME, f"{NAME}.0"})

    def test_folder_with_a_space(self):
        """The tree is built and tested in one, and installed into one. A few files are compiled; of all other commands
        what they would be is looked at."""
        with tempfile.TemporaryDirectory(prefix="a folder ") as folder:  # an inner lab has a /run/lab of its own
            tree = pathlib.Path(folder, "the tree")
            ignored = shutil.ignore_patterns(".git", "build", L.BUILD.name, "__pycache__")
            shutil.copytree(L.ROOT, tree, symlinks=True, ignore=ignored)
            shutil.copytree(L.BUILD, tree / "build", symlinks=True, ignore=lambda at, names: [
                name for name in names if at == str(L.BUILD) and name not in ("obj", "has", "flags", "paths")])
            for name in "common/wire", "tests/lab/middlebox", "tests/unit/test_wire":
                (tree / f"build/obj/{name}.o").unlink(missing_ok=True)
            flags = tree / "build/flags"  # with the folder's name; a change of it would have all compiled
            flags.write_text(flags.read_text().replace(str(L.ROOT), str(tree)))
            shutil.copystat(L.BUILD / "flags", flags)
            words = ["make", "-C", tree, "BUILD=build", "DEPS=no"]
            L.command([*words, "-j2", "all", "build/unit/test_wire"])
            L.command([*words, "check-unit", "UNIT_TESTS=build/unit/test_wire", "REPLAYS=build/unit/test_wire"])
            L.command(["env", "BUILD=build", tree / "tests/e2e/test_readme.py", "-k", "wire_shows"], cwd=tree)
            others = tree / "a root/opt/my"
            others.parent.mkdir(parents=True)
            others.touch()
            for prefix in "/usr/local", "/opt/my tools":
                installed = [*words, f"DESTDIR={tree}/a root", f"PREFIX={prefix}"]
                L.command([*installed, "install"])
                self.assertTrue((tree / f"a root{prefix}/lib/{NAME}.0").exists())
                (unit,) = (tree / "a root").rglob("convert-bootstrap.service")
                self.assertIn(f'\nExecStart="{prefix}/bin/convert-bootstrap" run\n', unit.read_text())
                L.command([*installed, "uninstall"])
                self.assertEqual([p for p in (tree / "a root").rglob("*") if not p.is_dir()], [others])
            said = L.command([*words, "-nB", "check-here", "check-dissector", "check-exports", "fuzz", "deb",
                              "build/e2e/any/get"])
            named = [word for word in shlex.split(said) if folder.split(" ")[0] in word]
            self.assertGreater(len(named), 100)
            self.assertEqual([word for word in named if str(tree) not in word], [])


if __name__ == "__main__":
    L.main()
