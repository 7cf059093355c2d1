"""How long VMs have done no I/O: said only when the host's own statistics say it."""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils.access import HostAccess
from ansible_collections.libreha.vmware.plugins.module_utils.decide.observations import Power, VmObservation
from ansible_collections.libreha.vmware.plugins.module_utils.hypervisor.interface import Connection, HostUnavailable, Hypervisor
from ansible_collections.libreha.vmware.plugins.module_utils.hypervisor.registry import open_hypervisor
from ansible_collections.libreha.vmware.plugins.module_utils.instant import Instant
from ansible_collections.libreha.vmware.plugins.module_utils.observe.vms import observe_vms
from pyVmomi import vim, vmodl
from scripted_host import HangUp, ScriptedHost, Silence, content, properties

NOW = datetime.datetime(2026, 11, 27, 3, 0, 7, tzinfo=datetime.timezone.utc)
NEWEST = NOW.replace(second=0)  # samples end at :00, :20 and :40
READ, WRITE, SENT, RATE, RECEIVED = 11, 12, 21, 31, 22
MANAGER = vim.PerformanceManager("ha-perfmgr")
VM = VmObservation(
    "ds:vm/vm.vmx", "esx1", "vm", "[shared] vm/vm.vmx", Instant("boot", 1.0), Power.ON, "12",
    heartbeat="red", tools="guestToolsNotRunning", networks=("VM Network",),
)  # fmt: skip


def counter(key: int, group: str, name: str, rollup: str) -> Any:
    def words(key: str) -> Any:
        return vim.ElementDescription(key=key, label=key, summary=key)

    return vim.PerformanceManager.CounterInfo(
        key=key, nameInfo=words(name), groupInfo=words(group), unitInfo=words("number"), rollupType=rollup, statsType="delta"
    )


@pytest.fixture
def hypervisor(host: ScriptedHost, connect: Callable[..., Connection]) -> Iterator[Hypervisor]:
    entry = content()
    entry.perfManager = MANAGER
    host.replies["RetrieveServiceContent"] = entry
    counters = [
        counter(5, "disk", "usage", "average"),
        counter(READ, "disk", "numberRead", "summation"),
        counter(WRITE, "disk", "numberWrite", "summation"),
        counter(RECEIVED, "net", "packetsRx", "summation"),
        counter(SENT, "net", "packetsTx", "summation"),
        counter(RATE, "datastore", "numberWriteAveraged", "average"),
    ]
    host.replies["RetrievePropertiesEx"] = properties((MANAGER, {"perfCounter": vim.PerformanceManager.CounterInfo.Array(counters)}))
    host.replies["CurrentTime"] = NOW
    with open_hypervisor(connect(host.port)) as opened:
        host.asked.clear()
        yield opened


def samples(count: int, newest: datetime.datetime = NEWEST, interval: int = 20) -> str:
    ends = [newest - datetime.timedelta(seconds=20 * (count - 1 - number)) for number in range(count)]
    return ",".join("%d,%s" % (interval, end.strftime("%Y-%m-%dT%H:%M:%SZ")) for end in ends)


def metric(info: str, series: dict[tuple[int, str], str], moid: str = "12") -> Any:
    return vim.PerformanceManager.EntityMetricCSV(
        entity=vim.VirtualMachine(moid),
        sampleInfoCSV=info,
        value=[
            vim.PerformanceManager.MetricSeriesCSV(id=vim.PerformanceManager.MetricId(counterId=key, instance=instance), value=values)
            for (key, instance), values in series.items()
        ],
    )


def answers(host: ScriptedHost, *metrics: Any) -> None:
    kind = vim.PerformanceManager.EntityMetricBase.Array
    host.replies["QueryPerf"] = kind(metrics)


QUIET = {(READ, "naa.1"): "0,0,0,0", (WRITE, "naa.1"): "0,0,0,0", (SENT, "4000"): "0,0,0,0", (SENT, ""): "0,0,0,0"}
LATE = NOW - datetime.timedelta(seconds=90)


