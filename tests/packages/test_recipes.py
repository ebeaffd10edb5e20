#!/usr/bin/python3 -B
# SPDX-License-Identifier: MIT
"""The steps of packaging/'s recipes for systems whose tools Debian does not have, as those tools would do
them: the recipe's own lines are run, by a shell or by make, with a cross compiler (aarch64) and stand-ins
for what the tool defines.

What this cannot show: that the tool takes the recipe's other fields, and downloads.
"""
import re
import shutil

from test_packages import L, Packages, VERSION, WORK, chroot, copy_of_tree, unpack

CC = "aarch64-linux-gnu-gcc"
NAME = "libconvert-preload.so"

# What OpenWrt's rules.mk and package.mk do with the definitions.
RULES = """
INCLUDE_DIR := /stand-in
TARGET_CC := %s
TARGET_AR := aarch64-linux-gnu-ar
TARGET_CFLAGS := -Os -pipe
DL_DIR := /dl
TAR := tar
CP := cp -fpR
INSTALL_DIR := install -d -m0755
INSTALL_BIN := install -m0755
PKG_BUILD_DIR := /work/openwrt/build
PKG_INSTALL_DIR := /work/openwrt/install
""" % CC
PACKAGE = """
define Build/Prepare/Default
mkdir -p $(PKG_BUILD_DIR) && cp -r /src/. $(PKG_BUILD_DIR)
endef
Build/Prepare = $(Build/Prepare/Default)
define BuildPackage
all:: install-$(1)
install-$(1): compiled
	$(call Package/$(1)/install,/work/openwrt/$(1))
endef
all::
compiled:
	$(Build/Prepare)
	$(Build/Compile)
	$(Build/Install)
"""

# Buildroot's generic-package, of one package.
BUILDROOT = """
qstrip = $(strip $(subst ",,$(1)))
TAR := tar
TARGET_DIR := /work/buildroot/target
TARGET_MAKE_ENV := PATH=$(PATH)
TARGET_CONFIGURE_OPTS := CC=%s AR=aarch64-linux-gnu-ar CFLAGS=-Os LDFLAGS=
define generic-package
/work/buildroot/build/.stamp:
	mkdir -p $$(@D) && cp -r /src/. $$(@D)
	$$(CONVERT_PRELOAD_BUILD_CMDS)
	$$(CONVERT_PRELOAD_INSTALL_TARGET_CMDS)
endef
""" % CC


def setup(lab):
    shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir()


class Recipes(Packages):
    @classmethod
    def setUpClass(cls):
        cls.root = unpack("cross")
        copy_of_tree(cls.root / "src")
        for folder in "work", "stand-in", "dl":
            (cls.root / folder).mkdir()

    def are_files(self, folder, *names):
        for name in names:
            self.assertTrue((self.root / folder / name).is_file(), name)

    def sh(self, script, **env):
        return self.works(self.root, "sh", "-ec", script, CC=CC, AR="aarch64-linux-gnu-ar", **env)

    def is_library(self, path):
        """For that machine, of libc alone, and by its plain name, too."""
        r = L.command(["readelf", "-hdW", self.root / path])
        self.assertIn("AArch64", r)
        self.assertIn(f"[{NAME}.0]", r)
        needed = re.findall(r"NEEDED.*\[(.*)\]", r)
        self.note(f"{path}: {(self.root / path).stat().st_size} bytes, needs {needed}")
        self.assertEqual([n for n in needed if not n.startswith(("libc.so", "ld-linux"))], [])
        self.assertEqual((self.root / path).with_name(NAME).readlink().name, f"{NAME}.0")

    def test_library_alone(self):
        """The cross compiler is the only one there."""
        self.assertFalse((self.root / "usr/bin/gcc").exists())
        self.works(self.root, "make", "-s", "-j2", "-C", "/src", "BUILD=/work/lib", "DESTDIR=/work/lib-root",
                   f"CC={CC}", "lib", "install-lib")
        self.is_library(f"work/lib-root/usr/local/lib/{NAME}.0")

    def test_alpine(self):
        """abuild sources the recipe and calls its functions."""
        self.sh(f"""
            srcdir=/work/alpine pkgdir=/work/alpine/pkg
            mkdir -p $srcdir
            cp -r /src $srcdir/convert-preload-{VERSION}
            . /src/packaging/alpine/APKBUILD
            [ "$pkgver $license" = "{VERSION} MIT" ]
            cd "$builddir"
            build
            package
            for sub in libs openrc; do
                subpkgdir=/work/alpine/$sub
                $sub
            done""")
        self.is_library(f"work/alpine/libs/usr/lib/{NAME}.0")
        self.are_files("work/alpine/pkg", "usr/bin/convert-run", "usr/bin/convert-bootstrap",
                       "usr/share/man/man1/convert-run.1")
        self.are_files("work/alpine/openrc", "etc/init.d/convert-bootstrap")
        self.assertFalse((self.root / "work/alpine/pkg/usr/lib/systemd").exists())

    def test_openwrt(self):
        (self.root / "stand-in/rules.mk").write_text(RULES)
        (self.root / "stand-in/package.mk").write_text(PACKAGE)
        self.sh('make -C /src/packaging/openwrt TOPDIR=/stand-in')
        self.is_library(f"work/openwrt/libconvert-preload/usr/lib/{NAME}.0")
        self.are_files("work/openwrt/convert-client", "usr/bin/convert-run",
                       "usr/bin/convert-bootstrap", "etc/init.d/convert-bootstrap")

    def test_buildroot(self):
        (self.root / "work/buildroot").mkdir()
        (self.root / "work/buildroot.mk").write_text(
            BUILDROOT + "include /src/packaging/buildroot/convert-preload.mk\n")
        self.sh('make -C /work -f buildroot.mk')
        self.is_library(f"work/buildroot/target/usr/lib/{NAME}.0")

    def test_yocto(self):
        """Its variables by their simple rules; the functions as the shell's."""
        text = (self.root / f"src/packaging/yocto/convert-preload_{VERSION}.bb").read_text()
        folded = text.replace("\\\n", "")
        values = {"prefix": "/usr", "libdir": "/usr/lib", "bindir": "/usr/bin", "sysconfdir": "/etc",
                  "systemd_system_unitdir": "/usr/lib/systemd/system", "D": "/work/yocto/image",
                  "CONVERT_WHAT": "lib", "CONVERT_INSTALL": "install-lib"}
        oemake = re.search(r'^EXTRA_OEMAKE = "(.*)"$', folded, re.M)[1]
        functions = dict(re.findall(r"^(do_\w+)\(\) \{\n(.*?)^\}", text, re.M | re.S))
        self.assertEqual(set(functions), {"do_compile", "do_install"})

        def expand(words):
            return re.sub(r"\$\{(\w+)\}", lambda m: values[m[1]], words)
        self.assertIn(f"md5={self.md5('LICENSE')}", text)
        self.sh(f"""
            cp -r /src /work/yocto && cd /work/yocto
            oe_runmake() {{ make -j2 CC={CC} {expand(oemake)} "$@"; }}
            {expand(functions["do_compile"])}
            {expand(functions["do_install"])}""")
        self.is_library(f"work/yocto/image/usr/lib/{NAME}.0")

    def md5(self, file):
        return L.command(["md5sum", self.root / "src" / file]).split()[0]


if __name__ == "__main__":
    L.main(setup)
