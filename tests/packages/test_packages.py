#!/usr/bin/python3 -B
# SPDX-License-Identifier: MIT
"""Built, installed, used, upgraded and taken away in roots of Debian's that have nothing else in them
(make check-packages). As root; no step of this has a network but the lab's.

ROOTS: the folder with the roots as tar archives: lean has a compiler, build what debian/control
asks for, fresh what the packages depend on.
"""
import filecmp
import os
import pathlib
import re
import shutil
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lab"))
import lab as L  # noqa: E402
import servers  # noqa: E402

L.TEST_LIMIT = 3600
ROOTS = pathlib.Path(os.environ["ROOTS"]).resolve()
WORK = ROOTS / "work"
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C", "HOME": "/root",
               "DEBIAN_FRONTEND": "noninteractive",
               "DEB_BUILD_OPTIONS": "nocheck noautodbgsym parallel=2",
               "DEB_BUILD_PROFILES": "nocheck"}
VERSION = re.search(r"^VERSION := (.*)", (L.ROOT / "Makefile").read_text(), re.M)[1]
LIBRARY = "/usr/lib/x86_64-linux-gnu/libconvert-preload.so.0"
STARTER = """
while [ ! -e /stop ]; do
    /bin/true || echo "died: $?"
done
"""


def setup(lab):
    shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir()
    nginx = servers.nginx(lab)
    assert nginx
    lab.converter("--mptcp")


def unpack(name):
    root = WORK / name
    root.mkdir()
    L.command(["tar", "-xf", ROOTS / f"{name}.tar", "-C", root])
    L.command(["mount", "-t", "proc", "proc", root / "proc"])
    return root


def copy_of_tree(to):
    """Without what was built."""
    shutil.copytree(L.ROOT, to, symlinks=True, ignore=shutil.ignore_patterns(
        ".git", "build", L.BUILD.name, "__pycache__"))


def chroot(root, *argv, ns="client", stdin=b"", **env):
    done = subprocess.run(L.inside(ns, ["chroot", root, *argv]), env=ENVIRONMENT | env, input=stdin,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=3000)
    return L.Result([str(a) for a in argv], done.returncode, done.stdout,
                    done.stderr.decode(errors="replace"), "", 0)


def names(root):
    """What there is, but for what dpkg, apt and the loader's cache keep for themselves."""
    ours = ("proc", "var/lib/dpkg", "var/log", "var/cache", "etc/ld.so.cache", "dev", "sys")
    found = set()
    for folder, folders, files in os.walk(root):
        at = os.path.relpath(folder, root)
        folders[:] = [f for f in folders if os.path.normpath(os.path.join(at, f)) not in ours]
        found |= {n for f in folders + files if (n := os.path.normpath(os.path.join(at, f))) not in ours}
    return found


class Packages(L.TestCase):
    def works(self, root, *argv, **more):
        r = chroot(root, *argv, **more)
        self.assertEqual(r.code, 0, r)
        return r


class Library(Packages):
    def test_nothing_but_a_compiler(self):
        """The library alone, and what else is asked for by name."""
        root = unpack("lean")
        copy_of_tree(root / "src")
        make = ["make", "-C", "/src", "-s"]
        self.works(root, *make, "-j2", "lib")
        self.works(root, *make, "install-lib")
        file = "/usr/local/lib/libconvert-preload.so.0"
        (root / "etc/ld.so.preload").write_text(file + "\n")
        r = self.works(root, "cat", "/proc/self/maps")
        self.assertIn(file, r.out.decode())
        self.assertEqual(r.err, "")
        for target, line in (("helper", "(jansson.h|curl/curl.h|curses.h|uthash.h): not found, which is in Debian's"
                                        " (libjansson-dev|libcurl4-openssl-dev|libncurses-dev|uthash-dev)"),
                             ("lab", "libnetfilter_queue/libnetfilter_queue.h: not found, which is in"
                                     " Debian's libnetfilter-queue-dev")):
            r = chroot(root, *make, target)
            self.assertEqual(r.code, 2, r)
            said = [line for line in r.err.splitlines() if not line.startswith("make")]
            self.assertEqual(len(said), 1, r)
            self.assertRegex(said[0], f"^{line}$")


