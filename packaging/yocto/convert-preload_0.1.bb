# SPDX-License-Identifier: MIT
SUMMARY = "0-RTT TCP Convert (RFC 8803) for unmodified programs"
DESCRIPTION = "A library that is preloaded into programs, so that their TCP connections go by way of a \
Transport Converter; a wrapper for programs and services; a helper that asks the converters."
HOMEPAGE = "https://www.rfc-editor.org/rfc/rfc8803"
LICENSE = "MIT"
LIC_FILES_CHKSUM = "file://LICENSE;md5=9b21631120f0d1915d66eafb0e5a71d0"

# CONVERT_PRELOAD_URI: where the archive of the tree is; of one by https SRC_URI[sha256sum] is asked for.
CONVERT_PRELOAD_URI ?= "file://convert-preload-${PV}.tar.gz"
SRC_URI = "${CONVERT_PRELOAD_URI}"

# musl on 32 bits is not built: preload/kernel/libc.h
COMPATIBLE_HOST:libc-musl = "(x86_64|aarch64|powerpc64|riscv64|mips64|loongarch64).*-linux"

# Without "client" there is no package of the recipe's own name: an image names lib${BPN}.
PACKAGECONFIG ??= "client"
PACKAGECONFIG[client] = ",,curl jansson ncurses uthash"

CONVERT_WHAT = "lib ${@bb.utils.contains('PACKAGECONFIG', 'client', 'helper', '', d)}"
CONVERT_INSTALL = "${@bb.utils.contains('PACKAGECONFIG', 'client', 'install', 'install-lib', d)}"
EXTRA_OEMAKE = "PREFIX=${prefix} LIBDIR=${libdir} BINDIR=${bindir} UNITDIR=${systemd_system_unitdir} \
                SYSCONFDIR=${sysconfdir} DEPS=no EXAMPLE= V=1"

do_compile() {
	oe_runmake ${CONVERT_WHAT}
}

do_install() {
	oe_runmake DESTDIR=${D} ${CONVERT_INSTALL}
}

PACKAGES =+ "lib${BPN}"
# the plain name goes with the library, and is no development file
FILES:lib${BPN} = "${libdir}/libconvert-preload.so*"
FILES:${PN} += "${systemd_system_unitdir} ${datadir}/convert ${datadir}/bash-completion \
                ${datadir}/zsh ${datadir}/fish"
FILES_SOLIBSDEV = ""
INSANE_SKIP:lib${BPN} = "dev-so"
RDEPENDS:${PN} = "lib${BPN}"
