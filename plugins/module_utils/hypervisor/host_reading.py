# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A host's health out of the properties of its HostSystem."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from ..decide.answers import ApiAnswer
from ..decide.machine import Machine
from ..decide.observations import HostObservation, Sensor
from ..instant import Instant
from . import storage_paths
from .entity_names import seen_name
from .obstacle_reading import capabilities
from .properties import Properties

HOST_PATHS = (
    "summary.hardware",
    "hardware.systemInfo",
    "summary.quickStats",
    "runtime.bootTime",
    "runtime.inMaintenanceMode",
    "runtime.healthSystemRuntime",
    *storage_paths.HOST_PATHS,
)
NETWORK_PATHS = ("name",)
MIB = 1024 * 1024


def host_observation(
    name: str,
    taken_at: Instant,
    about: Any,
    found: dict[str, list[tuple[Any, Properties]]],
    uptime: float | None,
    keys: Iterable[str] = (),
) -> HostObservation:
    """*found* is the inventory with HOST_PATHS, DATASTORE_PATHS and NETWORK_PATHS; *uptime* in seconds where known; *keys* are the ids of
    the encryption keys that the host holds."""
    reference, host = found["HostSystem"][0]
    hardware = host.get("summary.hardware")
    load = host.get("summary.quickStats")
    cores = _number(hardware, "numCpuCores")
    mhz = _number(hardware, "cpuMhz")
    cpu_total = cores * mhz if cores and mhz else None
    memory_bytes = _number(hardware, "memorySize")
    memory_total = memory_bytes // MIB if memory_bytes else None
    cpu_used = _number(load, "overallCpuUsage")
    memory_used = _number(load, "overallMemoryUsage")
    boot_time = host.get("runtime.bootTime")
    return HostObservation(
        name=name,
        taken_at=taken_at,
        api_answer=ApiAnswer.ANSWERED,
        machine=machine_of(host.get("hardware.systemInfo"), hardware),
        product=str(about.name or ""),
        version=str(about.version or ""),
        build=str(about.build or ""),
        boot_time=boot_time.isoformat() if isinstance(boot_time, datetime) else None,
        uptime=uptime if uptime is not None else float(_number(load, "uptime") or 0) or None,
        maintenance=host.get("runtime.inMaintenanceMode"),
        cpu_cores=cores,
        cpu_total=cpu_total,
        cpu_free=_free(cpu_total, cpu_used),
        memory_total=memory_total,
        memory_free=_free(memory_total, memory_used),
        sensors=sensors(host.get("runtime.healthSystemRuntime")),
        datastores=storage_paths.datastores(found["Datastore"], host, reference),
        networks=tuple(sorted({seen_name(str(network["name"])) for _reference, network in found["Network"] if network.get("name")})),
        initiators=storage_paths.initiators(host),
        capabilities=capabilities(host, keys),
    )


def machine_of(system: Any, hardware: Any) -> Machine:
    """SMBIOS' UUID and serial number; older ESXi tells the latter as "ServiceTag" among other things."""
    serial = str(getattr(system, "serialNumber", None) or "")
    for info in getattr(system, "otherIdentifyingInfo", None) or ():
        if not serial and getattr(info.identifierType, "key", "") == "ServiceTag":
            serial = str(info.identifierValue or "")
    return Machine(str(getattr(system, "uuid", None) or getattr(hardware, "uuid", None) or ""), serial)


def sensors(health: Any) -> tuple[Sensor, ...]:
    """Numeric sensors with their reading, then the states of memory, CPU and storage that have none."""
    found = []
    for sensor in getattr(getattr(health, "systemHealthInfo", None), "numericSensorInfo", None) or ():
        if str(sensor.sensorType or "").lower() != "software components":  # installed packages, listed as if they were sensors
            found.append(Sensor(str(sensor.name), _health(sensor.healthState), _reading(sensor)))
    status = getattr(health, "hardwareStatusInfo", None)
    for group in ("memoryStatusInfo", "cpuStatusInfo", "storageStatusInfo"):
        for element in getattr(status, group, None) or ():
            found.append(Sensor(str(element.name), _health(element.status)))
    return tuple(found)


def _health(state: Any) -> str:
    key = str(getattr(state, "key", "") or "").lower()
    return key if key in ("green", "yellow", "red") else "unknown"


def _reading(sensor: Any) -> str:
    """The reading is an integer, scaled by a power of ten."""
    if sensor.currentReading is None or not sensor.baseUnits:
        return ""
    value = sensor.currentReading * 10.0 ** (sensor.unitModifier or 0)
    return "%g %s" % (value, sensor.baseUnits)


def _number(source: Any, name: str) -> int | None:
    value = getattr(source, name, None)
    return int(value) if value is not None else None


def _free(total: int | None, used: int | None) -> int | None:
    return max(total - used, 0) if total is not None and used is not None else None
