"""The table of docs/faults.md, made from the runs in tests/bench/faults.jsonl (bench_faults.py writes both; tests/unit/docs compares)."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from fault_courses import FAULTS, Fault

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "faults.md"
RESULTS = Path(__file__).with_name("faults.jsonl")
BEGIN, END = "<!-- table: written by tests/bench/bench_faults.py -->", "<!-- end of table -->"
HEAD = ("fault", "expected", "runs", "median", "p95", "longest", "lost", "what the operator has to do")


def read() -> list[dict[str, Any]]:
    """The runs, in the order in which they were made."""
    if not RESULTS.exists():
        return []
    return [json.loads(line) for line in RESULTS.read_text().splitlines()]


def render(page: str, runs: Sequence[dict[str, Any]]) -> str:
    """*page* with the table of *runs*, in the order of the faults."""
    before, begun, rest = page.partition(BEGIN)
    _old, ended, after = rest.partition(END)
    if not (begun and ended):
        raise ValueError("%s must have the lines %s and %s" % (PAGE, BEGIN, END))
    rows = [_row(fault, [run for run in runs if run["fault"] == key]) for key, fault in FAULTS.items()]
    lines = [HEAD, ["---"] * len(HEAD), *rows]
    table = "\n".join("| %s |" % " | ".join(line) for line in lines)
    return "\n".join((before + BEGIN, table, "", _made(runs), END + after))


def _row(fault: Fault, runs: Sequence[dict[str, Any]]) -> Sequence[str]:
    seconds = sorted(second for run in runs for second in run["seconds"])
    figures = ["%.1f s" % figure for figure in (statistics.median(seconds), p95(seconds), seconds[-1])] if seconds else ["", "", ""]
    counts = [run["records_lost"] for run in runs]
    lost = "" if not runs else "not judged" if None in counts else str(sum(counts))
    wrong = sum(1 for run in runs if run["wrong"])
    count = "%d, **%d not as expected**" % (len(runs), wrong) if wrong else str(len(runs))
    return (fault.what, fault.expected.value, count, *figures, lost, fault.operator)


def p95(values: Sequence[float]) -> float:
    """The smallest of the sorted *values* that 95 % of them do not exceed."""
    return values[math.ceil(0.95 * len(values)) - 1]


def _made(runs: Iterable[dict[str, Any]]) -> str:
    runs = list(runs)
    if not runs:
        return "No runs yet."
    days = sorted({run["at"][:10] for run in runs})
    commits = list(dict.fromkeys(run["commit"] for run in runs))
    loads = [run["load"] for run in runs]
    text = "%d runs, made from %s to %s at %s; load average of the 2 cores after each run: %.1f to %.1f."
    return text % (len(runs), days[0], days[-1], ", ".join(commits), min(loads), max(loads))
