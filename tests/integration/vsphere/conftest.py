from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils.hypervisor.transport import HostStub
from real_hosts import Authority, Host, StorageServer, missing


@pytest.fixture(scope="session", autouse=True)
def everything_is_there() -> None:
    lacking = missing()
    if lacking:
        pytest.fail(lacking, pytrace=False)


@pytest.fixture(scope="session")
def authority() -> Authority:
    return Authority()


@pytest.fixture(scope="session")
def ca_path(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    authority.write_ca(path)
    return path


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[StorageServer]:
    server = StorageServer(tmp_path)
    yield server
    server.end()


@pytest.fixture
def new_host(storage: StorageServer, authority: Authority) -> Iterator[Callable[..., Host]]:
    """``new_host(**changes of its configuration)``: not started yet."""
    made: list[Host] = []

    def make(**changes: Any) -> Host:
        made.append(Host(storage, authority, len(made), **changes))
        return made[-1]

    yield make
    for host in made:
        host.end()


@pytest.fixture
def round_trips(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The methods that were really invoked."""
    invoked: list[str] = []
    invoke = HostStub.InvokeMethod

    def count(stub: HostStub, reference: Any, info: Any, *rest: Any) -> Any:
        invoked.append(info.wsdlName)
        return invoke(stub, reference, info, *rest)

    monkeypatch.setattr(HostStub, "InvokeMethod", count)
    yield invoked


@pytest.fixture
def bare_host(storage: StorageServer, new_host: Callable[..., Host]) -> Callable[..., Host]:
    """``bare_host()``: a host as installed, with the software iSCSI adapter off, before a LUN that is blank."""
    storage.overwrite(0, bytes(512))

    def make(**changes: Any) -> Host:
        host = new_host(bare=True, datastore={}, vmkernel_ports=["vmk0", "vmk1", "vmk2"], **changes)
        host.config["iscsi"] = {"initiator": host.initiator, "host_index": host.config["iscsi"]["host_index"]}
        return host.start()

    return make
