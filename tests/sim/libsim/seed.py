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
from ansible_collections.libreha.vmware.plugins.module_utils.decide.observations import Backing, Power
from ansible_collections.libreha.vmware.plugins.module_utils.decide.obstacles import offers

from .names import CORE, NETWORK, SERVER, STORE, STORE_NAME, TARGET, initiator, instant, vm_id, vmx_path
from .scenario import HostSpec, Scenario, VmSpec
from .truth.world import World

EARLIER = -5.0  # the last look of the earlier watch
UP_FOR = 10000.0
DESIRED = {"started": Desired.STARTED, "stopped": Desired.STOPPED, "disabled": Desired.DISABLED, "ignored": Desired.STOPPED}


def seed_memory(scenario: Scenario, world: World) -> Memory:
    at = instant(EARLIER)
    return Memory(
        run_id="earlier",
        looked_at=at,
        watching_since=instant(EARLIER - 1000.0),
        hosts=tuple(_host(spec, world) for _name, spec in sorted(scenario.hosts.items())),
        vms=tuple(sorted((_vm(spec) for spec in scenario.vms.values()), key=lambda vm: vm.id)),
        datastores=(DatastoreRecord(STORE, STORE_NAME, False, (TARGET,)),),
        storage=(StorageRecord(SERVER, at, (TARGET,), "", tuple(sorted(initiator(name) for name in scenario.hosts))),),
    )


def _host(spec: HostSpec, world: World) -> HostRecord:
    at = instant(EARLIER)
    session = world.target.sessions.get(spec.name)
    sessions: tuple[SessionRecord, ...] = ()
    if session is not None:
        count = session.counter(EARLIER)
        sessions = (SessionRecord(SERVER, TARGET, session.sid, count, count * 4096, at, instant(EARLIER - 1000.0), at),)
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
        datastores=(STORE,),
        offers=tuple(sorted(offers(spec.capabilities, (STORE,)))),
        sessions=sessions,
        last_event=0,
        read_at=at,
    )


def _vm(spec: VmSpec) -> VmRecord:
    on = spec.desired == "started"
    files = tuple(
        Backing("[%s] %s/%s.%s" % (STORE_NAME, spec.name, spec.name, ending), kind, STORE_NAME, STORE)
        for kind, ending in (("vmx", "vmx"), ("disk", "vmdk"), ("swap", "vswp"))
    )
    return VmRecord(
        vm_id(spec.name),
        spec.name,
        vmx_path(spec.name),
        spec.host,
        desired=DESIRED[spec.desired],
        power=Power.ON if on else Power.OFF,
        memory=spec.memory,
        cpu=max(1, spec.cpu),
        cpu_reserved=spec.cpu * CORE,
        files=files,
        networks=(NETWORK,) if spec.networks is None else spec.networks,
        obstacles=spec.obstacles,
        ignored=spec.desired == "ignored",
        hardware_version="vmx-13",
        heartbeat="green" if on else "gray",
        up_since=instant(EARLIER - 1000.0) if on else None,
    )
