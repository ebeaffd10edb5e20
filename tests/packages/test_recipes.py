#!/usr/bin/python3 -B
# SPDX-License-Identifier: MIT
"""The steps of packaging/'s recipes for systems whose tools Debian does not have, as those tools would do
them: the recipe's own lines are run, by a shell or by make, with a cross compiler (aarch64), under the tool's
name for it, and stand-ins for what the tool defines; what has a choice is built with the programs and without.

What this cannot show: that the tool takes the recipe's other fields, and downloads.
"""
import re
import shutil

from test_packages import L, Packages, VERSION, WORK, chroot, copy_of_tree, unpack

CC = "aarch64-linux-gnu-gcc"
NAME = "libconvert-preload.so"
PROGRAMS = "usr/bin/convert-run", "usr/bin/convert-bootstrap"

# The compilers of OpenWrt and Buildroot by their names, and as the wrapper of the latter: no folder of this machine's.
OF_MUSL = {tool: f"aarch64-{tool}-linux-musl-gcc" for tool in ("openwrt", "buildroot")}
WRAPPER = f"""#!/bin/sh
for word; do
    case $word in
    -dumpmachine) echo aarch64-tool-linux-musl && exit ;;
    *-ffile-prefix-map=*) ;;
    /usr/* | -[IL]/usr/* | -isystem*/usr/* | -idirafter*/usr/*) echo "unsafe: $word" >&2 && exit 1 ;;
    esac
done
exec {CC} "$@"
"""

# What OpenWrt's rules.mk and package.mk do with the definitions.
RULES = """
INCLUDE_DIR := /stand-in
TARGET_CC := %s
PKG_JOBS := -j2
TARGET_AR := aarch64-linux-gnu-ar
TARGET_CFLAGS := -Os -pipe
DL_DIR := /dl
TAR := tar
CP := cp -fpR
INSTALL_DIR := install -d -m0755
INSTALL_BIN := install -m0755
PKG_BUILD_DIR := /work/openwrt/build
PKG_INSTALL_DIR := /work/openwrt/install
""" % OF_MUSL["openwrt"]
PACKAGE = """
define Build/Prepare/Default
mkdir -p $(PKG_BUILD_DIR) && cp -r /src/. $(PKG_BUILD_DIR)
endef
Build/Prepare = $(Build/Prepare/Default)
define BuildPackage
$(eval $(Package/$(1)))
$(info $(1) of $(SECTION) depends on $(DEPENDS))
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
INSTALL := install
WORK := /work/buildroot$(BR2_PACKAGE_CONVERT_PRELOAD_CLIENT)
TARGET_DIR := $(WORK)/target
STAGING_DIR := $(WORK)/staging
TARGET_MAKE_ENV := PATH=$(PATH)
TARGET_CONFIGURE_OPTS := CC=%s AR=aarch64-linux-gnu-ar CFLAGS=-Os LDFLAGS=
all: $(WORK)/build/.stamp
define generic-package
$(WORK)/build/.stamp: $(CONVERT_PRELOAD_DEPENDENCIES:%%=has-%%)
	mkdir -p $$(@D) && cp -r /src/. $$(@D)
	$$(CONVERT_PRELOAD_BUILD_CMDS)
	$$(CONVERT_PRELOAD_INSTALL_TARGET_CMDS)
endef
include /src/packaging/buildroot/convert-preload.mk
has-jansson has-libcurl has-ncurses:
has-uthash: /work/uthash/.stamp
define generic-package
/work/uthash/.stamp:
	$$(UTHASH_INSTALL_STAGING_CMDS)
endef
include /src/packaging/buildroot/uthash/uthash.mk
""" % OF_MUSL["buildroot"]


