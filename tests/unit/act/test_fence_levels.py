"""When the levels of a fence begin: power once the storage servers have made it durable, or have failed to."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils.access import HostAccess
from ansible_collections.libreha.vmware.plugins.module_utils.act.fence import REAL, Fenced, Run, fence_host
from ansible_collections.libreha.vmware.plugins.module_utils.decide.decision import FenceAction
from ansible_collections.libreha.vmware.plugins.module_utils.errors import LeaseLost, LibrehaError, StaleToken
from ansible_collections.libreha.vmware.plugins.module_utils.fence.interface import PowerDevice
from ansible_collections.libreha.vmware.plugins.module_utils.hypervisor.interface import Connection
from ansible_collections.libreha.vmware.plugins.module_utils.record.database import StateDatabase
from ansible_collections.libreha.vmware.plugins.module_utils.storage.server import ServerAccess, Ssh

HANG_GUARD = 20.0  # s
HOST = HostAccess(Connection("esx1", "esx1", "root", "pw"), (PowerDevice("esx1", "https://bmc"),))


class Levels:
    """Storage servers (``own`` is this machine's), with what each does when it is asked, and a BMC."""

    def __init__(self, **at: Callable[[Callable[[], None]], None]) -> None:
        self.at = at
        self.off = threading.Event()

    def at_server(self, server: ServerAccess, _request: object, _permit: object, durable: Callable[[], None]) -> Mapping[str, Any]:
        self.at[server.name](durable)
        return {"changed": True}

    def switch_off(self, *_arguments: object) -> Mapping[str, Any]:
        self.off.set()
        return {"confirmed_off": True, "changed": True}

    def fence(self, folder: Path) -> Fenced:
        servers = {name: ServerAccess(name, ssh=None if name == "own" else Ssh(name)) for name in self.at}
        action = FenceAction("esx1", ("iqn:esx1",), tuple(servers), power=True, stop=False, vms=(), reasons=("dead",))
        world = replace(REAL, at_server=self.at_server, switch_off=self.switch_off)
        with StateDatabase.open("sqlite:///%s" % (folder / "state.db")) as database:
            lease = database.acquire_lease("test", 60.0)
            return fence_host(action, HOST, servers, database, Run("test", lease.token, 60.0), world)


def test_power_is_switched_off_beside_the_verification(tmp_path: Path) -> None:
    def durable_then_verified(durable: Callable[[], None]) -> None:
        assert not levels.off.is_set(), "before the fence was durable"
        durable()
        assert levels.off.wait(HANG_GUARD), "only after the verification"

    levels = Levels(own=durable_then_verified)
    assert levels.fence(tmp_path) == Fenced(True)


def test_power_waits_for_every_storage_server(tmp_path: Path) -> None:
    """Of a remote one it is known only at its end that the fence is durable there."""
    own_is_durable = threading.Event()

    def own(durable: Callable[[], None]) -> None:
        durable()
        durable()  # said again, it counts once
        own_is_durable.set()

    def remote(_durable: Callable[[], None]) -> None:
        assert own_is_durable.wait(HANG_GUARD)
        assert not levels.off.wait(0.2)

    levels = Levels(own=own, far=remote)
    assert levels.fence(tmp_path) == Fenced(True)
    assert levels.off.is_set()


def test_a_storage_server_that_fails_keeps_no_power_on(tmp_path: Path) -> None:
    def fails(_durable: Callable[[], None]) -> None:
        raise LibrehaError("the disk is full")

    levels = Levels(own=fails)
    fenced = levels.fence(tmp_path)
    assert levels.off.is_set() and fenced.changed and "the disk is full" in fenced.failed[0]


@pytest.mark.parametrize("error", [StaleToken("another run has acted"), LeaseLost("over")])
def test_a_run_that_was_replaced_switches_nothing_off(tmp_path: Path, error: LibrehaError) -> None:
    def replaced(_durable: Callable[[], None]) -> None:
        raise error

    levels = Levels(own=replaced)
    with pytest.raises(type(error)):
        levels.fence(tmp_path)
    assert not levels.off.is_set()
