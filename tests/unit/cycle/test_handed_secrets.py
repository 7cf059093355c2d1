"""New CHAP secrets for hosts that are let in again: handed over, kept for a while, and given to that one act only."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils.act.fence import Run
from ansible_collections.libreha.vmware.plugins.module_utils.cycle.ports import FenceOrder, RejoinOrder
from ansible_collections.libreha.vmware.plugins.module_utils.cycle.real import HandedSecrets, RealWorld, Site
from ansible_collections.libreha.vmware.plugins.module_utils.decide.decision import FenceAction, RejoinAction
from ansible_collections.libreha.vmware.plugins.module_utils.decide.policy import Policy
from ansible_collections.libreha.vmware.plugins.module_utils.entry.monitor import _take_secret
from ansible_collections.libreha.vmware.plugins.module_utils.errors import LibrehaError
from ansible_collections.libreha.vmware.plugins.module_utils.instant import Instant
from ansible_collections.libreha.vmware.plugins.module_utils.observe.pools import Pools


class Works:
    """Takes the place of the fork server: what children are given."""

    def __init__(self) -> None:
        self.given: list[Any] = []

    def start(self, work: Any, lock: Any) -> object:
        self.given.append(work)
        return object()


def test_a_secret_that_was_handed_over_is_forgotten_when_no_wish_can_be_open_any_more() -> None:
    now = [0.0]
    handed = HandedSecrets(lambda: Instant("boot", now[0]))
    handed.put("esx1", "first-secret")
    handed.put("esx1", "second-secret")
    now[0] = HandedSecrets.HOLDS - 1
    assert handed.current() == {"esx1": "second-secret"}
    now[0] = HandedSecrets.HOLDS
    assert handed.current() == {}


def test_the_act_that_lets_a_host_in_gets_it_and_no_other_act() -> None:
    handed, works = HandedSecrets(), Works()
    site = Site(Policy(), {}, {}, "sqlite:///x", chap_secrets={"esx2": "of-the-inventory"})
    world: Any = RealWorld(site, works, Pools(), handed)  # type: ignore[arg-type]
    executor = world.executor(Run("holder", 1, 60.0), None)
    handed.put("esx1", "new-secret-1")
    executor.begin(RejoinOrder(RejoinAction("esx1", "unfence", ())))
    executor.begin(FenceOrder(FenceAction("esx3", (), ("san1",), False, False, (), ())))
    rejoin, fence = works.given
    assert rejoin.site.chap_secrets == {"esx1": "new-secret-1", "esx2": "of-the-inventory"}
    assert fence.site.chap_secrets == {"esx2": "of-the-inventory"}
    assert "new-secret-1" not in repr(rejoin)


@pytest.mark.parametrize("request_", [{"host": "esx1"}, {"secret": "hush-hush-hush"}, {"host": 1, "secret": "hush-hush-hush"}])
def test_a_secret_without_a_host_is_refused_without_being_said(request_: dict[str, Any]) -> None:
    handed = HandedSecrets()
    with pytest.raises(LibrehaError, match="needs a host and a secret") as refused:
        _take_secret(handed, request_)
    assert "hush" not in str(refused.value)
    assert handed.current() == {}
