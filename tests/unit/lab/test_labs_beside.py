"""A lab leaves the networks of others alone: which of them are in use."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "lab"))

from liblab.errors import LabError  # noqa: E402
from liblab.processes import Process, end, read_boot_id, spawn  # noqa: E402
from liblab.state import load  # noqa: E402
from liblab.up import in_use  # noqa: E402


def write_record(folder: Path, process: Process, boot_id: str) -> None:
    """As a checkout with other options writes it."""
    content = {"boot_id": boot_id, "options": {"of another release": 1}, "processes": {"tgtd": dataclasses.asdict(process)}}
    (folder / "lab.json").write_text(json.dumps(content))


def test_a_lab_that_another_checkout_made_is_in_use_as_long_as_its_processes_live(tmp_path: Path) -> None:
    lives = spawn(["sleep", "60"], tmp_path / "log")
    try:
        write_record(tmp_path, lives, read_boot_id())
        with pytest.raises(LabError):
            load(tmp_path)
        assert in_use(tmp_path)
        write_record(tmp_path, lives, "another boot")
        assert not in_use(tmp_path)
    finally:
        end(lives)
    write_record(tmp_path, lives, read_boot_id())
    assert not in_use(tmp_path)


def test_what_is_no_record_is_no_lab(tmp_path: Path) -> None:
    assert not in_use(tmp_path)
    (tmp_path / "lab.json").write_text("[]")
    assert not in_use(tmp_path)