class bb:  # of bitbake what the recipe calls
    class utils:
        @staticmethod
        def contains(variable, words, yes, no, d):
            return yes if set(words.split()) <= set(d[variable].split()) else no


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
        for name in OF_MUSL.values():
            (cls.root / "usr/bin" / name).write_text(WRAPPER)
            (cls.root / "usr/bin" / name).chmod(0o755)

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
        self.are_files("work/alpine/pkg", *PROGRAMS, "usr/share/man/man1/convert-run.1")
        self.are_files("work/alpine/openrc", "etc/init.d/convert-bootstrap")
        self.assertFalse((self.root / "work/alpine/pkg/usr/lib/systemd").exists())

    def test_openwrt(self):
        (self.root / "stand-in/rules.mk").write_text(RULES)
        (self.root / "stand-in/package.mk").write_text(PACKAGE)
        r = self.sh('make -C /src/packaging/openwrt TOPDIR=/stand-in')
        self.is_library(f"work/openwrt/libconvert-preload/usr/lib/{NAME}.0")
        self.are_files("work/openwrt/convert-client", *PROGRAMS, "etc/init.d/convert-bootstrap")
        depends = dict(re.findall(r"^(\S+) of net depends on (.*)$", r.out.decode(), re.M))
        self.assertEqual(depends.keys(), {"libconvert-preload", "convert-client"})
        for package in depends.values():
            self.assertTrue(package.startswith("@((ARCH_64BIT&&"), package)
        self.assertIn(" +libconvert-preload +", depends["convert-client"])

    def test_buildroot(self):
        # a libcurl of Buildroot's has no TLS unless it is asked for, with a library for it
        config = (self.root / "src/packaging/buildroot/Config.in").read_text()
        selected = re.findall(r"^\tselect BR2_PACKAGE_(\w+)", config, re.M)
        self.assertLessEqual({"LIBCURL", "LIBCURL_FORCE_TLS", "OPENSSL", "CA_CERTIFICATES"}, set(selected))
        (self.root / "work/buildroot.mk").write_text(BUILDROOT)
        self.sh("mkdir -p /work/uthash/src && cp /usr/include/uthash.h /work/uthash/src")
        for client in "", "y":
            self.sh(f'make -C /work -f buildroot.mk BR2_PACKAGE_CONVERT_PRELOAD_CLIENT={client}')
            self.is_library(f"work/buildroot{client}/target/usr/lib/{NAME}.0")
            if client:
                self.are_files("work/buildrooty", *(f"target/{p}" for p in PROGRAMS), "staging/usr/include/uthash.h")

    def test_yocto(self):
        """Its variables by their simple rules; the functions as the shell's."""
        text = (self.root / f"src/packaging/yocto/convert-preload_{VERSION}.bb").read_text()
        folded = text.replace("\\\n", "")
        values = {"prefix": "/usr", "libdir": "/usr/lib", "bindir": "/usr/bin", "sysconfdir": "/etc",
                  "systemd_system_unitdir": "/usr/lib/systemd/system", "D": "/work/yocto/image"}
        for name in "CONVERT_WHAT", "CONVERT_INSTALL":
            values[name] = re.search(rf'^{name} = "(.*)"$', folded, re.M)[1]
        oemake = re.search(r'^EXTRA_OEMAKE = "(.*)"$', folded, re.M)[1]
        functions = dict(re.findall(r"^(do_\w+)\(\) \{\n(.*?)^\}", text, re.M | re.S))
        self.assertEqual(set(functions), {"do_compile", "do_install"})

        def expand(words):
            words = re.sub(r"\$\{(\w+)\}", lambda m: values[m[1]], words)
            return re.sub(r"\$\{@(.*?)\}", lambda m: eval(m[1], {"bb": bb, "d": values}), words)
        self.assertIn(f"md5={self.md5('LICENSE')}", text)
        for choice in "", re.search(r'^PACKAGECONFIG \?\?= "(.*)"$', text, re.M)[1]:
            values["PACKAGECONFIG"] = choice
            self.sh(f"""
                rm -rf /work/yocto && cp -r /src /work/yocto && cd /work/yocto
                oe_runmake() {{ make -j2 CC={CC} {expand(oemake)} "$@"; }}
                {expand(functions["do_compile"])}
                {expand(functions["do_install"])}""")
            self.is_library(f"work/yocto/image/usr/lib/{NAME}.0")
            self.assertEqual((self.root / "work/yocto/image" / PROGRAMS[0]).exists(), choice == "client")

    def md5(self, file):
        return L.command(["md5sum", self.root / "src" / file]).split()[0]


if __name__ == "__main__":
    L.main(setup)
