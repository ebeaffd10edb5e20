#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The quick ones of CPython's network tests, as `make check-python` runs all of them."""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "cpython"))
import suite  # noqa: E402

if __name__ == "__main__":
    suite.main(["test_selectors", "test_poll", "test_select", "test_asynchat", "test_httplib",
                "test_socketserver", "test_epoll", "test_telnetlib"])
