#!/usr/bin/python3 -B
# SPDX-License-Identifier: MIT
"""convert-bootstrap fetch, against nginx with a CA of our own and a server that misbehaves.

Whatever goes wrong, and wherever it is killed: the live file is the old or the new one, whole."""
import itertools
import os
import re
import signal
import stat
import subprocess
import sys
import threading
import time

sys.path.insert(1, sys.path[0] + "/../lab")
import https
import lab as L

CHANGED, FAILED, USAGE, UNCHANGED = 0, 1, 2, 3
HELPER = L.BUILD / "convert-bootstrap"
SECRET = "SECRETcookie"

OLDER = "[converter lab]\naddress = 192.0.2.1\n"
OLD = "[converter lab]\naddress = 192.0.2.2\n\n[policy]\ntimeout = 4s\n"
NEW = "[converter lab]\naddress = 192.0.2.3\n\n[policy]\ntimeout = 6s\nretry = 30s\n"

site = None


def setup(lab):
    global site
    site = https.start(lab, L)


def url(path="convert.conf", port=https.SITE):
    return f"https://{L.SERVER}:{port}/{path}"


class Place:
    """A directory with a configuration, for one test or one try."""

    def __init__(self, lab, live=OLD, old=None):
        self.dir = lab.file("etc")
        self.dir.mkdir()
        self.live = self.dir / "convert.conf"
        self.old, self.record, self.new, self.old_new = (
            self.dir / f"convert.conf.{end}" for end in ("old", "fetched", "new", "old.new"))
        if live is not None:
            self.live.write_text(live)
        if old is not None:
            self.old.write_text(old)

    def paths(self):
        return [self.dir, self.live, self.old, self.record, self.new, self.old_new]

    def leftovers(self):
        return [p for p in (self.new, self.old_new) if p.exists()]


class Fetching(L.TestCase):
    def setUp(self):
        self.publish(NEW)
        self.place = Place(self.lab)

    def publish(self, text, name="convert.conf"):
        """By rename: a new inode and a new ETag, as the clock goes no further than a second."""
        content = text if isinstance(text, bytes) else text.encode()
        file = site.www / (name + ".tmp")
        file.write_bytes(content)
        self.lab.files += 1
        os.utime(file, (1.5e9 + self.lab.files, 1.5e9 + self.lab.files))
        file.rename(site.www / name)

    def run_fetch(self, *words, place=None, before=(), **more):
        place = place or self.place
        words = [*before, HELPER, "fetch", "-c", place.live, *words]
        if "--cacert" not in words and "--rollback" not in words:
            words[len(before) + 2:len(before) + 2] = ["--cacert", site.ca]
        return self.lab.run(words, **more)

    def fetch(self, *words, code, says="", **more):
        r = self.run_fetch(*(words or [url()]), **more)
        self.assertEqual(r.code, code, r)
        text = r.out.decode() + r.err
        self.assertIn(says, text, r)
        return text

    def fails(self, *words, says, code=FAILED, **more):
        """Nothing has changed, and nothing lies about."""
        before = self.place.live.read_bytes() if self.place.live.exists() else None
        text = self.fetch(*words, code=code, says=says, **more)
        after = self.place.live.read_bytes() if self.place.live.exists() else None
        self.assertEqual(after, before)
        self.assertFalse(self.place.old.exists())
        self.assertEqual(self.place.leftovers(), [])
        return text

    def requests(self):
        return site.access_log.read_text().splitlines()

    def assert_logged(self, what):
        """Of the last request, which nginx logs after it has answered."""
        L.wait_for(f"{what!r} in the log", lambda: what in self.requests()[-1])


