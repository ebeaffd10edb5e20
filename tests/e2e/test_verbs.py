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


if __name__ == "__main__":
    L.main()
