"""A lab for each test of the chain, with the collection's baseline look done; nothing else may use the lab meanwhile."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from .chain import Chain, lab

MakeChain = Callable[..., Chain]


@pytest.fixture
def chain_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeChain]:
    """Bring a lab up with the options given, look at it once, and take it down after the test. Its timings are fast by default."""
    assert os.geteuid() == 0, "the lab needs root: run the tests as root"
    monkeypatch.setenv("LIBREHA_LAB_DIR", str(tmp_path / "lab"))

    def make(*options: str, look: bool = True, timings: str = "fast", **policy: Any) -> Chain:
        lab("up", "--timings", timings, *options)
        chain = Chain(tmp_path, **policy)
        if look:
            first = chain.play("site")
            assert first.code == 0, first.log
        return chain

    yield make
    lab("down")


def repetitions() -> range:
    """How often a test of chance runs: LIBREHA_REPEAT, 1 by default; `make prove` sets 20."""
    return range(int(os.environ.get("LIBREHA_REPEAT", "1")))