class Fetch(Fetching):
    def test_changed_and_unchanged(self):
        text = self.fetch(code=CHANGED)
        self.assertEqual(self.place.live.read_text(), NEW)
        self.assertEqual(self.place.old.read_text(), OLD)
        for line in (f"--- {self.place.live}", f"+++ {url()}", "-timeout = 4s", "+timeout = 6s",
                     " [policy]"):
            self.assertIn(line, text.splitlines())
        self.fetch(code=UNCHANGED, says="no newer one")
        self.assert_logged(" 304 0 ")
        self.publish(OLDER)
        self.fetch(code=CHANGED)
        self.assertEqual(self.place.live.read_text(), OLDER)
        self.assertEqual(self.place.old.read_text(), NEW)

    def test_unchanged_by_date_and_by_content(self):
        for path, status in (("no-etag/convert.conf", 304), ("blind/convert.conf", 200)):
            with self.subTest(path):
                self.place = Place(self.lab)
                self.fetch(url(path), code=CHANGED)
                self.fetch(url(path), code=UNCHANGED)
                self.assert_logged(f'" {status} ')
        self.place = Place(self.lab, live=NEW)
        self.fetch(code=UNCHANGED, says="the server has the same")
        self.fetch(code=UNCHANGED, says="no newer one")

    def test_a_version_is_that_of_its_address_and_content(self):
        """An ETag is not sent for what somebody has edited, nor to another address."""
        self.fetch(code=CHANGED)
        self.place.live.write_text(NEW + "bypass = never\n")
        self.fetch(code=CHANGED, says="-bypass = never")
        self.publish(NEW, "other.conf")
        self.fetch(url("other.conf"), code=UNCHANGED, says="the server has the same")
        self.assert_logged('" 200 ')
        self.place.record.write_text(self.place.record.read_text()[:-4])  # torn: none
        self.fetch(url("other.conf"), code=UNCHANGED, says="the server has the same")
        self.assertEqual(stat.S_IMODE(self.place.record.stat().st_mode), 0o600)

    def test_dry_run(self):
        self.fails("-n", url(), says="+timeout = 6s", code=CHANGED)
        self.assertEqual(list(self.place.dir.iterdir()), [self.place.live])
        self.publish(OLD)
        self.fails("--dry-run", url(), says="unchanged", code=UNCHANGED)

    def test_quiet(self):
        self.assertEqual(self.fetch("-q", url(), code=CHANGED), "")
        self.assertEqual(self.fetch("-q", url(), code=UNCHANGED), "")

    def test_the_first_one(self):
        self.place = Place(self.lab, live=None)
        self.fetch(code=CHANGED, says=f"{self.place.live}: made")
        self.assertEqual(self.place.live.read_text(), NEW)
        self.assertEqual(stat.S_IMODE(self.place.live.stat().st_mode), 0o644)
        self.fails("--rollback", says="nothing to go back to")

    def test_mode_and_owner_are_kept(self):
        os.chmod(self.place.live, 0o640)
        owner = (1234, 5678) if L.owns_several_users() else (0, 0)
        os.chown(self.place.live, *owner)
        self.fetch(code=CHANGED)
        for file in (self.place.live, self.place.old):
            st = file.stat()
            self.assertEqual((st.st_uid, st.st_gid, stat.S_IMODE(st.st_mode)), (*owner, 0o640))

    def test_a_symbolic_link(self):
        """What it leads to is replaced, beside itself; one that leads nowhere is not followed."""
        real = self.place
        link = Place(self.lab, live=None)
        link.live.symlink_to(f"../{real.dir.name}/convert.conf")
        self.fetch(code=CHANGED, place=link)
        self.assertTrue(link.live.is_symlink())
        self.assertEqual(real.live.read_text(), NEW)
        self.assertEqual(real.old.read_text(), OLD)
        self.assertEqual(list(link.dir.iterdir()), [link.live])
        link.live.unlink()
        link.live.symlink_to("nowhere")
        self.fetch(code=FAILED, says="cannot be found", place=link)
        self.assertEqual(list(link.dir.iterdir()), [link.live])

    def test_no_file(self):
        self.place.live.unlink()
        self.place.live.mkdir()
        self.fetch(code=FAILED, says="a directory: expected a file")
        self.place.live.rmdir()
        os.mkfifo(self.place.live)
        self.fetch(code=FAILED, says="not a regular file")
        self.place.live.unlink()
        self.place.dir = self.place.dir / "nowhere"
        self.place.live = self.place.dir / "convert.conf"
        self.fetch(code=FAILED, says="No such file")

    def test_usage(self):
        for words in ([], ["x", "y"], ["--rollback", "x"], ["-c", "", url()], ["--max-size", "0"],
                      ["--max-size", "5000000", url()], ["--max-time", "1x", url()], ["--no", "x"],
                      ["http://10.2.0.2/convert.conf"], ["ftp://10.2.0.2/convert.conf"],
                      ["10.2.0.2/convert.conf"], ["https://"],
                      ["https://user:SECRET@10.2.0.2/convert.conf"]):
            r = self.run_fetch(*words)
            self.assertEqual(r.code, USAGE, r)
            self.assertNotIn("SECRET", r.err)
        self.assertEqual(list(self.place.dir.iterdir()), [self.place.live])


