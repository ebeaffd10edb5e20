#!/usr/bin/python3 -B
# SPDX-License-Identifier: MIT
"""The README's commands, run as they are written there, make demo among them; and its configuration. Of CONTRIBUTING.md
what it names is there."""
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

sys.path.insert(1, sys.path[0] + "/../lab")
import captures
import lab as L
import servers

# Those that install, test or show, and a shell that waits for its user.
NOT_HERE = ("make", "sudo", "tests/lab/shell", "touch /etc", "tshark", *(
    f"{command} /etc/ld.so.preload" for command in ("{ cat", "chmod 644", "mv")))
STAYS = " map "  # until a signal ends it
HOST = "192.0.2.1"  # the README's converter


def setup(lab):
    servers.nginx(lab)
    L.command(["ip", "-n", "converter", "addr", "add", HOST + "/32", "dev", "k0"])
    lab.converter("--mptcp", "--fastopen", "cookie", "--pcp", "--pcp-external", L.ROUTER, listen=[L.CONVERTER, HOST])
    (L.TMP / "hosts").write_text(f"127.0.0.1 localhost\n{L.SERVER} example.com\n")
    L.command(["mount", "--bind", L.TMP / "hosts", "/etc/hosts"])


def blocks(paper="README.md"):
    """Its indented blocks."""
    block = []
    for line in (L.ROOT / paper).read_text().splitlines() + [""]:
        if line.startswith("    "):
            block.append(line[4:])
        elif block and not line:
            block.append("")
        elif block:
            yield "\n".join(block).strip() + "\n"
            block = []


class Readme(L.TestCase):
    def test_commands(self):
        ran, state = 0, str(self.lab.file("state"))
        for command in "".join(b for b in blocks() if not b.startswith("[")).splitlines():
            if not command or command.startswith(NOT_HERE):
                continue
            with self.subTest(command):
                if L.BUILD != L.ROOT / "build":
                    command = command.replace("build/", f"{L.BUILD}/").replace("$PWD//", "/")
                stop = ["timeout", "--preserve-status", "2"] if STAYS in command else []
                r = self.lab.run([*stop, "sh", "-c", "exec env " + command if stop else command], cwd=L.ROOT, env={"CONVERT_STATE": state})
                self.assertEqual(r.code, 0, r)
                ran += 1
                if stop:
                    self.assertIn(b"port 8080 is reached at", r.out)
                if "curl" in command:
                    self.assertTrue(r.out, r)
                if "-v" in command.split() or "CONVERT_LOG" in command:
                    self.assertIn(": connected, MPTCP\n", r.err, r)
        self.assertGreaterEqual(ran, 6)

    def test_configuration(self):
        parts = [b for b in blocks() if b.startswith("[")]
        self.assertEqual([b.split()[0] for b in parts], ["[converter", "[incoming]"])
        file = self.lab.file("convert.conf", "\n".join(parts))
        r = self.lab.run([L.BUILD / "convert-bootstrap", "check", "--config", "-c", file])
        self.assertEqual(r.code, 0, r)

    def test_for_every_process(self):
        """What was in the file stays, whatever it ends in, and the library's own name is a line; it is renamed, and can
        be read."""
        (block,) = (b for b in blocks() if "/etc/ld.so.preload" in b)
        folder = self.lab.file("every")
        folder.mkdir()
        file = folder / "ld.so.preload"
        commands = "umask 077\n" + block.replace("/etc/", f"{folder}/")
        library = "/usr/local/lib/libconvert-preload.so.0"
        for before in None, "", "/lib/other.so\n", "# a comment", "/lib/other.so":
            if before is not None:
                file.write_text(before)
            old = before is not None and os.open(file, os.O_RDONLY)
            r = self.lab.run(["sh", "-c", commands])
            self.assertEqual(r.code, 0, r)
            self.assertEqual(file.read_text().split("\n"), [*(before or "").split("\n"), library, ""], before)
            self.assertEqual([p.name for p in folder.iterdir()], [file.name])
            self.assertEqual(file.stat().st_mode & 0o777, 0o644)
            if old:
                self.assertNotEqual(os.fstat(old).st_ino, file.stat().st_ino)
                os.close(old)
            file.unlink()

    def test_what_the_wire_shows(self):
        """`length 28` from the second connection on."""
        shim = {"CONVERT_ADDR": HOST}
        self.lab.run(["curl", "-s", "http://example.com/small"], shim=shim)
        capture = captures.Capture(self.lab)
        self.lab.run(["curl", "-s", "http://example.com/small"], shim=shim)
        (connection,) = captures.connections(capture.packets())
        self.assertEqual(len(connection[0].data), 28)

    def test_files_that_are_named(self):
        for name in ("LICENSE", "convert.conf.example", "policy/convert.conf.5",
                     "bootstrap-helper/run/convert-run.1", "tests/lab/shell", "tests/lab/demo"):
            self.assertTrue(os.path.exists(L.ROOT / name), name)

    def test_targets_that_are_named(self):
        """`make TARGET`, in a block or between backticks; `check-TARGET` alone, too."""
        r = self.lab.run(["make", "-qpR", "help"], cwd=L.ROOT)
        targets = set(re.findall(r"^([\w/-]+):", r.out.decode(), re.M))
        for paper in "README.md", "CONTRIBUTING.md":
            text = (L.ROOT / paper).read_text()
            named = re.findall(r"(?:`|^    |sudo )make ([^`\n&]+)", text, re.M)
            words = {w for words in named for w in words.split() if "=" not in w and w[0] != "-"}
            words |= set(re.findall(r"`(check-[\w-]+)`", text))
            self.assertGreater(len(words), 8, paper)
            self.assertEqual(words - targets, set(), paper)

    def test_as_root(self):
        """What is installed where only root writes has sudo in front of it, and what is taken away."""
        commands = [line for line in "".join(blocks()).splitlines() if re.search(r"make (un)?install", line)]
        self.assertGreaterEqual(len(commands), 3)
        self.assertEqual([c for c in commands if not c.startswith("sudo make ")], [])

    def test_profile(self):
        """A line of ~/.profile is a shell's: what is not exported, no program has."""
        (row,) = re.findall(r"^\| a session \| .*", (L.ROOT / "docs/integrators.md").read_text(), re.M)
        self.assertRegex(row, r"`export LD_PRELOAD=\S+` in `~/\.profile`")

    def test_suites_that_are_named(self):
        """In CONTRIBUTING.md's commands: a suite, and with -k tests that it has."""
        commands = "".join(blocks("CONTRIBUTING.md"))
        named = re.findall(r"^BUILD=build (tests/e2e/\w+\.py)(?: -k (\w+))?$", commands, re.M)
        self.assertGreater(len(named), 3)
        for suite, pattern in named:
            self.assertTrue(os.access(L.ROOT / suite, os.X_OK), suite)
            self.assertTrue(re.search(rf"class \w*{pattern}|def test_\w*{pattern}",
                                      (L.ROOT / suite).read_text()), (suite, pattern))

    def test_shell(self):
        """It makes a lab inside ours, and needs nothing but what `make` builds."""
        r = self.lab.run(["make", "-qpR", "BUILD=build", "all"], cwd=L.ROOT)
        needs = dict(re.findall(r"^(\w+): (.*)$", r.out.decode(), re.M))
        with tempfile.TemporaryDirectory() as made:  # the inner lab has a /run/lab of its own
            made = pathlib.Path(made)
            made.chmod(0o755)
            for part in needs["all"].split():
                for name in needs[part].split():
                    (made / name).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy(L.BUILD / pathlib.Path(name).relative_to("build"), made / name)
            r = self.lab.run([L.ROOT / "tests/lab/shell", made / "build/convert-run", "-v", "-a",
                              L.CONVERTER, "curl", "-s", f"http://{L.SERVER}/who"],
                             env={"BUILD": str(made / "build")}, cwd=L.ROOT)
        self.assertEqual((r.code, r.out.decode().strip()), (0, L.ROUTER), r)
        self.assertIn(": connected, TCP: there is one path\n", r.err)


