"""docs/faults.md says what tests/bench/faults.jsonl holds, and every fault that the lab offers is in it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
sys.path[:0] = [str(ROOT / "tests" / "bench"), str(ROOT / "tests" / "integration"), str(ROOT / "tests" / "lab")]

from faults_page import FAULTS, PAGE, RESULTS, read, render  # noqa: E402
from liblab.faults import ARBITER_FAULTS, HOST_FAULTS, TARGET_FAULTS  # noqa: E402
from liblab.guest_faults import VM_FAULTS  # noqa: E402


def test_the_page_is_what_the_runs_say() -> None:
    assert PAGE.read_text() == render(PAGE.read_text(), read()), "write it anew: tests/bench/bench_faults.py --page"


def test_at_least_twenty_faults_were_run_without_a_loss() -> None:
    runs = read()
    faults = {run["fault"] for run in runs}
    assert faults <= set(FAULTS) and len(faults) >= 20
    for run in runs:
        judged = run["records_lost"] is not None
        assert (run["records_lost"], run["overlapping_writers"]) == (0, 0) if judged else run["wrong"], run


def test_each_kind_of_fault_that_the_lab_has_is_in_a_course() -> None:
    courses = (ROOT / "tests" / "bench" / "fault_courses.py").read_text()
    kinds = [*HOST_FAULTS, *TARGET_FAULTS, *ARBITER_FAULTS, *VM_FAULTS]
    assert [kind for kind in kinds if '"%s"' % kind not in courses] == []


def test_the_runs_are_kept_with_the_page() -> None:
    listed = subprocess.run(["git", "ls-files", str(RESULTS)], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert listed