class Refused(Fetching):
    def test_certificates(self):
        for port, says in ((https.OTHER_CA, "unable to get local issuer"),
                           (https.OTHER_NAME, "does not match"), (https.EXPIRED, "has expired")):
            with self.subTest(port):
                text = self.fails(url(port=port), says="expected a certificate for this host")
                self.assertRegex(text.replace("no alternative certificate subject name matches",
                                              "does not match"), says)
        # the host's own CAs, which do not know ours
        self.fails("--cacert", "/etc/ssl/certs/ca-certificates.crt", url(), says="certificate")
        self.fails("--cacert", "/nowhere", url(), says="--cacert")

    def test_redirects(self):
        self.fails(url("to-http"), says="expected https, behind redirects too")
        self.fails(url("to-file"), says="expected https, behind redirects too")
        self.fails(url("loop"), says="expected at most 5 redirects")
        self.fails(url("hop/" * 6 + "convert.conf"), says="expected at most 5 redirects")
        self.fetch(url("hop/" * 5 + "convert.conf"), code=CHANGED)
        self.fetch(url("moved"), code=UNCHANGED)

    def test_what_the_server_says(self):
        self.fails(url("none.conf"), says="HTTP status 404")
        self.fails(url("nothing"), says="HTTP status 204")
        self.fails(url("304"), says="HTTP status 304")
        self.fails(url("empty"), says="an empty file")
        # whatever the page is like that says so
        self.fails("--max-size", "9", url("none.conf"), says="HTTP status 404")
        self.fails(url("gone", https.ODD), says="HTTP status 410")
        self.fails(url(port=1), says="expected a server that listens there")
        self.fails("https://nowhere.invalid/convert.conf", says="looked up")

    def test_too_large(self):
        with open(site.www / "huge", "wb") as huge:
            huge.truncate(10 << 30)
        text = self.fails(url("huge"), says="expected at most 1048576 bytes (--max-size)")
        self.assertIn("too large", text)
        self.fails(url("endless", https.ODD), says="too large")
        self.fails("--max-size", str(len(NEW) - 1), url(), says="too large")
        self.fetch("--max-size", str(len(NEW)), url(), code=CHANGED)

    def test_too_slow(self):
        for words, says in ((["--max-time", "4", url("stalled", https.ODD)], "too slow"),
                            (["--max-time", "1", url("mute", https.ODD)], "timed out"),
                            (["--max-time", "4", url("slowly/convert.conf")], "too slow")):
            text = self.fails(*words, says="expected all of it within the time of --max-time")
            self.assertIn(says, text)

    def test_cut_short(self):
        for path in ("truncated", "truncated-chunks"):
            self.fails(url(path, https.ODD), says="expected the whole file")
        self.fails(url("unsized", https.ODD), says="does not say how long")
        self.fetch(url("chunks", https.ODD), code=CHANGED)

    def test_strange_headers(self):
        self.fetch(url("strange-headers", https.ODD), code=CHANGED)
        record = self.place.record.read_text()
        self.assertIn("\netag \nlast-modified \nend\n", record)

    def test_mistakes(self):
        self.publish(NEW + "timeout = 5x\n")
        self.fails(says=f"{url()}:7: timeout is given twice")
        self.publish(OLD + "[log]\nlevel = loud\n")
        self.fails(says=f"{url()}:7: level = loud: expected error, info or debug")
        self.publish("<!DOCTYPE html>\n<p>Please log in\n")
        self.fails(says=f"{url()}:1: ")
        self.publish(b"[converter a]\naddress = 192.0.2.1\n\0")
        self.fails(says=f"{url()}:3: a control character")
        self.publish("# nothing\n")
        self.fetch(code=CHANGED, says="note: no converter: every connection will be direct")

    def test_files_that_it_names(self):
        """A relative one, one that is not there, one that the present file does not have."""
        cookie = self.lab.file("cookie", SECRET)
        for name, says in (("@home", "expected a file as @/path"),
                           ("@/nowhere/home", "expected a readable file with the cookie")):
            self.publish(NEW.replace("[policy]", f"cookie = {name}\n[policy]"))
            self.fails("--allow-paths", url(), says=f"{url()}:4: cookie")
            self.fails("--allow-paths", url(), says=says)
        for number, line in ((3, f"cookie = @{cookie}"), (4, "[log]\nfile = /etc/passwd"),
                             (4, "[state]\nfile: /etc/passwd ; as it was")):
            self.publish("[converter a]\naddress = 192.0.2.1\n" + line + "\n")
            with self.subTest(line):
                self.place = Place(self.lab)
                text = self.fails(says=f"{url()}:{number}: ")
                self.assertIn("expected none, or --allow-paths", text)
                self.fetch("--allow-paths", url(), code=CHANGED)
                self.publish("[converter b]\naddress = 192.0.2.2\n" + line + "\n")
                self.fetch(code=CHANGED)

    def test_a_file_that_is_refused_is_no_order_to_a_terminal(self):
        self.publish(b"[log]\nfile = /var/log/x\x1b]0;owned\x07\xc2\x9b2J\n")
        text = self.fails(says=f"{url()}:2: file = /var/log/x?]0;owned???2J: a file that the present ")
        self.assertNotRegex(text, "[\x1b\x07\x9b]")

    def test_a_file_that_is_refused_is_not_opened(self):
        """To open a watchdog, say, starts it."""
        self.publish(NEW.replace("[policy]", "cookie = @/nowhere/device\n[policy]"))
        trace = self.lab.file("trace")
        self.fails(url(), says="--allow-paths", before=["strace", "-f", "-o", trace])
        opened = [line for line in trace.read_text().splitlines() if " openat(" in line]
        self.assertTrue(any("convert.conf" in line for line in opened))
        self.assertFalse(any("/nowhere/device" in line for line in opened))


