"""A VM whose files are locked is tried again at the moment that was set, and not at the next tick of the loop after it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ansible_collections.libreha.vmware.plugins.module_utils.act.failover_run import TICK
from ansible_collections.libreha.vmware.plugins.module_utils.act.runtime import Threads
from ansible_collections.libreha.vmware.plugins.module_utils.act.vm_failover import REAL
from ansible_collections.libreha.vmware.plugins.module_utils.decide.policy import Policy
from ansible_collections.libreha.vmware.plugins.module_utils.decide.vms.transaction import Step
from pyVmomi import vim


class Watched(Threads):
    def __init__(self) -> None:
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        super().sleep(seconds)


def test_a_locked_vm_is_tried_again_when_its_time_has_come(bench: Any, new_esx: Callable[[str], Any]) -> None:
    host, refusals = new_esx("esx1").with_guest("vm1"), [vim.fault.FileLocked(file="vm1.vmdk")]
    host.faults["PowerOnVM_Task"] = lambda _name: refusals.pop() if refusals else None
    interval = TICK + 0.2
    policy = Policy()
    policy = replace(policy, failover=replace(policy.failover, lock_retry_interval=interval))
    runtime = Watched()
    (work,) = bench.start({"vm1": "esx1"}, policy=policy, around=replace(REAL, runtime=runtime), esx1=host.port)
    assert work.transaction.step is Step.VERIFIED and host.sent("PowerOnVM_Task") == 2
    assert sum(runtime.slept) <= interval + 0.02
