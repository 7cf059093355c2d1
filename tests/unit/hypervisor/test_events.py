"""One event that the library cannot read costs that event, and never the others or the VMs: real TLS, real SOAP."""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils.access import HostAccess
from ansible_collections.libreha.vmware.plugins.module_utils.hypervisor import event_reading
from ansible_collections.libreha.vmware.plugins.module_utils.hypervisor.interface import Connection, Hypervisor
from ansible_collections.libreha.vmware.plugins.module_utils.hypervisor.registry import open_hypervisor
from ansible_collections.libreha.vmware.plugins.module_utils.observe.vms import observe_vms
from pyVmomi import vim, vmodl
from scripted_host import HangUp, Raw, ScriptedHost, Silence, properties, soap

WHEN = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)
COLLECTOR = vim.event.EventHistoryCollector("session[1]1")
PAGE = vim.event.Event.Array

# What pyVmomi gives up over: a type that it does not know, and (seen with ESXi 6.5) a permission on something that is no
# managed entity, in a type that it does know.
UNKNOWN_TYPE = (b'xsi:type="VmSuspendedEvent"', b'xsi:type="VmFrobnicatedEvent"')
WRONG_ENTITY = (b'<entity type="Folder"', b'<entity type="ManagedObject"')


class EventLog:
    """A host's events and its collector. *meets* says where reading forward begins after reading back: the reference leaves
    open whether the event between the two is read once more, and hosts and simulators differ."""

    def __init__(self, host: ScriptedHost, newest: int, bad: dict[int, tuple[bytes, bytes]], meets: int = 0, first: int = 1) -> None:
        self.keys = list(range(first, newest + 1))
        self.bad = bad
        self.meets = meets
        self.host = host
        self.collectors = 0
        self.size = 10
        self.position = 0  # how many events are older than the scrollable view
        host.replies.update(
            {
                "CreateCollectorForEvents": self.create,
                "SetCollectorPageSize": self.set_size,
                "ResetCollector": self.reset,
                "ReadPreviousEvents": self.previous,
                "ReadNextEvents": self.next,
                "DestroyCollector": self.destroy,
                "RetrievePropertiesEx": self.properties,
                "RetrieveProperties": self.properties,
                "Fetch": lambda: self.page("Fetch", self.keys[-self.size :]),
            }
        )

    def create(self) -> Any:
        self.collectors += 1
        return COLLECTOR

    def destroy(self) -> None:
        self.collectors -= 1

    def set_size(self) -> None:
        self.size = self.count()

    def reset(self) -> None:
        self.position = len(self.keys) - self.size

    def previous(self) -> Raw:
        begin = max(0, self.position - self.count())
        page, self.position = self.keys[begin : self.position], begin
        return self.page("ReadPreviousEvents", page)

    def next(self) -> Raw:
        begin = self.position + self.meets
        page = self.keys[begin : begin + self.count()]
        self.position = begin + len(page)
        return self.page("ReadNextEvents", page)

    def count(self) -> int:
        found = re.search(r"<maxCount[^>]*>(\d+)<", self.host.bodies[-1])
        assert found is not None
        return int(found.group(1))

    def properties(self) -> Any:
        if "EventHistoryCollector" in self.host.bodies[-1]:
            return self.page("RetrievePropertiesEx", self.keys[-self.size :])
        return properties((vim.VirtualMachine("12"), {"name": "vm"}))

    def page(self, method: str, keys: list[int]) -> Raw:
        status, body = soap(method, PAGE([self.event(key) for key in reversed(keys)]) if keys else None)
        for key in keys:
            if key in self.bad:
                body = body.replace(*self.bad[key])
        return status, body

    def event(self, key: int) -> Any:
        common: dict[str, Any] = {"key": key, "chainId": key, "createdTime": WHEN, "userName": "root"}
        if self.bad.get(key) is UNKNOWN_TYPE:
            return vim.event.VmSuspendedEvent(template=False, **common)
        if self.bad.get(key) is WRONG_ENTITY:
            entity = vim.event.ManagedEntityEventArgument(name="e", entity=vim.Folder("f"))
            role = vim.event.RoleEventArgument(name="r", roleId=1)
            return vim.event.PermissionAddedEvent(entity=entity, principal="p", group=False, role=role, propagate=True, **common)
        return vim.event.VmPoweredOffEvent(template=False, **common)


@pytest.fixture
def hypervisor(host: ScriptedHost, connect: Callable[..., Connection]) -> Iterator[Hypervisor]:
    with open_hypervisor(connect(host.port, timeout=60.0)) as opened:
        host.asked.clear()
        yield opened


def test_readable_events_take_no_more_than_before(host: ScriptedHost, hypervisor: Hypervisor) -> None:
    log = EventLog(host, 600, {})
    read = hypervisor.events(590)
    assert [event.key for event in read.events] == list(range(591, 601))
    assert (read.skipped, read.complete, log.collectors) == (0, True, 0)
    assert len(host.asked) == 4


