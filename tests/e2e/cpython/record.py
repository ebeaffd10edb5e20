# SPDX-License-Identifier: MIT
"""CPython's own test runner, with every outcome written to a file as it happens:

    record.py FILE ARGUMENT...      as `python3 -m test ARGUMENT...`

FILE gets one JSON object a line: what ("begin", "end" or an outcome), test, and for a failure why.
(The runner's own --junit-xml loses a test of which a subtest has failed, a class whose set-up has
failed and, if one test hangs, everything.)
"""
import json
import os
import sys

OUTCOMES = {"addSuccess": "ok", "addSkip": "skipped", "addExpectedFailure": "expected failure",
            "addUnexpectedSuccess": "unexpected success"}


def record_to(file):
    from test.support.testresult import RegressionTestResult as Result
    owner = os.getpid()

    def write(what, test, error=None):
        if os.getpid() != owner:  # a forked child that unwinds into the runner
            return
        line = {"what": what, "test": getattr(test, "test_case", test).id()}
        if error:
            line["why"] = f"{error[0].__name__}: {error[1]}"
        print(json.dumps(line), file=file, flush=True)

    def write_first(name, write_it):
        original = getattr(Result, name)

        def method(self, test, *more):
            write_it(test, *more)
            return original(self, test, *more)
        setattr(Result, name, method)

    def subtest(test, _, error):
        if error:
            write("failed", test, error)

    write_first("startTest", lambda test: write("begin", test))
    write_first("stopTest", lambda test: write("end", test))
    write_first("addSubTest", subtest)
    for name in ("addFailure", "addError"):
        write_first(name, lambda test, error: write("failed", test, error))
    for name, outcome in OUTCOMES.items():
        write_first(name, lambda test, *_, outcome=outcome: write(outcome, test))


if __name__ == "__main__":
    output = open(sys.argv.pop(1), "a")
    record_to(output)
    from test.libregrtest import main
    main()
