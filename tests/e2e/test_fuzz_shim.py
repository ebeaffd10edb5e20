#!/usr/bin/python3 -B
# SPDX-License-Identifier: MIT
"""The whole shim against a converter that answers with anything, by a seed: a program is connected if
and only if the reply says so, then gets exactly the bytes behind it, and nothing hangs, crashes or
stays open.

FUZZ_SEED=1 and FUZZ_CONNECTIONS=400 choose which and how many.
"""
import collections
import errno
import os
import sys

sys.path.insert(1, sys.path[0] + "/../lab")
import lab as L

SEED = int(os.environ.get("FUZZ_SEED", 1))
N = int(os.environ.get("FUZZ_CONNECTIONS", 400))
TIMEOUT_MS = 300
CLIENTS = 2  # at the same time
FUZZ = L.BUILD / "fuzz"
SANITIZERS = {name: value for name, value in os.environ.items() if name.endswith("SAN_OPTIONS")}

# What a direct connection can fail with, and PROTOCOL 2's for a converter that is none.
SANE = {getattr(errno, name) for name in (
    "EPROTO ECONNRESET ETIMEDOUT ECONNREFUSED EACCES ENOBUFS ENETUNREACH EHOSTUNREACH ENOPROTOOPT "
    "EOPNOTSUPP EHOSTDOWN ENONET").split()}


class Shim(L.TestCase):
    def clients(self, shim, first, n):
        """What shim-client says of each port."""
        each = n // CLIENTS
        running = [self.lab.start("client", [
            "env", *(f"{k}={v}" for k, v in (shim | SANITIZERS | {"LD_PRELOAD": L.SHIM}).items()),
            FUZZ / "shim-client", L.SERVER, first + i * each, each]) for i in range(CLIENTS)]
        said, opened = {}, []
        for client in running:
            code = client.process.wait(n * TIMEOUT_MS / 1000 + 60)
            self.assertEqual(code, 0, client.text()[-2000:])
            for line in client.text().splitlines():
                words = line.split()
                if words[0] == "open":
                    opened.append(int(words[1]))
                else:
                    said[int(words[0])] = words[1:]
        self.assertEqual(sorted(opened), sorted([0, 1, 2] * CLIENTS))
        self.assertEqual(len(said), each * CLIENTS)
        return said

    def is_right(self, made, said):
        """made: [good|bad, end, length, hash]; said: of the client, without its number."""
        (good, end, length, digest), (ms, outcome, *rest) = made, said
        if int(ms) > TIMEOUT_MS + 2000 and not (end == "silence" and outcome == "connected"):
            return False
        if outcome == "failed":
            return int(rest[0]) in SANE and (good == "bad" or end == "rst")
        if good == "bad":
            return False
        if end == "fin":
            return rest == [length, digest, "0"]
        if end == "silence":  # until the client has waited long enough
            return rest == [length, digest, str(errno.ETIME)]
        return int(rest[0]) < int(length) or rest[:2] == [length, digest]

    def fuzz(self, seed, n, settings, policy):
        address = self.lab.fresh_addresses()[0]
        converter = self.lab.start("converter", [FUZZ / "shim-converter", seed, address, L.PORT])
        converter.wait_for_listeners(L.PORT)
        shim = self.lab.config(f"dialect = rfc8803\n{settings}",
                               f"{policy}\ntimeout = {TIMEOUT_MS}ms", address=address)
        made, bad = {}, []
        said = self.clients(shim, 1000, n)
        for line in converter.text().splitlines():
            words = line.split()
            made[int(words[0])] = words[1:]  # once more, if it was asked once more: the same
        for port, words in sorted(said.items()):
            if port not in made or not self.is_right(made[port], words):
                bad.append(f"port {port}: made {made.get(port)}, said {words}")
        outcomes = collections.Counter((made[p][0], w[1]) for p, w in said.items() if p in made)
        self.note(f"seed {seed}: {dict(outcomes)}")
        self.assertEqual(bad, [], f"seed {seed}, {settings}, {policy}")
        self.assertGreater(outcomes["good", "connected"], n // 10)
        self.assertGreater(outcomes["bad", "failed"], n // 10)

    def test_data_in_the_syn(self):
        self.fuzz(SEED, N // 2, "fast-open = no-cookie", "mptcp = off")

    def test_over_mptcp(self):
        self.fuzz(SEED + 1, N // 2, "fast-open = cookie", "mptcp = on")


if __name__ == "__main__":
    L.TEST_LIMIT = max(L.TEST_LIMIT, N)
    L.main()
