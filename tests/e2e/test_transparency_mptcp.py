#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""test_transparency.py over Multipath TCP, with a few kinds of converter. The others: LAB_MPTCP=on
and that."""
import os

os.environ.setdefault("TRANSPARENCY", "few")

import lab as L  # noqa: E402
from test_transparency import *  # noqa: E402,F401,F403

if __name__ == "__main__":
    L.MPTCP = "on"
    L.main(setup, delay_ms=(30, 20))  # noqa: F405
