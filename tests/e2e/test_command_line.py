#!/usr/bin/python3 -B
# SPDX-License-Identifier: MIT
"""The command line of convert-bootstrap and convert-run. Every verb with what nobody should say to it: the exit status
and a line say that, what was wrong, where, and what was expected. And the shells' completions: they name what the programs
name, and in the shells they work."""
import re
import subprocess
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


# -------------------------------------------------------------------------------- completions

OPTION = re.compile(r"(?<![\w-])(--?[a-z][\w-]*|-[A-Z])")
FIRST = {"-h", "--help", "-V", "--version"}
DIRS = {"convert-bootstrap": L.ROOT / "bootstrap-helper/completions",
        "convert-run": L.ROOT / "bootstrap-helper/run/completions"}


def said(*argv):
    done = subprocess.run([str(a) for a in argv], capture_output=True, text=True,
                          env=L.ENVIRONMENT, stdin=subprocess.DEVNULL)
    return done.stdout + done.stderr


def options_in(text):
    """-nq is two of them."""
    for word in OPTION.findall(text):
        yield from [word] if word[1] == "-" else ["-" + letter for letter in word[1:]]


def verbs():
    """{verb: its options} as --help and the verb's own usage have them."""
    found = {}
    for line in said(HELPER, "--help").splitlines():
        if re.match(r"  [a-z]", line):
            verb, rest = line.split(None, 1)
            usage = said(HELPER, verb, "--no-such-option").partition("Usage:")[2]
            found.setdefault(verb, {"-h", "--help"}).update(options_in(rest.split("   ")[0] + usage))
    return found


def run_options():
    """What stands at the start of its help's lines."""
    lines = said(RUN, "--help").splitlines()
    return {"--help", "--version"}.union(*(options_in(re.split(r"[A-Z]{4}|   ", line.strip())[0])
                                           for line in lines if line.startswith("  -")))


class Bash(L.TestCase):
    def complete(self, *words):
        """What a bash offers for the last of the words, by the function that it was given."""
        program = words[0]
        script = """
            source "$1"; shift
            COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
            spec=$(complete -p "$1"); function=${spec#*-F }
            "${function%% *}"
            printf '%s\\n' "${COMPREPLY[@]}"
        """
        r = self.lab.run(["bash", "-uc", script, "bash", DIRS[program] / f"{program}.bash", *words],
                         cwd=L.ROOT)
        self.assertEqual((r.code, r.err), (0, ""), r)
        return set(r.out.decode().split())

    def test_verbs(self):
        offered = self.complete("convert-bootstrap", "")
        self.assertLessEqual(set(verbs()) | FIRST, offered)
        self.assertLessEqual(FIRST, self.complete("convert-bootstrap", "-"))
        self.assertEqual(self.complete("convert-bootstrap", "fe"), {"fetch"})
        self.assertEqual(self.complete("convert-bootstrap", "x"), set())

    def test_options(self):
        for verb, options in verbs().items():
            with self.subTest(verb):
                self.assertLessEqual(options, self.complete("convert-bootstrap", verb, "-"))
        self.assertEqual(self.complete("convert-bootstrap", "fetch", "--max-s"), {"--max-size"})
        self.assertLessEqual(run_options(), self.complete("convert-run", "-"))
        self.assertGreaterEqual(len(run_options()), 8)

    def test_words(self):
        for words, expected in (
                (["convert-bootstrap", "status", "-c", "convert.conf.e"], {"convert.conf.example"}),
                (["convert-bootstrap", "fetch", "--cacert", "convert.conf.e"],
                 {"convert.conf.example"}),
                (["convert-bootstrap", "fetch", "--max-size", ""], set()),
                (["convert-bootstrap", "pin", "192.0.2.1:80", "m"], {"mptcp"}),
                (["convert-bootstrap", "explain", "nsente"], {"nsenter"}),
                (["convert-bootstrap", "explain", "./convert.conf.e"], {"./convert.conf.example"}),
                (["convert-run", "nsente"], {"nsenter"}),
                (["convert-run", "-v", "--root", "/x", "enabl"], {"enable"}),
                (["convert-run", "disabl"], {"disable"}),
                (["convert-run", "--", "disabl"], set()),
                (["convert-run", "cat", "disabl"], set()),
                (["convert-run", "-v", "-c", "convert.conf.e"], {"convert.conf.example"}),
                (["convert-run", "-a", ""], set()),
                (["convert-run", "-v", "-a", "192.0.2.1", "nsente"], {"nsenter"}),
                (["convert-run", "--", "nsente"], {"nsenter"}),
                (["convert-run", "--receipt", "=", "/tmp/x", "nsente"], {"nsenter"}),  # as bash cuts words
                (["convert-run", "-a", "2001", ":", "db8", "::", "1", "nsente"], {"nsenter"}),
                (["convert-run", "-a", "2001", ":", "db"], set()),
                (["convert-run", "--root", "=", "/x", "enabl"], {"enable"}),
                (["convert-run", "--receipt", "=", "convert.conf.e"], {"convert.conf.example"}),
                (["convert-run", "--receipt", "=", "/tmp/x", "cat", "convert.conf.e"], {"convert.conf.example"}),
                (["convert-run", "cat", "a", "=", "convert.conf.e"], {"convert.conf.example"}),
                (["convert-run", "-v", "cat", "convert.conf.e"], {"convert.conf.example"})):
            with self.subTest(words):
                self.assertEqual(self.complete(*words), expected)
        for option in "--receipt", "--root":
            self.assertIn("convert.conf.example", self.complete("convert-run", option, "="))


