"""Results in JUnit's XML, which every CI system reads: a suite per file, each failure with its difference in words."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from arbiter.policy_tests.run import Difference, Result


def junit(policy: str, results: Sequence[Result]) -> str:
    """The document. It has no times: tests take next to none."""
    root = Element("testsuites", name=policy, tests=f"{len(results)}", failures=f"{_failures(results)}")
    for file, group in groupby(results, key=lambda result: result.test.file):
        of_file = list(group)
        count, failures = f"{len(of_file)}", f"{_failures(of_file)}"
        suite = SubElement(root, "testsuite", name=file, tests=count, failures=failures, errors="0", skipped="0")
        for result in of_file:
            test = result.test
            case = SubElement(suite, "testcase", name=test.case.name, classname=policy, file=file, line=f"{test.line}")
            if not result.is_good:
                SubElement(case, "failure", message=summary(result)).text = "\n".join(explained(result))
    indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + tostring(root, encoding="unicode") + "\n"


def explained(result: Result) -> list[str]:
    """What is wrong with a result, one line each."""
    if result.problem:
        return [result.problem]
    return [_explained(difference) for difference in result.differences]


def summary(result: Result) -> str:
    """What is wrong with a result, in one line."""
    return result.problem or explained(result)[0]


def _explained(one: Difference) -> str:
    how = f"expected {one.expected}" if one.expected else "not expected"
    return f"{one.field}: {how}, but {one.actual}"


def _failures(results: Sequence[Result]) -> int:
    return sum(not result.is_good for result in results)
