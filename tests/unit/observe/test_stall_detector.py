"""How late this process is, whatever happens between two reads of it."""

from __future__ import annotations

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils import stall_detector
from ansible_collections.libreha.vmware.plugins.module_utils.instant import Instant


def test_a_tick_in_the_middle_of_the_question_hides_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    delay = stall_detector.StallDetector()

    def now() -> Instant:
        """The ticker's thread comes first: this process was stopped for 3 s."""
        delay._worst, delay._last = 3.0, 103.2
        return Instant("boot", 103.2)

    delay._last = 100.0
    monkeypatch.setattr(stall_detector.clock, "now", now)
    assert delay.worst == pytest.approx(3.0) and "3.0 s late" in delay.reason