class OtherShells(L.TestCase):
    def test_fish(self):
        self.need("fish")
        for program, words, expected in (
                [("convert-bootstrap", "", set(verbs()))] +
                [("convert-bootstrap", f"{verb} -", options) for verb, options in verbs().items()] +
                [("convert-bootstrap", "pin 192.0.2.1:80 ", {"mptcp", "tcp"}),
                 ("convert-bootstrap", "explain nsente", {"nsenter"}),
                 ("convert-bootstrap", "status -c convert.conf.e", {"convert.conf.example"}),
                 ("convert-bootstrap", "-", FIRST), ("convert-run", "-v enabl", {"enable"}),
                 ("convert-run", "disabl", {"disable"}), ("convert-run", "-", run_options()),
                 ("convert-run", "-a 192.0.2.1 nsente", {"nsenter"})]):
            with self.subTest(f"{program} {words}"):
                r = self.lab.run(["fish", "--no-config", "-c",
                                  f"source {DIRS[program]}/{program}.fish; "
                                  f"complete -C '{program} {words}'"], cwd=L.ROOT)
                self.assertEqual((r.code, r.err), (0, ""), r)
                offered = {line.split("\t")[0] for line in r.out.decode().splitlines()}
                self.assertLessEqual(expected, offered)

    def test_zsh(self):
        """Its completions need a terminal to run: here it reads them, and we their lists."""
        self.need("zsh")
        for program, directory in DIRS.items():
            file = directory / f"_{program}"
            r = self.lab.run(["zsh", "-fn", file])
            self.assertEqual((r.code, r.err), (0, ""), r)
            self.assertTrue(file.read_text().startswith(f"#compdef {program}\n"))
        text = (DIRS["convert-bootstrap"] / "_convert-bootstrap").read_text()
        lines = text.replace("\\\n", " ").replace("$json", "-j --json").replace("$file", "-c")
        lines = lines.replace("$help", "-h --help")
        (line,) = re.findall(r"^_arguments -C (.*)$", lines, re.MULTILINE)
        self.assertLessEqual(FIRST, set(OPTION.findall(line.replace("{-V,--version}", " -V --version "))))
        self.assertLessEqual(set(verbs()), set(re.findall(r"^\t'([a-z]+):", text, re.MULTILINE)))
        for verb, options in verbs().items():
            (line,) = re.findall(rf"^\t{verb}\) (.*) ;;$", lines, re.MULTILINE)
            self.assertLessEqual(options, set(OPTION.findall(line)), verb)
        text = (DIRS["convert-run"] / "_convert-run").read_text()
        self.assertLessEqual({"enable", "disable"}, set(re.findall(r"'([a-z]+):", text)))
        self.assertLessEqual(run_options(), set(OPTION.findall(text)))


class Installed(L.TestCase):
    def test_there_and_gone_again(self):
        """Where the shells look for them."""
        root = self.lab.file("root")
        make = ["make", "-C", L.ROOT, f"BUILD={L.BUILD}", f"DESTDIR={root}", "PREFIX=/usr"]
        for name in ("convert-run", "convert-bootstrap", "libconvert-preload.so"):
            make += ["-o", L.BUILD / name]  # what is tested is not built again
        share = root / "usr/share"
        places = [share / "man/man8/convert-bootstrap.8", share / "man/man1/convert-run.1"]
        for program in DIRS:
            places += [share / "bash-completion/completions" / program,
                       share / f"zsh/site-functions/_{program}",
                       share / f"fish/vendor_completions.d/{program}.fish"]
        L.command(make + ["install"])
        self.assertEqual([p for p in places if not p.is_file()], [])
        L.command(make + ["uninstall"])
        self.assertEqual([p for p in root.rglob("*") if not p.is_dir()], [])


if __name__ == "__main__":
    L.main()
