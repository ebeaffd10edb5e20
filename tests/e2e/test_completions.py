#!/usr/bin/python3 -B
# SPDX-License-Identifier: MIT
"""The shells' completions: they name what the programs name, and in the shells they work."""
import re
import subprocess
import sys

sys.path.insert(1, sys.path[0] + "/../lab")
import lab as L

HELPER, RUN = L.BUILD / "convert-bootstrap", L.BUILD / "convert-run"
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
                (["convert-run", "-v", "cat", "convert.conf.e"], {"convert.conf.example"})):
            with self.subTest(words):
                self.assertEqual(self.complete(*words), expected)


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


class Install(L.TestCase):
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