@pytest.mark.parametrize(
    ("info", "changes", "idle"),
    [
        (samples(4), {}, 80.0),
        (samples(4), {(WRITE, "naa.1"): "0,7,0,0"}, 40.0),
        (samples(4), {(READ, "naa.1"): "0,0,0,1"}, 0.0),
        (samples(4), {(SENT, "4001"): "0,0,3,0"}, 20.0),
        (samples(4), {(RATE, "ds"): "0,0,2,0"}, 20.0),
        (samples(4), {(WRITE, "naa.1"): "0,0,-1,0"}, 20.0),  # the host does not have the value
        (samples(4), {(WRITE, "naa.1"): "0,0,,0"}, 20.0),
        (samples(2, NEWEST - datetime.timedelta(seconds=100)) + "," + samples(2), {}, 40.0),  # nothing is known of the time between
        (",".join(reversed(["20,%s" % end for end in samples(4).split(",")[1::2]])), {(WRITE, "naa.1"): "0,5,0,0"}, 20.0 * 1),
        (samples(4, LATE), {}, None),  # the host stopped making statistics
        (samples(4, NOW + datetime.timedelta(hours=1)), {}, None),
        (samples(4, interval=300), {}, None),
        (samples(3), {}, None),
        ("", {}, None),
        ("20,yesterday," * 3 + "20,today", {}, None),
    ],
    ids=[
        "none at all", "a write", "a read just now", "a packet of the second card", "a rate", "unknown", "left out", "a gap",
        "newest first", "old", "of the future", "rolled up", "one too few", "none",
        "no times",
    ],
)  # fmt: skip
def test_silence_is_what_the_newest_samples_say(
    info: str, changes: dict[tuple[int, str], str], idle: float | None, host: ScriptedHost, hypervisor: Hypervisor
) -> None:
    answers(host, metric(info, {**QUIET, **changes}))
    found = hypervisor.io_idle([VM])
    assert found == ({} if idle is None else {"12": idle})


@pytest.mark.parametrize(
    ("series", "cards", "known"),
    [
        ({key: values for key, values in QUIET.items() if key[0] == SENT}, True, False),  # nothing about its disks
        ({key: values for key, values in QUIET.items() if key[0] != SENT}, True, False),  # nothing about its cards
        ({key: values for key, values in QUIET.items() if key[0] != SENT}, False, True),
        ({(RATE, "ds"): "0,0,0,0", (SENT, ""): "0,0,0,0"}, True, True),  # a disk on a file server
        ({}, False, False),
    ],
)
def test_what_the_host_does_not_count_is_not_called_silent(
    series: dict[tuple[int, str], str], cards: bool, known: bool, host: ScriptedHost, hypervisor: Hypervisor
) -> None:
    answers(host, metric(samples(4), series))
    assert bool(hypervisor.io_idle([replace(VM, networks=("n",) if cards else ())])) is known


@pytest.mark.parametrize(
    "change",
    [
        {"heartbeat": "green"},
        {"heartbeat": "yellow"},
        {"power": Power.OFF},
        {"power": Power.SUSPENDED},
        {"tools": "guestToolsNotInstalled"},
    ],
)
def test_a_host_is_not_asked_about_vms_that_cannot_hang(change: dict[str, Any], host: ScriptedHost, hypervisor: Hypervisor) -> None:
    assert hypervisor.io_idle([replace(VM, **change)] * 3) == {}
    assert host.asked == []


def test_all_vms_are_asked_about_in_one_request(host: ScriptedHost, hypervisor: Hypervisor) -> None:
    vms = [replace(VM, moid=str(number), heartbeat="gray" if number % 2 else "red") for number in range(200)]
    answers(host, *(metric(samples(4), QUIET, vm.moid) for vm in vms))
    assert hypervisor.io_idle(vms) == dict.fromkeys((vm.moid for vm in vms), 80.0)
    assert host.asked == ["RetrievePropertiesEx", "CurrentTime", "QueryPerf"]
    body = host.bodies[-1]
    assert body.count("<querySpec>") == 200
    assert {"<counterId>%d<" % key in body for key in (READ, WRITE, SENT, RATE)} == {True}
    assert {"<counterId>%d<" % key in body for key in (5, RECEIVED)} == {False}


