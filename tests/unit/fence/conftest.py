"""Redfish services for the tests of power fencing."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
from ipmi_simulator import IpmiBmc, missing
from redfish_emulator import ONE, TWO, Emulator


@pytest.fixture(scope="module")
def start_emulator(tmp_path_factory) -> Iterator[object]:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is missing")
    running = []

    def start(*systems: str, power: str = "On") -> Emulator:
        running.append(Emulator(tmp_path_factory.mktemp("bmc"), list(systems), power))
        return running[-1]

    yield start
    for emulator in running:
        emulator.stop()


@pytest.fixture(scope="module")
def emulator(start_emulator) -> Emulator:
    return start_emulator(ONE)


@pytest.fixture(scope="module")
def two(start_emulator) -> Emulator:
    return start_emulator(ONE, TWO)


@pytest.fixture
def start_ipmi(tmp_path_factory) -> Iterator[object]:
    assert not missing(), "%s not installed: tests/tools/setup" % missing()
    running = []

    def start() -> IpmiBmc:
        running.append(IpmiBmc(tmp_path_factory.mktemp("ipmi")))
        return running[-1]

    yield start
    for bmc in running:
        bmc.stop()


@pytest.fixture
def ipmi(start_ipmi) -> IpmiBmc:
    return start_ipmi()