class Secrets(Fetching):
    def test_a_cookie_is_never_shown(self):
        self.publish(f"[converter a]\naddress = 192.0.2.3\ncookie = {SECRET}3\n")
        for old in (f"[converter a]\naddress = 192.0.2.3\ncookie = {SECRET}1 ; mine\n",
                    f"[converter a]\naddress = 192.0.2.3\n  cookie:{SECRET}1\n",
                    f"[converter a]\naddress = 192.0.2.3\n#cookie = {SECRET}1\n",
                    f"[converter a]\naddress = 192.0.2.3 # {SECRET} is its cookie\n",
                    f"[converter a]\nCookie={SECRET}\n", f"[converter a]\ncokie = {SECRET}\n",
                    f"[converter a]\ncookie =\n{SECRET}\n", SECRET):
            with self.subTest(old):
                self.place = Place(self.lab, live=old)
                self.fetch(code=CHANGED, says="(not shown)")
                self.fetch("--rollback", "-n", code=FAILED if "cokie" in old or old == SECRET or
                           "Cookie" in old or "=\n" in old else CHANGED)
                for r in (self.run_fetch("--rollback"), self.run_fetch(url())):
                    self.assertNotIn(SECRET, str(r))

    def run_fetch(self, *words, **more):
        r = super().run_fetch(*words, **more)
        self.assertNotIn(SECRET.encode(), r.out)
        self.assertNotIn(SECRET, r.err)
        return r

    def test_an_address_is_shown_without_its_query(self):
        text = self.fetch(url("convert.conf?token=" + SECRET), code=CHANGED)
        self.assertIn(f"+++ {url()}\n", text)
        self.assertNotIn(SECRET, self.place.record.read_text())


