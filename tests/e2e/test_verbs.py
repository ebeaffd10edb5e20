#!/usr/bin/python3 -B
# SPDX-License-Identifier: MIT
"""Every verb of convert-bootstrap, and convert-run, with what nobody should say to them: the exit status and a line
say that, what was wrong, where, and what was expected."""
import sys

sys.path.insert(1, sys.path[0] + "/../lab")
import lab as L

HELPER, RUN = L.BUILD / "convert-bootstrap", L.BUILD / "convert-run"
LONG = "a" * 100000


class Verbs(L.TestCase):
    def setUp(self):
        self.state = str(self.lab.file("state"))

    def fails(self, *words, code, says=r"\A", **env):
        r = self.lab.run([HELPER, *words], env={"CONVERT_STATE": self.state, "CONVERT_ADDR": "192.0.2.1"} | env)
        self.assertEqual(r.code, code, r)
        self.assertRegex(r.err, says)
        return r

    def written_to(self, where, program, *words):
        return self.lab.run(["sh", "-c", f'"$@" {where}', "sh", program, *words],
                            env={"CONVERT_STATE": self.state, "CONVERT_ADDR": "192.0.2.1"})

    def test_output_that_cannot_be_written(self):
        root = self.lab.file("root")
        (root / "etc/systemd/system").mkdir(parents=True)
        library = self.lab.file("lib.so", "")
        (root / library.relative_to("/")).parent.mkdir(parents=True)
        (root / library.relative_to("/")).write_text("")
        enable = ["env", f"CONVERT_PRELOAD={library}", RUN, "--root", root, "enable", "web"]
        for where, why in (">/dev/full", "No space left on device"), (">&-", "Bad file descriptor"):
            for program, *words in ([HELPER, "--help"], [HELPER, "--version"], [HELPER, "pin", "--help"],
                                    [HELPER, "check", "--config"], [HELPER, "check", "--explain", "192.0.2.9"],
                                    [HELPER, "status"], [HELPER, "status", "-j"], [HELPER, "top", "--once"],
                                    [HELPER, "top", "-j"], [HELPER, "explain", "/bin/true"],
                                    [HELPER, "explain", "-j", "/bin/true"], [RUN, "--help"], [RUN, "--version"],
                                    [RUN, "enable", "--help"], enable):
                with self.subTest(program, words=words, where=where):
                    r = self.written_to(where, program, *words)
                    self.assertEqual(r.code, 1, r)
                    self.assertIn(f"standard output: cannot be written: {why}\n", r.err)

    def test_nothing_to_write(self):
        """Then it does not matter."""
        r = self.written_to(">&-", HELPER, "flush")
        self.assertEqual((r.code, r.err), (0, ""), r)

    def test_ports_and_numbers(self):
        for port in "0", "65536", "-1x", "1e3", "http", "", " 80", LONG:
            self.fails("map", "--", port, code=2, says=r"\Amap: PORT .*: expected a number from 1 to 65535\n")
        for time in "0", "86401", "1h", "", LONG:
            self.fails("map", "-t", time, "80", code=2, says=r"\Amap: -t .*: expected 1 to 86400 seconds\n")
        for server in "", "x", "192.0.2.1:0", "[::1]:99999", "fe80::1%lo", LONG:
            self.fails("map", "-s", server, "80", code=2,
                       says=r"\Amap: -s .*: expected a numeric ADDRESS or ADDRESS:PORT\n")
        for delay in "0", "3601", "nan", "x", "", LONG:
            self.fails("top", "-d", delay, code=2, says=r"\Atop: -d .*: expected 0.1 to 3600 seconds\n")
        for server in "", "x", "192.0.2.1", "192.0.2.1:0", "[::1]:65536", LONG:
            for words in ["forget", server], ["pin", server, "tcp"]:
                self.fails(*words, code=2, says=rf"\A{words[0]}: SERVER .*: expected one as 192.0.2.1:443 or "
                                                r"\[2001:db8::1\]:443\n")
        self.fails("pin", "192.0.2.1:1", "udp", code=2, says=r"\Apin: udp: expected mptcp or tcp\n")

    def test_hosts(self):
        """A port that is none was another one, modulo 65536."""
        for host in ("192.0.2.9:99999", "192.0.2.9:65536", "192.0.2.9:0", "192.0.2.9:", "[2001:db8::9]:x", "a:http",
                     "", "a b", "http://a/", LONG):
            for words in ["--explain", host], [host]:
                self.fails("check", *words, code=2, says=r"\Acheck: HOST .*: expected a name or an address alone, "
                                                         r"or with a port from 1 to 65535\n")

    def test_terminals(self):
        """What is said again is nothing that a terminal would obey, and not all of what is endless."""
        for words in (["top", "-d", "\x1b[31m\n"], ["map", "\x1b[31m\n"], ["forget", "\x1b[31m\n"], ["\x1b[31m\n"],
                      ["pin", "192.0.2.1:1", "\x1b\n"], ["check", "\x1b[31m\n"], ["fetch", "--max-size", "\x1b", "x"],
                      ["map", "\x9b31m"], ["\x9b31m"]):
            first = self.fails(*words, code=2).err.partition("\n")[0]
            self.assertNotRegex(first, "[\x1b\x9b]")
            self.assertIn("?", first)
        for words in ["top", "-d", LONG], ["map", LONG], ["forget", LONG], [LONG], ["fetch", "--max-size", LONG, "x"]:
            self.assertLess(len(self.fails(*words, code=2).err.partition("\n")[0]), 400)

    def test_long_names(self):
        """The reason is there all the same."""
        for name in "/" + "a/" * 300 + "x", "/" + "a/" * 1500 + "x", "/" + LONG:
            for verb in ["check", "--config"], ["run"], ["status"], ["flush"], ["top", "--once"], ["map", "80"]:
                self.fails(*verb, "-c", name, code=1, says=": (no such file|cannot be opened): expected a file that can be read")
            r = self.fails("check", "-c", name, code=1)
            self.assertRegex(r.out, rb": (no such file|cannot be opened)\n +expected a file that can be read\n")

    def test_library(self):
        """The one that was named, and no other."""
        for name in self.lab.file("no-library"), self.lab.file("folder"):
            if name.name.endswith("folder"):
                name.mkdir()
            r = self.fails("check", "--library", name, code=1)
            self.assertIn(f"{name} (--library): not there, or no file".encode(), r.out)

    def test_state_that_is_none(self):
        """Zeros would be said to be so of a file that is not looked at."""
        folder = self.lab.file("folder")
        folder.mkdir()
        junk = self.lab.file("junk", "x" * 5000)
        junk.chmod(0o600)
        shared = self.lab.file("shared", "")
        shared.chmod(0o666)
        for path, why in ((folder, "no file that only this user can write"), (junk, "no state file of this version"),
                          (shared, "no file that only this user can write"), (junk / "x", "can be made neither here")):
            for verb in ["status"], ["status", "-j"], ["pin", "192.0.2.1:1", "tcp"]:
                self.fails(*verb, code=1, says=rf"\A(convert-bootstrap: )?configuration: {path} .*{why}",
                           CONVERT_STATE=str(path))
        self.assertEqual(junk.read_text(), "x" * 5000)

    def test_state_without_room(self):
        place = self.lab.file("full")
        place.mkdir()
        L.command(["mount", "-t", "tmpfs", "-o", "size=4k", "none", place])
        self.addCleanup(L.command, ["umount", "-l", place])
        (place / "filler").write_bytes(b"x" * 4096)
        self.fails("pin", "192.0.2.1:1", "tcp", code=1, CONVERT_STATE=str(place / "state"),
                   says=rf"\A{place}/state: cannot be written: expected room for it\n")

    def test_state_that_cannot_be_written(self):
        self.fails("pin", "192.0.2.1:1", "tcp", code=1, says=r"\A/proc/x: cannot be written: No such file or directory\n",
                   CONVERT_STATE="/proc/x")


if __name__ == "__main__":
    L.main()
