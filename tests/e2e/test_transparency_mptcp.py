#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""test_transparency.py over Multipath TCP."""
import os
import sys

os.environ["LAB_MPTCP"] = "on"

sys.path.insert(1, sys.path[0] + "/../lab")
import lab as L  # noqa: E402
from test_transparency import *  # noqa: E402,F401,F403

if __name__ == "__main__":
    L.main(setup, delay_ms=(30, 20))  # noqa: F405