class Closed(Fetching):
    def test_what_is_said_is_not_in_a_file(self):
        """... that got the number of a standard descriptor which whoever has started us has closed."""
        self.fetch(code=CHANGED)
        record = self.place.record.read_text()
        for which in "1>&-", "2>&-", "1>&- 2>&-", "0>&- 1>&- 2>&-":
            with self.subTest(which):
                before, place = ["sh", "-c", f'exec "$@" {which}', "sh"], Place(self.lab)
                self.run_fetch(url(), place=place, before=before)
                known = place.live.read_text(), place.record.read_text()
                # not taken if what is new cannot be said
                self.assertEqual(known, (OLD, "") if "1" in which else (NEW, record))
                for wrong in url("nothing"), "https://nowhere.invalid/":
                    self.run_fetch(wrong, place=place, before=before)
                    self.assertEqual((place.live.read_text(), place.record.read_text()), known)


class RollBack(Fetching):
    def test_there_and_back(self):
        self.fetch(code=CHANGED)
        self.fetch("--rollback", code=CHANGED, says="-timeout = 6s")
        self.assertEqual((self.place.live.read_text(), self.place.old.read_text()), (OLD, NEW))
        # what was rolled back does not come back until the server has another one
        self.fetch(code=UNCHANGED, says="still has what was rolled back")
        self.assert_logged(" 304 ")
        self.fetch("--rollback", code=CHANGED)
        self.assertEqual((self.place.live.read_text(), self.place.old.read_text()), (NEW, OLD))
        self.fetch(code=UNCHANGED, says="no newer one")
        self.fetch("--rollback", code=CHANGED)
        self.publish(OLDER)
        self.fetch(code=CHANGED)
        self.assertEqual((self.place.live.read_text(), self.place.old.read_text()), (OLDER, OLD))

    def test_a_dry_run_by_who_may_not_read_that(self):
        """Of what was rolled back he would be told that it comes back."""
        if not L.owns_several_users():
            self.skipTest("one user only in this namespace")
        before = ["setpriv", "--reuid", "1234", "--regid", "1234", "--clear-groups"]
        self.fetch("-n", url(), code=CHANGED, says="would be replaced", before=before)
        self.fetch(code=CHANGED)
        self.fetch("--rollback", code=CHANGED)
        self.fetch("-n", url(), code=UNCHANGED, says="still has what was rolled back")
        self.fetch("-n", url(), code=FAILED, says="convert.conf.fetched: cannot be read: Permission denied", before=before)
        self.fetch("--rollback", "-n", code=CHANGED, says="would be replaced", before=before)

    def test_a_server_without_etags(self):
        self.fetch(url("blind/convert.conf"), code=CHANGED)
        self.fetch("--rollback", code=CHANGED)
        self.fetch(url("blind/convert.conf"), code=UNCHANGED, says="what was rolled back")

    def test_the_server_goes_back_as_well(self):
        """What the server has is there again, and nothing of it was rolled back: an edit is undone as any other."""
        self.fetch(code=CHANGED)
        self.fetch("--rollback", code=CHANGED)
        self.publish(OLD)
        self.fetch(code=UNCHANGED, says="has the same")
        self.place.live.write_text("# by hand\n" + OLD)
        self.fetch(code=CHANGED)
        self.assertEqual(self.place.live.read_text(), OLD)

    def test_an_edit_of_what_took_its_place(self):
        """The server has still what was rolled back, and the edit stays."""
        edited = "# by hand\n" + OLD
        for path in "convert.conf", "blind/convert.conf":
            with self.subTest(path):
                self.place = Place(self.lab)
                self.fetch(url(path), code=CHANGED)
                self.fetch("--rollback", code=CHANGED)
                self.place.live.write_text(edited)
                for _ in range(2):
                    self.fetch(url(path), code=UNCHANGED, says="still has what was rolled back")
                self.assertEqual((self.place.live.read_text(), self.place.old.read_text()), (edited, NEW))
                self.fetch("--rollback", code=CHANGED)
                self.assertEqual((self.place.live.read_text(), self.place.old.read_text()), (NEW, edited))
                self.fetch("--rollback", code=CHANGED)
                self.publish(OLDER)
                self.fetch(url(path), code=CHANGED)
                self.assertEqual((self.place.live.read_text(), self.place.old.read_text()), (OLDER, edited))
                self.publish(NEW)

    def test_nothing_to_go_back_to(self):
        self.fails("--rollback", says="nothing to go back to")
        self.place.old.write_text("mistake\n")
        self.fetch("--rollback", code=FAILED, says="convert.conf.old:1: ")
        self.assertEqual(self.place.live.read_text(), OLD)


