# SPDX-License-Identifier: MIT
"""CPython's own test runner, with every outcome written to a file as it happens:

    record_cpython.py FILE ARGUMENT...      as `python3 -m test ARGUMENT...`

FILE gets one JSON object a line: what ("begin", "end" or an outcome), test, and for a failure or a
skip why.
(The runner's own --junit-xml loses a test of which a subtest has failed, a class whose set-up has
failed and, if one test hangs, everything.)
"""
import faulthandler
import json
import os
import sys

TEST_LIMIT = 60  # seconds; then the module ends with every thread's traceback

OUTCOMES = {"addSuccess": "ok", "addExpectedFailure": "expected failure",
            "addUnexpectedSuccess": "unexpected success"}


def record_to(file):
    from test.support.testresult import RegressionTestResult as Result
    owner = os.getpid()

    def write(what, test, why=None):
        if os.getpid() != owner:  # a forked child that unwinds into the runner
            return
        line = {"what": what, "test": getattr(test, "test_case", test).id()}
        if why:
            line["why"] = why
        print(json.dumps(line), file=file, flush=True)

    def write_first(name, write_it):
        original = getattr(Result, name)

        def method(self, test, *more):
            write_it(test, *more)
            return original(self, test, *more)
        setattr(Result, name, method)

    def failed(test, error):
        write("failed", test, f"{error[0].__name__}: {error[1]}")

    def subtest(test, _, error):
        if error:
            failed(test, error)

    def begin(test):
        write("begin", test)
        faulthandler.dump_traceback_later(TEST_LIMIT, exit=True)

    write_first("startTest", begin)
    write_first("stopTest", lambda test: write("end", test))
    write_first("addSubTest", subtest)
    for name in ("addFailure", "addError"):
        write_first(name, failed)
    write_first("addSkip", lambda test, reason: write("skipped", test, reason))
    for name, outcome in OUTCOMES.items():
        write_first(name, lambda test, *_, outcome=outcome: write(outcome, test))


if __name__ == "__main__":
    output = open(sys.argv.pop(1), "a")
    record_to(output)
    from test.libregrtest import main
    main()
