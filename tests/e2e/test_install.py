#!/usr/bin/python3 -B
# SPDX-License-Identifier: MIT
"""make install and uninstall: under programs that start all the time with the library in their
/etc/ld.so.preload, which is that of a root of the test's own.

INSTALL=all: 20,000 starts in place of 4,000, 200 a second or more (make check-install).
"""
import os
import re
import shutil
import time

import lab as L

STARTS = 4000
if os.environ.get("INSTALL") == "all":
    STARTS, L.TEST_LIMIT = 20000, 900
RATE = 200  # a second, of all of them
LIBDIR = "usr/local/lib"
NAME = "libconvert-preload.so"
LINE = f"/{LIBDIR}/{NAME}.0"


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

    def test_uninstall_refuses(self):
        """While anything names the library, with the line to take away; then nothing remains."""
        before = tree(self.root)
        make(L.BUILD, self.root, "install")
        installed = tree(self.root)
        dropin = self.root / "etc/systemd/system/x.service.d/convert.conf"
        dropin.parent.mkdir(parents=True)
        for file, text, line in (
                (self.root / "etc/ld.so.preload", f"# {LINE}\n/lib/other.so {LINE}\n", 2),
                (self.root / "etc/ld.so.preload", f"/usr/local/$LIB/{NAME}.0\n", 1),
                (self.root / "etc/ld.so.preload", f"/lib/other.so:{NAME}\n", 1),
                (self.root / "etc/environment", f"LD_PRELOAD={LINE[:-2]}\n", 1),
                (dropin, f"[Service]\nEnvironment=A=b LD_PRELOAD={LINE}\n", 2)):
            file.write_text(text)
            with self.assertRaises(RuntimeError) as refused:
                make(L.BUILD, self.root, "uninstall")
            self.assertIn(f"{file}:{line}:{text.splitlines()[line - 1]}\n", str(refused.exception))
            self.assertNotIn(f"{file}:{3 - line}:", str(refused.exception))
            self.assertLessEqual(installed.keys(), tree(self.root).keys())
            file.unlink()
        others = self.root / "etc/ld.so.preload"
        others.write_text(f"#{LINE}\n/opt/lib/{NAME}\n")
        make(L.BUILD, self.root, "uninstall")
        others.unlink()
        left = {p for p in tree(self.root).keys() - before.keys() if not p.is_dir()}
        self.assertEqual(left, set())

    def test_over_the_one_before(self):
        """Over a library that had no version in its name; both names are right all the time."""
        (self.root / LIBDIR).mkdir(parents=True)
        (self.root / LIBDIR / NAME).write_text("the one before")
        make(L.BUILD, self.root, "install-lib")
        self.assertEqual((self.root / LIBDIR / NAME).read_bytes(), L.BUILT_SHIM.read_bytes())
        names = {p.name for p in (self.root / LIBDIR).iterdir()}
        self.assertEqual(names, {NAME, f"{NAME}.0"})


if __name__ == "__main__":
    L.main()