class Disk(Fetching):
    def test_full(self):
        self.place.dir.rename(self.place.dir.with_suffix(".away"))
        self.place.dir.mkdir()
        L.command(["mount", "-t", "tmpfs", "-o", "size=32k", "small", self.place.dir])
        self.place.live.write_text(OLD)
        filler = self.place.dir / "filler"
        with self.assertRaises(OSError), open(filler, "wb", buffering=0) as file:
            while True:
                file.write(b"x" * 4096)
        self.fails(says="No space left on device")
        filler.write_bytes(b"x" * 12288)
        self.fetch(code=CHANGED)
        self.assertEqual(self.place.live.read_text(), NEW)

    def test_read_only(self):
        self.place.dir.rename(self.place.dir.with_suffix(".away"))
        self.place.dir.mkdir()
        L.command(["mount", "-t", "tmpfs", "-o", "nosuid,nodev", "small", self.place.dir])
        self.place.live.write_text(OLD)
        L.command(["mount", "-o", "remount,bind,ro,nosuid,nodev", self.place.dir])
        self.fails(says="convert.conf.fetched: cannot be written: Read-only file system")

    def test_somebody_elses(self):
        if not L.owns_several_users():
            self.skipTest("one user only in this namespace")
        before = ["setpriv", "--reuid", "1234", "--regid", "1234", "--clear-groups"]
        self.fails(url(), says="convert.conf.fetched: cannot be written: Permission denied",
                   before=before)

    def test_output_that_cannot_be_written(self):
        r = self.lab.run(["sh", "-c", f"{HELPER} fetch --cacert {site.ca} -c {self.place.live} "
                          f"{url()} > /dev/full"])
        self.assertEqual(r.code, FAILED, r)
        self.assertIn("nothing was changed", r.err)
        self.assertEqual(self.place.live.read_text(), OLD)