@pytest.mark.parametrize("meets", [0, 1], ids=["between", "on the event"])
@pytest.mark.parametrize("fault", [UNKNOWN_TYPE, WRONG_ENTITY], ids=["unknown type", "wrong entity"])
@pytest.mark.parametrize(
    "bad", [{600}, {599}, {595}, {591}, {600, 591}, {593, 594, 597}, set(range(592, 600))], ids=lambda bad: ",".join(map(str, sorted(bad)))
)
def test_what_cannot_be_read_is_skipped_and_all_the_rest_is_read(
    bad: set[int], fault: tuple[bytes, bytes], meets: int, host: ScriptedHost, hypervisor: Hypervisor
) -> None:
    log = EventLog(host, 600, dict.fromkeys(bad, fault), meets, first=550)
    read = hypervisor.events(590)
    assert [event.key for event in read.events] == [key for key in range(591, 601) if key not in bad]
    assert (read.complete, log.collectors) == (True, 0)
    assert read.skipped == len(bad) or (meets and read.skipped == len(bad) + 1)


def test_an_unreadable_event_that_is_older_than_what_is_known_costs_nothing_but_time(host: ScriptedHost, hypervisor: Hypervisor) -> None:
    EventLog(host, 600, {590: UNKNOWN_TYPE, 560: UNKNOWN_TYPE}, first=550)
    read = hypervisor.events(590)
    assert [event.key for event in read.events] == list(range(591, 601))
    assert (read.skipped, read.complete) == (0, True)
    assert len(host.asked) < 20


@pytest.mark.parametrize("meets", [0, 1], ids=["between", "on the event"])
@pytest.mark.parametrize("known", [0, 5000], ids=["first look", "the host counts anew"])
def test_a_whole_history_with_unreadable_events_is_read_back_to_its_begin(
    known: int, meets: int, host: ScriptedHost, hypervisor: Hypervisor
) -> None:
    log = EventLog(host, 120, {1: UNKNOWN_TYPE, 30: WRONG_ENTITY, 31: UNKNOWN_TYPE, 119: UNKNOWN_TYPE}, meets)
    read = hypervisor.events(known)
    assert [event.key for event in read.events] == [key for key in range(1, 121) if key not in log.bad]
    assert (read.complete, log.collectors) == (True, 0)


def test_a_log_full_of_unreadable_events_is_given_up_and_that_is_said(host: ScriptedHost, hypervisor: Hypervisor) -> None:
    log = EventLog(host, 600, dict.fromkeys(range(400, 600), UNKNOWN_TYPE), first=400)
    read = hypervisor.events(0)
    assert [event.key for event in read.events] == [600]
    assert (read.complete, log.collectors) == (False, 0)
    assert len(host.asked) <= 2 * event_reading.MOST_PARTS


@pytest.mark.parametrize(
    ("method", "reply"),
    [
        ("CreateCollectorForEvents", vim.fault.InvalidState(msg="too many collectors")),
        ("CreateCollectorForEvents", vmodl.fault.NotSupported(msg="no")),  # QueryEvents is not there either
        ("SetCollectorPageSize", vmodl.fault.SystemError(msg="hostd", reason="r")),
        ("Fetch", vmodl.fault.SystemError(msg="hostd", reason="r")),
        ("Fetch", HangUp),
        ("Fetch", Silence),
        ("DestroyCollector", vmodl.fault.SystemError(msg="hostd", reason="r")),
    ],
    ids=lambda value: value if isinstance(value, str) else getattr(value, "__name__", None) or type(value).__name__.rsplit(".", 1)[-1],
)
def test_whatever_fails_about_events_the_vms_are_read(
    method: str, reply: Any, host: ScriptedHost, connect: Callable[..., Connection]
) -> None:
    log = EventLog(host, 20, {})
    host.replies[method] = reply
    seen = observe_vms([HostAccess(connect(host.port, timeout=1.0))], {"esx1": 15}, with_events=True)
    assert (seen.vms_read, [vm.name for vm in seen.vms], seen.unread) == (("esx1",), ["vm"], ())
    assert reply is Silence or host.asked[-1] == "Logout"
    if method == "DestroyCollector":
        assert (len(seen.events), seen.event_gaps) == (5, ())
        return
    assert seen.events == ()
    (gap,) = seen.event_gaps
    assert (gap.host, gap.skipped) == ("esx1", 0)
    assert "reading the events" in gap.reason
    assert log.collectors == (0 if reply is not Silence else 1)  # one that stays silent is not waited for again: it ends with the session


def test_skipped_events_are_told_with_the_vms(host: ScriptedHost, connect: Callable[..., Connection]) -> None:
    EventLog(host, 20, {18: WRONG_ENTITY})
    seen = observe_vms([HostAccess(connect(host.port, timeout=20.0))], {"esx1": 15}, with_events=True)
    assert ([event.key for event in seen.events], seen.vms_read) == ([16, 17, 19, 20], ("esx1",))
    (gap,) = seen.event_gaps
    assert (gap.skipped, gap.reason) == (1, "esx1: 1 events could not be read")
