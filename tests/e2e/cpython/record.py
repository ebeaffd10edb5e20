# SPDX-License-Identifier: MIT
"""CPython's own test runner, with every outcome written to a file as it happens:

    record.py FILE ARGUMENT...      as `python3 -m test ARGUMENT...`

Each line of FILE is `begin ID`, `end ID`, or an outcome and its ID. (The runner's --junit-xml
loses tests of which a subtest has failed, classes whose set-up has failed, and, if one test
hangs, everything.)
"""
import os
import sys
import unittest

OUTCOMES = {"addSuccess": "ok", "addFailure": "failed", "addError": "error", "addSkip": "skipped",
            "addExpectedFailure": "expected-failure", "addUnexpectedSuccess": "unexpected-success"}


def record_to(file):
    from test.support.testresult import RegressionTestResult as Result
    owner = os.getpid()

    def write(word, test):
        if os.getpid() == owner:  # not a forked child that unwinds into the runner
            print(word, test.id(), file=file, flush=True)

    def before(name, word_for):
        original = getattr(Result, name)

        def method(self, test, *more):
            word = word_for(*more)
            if word:
                write(word, test)
            return original(self, test, *more)
        setattr(Result, name, method)

    def subtest(_, error):
        if error:
            is_failure = issubclass(error[0], unittest.TestCase.failureException)
            return "failed" if is_failure else "error"

    before("startTest", lambda: "begin")
    before("stopTest", lambda: "end")
    before("addSubTest", subtest)
    for name, outcome in OUTCOMES.items():
        before(name, lambda *_, outcome=outcome: outcome)


if __name__ == "__main__":
    file = open(sys.argv.pop(1), "a")
    record_to(file)
    from test.libregrtest import main
    main()