def test_a_host_that_refuses_its_statistics_says_so(host: ScriptedHost, hypervisor: Hypervisor) -> None:
    host.replies["QueryPerf"] = vim.fault.NoPermission(msg="denied", object=MANAGER, privilegeId="System.Read")
    with pytest.raises(HostUnavailable, match="reading the VMs' statistics.*System.Read"):
        hypervisor.io_idle([VM])


@pytest.mark.parametrize("reply", [Silence, HangUp, vim.fault.NoPermission(msg="denied", object=MANAGER, privilegeId="System.Read")])
def test_without_statistics_the_vms_are_read_all_the_same(reply: Any, host: ScriptedHost, connect: Callable[..., Connection]) -> None:
    entry = content()
    entry.perfManager = MANAGER
    host.replies.update({"RetrieveServiceContent": entry, "CurrentTime": NOW, "QueryPerf": reply})
    state = {
        "name": "vm",
        "runtime.powerState": vim.VirtualMachine.PowerState.poweredOn,
        "guestHeartbeatStatus": vim.ManagedEntity.Status.red,
    }
    turns = [
        properties((vim.VirtualMachine("12"), state)),
        properties(
            (MANAGER, {"perfCounter": vim.PerformanceManager.CounterInfo.Array([counter(WRITE, "disk", "numberWrite", "summation")])})
        ),
    ]
    host.replies["RetrievePropertiesEx"] = lambda: turns.pop(0)
    seen = observe_vms([HostAccess(connect(host.port))], {}, with_events=False)
    assert (seen.vms_read, [vm.name for vm in seen.vms], [vm.io_idle for vm in seen.vms], seen.unread) == (("esx1",), ["vm"], [None], ())
    (unread,) = seen.io_unread
    assert unread.host == "esx1"
    assert "reading the VMs' statistics" in unread.reason


@pytest.mark.parametrize("failure", ["fault", "unreadable"])
def test_one_vm_whose_statistics_fail_costs_only_its_own(failure: str, host: ScriptedHost, hypervisor: Hypervisor) -> None:
    """It was unregistered since the list was read, or its statistics are of a kind that the library does not know."""
    vms = [replace(VM, moid=str(number)) for number in range(20)]

    def reply() -> Any:
        asked = re.findall(r'"VirtualMachine">(\d+)<', host.bodies[-1])
        if "13" in asked:
            return vmodl.fault.ManagedObjectNotFound(msg="gone", obj=vim.VirtualMachine("13")) if failure == "fault" else (200, b"<a/><b/>")
        return vim.PerformanceManager.EntityMetricBase.Array([metric(samples(4), QUIET, moid) for moid in asked])

    host.replies["QueryPerf"] = reply
    assert hypervisor.io_idle(vms) == {str(number): 80.0 for number in range(20) if number != 13}


def test_statistics_of_another_vm_than_was_asked_for_do_not_keep_the_vms_back(
    host: ScriptedHost, connect: Callable[..., Connection]
) -> None:
    entry = content()
    entry.perfManager = MANAGER
    host.replies.update({"RetrieveServiceContent": entry, "CurrentTime": NOW})
    state = {"name": "vm", "runtime.powerState": vim.VirtualMachine.PowerState.poweredOn}
    turns = [
        properties((vim.VirtualMachine("12"), state)),
        properties(
            (MANAGER, {"perfCounter": vim.PerformanceManager.CounterInfo.Array([counter(WRITE, "disk", "numberWrite", "summation")])})
        ),
    ]
    host.replies["RetrievePropertiesEx"] = lambda: turns.pop(0)
    answers(host, metric(samples(4), {(WRITE, "naa.1"): "0,0,0,0"}, "99"))
    seen = observe_vms([HostAccess(connect(host.port))], {}, with_events=False)
    assert (seen.vms_read, [vm.name for vm in seen.vms]) == (("esx1",), ["vm"])
    assert "unexpected KeyError" in seen.io_unread[0].reason
