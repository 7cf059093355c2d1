"""A lab for a test of the chain, with the collection's baseline look done; nothing else may use the lab meanwhile.

``chain_of`` brings one up for the test alone. ``chain`` is for tests that leave a lab as it was: they share one.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils.storage.fence_list import FenceList

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
            first = chain.first_look()
            assert first.code == 0, first.log
        return chain

    yield make
    lab("down")


class SharedLab:
    """Three hosts with a BMC each and two VMs, at esx1 and esx2, with fast timings. After a test that left it changed it is made anew."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._chain: Chain | None = None

    def ready(self) -> Chain:
        if self._chain is not None and not self._is_as_it_came_up(self._chain):
            self.end()
        if self._chain is None:
            lab("up", "--timings", "fast", "--hosts", "3", "--vms", "2")
            self._chain = Chain(self.folder)
            first = self._chain.play("site")
            assert first.code == 0, first.log
        return self._chain

    def end(self) -> None:
        if self._chain is not None:
            self._chain = None
            lab("down")

    @staticmethod
    def _is_as_it_came_up(chain: Chain) -> bool:
        if FenceList(chain.status["target"]["fence_list"]).read().entries:
            return False
        deadline = time.monotonic() + 30  # a host that was frozen needs a moment until it answers and its VMs write again
        while time.monotonic() < deadline:
            if standing(lab("status")) == standing(chain.status) and chain.referee()["ok"]:
                return True
            time.sleep(0.5)
        return False


def standing(status: dict[str, Any]) -> tuple[object, ...]:
    hosts = [(host["name"], host["state"], host["up"], host["faults"]) for host in status["hosts"]]
    return hosts, [(vm["name"], vm["host"], vm["power"], vm["registered"]) for vm in status["vms"]], status["target"]["up"]


@pytest.fixture(scope="package")
def shared_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedLab]:
    found = SharedLab(tmp_path_factory.mktemp("shared"))
    yield found
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LIBREHA_LAB_DIR", str(found.folder / "lab"))
        found.end()


@pytest.fixture
def chain(shared_lab: SharedLab, monkeypatch: pytest.MonkeyPatch) -> Chain:
    assert os.geteuid() == 0, "the lab needs root: run the tests as root"
    monkeypatch.setenv("LIBREHA_LAB_DIR", str(shared_lab.folder / "lab"))
    return shared_lab.ready()


def repetitions() -> range:
    """How often a test of chance runs: LIBREHA_REPEAT, 1 by default; `make prove` sets 20."""
    return range(int(os.environ.get("LIBREHA_REPEAT", "1")))
