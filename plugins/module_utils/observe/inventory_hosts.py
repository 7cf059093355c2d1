# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What an inventory says of hosts, read from the hosts and their BMCs themselves, so that nobody types it.

A host is fenced by its initiator's name and by its BMC, so neither may follow whatever answers at an address today:

* What was read once is on record. A host that does not answer has what is on record.
* A host that answers as another machine, or with another initiator, keeps what is on record, and a person is warned. The monitor then
  sees that the host says something else and calls it unfenceable, as with a name that was typed wrongly.
* A BMC is a host's when both tell the same machine (``decide/machine.py``), whatever the order of the addresses.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from ..access import HostAccess
from ..decide.machine import Machine, same_machine, without_shared
from ..decide.observations import HostObservation, VmObservation
from ..fence.interface import PowerDevice
from ..fence.levels import Reading, read_device
from ..fence.registry import open_power_fence
from ..hypervisor.interface import Connection
from ..hypervisor.registry import open_hypervisor
from ..parallel import failure_of, in_parallel
from .hosts import unavailable, whole_look

SLOWEST_BMC = 30.0  # seconds for all BMCs, read side by side


@dataclass(frozen=True)
class HostRead:
    """What one host told, or ``problem``: why it told nothing."""

    seen: HostObservation | None = None
    vms: tuple[VmObservation, ...] = ()
    problem: str = ""

    @property
    def machine(self) -> Machine:
        """As the host told it."""
        return self.seen.machine if self.seen is not None else Machine()


@dataclass(frozen=True)
class HostFacts:
    """What is on record of one host: its initiator's name, its machine, and the address of its BMC. Empty where it is not known."""

    initiator: str = ""
    uuid: str = ""
    serial: str = ""
    bmc: str = ""

    @property
    def machine(self) -> Machine:
        return Machine(self.uuid, self.serial)


@dataclass(frozen=True)
class InventoryHost:
    """``facts`` are to be kept; ``initiator`` may beside that be one that a person gave, or the one that the host shall get."""

    facts: HostFacts
    initiator: str
    warnings: tuple[str, ...] = ()


def read_inventory_hosts(accesses: Sequence[HostAccess], bmcs: Mapping[str, PowerDevice]) -> tuple[dict[str, HostRead], dict[str, Reading]]:
    """All hosts, and all BMCs by their address, at the same time. What one of them does not tell costs the others nothing."""
    looks: dict[tuple[str, str], Callable[[], Any]] = {}
    for access in accesses:
        looks["host", access.name] = partial(_read_host, access.connection)
    for address, device in bmcs.items():
        looks["bmc", address] = partial(_read_bmc, device)
    outcomes = in_parallel(looks, max(whole_look(accesses), SLOWEST_BMC if bmcs else 0.0))
    hosts: dict[str, HostRead] = {}
    for access in accesses:
        outcome: Any = outcomes["host", access.name]
        failed = unavailable(outcome, access.name)
        hosts[access.name] = HostRead(problem=failed[1]) if failed is not None else outcome
    return hosts, {address: _bmc_reading(device, outcomes["bmc", address]) for address, device in bmcs.items()}


def describe(
    hosts: Mapping[str, HostRead],
    bmcs: Mapping[str, Reading],
    on_record: Mapping[str, HostFacts],
    given: Mapping[str, str],
    prefix: str,
) -> dict[str, InventoryHost]:
    """Put together what was read, what is on record, and what a person gave.

    Args:
        given: Host -> the initiator's name that a person gave; it stands above the others.
        prefix: Before a host's name it makes the initiator's name of a host that has none yet, its adapter being off; "" makes none.
    """
    machines, _shared = without_shared({name: _machine_of(read, on_record.get(name)) for name, read in hosts.items()})
    described = {}
    for name, read in hosts.items():
        known = on_record.get(name, HostFacts())
        warnings = [read.problem + _from_record(known)] if read.seen is None else []
        initiator, remembered, said = _initiator(name, read, known, given.get(name, ""), prefix)
        warnings += said
        if read.seen is not None and same_machine(read.machine, known.machine) is False:
            text = "%s answers as another machine (UUID %s, on record is %s); its BMC on record is kept%s"
            warnings.append(text % (name, read.machine.uuid, known.uuid, REPLACED))
            facts = HostFacts(remembered, known.uuid, known.serial, known.bmc)
        else:
            bmc, said = _bmc_of(name, machines[name], bmcs, known)
            warnings += said
            machine = known.machine if read.seen is None else read.machine
            facts = HostFacts(remembered, machine.uuid, machine.serial, bmc)
        described[name] = InventoryHost(facts, initiator, tuple(warnings))
    return described


REPLACED = ". If it was replaced, take it out of the record"


def _initiator(name: str, read: HostRead, known: HostFacts, given: str, prefix: str) -> tuple[str, str, list[str]]:
    """(the name to use, the one to keep on record, warnings)"""
    reported = [initiator.lower() for initiator in read.seen.initiators] if read.seen is not None else []
    wanted = given.lower() or known.initiator
    if wanted:
        differs = bool(reported) and wanted not in reported
        text = "%s says that its initiator is %s, %s says %s" % (
            name,
            ", ".join(reported),
            "the inventory" if given else "the record",
            wanted,
        )
        return wanted, wanted if wanted in reported else known.initiator, [text + ("" if given else REPLACED)] if differs else []
    if len(reported) > 1:
        return "", "", ["%s has several initiators (%s): give the one by which it is fenced with initiator" % (name, ", ".join(reported))]
    if reported:
        return reported[0], reported[0], []
    return (prefix + name).lower() if prefix and read.seen is not None else "", "", []


def _bmc_of(name: str, machine: Machine, bmcs: Mapping[str, Reading], known: HostFacts) -> tuple[str, list[str]]:
    """The address of the one BMC that tells the host's machine. One on record stays while it cannot be read itself."""
    same = [address for address, reading in bmcs.items() if same_machine(machine, reading.machine)]
    if len(same) == 1:
        return same[0], []
    if len(same) > 1:
        return "", ["%s: the BMCs %s tell the same machine; give the host its own bmc" % (name, ", ".join(same))]
    kept = bmcs.get(known.bmc)
    return known.bmc if kept is not None and kept.error is not None else "", []


def _machine_of(read: HostRead, known: HostFacts | None) -> Machine:
    return read.machine if read.seen is not None or known is None else known.machine


def _from_record(known: HostFacts) -> str:
    return "; its initiator is taken from the record" if known.initiator else "; its initiator is not known, so it cannot be fenced"


def _read_host(connection: Connection) -> HostRead:
    with open_hypervisor(connection) as host:
        return HostRead(host.health(), tuple(host.virtual_machines()))


def _read_bmc(device: PowerDevice) -> Reading:
    return read_device(open_power_fence(device))


def _bmc_reading(device: PowerDevice, outcome: Any) -> Reading:
    if isinstance(outcome, Reading):
        return outcome
    return Reading(device, error=failure_of(outcome, "reading the BMC", device.text))
