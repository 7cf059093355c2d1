"""docs/iscsi-conformance.md from what is recorded in lio.yml and tgt.yml. With new runs the records are brought up to date first.

    tables.py [RUNS]        RUNS holds tgt.txt, lio.txt (what iscsi-test-cu printed) and tgt.json, lio.json (about the run)

`make conformance` does all of it. A failure that is new has no reason yet: write one into the record (``why``), then run this again.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from iscsi_test_cu import FAILED, PASSED, RECORDS, SKIPPED, Record, read

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "iscsi-conformance.md"
HEAD = """# iSCSI conformance of the targets

What libiscsi's `iscsi-test-cu`, a program that nobody here wrote, says of the two targets as this collection configures them. All of
its tests (`ALL`) run, those that write and those for two paths included. Made by `make conformance` from
`tests/integration/conformance/{lio,tgt}.yml`; the tests `tests/integration/conformance/test_tgt.py` and
`tests/integration/qemu_lab/test_lio_conformance.py` fail when a target does worse than written here.

Every failure below is the target's own: no setting of the collection causes it. What was ours is mended: in the first run LIO refused every
PERSISTENT RESERVE OUT, because the folder in which it keeps persistent reservations was missing; `iscsi_target` makes it since.
"""


def document() -> str:
    records = {target: Record.load(path) for target, path in RECORDS.items()}
    return "\n".join([HEAD, *_overview(records), *(line for item in records.items() for line in _target(*item)), *_suites(records)])


def _overview(records: dict[str, Record]) -> Iterator[str]:
    yield "| target | configured by | tests | passed | skipped | failed | run |"
    yield "|---|---|---|---|---|---|---|"
    for record in records.values():
        count = Counter(outcome.word for outcome in record.outcomes.values())
        about = record.about
        yield "| %s | %s | %d | %d | %d | %d | %s, %s, %s s |" % (
            about["version"],
            about["configured"],
            len(record.outcomes),
            count[PASSED],
            count[SKIPPED],
            count[FAILED],
            about["date"],
            about["program"],
            about["seconds"],
        )
    yield ""


def _target(target: str, record: Record) -> Iterator[str]:
    yield "## %s: failures" % target
    yield ""
    reasons: dict[str, list[str]] = {}
    for name, outcome in record.outcomes.items():
        if outcome.word == FAILED:
            reasons.setdefault(record.explained[name], []).append(name)
    if not reasons:
        yield "None."
        yield ""
    for why, names in reasons.items():
        yield "* %s: %s" % (", ".join("`%s`" % name for name in names), why)
        for said in dict.fromkeys(record.outcomes[name].said for name in names):
            yield "  The program says: `%s`." % said
    yield ""
    yield "## %s: skipped" % target
    yield ""
    yield "| the program's reason | tests |"
    yield "|---|---|"
    reasons = {}
    for name, outcome in record.outcomes.items():
        if outcome.word == SKIPPED:
            reasons.setdefault(outcome.said, []).append(name)
    for said, names in reasons.items():
        yield "| %s | %s |" % (said, ", ".join(names))
    yield ""


def _suites(records: dict[str, Record]) -> Iterator[str]:
    """Each suite with passed / skipped / failed of each target."""
    yield "## All suites: passed / skipped / failed"
    yield ""
    yield "| suite | %s |" % " | ".join(records)
    yield "|---|%s" % ("---|" * len(records))
    suites = dict.fromkeys(name.split(".")[0] for record in records.values() for name in record.outcomes)
    for suite in suites:
        cells = []
        for record in records.values():
            count = Counter(outcome.word for name, outcome in record.outcomes.items() if name.split(".")[0] == suite)
            cells.append("%d / %d / %d" % (count[PASSED], count[SKIPPED], count[FAILED]))
        yield "| %s | %s |" % (suite, " | ".join(cells))
    yield ""


def take_over(runs: Path) -> None:
    """New runs into the records; reasons stay with the tests that they were given for."""
    for target, path in RECORDS.items():
        text, about = runs / ("%s.txt" % target.lower()), runs / ("%s.json" % target.lower())
        if text.exists():
            explained = Record.load(path).explained if path.exists() else {}
            Record(json.loads(about.read_text()), read(text.read_text()), explained).save(path)


def main() -> None:
    if len(sys.argv) > 1:
        take_over(Path(sys.argv[1]))
    missing = ["%s: %s" % (target, name) for target, path in RECORDS.items() for name in Record.load(path).unexplained()]
    if missing:
        sys.exit("No reason is recorded for these failures. Write one (why), then run this again:\n%s" % "\n".join(missing))
    DOCUMENT.write_text(document(), encoding="utf-8")


if __name__ == "__main__":
    main()
