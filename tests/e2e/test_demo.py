#!/usr/bin/python3 -B
# SPDX-License-Identifier: MIT
"""make demo: all that it says holds, and it builds no more than it needs."""
import re
import subprocess
import sys
import time

sys.path.insert(1, sys.path[0] + "/../lab")
import lab as L


class Demo(L.TestCase):
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
    L.main()