class AtOnce(Fetching):
    def test_the_second_one_leaves(self):
        first = self.lab.start("client", [HELPER, "fetch", "--cacert", site.ca, "-c",
                                          self.place.live, url("late", https.ODD)])
        L.wait_for("the first one's lock", self.place.record.exists)
        self.fails(says="another fetch is at work")
        first.process.wait(10)
        self.assertEqual(first.process.returncode, CHANGED, first.text())
        self.assertTrue(self.place.live.read_bytes().endswith(https.BODY))

    def begun(self):
        """One that has read the file: a request of its has begun."""
        first = self.lab.start("client", [HELPER, "fetch", "--cacert", site.ca, "-c", self.place.live,
                                          url("late", https.ODD)])
        first.wait_for("its connection", lambda: "ESTAB" in L.command(
            L.inside("client", ["ss", "-Htn", "dst", f"{L.SERVER}:{https.ODD}"])))
        return first

    def test_an_edit_meanwhile(self):
        """It would have been nowhere: neither in the file nor in the one of before."""
        edited = "# by hand\n" + OLD

        def edit():
            self.place.live.write_text(edited)

        def replace():
            self.place.new.with_suffix(".hand").write_text(edited)
            self.place.new.with_suffix(".hand").rename(self.place.live)
        for change, after in ((edit, edited), (replace, edited), (self.place.live.unlink, None),
                              (lambda: self.place.live.chmod(0o600), OLD)):
            self.place.live.write_text(OLD)
            self.place.live.chmod(0o644)
            first = self.begun()
            change()
            first.process.wait(10)
            self.assertEqual(first.process.returncode, FAILED, first.text())
            self.assertIn(f"{self.place.live}: was changed meanwhile, and stays so: expected ", first.text())
            self.assertEqual(self.place.live.read_text() if self.place.live.exists() else None, after)
            self.assertFalse(self.place.old.exists())
            self.assertEqual(self.place.leftovers(), [])
        self.place.live.unlink(missing_ok=True)
        first = self.begun()
        edit()
        first.process.wait(10)
        self.assertEqual((first.process.returncode, self.place.live.read_text()), (FAILED, edited), first.text())

    def test_many_at_once(self):
        """Two addresses with two large files, six fetches at a time, and a reader, four times and until both
        files were there (which of the six comes first is not ours to say, and the others may leave)."""
        versions = [("\n".join(f"# {n} {i}" for i in range(3000)) + "\n" + OLD).encode()
                    for n in range(2)]
        for n, version in enumerate(versions):
            self.publish(version, f"many{n}.conf")
        self.place.live.write_bytes(versions[0])
        seen, stop = set(), threading.Event()

        def read():
            while not stop.is_set():
                seen.add(self.place.live.read_bytes())
        reader = threading.Thread(target=read)
        reader.start()
        try:
            codes, rounds, end = set(), 0, time.monotonic() + 30
            while rounds < 4 or (len(seen) < 2 and time.monotonic() < end):
                rounds += 1
                running = [subprocess.Popen(
                    L.inside("client", [HELPER, "fetch", "-q", "--cacert", site.ca, "-c",
                                        self.place.live, url(f"many{n % 2}.conf")]),
                    env=L.ENVIRONMENT, stderr=subprocess.DEVNULL) for n in range(6)]
                codes |= {p.wait(30) for p in running}
        finally:
            stop.set()
            reader.join()
        self.assertLessEqual(codes, {CHANGED, UNCHANGED, FAILED})
        self.assertIn(CHANGED, codes)
        self.assertEqual(seen, set(versions))


