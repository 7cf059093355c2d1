"""Reading iscsi-test-cu: each of its verdicts is understood, and one that got worse is not overlooked."""

from __future__ import annotations

import pytest
from iscsi_test_cu import FAILED, PASSED, RECORDS, SKIPPED, Outcome, Record, read
from tables import DOCUMENT, document

SAID = """
     CUnit - A unit testing framework for C - Version 2.1-3

Suite: CompareAndWrite
  Test: Simple ...    [SKIPPED] COMPAREANDWRITE is not implemented.
    [SKIPPED] COMPAREANDWRITE is not implemented.
passed
Suite: GetLBAStatus
  Test: Simple ...passed    [FAILED] PRIN command: failed with sense, in the clean-up
  Test: BeyondEol ...    [FAILED] GET_LBA_STATUS successful but should have failed
FAILED
    1. test_get_lba_status_beyond_eol.c:38  - CU_ASSERT_EQUAL(_r,0)
    2. test_get_lba_status_beyond_eol.c:38  - CU_ASSERT_EQUAL(_r,0)
Suite: iSCSIdatasn
  Test: iSCSIDataSnInvalid ...FAILED
    1. test_iscsi_datasn_invalid.c:98  - CU_ASSERT_NOT_EQUAL(ret,0)
    2. test_iscsi_datasn_invalid.c:116  - CU_ASSERT_NOT_EQUAL(ret,0)

Run Summary:    Type  Total    Ran Passed Failed Inactive
              suites      3      3    n/a      0        0
               tests      4      4      2      2        0
             asserts   55700  55700  55689     11      n/a
"""
SEEN = {
    "CompareAndWrite.Simple": Outcome(SKIPPED, "COMPAREANDWRITE is not implemented"),
    "GetLBAStatus.Simple": Outcome(PASSED),
    "GetLBAStatus.BeyondEol": Outcome(FAILED, "GET_LBA_STATUS successful but should have failed; test_get_lba_status_beyond_eol.c:38"),
    "iSCSIdatasn.iSCSIDataSnInvalid": Outcome(FAILED, "test_iscsi_datasn_invalid.c:98, test_iscsi_datasn_invalid.c:116"),
}


def test_each_verdict_is_read_with_its_reason() -> None:
    assert read(SAID) == SEEN


@pytest.mark.parametrize("text", ["", "Suite: A\n  Test: B ...passed\n", SAID.replace("  Test: iSCSIDataSnInvalid ...FAILED\n", "")])
def test_a_run_that_did_not_come_to_its_end_is_no_result(text: str) -> None:
    with pytest.raises(ValueError, match="did not come to its end"):
        read(text)


def test_worse_than_recorded_is_found_and_better_is_told() -> None:
    record = Record({}, SEEN)
    assert (record.worse(SEEN), record.better(SEEN)) == ([], [])
    seen = {
        "CompareAndWrite.Simple": Outcome(FAILED, "oops"),
        "GetLBAStatus.Simple": Outcome(SKIPPED, "not there"),
        "GetLBAStatus.BeyondEol": Outcome(PASSED),
        "New.Failing": Outcome(FAILED, "new"),
    }
    assert record.worse(seen) == [
        "CompareAndWrite.Simple fails: oops",
        "GetLBAStatus.Simple passed and is skipped now: not there",
        "New.Failing fails: new",
        "iSCSIdatasn.iSCSIDataSnInvalid is no longer there",
    ]
    assert record.better(seen) == ["GetLBAStatus.BeyondEol passes now, recorded is: failed"]


@pytest.mark.parametrize("target", RECORDS)
def test_every_recorded_failure_is_explained(target: str) -> None:
    assert Record.load(RECORDS[target]).unexplained() == []


def test_the_document_is_what_is_recorded() -> None:
    assert DOCUMENT.read_text(encoding="utf-8") == document(), "run tests/integration/conformance/tables.py"
