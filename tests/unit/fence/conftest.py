"""Redfish services for the tests of power fencing."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator

import pytest
from ipmi_simulator import IpmiBmc, missing
from odd_bmc import OddBmc
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


@pytest.fixture(scope="session")
def certificate(tmp_path_factory) -> tuple[object, object]:
    folder = tmp_path_factory.mktemp("certificate")
    made = folder / "cert.pem", folder / "key.pem"
    request = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=bmc"]
    subprocess.run([*request, "-out", str(made[0]), "-keyout", str(made[1])], check=True, capture_output=True)
    return made


@pytest.fixture
def start_odd(certificate) -> Iterator[object]:
    running = []

    def start(address: str = "127.0.0.1") -> OddBmc:
        running.append(OddBmc(*certificate, address))
        return running[-1]

    yield start
    for bmc in running:
        bmc.stop()


@pytest.fixture
def odd(start_odd) -> OddBmc:
    return start_odd()