class Killed(Fetching):
    """Each system call on one of the files or their directory, in turn."""

    def strace(self, place, inject, *words):
        trace = self.lab.file("trace")
        before = ["strace", "-f", "-o", trace] + (["-e", f"inject={inject}"] if inject else [])
        for path in place.paths():
            before += ["-P", path]
        r = self.run_fetch(*words, place=place, before=before)
        return r, trace.read_text()

    def afterwards(self, place):
        """The next one works, and leaves neither gaps nor leftovers."""
        r = self.run_fetch(url(), place=place)
        self.assertIn(r.code, (CHANGED, UNCHANGED), r)
        self.assertEqual(place.live.read_text(), NEW)
        self.assertEqual(place.old.read_text(), OLD)
        self.assertEqual(place.leftovers(), [])

    def calls(self, make, *words):
        """What a run does that nobody disturbs: (system call, which of its kind)."""
        r, trace = self.strace(make(), None, *words)
        self.assertEqual(r.code, CHANGED, r)
        names = re.findall(r"^\d+ +(\w+)\(", trace, re.MULTILINE)
        self.assertGreaterEqual(len(names), 25)
        return [(name, names[:i + 1].count(name)) for i, name in enumerate(names)]

    def kill_at_each(self, make, *words):
        """Yields the place that each killed one has left."""
        calls = self.calls(make, *words)
        for name, n in calls:
            place = make()
            r, _ = self.strace(place, f"{name}:signal=SIGKILL:when={n}", *words)
            self.assertEqual(r.code, -signal.SIGKILL, r)
            with self.subTest(f"killed at {name} {n}"):
                yield place, (place.live.read_text(), place.old.read_text())
        self.note(f"killed at each of {len(calls)} system calls")

    def test_killed(self):
        for place, found in self.kill_at_each(lambda: Place(self.lab, old=OLDER), url()):
            self.assertIn(found, ((OLD, OLDER), (NEW, OLDER), (NEW, OLD)))
            self.afterwards(place)

    def test_killed_in_a_rollback(self):
        for place, found in self.kill_at_each(lambda: Place(self.lab, live=NEW, old=OLD),
                                              "--rollback"):
            self.assertIn(found, ((NEW, OLD), (OLD, OLD), (OLD, NEW)))
            if found[0] == NEW:
                self.assertEqual(self.run_fetch("--rollback", place=place).code, CHANGED)
            else:  # one that has nothing to do ends what the killed one has left
                self.publish(OLD)
                self.assertEqual(self.run_fetch(url(), place=place).code, UNCHANGED)
            self.assertEqual((place.live.read_text(), place.old.read_text()), (OLD, NEW))
            self.assertEqual(place.leftovers(), [])

    def test_errors(self):
        injected = 0
        for call, error in itertools.chain(
                (("openat", e) for e in ("ENOSPC", "EIO", "EMFILE")),
                (("write", e) for e in ("ENOSPC", "EIO")), (("fsync", e) for e in ("EIO",)),
                (("rename", e) for e in ("ENOSPC", "EIO")),
                ((call, "EIO") for call in ("fchmod", "fchown", "close", "unlink", "ftruncate",
                                            "pwrite64", "flock", "pread64", "read"))):
            for n in itertools.count(1):
                self.assertLess(n, 50)
                place = Place(self.lab, old=OLDER)
                if call == "unlink":
                    place.new.write_text("half")
                    place.old_new.write_text("ha")
                r, trace = self.strace(place, f"{call}:error={error}:when={n}", url())
                if "INJECTED" not in trace:
                    break
                injected += 1
                with self.subTest(f"{call} {error} {n}"):
                    live = place.live.read_text()
                    if r.code in (CHANGED, UNCHANGED) or "is replaced all the same" in r.err:
                        self.assertEqual(live, NEW, r)
                    else:
                        self.assertEqual((r.code, live), (FAILED, OLD), r)
                        self.assertTrue(r.err, r)
                    self.afterwards(place)
        self.note(f"{injected} errors")
        self.assertGreaterEqual(injected, 25)


class Terminal(Fetching):
    def test_a_meter_on_a_terminal_only(self):
        command = f"{HELPER} fetch --cacert {site.ca} -c {self.place.live} " \
                  + url("late", https.ODD)
        r = self.lab.run(["script", "-qefc", command, "/dev/null"], env={"SHELL": "/bin/sh"})
        self.assertEqual(r.code, CHANGED, r)
        self.assertRegex(r.out.decode(), r"\r\x1b\[K\d+ of 436 bytes, \d+ %")
        self.place = Place(self.lab)
        r = self.run_fetch(url("late", https.ODD))
        self.assertEqual(r.err, "")


if __name__ == "__main__":
    L.main(setup)
