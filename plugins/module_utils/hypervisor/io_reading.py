# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How long VMs have done no I/O, out of the host's real-time statistics.

A standalone ESXi host makes one sample of each VM every 20 s and keeps them for an hour; each says what happened in its 20 s,
so there is no running total that could stand still. What is read is therefore the silence at the end: the time that the
newest samples cover, back to the last one that is not zero (vSphere HA looks at disk and network in the same way,
das.iostatsinterval). Time without a sample, or a value that the host did not have, is no silence.

Which counters: the VM's own acts. Disk commands, and packets that it *sent*: those that it received were sent by others, and
reach a dead guest too, until its network card's ring is full. ``disk`` counts every command, but is there only for disks on
block storage; ``datastore`` and ``virtualDisk`` are there for all, as rates that are rounded to whole commands a second.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from ..decide.observations import Power, VmObservation
from .pyvmomi import vim, vmodl
from .transport import UNREADABLE

INTERVAL = 20  # s of a real-time sample, on every ESXi
SAMPLES = 15  # so that 300 s of silence can be seen, which is what the policy's io_interval is bounded by
MOST_QUERIES = 32  # requests for the statistics of one host in one look
STALE = 3 * INTERVAL  # s; the host has stopped making statistics when its newest sample ended longer ago

# (group, name, rollup) of vim.PerformanceManager.CounterInfo
DISK = {
    ("disk", "numberRead", "summation"),
    ("disk", "numberWrite", "summation"),
    ("datastore", "numberReadAveraged", "average"),
    ("datastore", "numberWriteAveraged", "average"),
    ("virtualDisk", "numberReadAveraged", "average"),
    ("virtualDisk", "numberWriteAveraged", "average"),
}
NETWORK = {("net", "packetsTx", "summation")}

NOT_INSTALLED = "guestToolsNotInstalled"


def is_silent(vm: VmObservation) -> bool:
    """Whether its I/O is worth asking for: it runs, its guest could have a heartbeat, and has none."""
    return vm.power is Power.ON and vm.heartbeat not in ("green", "yellow") and vm.tools != NOT_INSTALLED


def counters(known: Iterable[Any]) -> dict[int, str]:
    """The ids that this host gave our counters -> disk or net; *known* is PerformanceManager's perfCounter."""
    found = {}
    for info in known:
        name = (str(info.groupInfo.key), str(info.nameInfo.key), str(info.rollupType))
        if name in DISK or name in NETWORK:
            found[int(info.key)] = "disk" if name in DISK else "net"
    return found


def query(manager: Any, specs: list[Any]) -> list[Any]:
    """What QueryPerf says of each of *specs*. If one request for all fails over some VM (it was just unregistered, say), they are
    asked for in smaller parts, and those that fail alone are left out. Raises the first failure when nothing could be read."""
    found: list[Any] = []
    first: Exception | None = None
    parts = [specs]
    for _request in range(MOST_QUERIES):
        if not parts:
            break
        part = parts.pop()
        try:
            found += manager.QueryPerf(querySpec=part) or ()
        except (vim.fault.NoPermission, vim.fault.NotAuthenticated):
            raise
        except (vmodl.MethodFault, *UNREADABLE) as error:
            first = first or error
            if len(part) > 1:
                parts += [part[: len(part) // 2], part[len(part) // 2 :]]
    if first is not None and not found:
        raise first
    return found


def idle_times(metrics: Iterable[Any], kinds: Mapping[int, str], with_network: Mapping[str, bool], now: datetime) -> dict[str, float]:
    """VM reference -> seconds without I/O up to its newest sample; VMs of which that cannot be said are left out.

    Args:
        metrics: What QueryPerf returned, one PerfEntityMetricCSV for each VM.
        kinds: As :func:`counters` gave it.
        with_network: VM reference -> whether it has a network card. One that has must have statistics of it.
        now: The host's own time; samples are dated by it.
    """
    found = {}
    for metric in metrics or ():
        moid = str(metric.entity._moId)
        series = [(kinds.get(int(item.id.counterId), ""), str(item.value or "").split(",")) for item in metric.value or ()]
        given = {kind for kind, _values in series}
        if "disk" not in given or (with_network[moid] and "net" not in given):
            continue
        samples = _samples(str(metric.sampleInfoCSV or ""), [values for _kind, values in series])
        if samples and -INTERVAL <= (now - samples[-1][0]).total_seconds() <= STALE:
            found[moid] = _silence(samples)
    return found


Sample = tuple[datetime, bool]  # its end; whether every counter is known and zero


def _samples(info: str, series: list[list[str]]) -> list[Sample]:
    """In order of time; none where the answer is not of the form that was asked for."""
    fields = info.split(",")
    if len(fields) % 2 or any(len(values) != len(fields) // 2 for values in series):
        return []
    try:
        ends = [datetime.fromisoformat(end.strip().replace("Z", "+00:00")) for end in fields[1::2]]
        if any(int(interval) != INTERVAL for interval in fields[0::2]):
            return []
    except ValueError:
        return []
    if any(end.tzinfo is None for end in ends):
        return []
    # A value that the host does not have is -1, or left out.
    return sorted((end, all(values[index].strip() == "0" for values in series)) for index, end in enumerate(ends))


def _silence(samples: list[Sample]) -> float:
    silent = 0.0
    after: datetime | None = None
    for end, zero in reversed(samples):
        if not zero or (after is not None and (after - end).total_seconds() > 1.5 * INTERVAL):
            break
        silent += INTERVAL
        after = end
    return silent
