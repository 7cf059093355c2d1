"""libiscsi's conformance program iscsi-test-cu: what it said, and whether that is what is recorded of a target.

The program's own counts do not tell a test that was skipped from one that passed, but what it prints in between does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).resolve().parent
RECORDS = {"LIO": FOLDER / "lio.yml", "tgt": FOLDER / "tgt.yml"}
INITIATORS = ("iqn.2026-01.lab.libreha:conformance1", "iqn.2026-01.lab.libreha:conformance2")
PASSED, SKIPPED, FAILED = "passed", "skipped", "failed"

# after a suite its clean-up may complain on the same line as the last verdict: that is no test's failure
_TEST = re.compile(
    r"^  Test: (\S+) \.\.\.(.*?)(?:(?<=\.\.\.)|^)(passed|FAILED)(?=$| {4}\[)(.*?)(?=^  Test:|\nRun Summary)", re.MULTILINE | re.DOTALL
)
_COUNTS = re.compile(r"^ +tests +(\d+) +(\d+) +(\d+) +(\d+)", re.MULTILINE)
_SAID = re.compile(r"\[(?:SKIPPED|FAILED)\] (.*)")
_ASSERTED = re.compile(r"^ +\d+\. (\S+\.c:\d+)", re.MULTILINE)


@dataclass(frozen=True)
class Outcome:
    """Of one test. ``said``: why it was skipped, or what failed and where."""

    word: str
    said: str = ""


def argv(url: str, second_url: str) -> list[str]:
    """The program's command line: all tests, writing allowed. Both URLs lead to the same LUN, on two paths."""
    return ["iscsi-test-cu", "--dataloss", "--verbose", "-i", INITIATORS[0], "-I", INITIATORS[1], "--test", "ALL", url, second_url]


def read(text: str) -> dict[str, Outcome]:
    """Suite.Test -> outcome. Raises ValueError when the program did not come to its end."""
    found: dict[str, Outcome] = {}
    for suite, body in _suites(text):
        for match in _TEST.finditer(body):
            name, before, verdict, after = match.groups()
            found["%s.%s" % (suite, name)] = _outcome(verdict == "FAILED", before, after)
    counts = _COUNTS.search(text)
    if counts is None or int(counts.group(2)) != len(found):
        raise ValueError("iscsi-test-cu did not come to its end, or says it in another way. The last that it said:\n%s" % text[-2000:])
    return found


def _suites(text: str) -> Iterator[tuple[str, str]]:
    parts = re.split(r"^Suite: (\S+)$", text, flags=re.MULTILINE)
    yield from ((name, "%s\nRun Summary" % body.split("\nRun Summary")[0]) for name, body in zip(parts[1::2], parts[2::2]))


def _outcome(failed: bool, before: str, after: str) -> Outcome:
    said = next(iter(_SAID.findall(before)), "").strip().rstrip(".")
    if failed:
        places = list(dict.fromkeys(_ASSERTED.findall(after)))
        return Outcome(FAILED, "; ".join(filter(None, [said, ", ".join(places)])))
    return Outcome(SKIPPED, said.removesuffix(". Skipping test")) if "[SKIPPED]" in before else Outcome(PASSED)


@dataclass(frozen=True)
class Record:
    """What is known of a target: ``lio.yml``, ``tgt.yml``. ``explained``: failed test -> why."""

    about: dict[str, Any]
    outcomes: dict[str, Outcome]
    explained: dict[str, str] = field(default_factory=dict)

    @staticmethod
    def load(path: Path) -> Record:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        outcomes = {"%s.%s" % (suite, name): Outcome(PASSED) for suite, names in content["passed"].items() for name in names}
        for group in content["skipped"]:
            outcomes.update({name: Outcome(SKIPPED, group["said"]) for name in group["tests"]})
        explained = {}
        for group in content["failed"]:
            for name, said in group["tests"].items():
                outcomes[name] = Outcome(FAILED, said)
                explained[name] = group["why"]
        return Record(content["about"], outcomes, explained)

    def save(self, path: Path) -> None:
        passed: dict[str, list[str]] = {}
        skipped: dict[str, list[str]] = {}
        failed: dict[str, dict[str, str]] = {}
        for name, outcome in self.outcomes.items():
            if outcome.word == PASSED:
                passed.setdefault(name.split(".")[0], []).append(name.split(".")[1])
            elif outcome.word == SKIPPED:
                skipped.setdefault(outcome.said, []).append(name)
            else:
                failed.setdefault(self.explained.get(name, ""), {})[name] = outcome.said
        content = {
            "about": self.about,
            "failed": [{"why": why, "tests": tests} for why, tests in failed.items()],
            "skipped": [{"said": said, "tests": tests} for said, tests in skipped.items()],
            "passed": passed,
        }
        path.write_text(yaml.safe_dump(content, sort_keys=False, width=140), encoding="utf-8")

    def worse(self, seen: dict[str, Outcome]) -> list[str]:
        """What a run says that the record does not: a failure that is not known, a test that passed and no longer runs."""
        found = []
        for name, outcome in seen.items():
            before = self.outcomes.get(name)
            if outcome.word == FAILED and (before is None or before.word != FAILED):
                found.append("%s fails: %s" % (name, outcome.said))
            elif outcome.word == SKIPPED and before is not None and before.word == PASSED:
                found.append("%s passed and is skipped now: %s" % (name, outcome.said))
        return found + ["%s is no longer there" % name for name in self.outcomes if name not in seen]

    def better(self, seen: dict[str, Outcome]) -> list[str]:
        """What passes although the record has it as failed, or skipped."""
        return [
            "%s passes now, recorded is: %s" % (name, before.word)
            for name, before in self.outcomes.items()
            if before.word != PASSED and name in seen and seen[name].word == PASSED
        ]

    def unexplained(self) -> list[str]:
        return [name for name, outcome in self.outcomes.items() if outcome.word == FAILED and not self.explained.get(name)]
