#!/usr/bin/python3 -B
# SPDX-License-Identifier: MIT
"""Case 2.3. How far select(), poll() and epoll look at what they were given: as far as the kernel, which stops
where the process has no descriptors any more, and says EFAULT where there is no memory."""
import difflib
import sys

sys.path.insert(1, sys.path[0] + "/../lab")
import lab as L
import servers


def setup(lab):
    servers.nowhere(lab)


class Sets(L.TestCase):
    def sets(self, highest, shim=None):
        return self.lab.run([L.TOOLS / "sets", highest, servers.MUTE, 80], shim=shim, timeout=60)

    def check(self, highest):
        self.lab.converter("--fault", "silence")
        direct = self.sets(highest)
        self.assertEqual(direct.code, 0, direct)
        shim = self.sets(highest, self.lab.config("fast-open = no-cookie", "timeout = 60s"))
        lines = [run.out.decode().splitlines() for run in (direct, shim)]
        different = list(difflib.unified_diff(*lines, n=0, lineterm=""))[:20]
        self.assertEqual((shim.code, different), (0, []), shim.log)
        self.assertIn("EFAULT", direct.out.decode())
        self.note(f"{len(lines[0])} calls, as direct")

    def test_few_descriptors(self):
        self.check(0)

    def test_more_than_a_word(self):
        self.check(100)

    def test_more_than_a_set(self):
        self.check(1500)

    def test_up_to_the_limit(self):
        self.check(19999)


if __name__ == "__main__":
    L.main(setup)