class Debian(Packages):
    @classmethod
    def setUpClass(cls):
        """The version before, and twice the one that is: in folders of other names."""
        cls.root = unpack("build")
        cls.debs = {name: cls.build(name, version) for name, version in (
            ("before", "0.0.9"), ("one", VERSION), ("another/folder", VERSION))}

    @classmethod
    def build(cls, name, version):
        tree = cls.root / "src" / name / "tree"
        copy_of_tree(tree)
        for file, line in ("Makefile", "VERSION := {}"), ("packaging/debian/changelog",
                                                           "convert-preload ({}-"):
            text = (tree / file).read_text()
            (tree / file).write_text(text.replace(line.format(VERSION), line.format(version)))
        r = chroot(cls.root, "make", "-C", f"/src/{name}/tree", f"DEB=/src/{name}/deb", "deb")
        if r.code:
            raise RuntimeError(r)
        return cls.root / "src" / name / "deb"

    def deb(self, name, package):
        (file,) = self.debs[name].glob(f"{package}_*.deb")
        return file

    def test_reproducible(self):
        for package in "libconvert-preload0", "convert-client":
            one, other = (self.deb(name, package) for name in ("one", "another/folder"))
            self.assertTrue(filecmp.cmp(one, other, shallow=False), package)

    def test_lintian(self):
        (changes,) = self.debs["one"].glob("*.changes")
        r = subprocess.run(["lintian", "--allow-root", "--fail-on", "error,warning", changes],
                           capture_output=True, text=True, env=ENVIRONMENT)
        self.assertEqual((r.returncode, r.stdout), (0, ""), r.stdout + r.stderr)

    def test_libc_is_there_before(self):
        """The library is in every process, and one whose libc lacks a version of a symbol ends all of them: dpkg has to
        have set up libc when it unpacks the library, not only before it sets that up."""
        r = L.command(["dpkg-deb", "-f", self.deb("one", "libconvert-preload0"), "Pre-Depends"])
        self.assertRegex(r, r"(^|, )libc6 \(>= 2")

    def test_services_at_upgrade_and_removal(self):
        """systemd reads the units again and starts those anew that run, once the new program is there; they are stopped
        before it is taken away, and not before an upgrade, behind which nothing would start them."""
        folder = self.lab.file("control")
        L.command(["dpkg-deb", "-e", self.deb("one", "convert-client"), folder])
        self.assertFalse((folder / "preinst").exists())
        postinst, prerm = ((folder / name).read_text() for name in ("postinst", "prerm"))
        self.assertIn("systemctl --system daemon-reload", postinst)
        self.assertRegex(postinst, r'if \[ -n "\$2" \]; then\n\s*_dh_action=restart\n')
        self.assertRegex(prerm, r'\[ "\$1" = remove \].*\n\s*deb-systemd-invoke stop')

    def curl(self, root):
        r = self.works(root, "convert-run", "-v", "-a", L.CONVERTER, "curl", "-sS",
                       f"http://{L.SERVER}/who")
        self.assertEqual(r.out.decode(), L.ROUTER + "\n", r)
        self.assertIn(": connected", r.err)

    def install(self, root, name):
        files = []
        for package in "libconvert-preload0", "convert-client":
            shutil.copy(self.deb(name, package), root / "tmp")
            files.append(f"/tmp/{self.deb(name, package).name}")
        self.works(root, "dpkg", "-i", *files)
        for file in files:
            (root / file[1:]).unlink()

    def test_installed_used_upgraded_purged(self):
        root = unpack("fresh")
        before = names(root)
        self.install(root, "before")
        self.curl(root)
        self.assertIn(b"0.0.9", self.works(root, "convert-run", "-V").out)
        self.works(root, "convert-bootstrap", "explain", "curl")
        (root / "etc/ld.so.preload").write_text(LIBRARY + "\n")
        shell = self.lab.start("client", ["chroot", root, "/bin/sh", "-c", STARTER])
        for name in "one", "before", "one":
            self.install(root, name)
        (root / "stop").touch()
        shell.process.wait(60)
        self.assertEqual((shell.text(), shell.process.returncode), ("", 0))
        (root / "stop").unlink()
        self.assertIn(VERSION.encode(), self.works(root, "convert-run", "-V").out)
        self.curl(root)
        self.works(root, "convert-run", "--root", "/", "-a", L.CONVERTER, "enable", "convert-bootstrap")
        drop_in = "etc/systemd/system/convert-bootstrap.service.d/convert.conf"
        self.assertIn(f'"LD_PRELOAD={LIBRARY}"', (root / drop_in).read_text())
        for file, line in (("etc/ld.so.preload", f"/etc/ld.so.preload:1:{LIBRARY}\n"),
                           (drop_in, f"\n  rm /{drop_in}\n")):  # convert-run is gone by then
            r = chroot(root, "dpkg", "-P", "convert-client", "libconvert-preload0")
            self.assertNotEqual(r.code, 0, r)
            self.assertIn(line, r.err)
            self.assertTrue((root / LIBRARY[1:]).exists())
            self.install(root, "one")
            if file == drop_in:
                self.works(root, "convert-run", "--root", "/", "disable", "convert-bootstrap")
            else:
                (root / file).unlink()
        (root / "run/convert").mkdir()
        r = self.works(root, "dpkg", "-P", "convert-client", "libconvert-preload0")
        self.assertEqual(r.err, "")
        self.assertEqual(names(root) - before, set())


if __name__ == "__main__":
    L.main(setup)
