#!/usr/bin/python3 -B
# SPDX-License-Identifier: MIT
"""Whose fault was it? What a converter is blamed for, by one program and so for all of a user's, and
what it is not: a server that says nothing, a program that looks late."""
import collections
import contextlib
import itertools
import signal

import crowds
import lab as L
import servers

# what two programs need of a machine that does other things, too
LIMIT = 1.0  # seconds, of `timeout`


def setup(lab):
    servers.nginx(lab)
    crowds.servers(lab)


queues = itertools.count(6000)  # each converter that holds SYNs has its own


class Blame(L.TestCase):
    def converter(self, *options, mptcp=False, listen=None):
        if "--hold" in options:
            options += ("--hold-queue", next(queues))
        if mptcp:
            options += ("--mptcp",)
        return self.lab.converter("--max-pending", 4096, *options, listen=listen)

    def shim(self, address, fallback="direct", mptcp=False, state=None, more=""):
        return self.lab.config(
            "fast-open = no-cookie", f"mptcp = {'auto' if mptcp else 'off'}\nfallback = {fallback}\n"
            f"timeout = {int(1000 * LIMIT)}ms\n{more}", address=address) | {
                "CONVERT_STATE": str(state or self.lab.file("state"))}

    def crowd(self, shim, options, *targets):
        return crowds.Crowd(self.lab, shim, options, *targets)

    def well_before(self, shims):
        """Each converter has shown that it is well."""
        for crowd in [self.crowd(shim, "-p 150", crowds.good(5)) for shim in shims]:
            lines = crowd.lines()
            self.assertEqual({line.path for line in lines}, {"converted"}, lines)

    def tally(self, lines):
        return dict(collections.Counter((line.name, line.path) for line in lines))


def over(mptcp):
    return "MPTCP" if mptcp else "TCP"


class MuteServer(Blame):
    """Case 1.1: the converter is there and has the message; it is the server that says nothing."""

    CASES = list(itertools.product(("", "--hold"), (False, True), ("direct", "none")))

    def begin(self, case):
        hold, mptcp, fallback = case
        address, _ = self.lab.fresh_addresses()
        self.converter(*hold.split(), mptcp=mptcp, listen=[address])
        return self.shim(address, fallback, mptcp)

    def judge(self, good, trouble, outcome):
        text = f"{self.tally(good)} {self.tally(trouble)}"
        self.assertGreater(len(good), 10, text)
        self.assertEqual({line.path for line in good}, {"converted"}, text)
        self.assertGreater(len(trouble), 4, text)
        self.assertEqual({line.path for line in trouble}, {outcome}, text)
        for line in trouble:
            self.assertTrue(LIMIT <= line.seconds < 2 * LIMIT, line)

    def beside(self, options, target):
        """Good servers are reached all the while, each time by another program."""
        shims = [self.begin(case) for case in self.CASES]
        self.well_before(shims)
        running = [(self.crowd(shim, "-s 4 -p 150", crowds.good(20)),
                    self.crowd(shim, f"-s 4 -w 1400 {options}", target)) for shim in shims]
        for (hold, mptcp, fallback), (good, trouble) in zip(self.CASES, running):
            with self.subTest(f"{hold or 'at once'}, {over(mptcp)}, fallback = {fallback}"):
                self.judge(good.lines(), trouble.lines(),
                           "patience" if fallback == "direct" else "ETIMEDOUT")

    def test_1_1_a_mute_server_beside_a_good_one(self):
        """Every 0.3 s a program that calls a mute one."""
        self.beside("-n 5 -p 200", crowds.mute(20))

    def test_1_1_a_port_scanner(self):
        """200 connections of one program at the same time, and again."""
        self.beside("-c 200 -r 9 -p 100", f"mute={crowds.MUTE}.1:1000+200")


class DeadConverter(Blame):
    """The other side of case 1.1: who is really dead is left alone after one limit, by everybody."""

    @contextlib.contextmanager
    def dropped(self, address):
        rule = ["INPUT", "-p", "tcp", "-d", address, "-j", "DROP"]
        L.command(L.inside("converter", ["iptables", "-A", *rule]))
        try:
            yield
        finally:
            L.command(L.inside("converter", ["iptables", "-D", *rule]))

    def judge(self, lines):
        """The one that finds it out has waited for the limit; those that began in the second after that
        did not wait at all."""
        first = lines[0]
        text = "\n".join(map(str, lines))
        self.assertEqual({line.path for line in lines}, {"direct"}, text)
        self.assertTrue(LIMIT <= first.seconds < 2 * LIMIT, text)
        behind = [line for line in lines if first.ended <= line.began < first.ended + 0.8]
        self.assertGreater(len(behind), 2, text)
        self.assertEqual([line for line in behind if line.seconds > LIMIT / 2], [], text)

    KINDS = ("no host", "silence", "--hold silence", "no host, now", "stopped, now")

    def test_left_alone_after_one_limit(self):
        cases = list(itertools.product(self.KINDS, (False, True)))
        began = [self.begin(*case) for case in cases]
        self.well_before([shim for (what, _), (shim, *_) in zip(cases, began) if "now" in what])
        with contextlib.ExitStack() as stack:
            for (what, _), (_, address, converter) in zip(cases, began):
                if "no host" in what:
                    stack.enter_context(self.dropped(address))
                if "stopped" in what:
                    converter.process.send_signal(signal.SIGSTOP)
                    stack.callback(converter.process.send_signal, signal.SIGCONT)
            running = [self.crowd(shim, "-s 3 -p 60", crowds.good(5)) for shim, *_ in began]
            for (what, mptcp), crowd in zip(cases, running):
                with self.subTest(f"{what}, {over(mptcp)}"):
                    self.judge(crowd.lines())

    def begin(self, what, mptcp):
        address, _ = self.lab.fresh_addresses()
        faults = ["--fault", "silence"] * ("silence" in what)
        if "hold" in what:
            faults = ["--hold", "--fault", "keep-syn"]
        return (self.shim(address, mptcp=mptcp), address,
                self.converter(*faults, mptcp=mptcp, listen=[address]))


if __name__ == "__main__":
    L.main(setup)