class Demo(L.TestCase):
    """make demo: all that it says holds, and it builds no more than it needs."""

    def test_all_of_it_holds(self):
        """It makes a lab inside ours."""
        started = time.monotonic()
        r = self.lab.run([L.ROOT / "tests/lab/demo"], env={"BUILD": str(L.BUILD)}, timeout=90)
        self.note(f"the demo took {time.monotonic() - started:.1f} s")
        out = r.out.decode()
        self.assertEqual((r.code, r.err, out.count("[NO ]"), out.count("[yes]")), (0, "", 0, 10), out)
        # Multipath TCP to the converter, by the shim's word and by the kernel's
        self.assertIn(" connected, MPTCP ", " ".join(out.split()))
        for socket in (rf"mptcp {L.CLIENT}:\d+ +> {L.CONVERTER}:{L.PORT}  subflows:1 ",
                       rf"tcp +{L.CLIENT}:\d+ +> .* tcp-ulp-mptcp .*bytes_received:",
                       rf"tcp +10.3.0.1%c1:\d+ +> .* tcp-ulp-mptcp .*bytes_received:"):
            self.assertRegex(out, socket)
        self.assertLessEqual(max(map(len, out.splitlines())), 100)

    def test_builds_what_it_needs(self):
        """No test client, nor the helper; and so neither libcurl nor jansson."""
        make = subprocess.run(["make", "-nB", "BUILD=/nonexistent", "demo-here"], cwd=L.ROOT,
                              env=L.ENVIRONMENT, capture_output=True, text=True, check=True)
        compiled = set(re.findall(r"-c -o \S+ (\S+)/\w+\.c$", make.stdout, re.M))
        self.assertEqual({c for c in compiled if not re.match("common|policy|preload/", c)},
                         {"tests/lab", "tests/lab/converter"})


if __name__ == "__main__":
    L.main(setup)
