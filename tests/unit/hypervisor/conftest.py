from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils.hypervisor.interface import Connection
from certificates import Authority
from scripted_host import ScriptedHost


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"), "test-ca")


@pytest.fixture(scope="session")
def certificate(authority: Authority) -> Path:
    """For 127.0.0.1."""
    return authority.issue("127.0.0.1").path


@pytest.fixture
def host(certificate: Path) -> Iterator[ScriptedHost]:
    scripted = ScriptedHost(certificate)
    yield scripted
    scripted.close()


@pytest.fixture
def connect(authority: Authority) -> Callable[..., Connection]:
    """A connection to a port of this machine that verifies certificates."""

    def make(port: int, **options: Any) -> Connection:
        given: dict[str, Any] = {"hostname": "127.0.0.1", "timeout": 2.0, "ca_path": str(authority.ca_path), **options}
        return Connection(name="esx1", username="root", password="secret-word", port=port, **given)

    return make
