#!/usr/bin/python3 -B
# SPDX-License-Identifier: MIT
"""docs/reach.md, first part: for each machine and libc, each kind of call and each outcome, does a converted program see
what the same one sees directly? REACH=write writes it; else what is found has to stand there.

Machines that are not x86 are emulated by qemu-user, which lacks SO_COOKIE: tests/lab/qemu-cookie.c."""
import concurrent.futures
import itertools
import os
import shutil
import sys

sys.path.insert(1, sys.path[0] + "/../lab")
import lab as L
import test_transparency as T

DOC = L.ROOT / "docs/reach.md"
CLIENT = "e2e/plain/t_reach"
B = L.BUILD
# what a program is built with: the folder of the library, the client, the emulator
QEMU_ARM = ["qemu-arm", "-L", "/usr/arm-linux-gnueabihf"]  # where Debian's cross compilers have their libc
QEMU_AARCH64 = ["qemu-aarch64", "-L", "/usr/aarch64-linux-gnu"]
TARGETS = {
    "glibc x86-64": (B, B, None),
    "glibc i386, 32-bit time_t": (B / "32", B / "32/narrow", None),
    "glibc i386, 64-bit time_t": (B / "32", B / "32", None),
    "glibc armhf, 32-bit time_t": (B / "armhf", B / "armhf/narrow", QEMU_ARM),
    "glibc armhf, 64-bit time_t": (B / "armhf", B / "armhf", QEMU_ARM),
    "glibc aarch64": (B / "aarch64", B / "aarch64", QEMU_AARCH64),
    "musl x86-64": (B, B / "musl/clients", None),
    "musl x86-64, library of musl": (B / "musl", B / "musl/clients", None),
    "musl aarch64": (B / "aarch64", B / "aarch64/musl", QEMU_AARCH64),
}
# the server, and what the converter does
KINDS = {"accepted": ("accepted", []), "refused": ("refused", []),
         "late and split": ("accepted", T.REPLIES["late"])}
CASES = L.command([B / CLIENT, "list"]).split() if (B / CLIENT).exists() else []
TOO_LATE = 9  # t_reach's
# what direct runs say when the emulator lacks the call
LACKS = {"epoll_pwait2": "wait: ENOSYS"}

L.TEST_LIMIT = 600  # for a row, each cell of which is tried again and again where the machine is busy

found = {}  # target -> case -> [a cell for each kind]


def setup(lab):
    T.setup(lab)
    for library, _, emulator in TARGETS.values():
        folder = L.TMP / library.relative_to(B)
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(library / L.BUILT_SHIM.name, folder)
        if emulator:
            shutil.copy(library / "lab/qemu-cookie.so", folder)


def runs(lab, target, case, kind, shim=None):
    library, client, emulator = TARGETS[target]
    outcome, _ = KINDS[kind]
    argv = [client / CLIENT, f"={case}", *T.OUTCOMES[outcome], L.SERVER, T.ECHO]
    folder = L.TMP / library.relative_to(B)
    preload = [folder / L.BUILT_SHIM.name] + [folder / "qemu-cookie.so"] * bool(emulator)
    shim = shim and shim | {"LD_PRELOAD": ":".join(map(str, preload))}
    if emulator:
        argv = [*emulator, *(word for item in (shim or {}).items() for word in ("-E", "=".join(item))), *argv]
    for _ in range(20):
        r = lab.run(argv, timeout=60, shim=None if emulator else shim)
        if r.code != TOO_LATE:
            break
    if shim and os.path.exists(shim["LAB_LOG"]):
        r.log = open(shim["LAB_LOG"]).read()
    return r


class Reach(L.TestCase):
    def cell(self, target, case, kind):
        """ok, or why not."""
        for last in False, True:
            direct = runs(self.lab, target, case, kind)
            if LACKS.get(case, "\0") in direct.out.decode() and TARGETS[target][2]:
                return "no: qemu-user has no such call"
            shim = self.lab.config("fast-open = no-cookie", T.POLICY)
            converted = runs(self.lab, target, case, kind, shim)
            if (direct.code, direct.out) == (converted.code, converted.out):
                return "ok" if "via 10.1.0.2" in converted.log else "not converted"
            if not last:
                self.tried_again(f"{target}, {case}, {kind}: {converted}")
        self.note(f"{target}, {case}, {kind}:\n{direct}\n{converted}")
        return "differs"

    def row(self, target, kind):
        _, options = KINDS[kind]
        self.lab.converter(*options, listen=T.LISTEN)
        with concurrent.futures.ThreadPoolExecutor(6) as pool:
            cells = dict(zip(CASES, pool.map(lambda case: self.cell(target, case, kind), CASES)))
        for case, cell in cells.items():
            found.setdefault(target, {}).setdefault(case, {})[kind] = cell
        self.assertEqual({cell for cell in cells.values() if not cell.startswith("no: ")}, {"ok"}, cells)


for number, (a_target, a_kind) in enumerate(itertools.product(TARGETS, KINDS)):
    def test(self, target=a_target, kind=a_kind):
        self.row(target, kind)
    setattr(Reach, f"test_{number:02} {a_target}: {a_kind}", test)


class Written(L.TestCase):
    def test_the_document(self):
        text = table()
        print(text)
        before, mark, there = DOC.read_text().partition("<!-- make check-reach -->\n")
        _, heading, behind = there.partition("\n## ")
        self.assertTrue(mark)
        text += heading + behind
        if os.environ.get("REACH") == "write":
            DOC.write_text(before + mark + text)
        self.assertEqual(DOC.read_text(), before + mark + text, "REACH=write make check-reach")


def table():
    """A cell has a sign for each kind."""
    why, lines = {}, ["| | " + " | ".join(f"`{case}`" for case in CASES) + " |",
                      "| --- |" + " --- |" * len(CASES)]
    for target, cases in found.items():
        row = []
        for case in CASES:
            cells = [cases[case][kind] for kind in KINDS if kind in cases[case]]
            signs = ["+" if cell == "ok" else f"[{why.setdefault(cell, len(why) + 1)}]" for cell in cells]
            row.append(" ".join(signs))
        lines.append(f"| {target} | " + " | ".join(row) + " |")
    lines += [""] + [f"[{n}] {text}" for text, n in why.items()]
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    L.MPTCP = "off"
    L.main(setup, delay_ms=(100, 60))
