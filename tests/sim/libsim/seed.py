"""The memory that an earlier, proper watch has left when the simulation begins: every host and VM is known from when all was well."""

from __future__ import annotations

from ansible_collections.libreha.vmware.plugins.module_utils.decide.memory import (
    DatastoreRecord,
    Desired,
    HostRecord,
    Memory,
    SessionRecord,
    StorageRecord,
    VmRecord,
)
from ansible_collections.libreha.vmware.plugins.module_utils.decide.observations import Power
from ansible_collections.libreha.vmware.plugins.module_utils.decide.obstacles import offers

from .names import CORE, NETWORK, files, initiator, instant, store, store_name, target, vmx_path
from .scenario import HostSpec, Scenario, VmSpec
from .truth.world import World

EARLIER = -5.0  # the last look of the earlier watch
UP_FOR = 10000.0
DESIRED = {"started": Desired.STARTED, "stopped": Desired.STOPPED, "disabled": Desired.DISABLED, "ignored": Desired.STOPPED}


def seed_memory(scenario: Scenario, world: World) -> Memory:
    at = instant(EARLIER)
    initiators = tuple(sorted(initiator(name) for name in scenario.hosts))
    return Memory(
        run_id="earlier",
        looked_at=at,
        watching_since=instant(EARLIER - 1000.0),
        hosts=tuple(_host(spec, world) for _name, spec in sorted(scenario.hosts.items())),
        vms=tuple(sorted((_vm(spec) for spec in scenario.vms.values()), key=lambda vm: vm.id)),
        datastores=tuple(DatastoreRecord(store(server), store_name(server), False, (target(server),)) for server in scenario.servers),
        storage=tuple(StorageRecord(server, at, (target(server),), "", initiators) for server in scenario.servers),
    )


def _host(spec: HostSpec, world: World) -> HostRecord:
    at = instant(EARLIER)
    sessions: list[SessionRecord] = []
    for server, there in world.targets.items():
        session = there.sessions.get(spec.name)
        if session is not None:
            count = session.counter(EARLIER)
            before = instant(EARLIER - 1000.0)
            sessions.append(SessionRecord(server, target(server), session.sid, count, count * 4096, at, before, at))
    stores = tuple(store(server) for server in world.targets)
    return HostRecord(
        spec.name,
        verdict="healthy",
        since=at,
        samples=1,
        last_sample=at,
        uptime=UP_FOR + EARLIER,
        uptime_at=at,
        initiators=(initiator(spec.name),),
        has_bmc=spec.bmc,
        datastores=stores,
        offers=tuple(sorted(offers(spec.capabilities, stores))),
        sessions=tuple(sessions),
        last_event=0,
        read_at=at,
    )


def _vm(spec: VmSpec) -> VmRecord:
    on = spec.desired == "started"
    return VmRecord(
        spec.id,
        spec.name,
        vmx_path(spec.name, spec.servers[0]),
        spec.host,
        desired=DESIRED[spec.desired],
        power=Power.ON if on else Power.OFF,
        memory=spec.memory,
        cpu=max(1, spec.cpu),
        cpu_reserved=spec.cpu * CORE,
        files=files(spec.name, spec.servers),
        networks=(NETWORK,) if spec.networks is None else spec.networks,
        obstacles=spec.obstacles,
        ignored=spec.desired == "ignored",
        hardware_version="vmx-13",
        heartbeat="green" if on else "gray",
        up_since=instant(EARLIER - 1000.0) if on else None,
    )
