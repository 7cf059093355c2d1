"""What the observe modules would return: the truth as it can be seen from the arbiter, and nothing more.

Each function reads what is true at its moment; the time that a look takes passes between their calls. An API that does
not answer is ``timed_out`` (off, booting, frozen, network cut) or ``refused`` (only the agent is dead), and one that could
not be asked is ``name_not_resolved``, as ``hypervisor/transport.py`` tells them apart; a look that was cut off carries
no field of the host.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from ansible_collections.libreha.vmware.plugins.module_utils.decide.answers import ApiAnswer, Evidence
from ansible_collections.libreha.vmware.plugins.module_utils.decide.observations import (
    Datastore,
    Event,
    Fence,
    HostObservation,
    IsolationProbe,
    Lun,
    Power,
    Sensor,
    Session,
    StorageObservation,
    TargetAccess,
    VmObservation,
)
from ansible_collections.libreha.vmware.plugins.module_utils.instant import Instant

from .names import CORE, UNLIMITED_CORES, UNLIMITED_MEMORY, files, initiator, instant, store, store_name, target, vmx_path
from .truth.hosts import Host, HostEvent
from .truth.target import Target
from .truth.vms import Vm
from .truth.world import World

RED = (Sensor("Power Supply 1", "red"),)
GREEN = (Sensor("Power Supply 1", "green"),)
TIMEOUT = 2.0  # s until an address that does not answer is given up
QUICK = 0.2  # s for an answer


class Observer:
    """Looks at *world*; ``cut_off`` says whether the arbiter reaches anything, ``unresolved`` are hosts whose names it cannot
    resolve: it asks those nothing."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.cut_off = False
        self.unresolved: set[str] = set()
        self.wall_offset = 0.0
        self._files = lru_cache(maxsize=None)(files)  # a look has them of each VM

    def instant(self) -> Instant:
        return instant(self.world.now, self.wall_offset, self.world.arbiter_boots)

    def api(self, host: Host) -> ApiAnswer:
        if host.name in self.unresolved:
            return ApiAnswer.NAME_NOT_RESOLVED
        if self.cut_off or not host.on_network:
            return ApiAnswer.TIMED_OUT
        return ApiAnswer.ANSWERED if host.api else ApiAnswer.REFUSED

    def reaches_bmc(self, host: Host) -> bool:
        return host.has_bmc and host.bmc and not self.cut_off

    def takes(self) -> float:
        """Seconds that asking all hosts takes now: they are asked at the same time."""
        silent = any(self.api(host) is ApiAnswer.TIMED_OUT for host in self.world.hosts.values())
        return TIMEOUT if silent else QUICK

    def hosts(self) -> tuple[HostObservation, ...]:
        at = self.instant()
        return tuple(self._host(host, at) for host in self.world.hosts.values())

    def host(self, name: str) -> HostObservation:
        return self._host(self.world.hosts[name], self.instant())

    def isolation(self, addresses: tuple[str, ...]) -> tuple[IsolationProbe, ...]:
        return tuple(IsolationProbe(address, not self.cut_off) for address in addresses)

    def vms(
        self, answered: tuple[str, ...], after: Mapping[str, int]
    ) -> tuple[tuple[VmObservation, ...], tuple[str, ...], tuple[Event, ...]]:
        """VMs, the hosts that were read, and their events newer than *after*; of the hosts that *answered* a moment ago."""
        vms: list[VmObservation] = []
        events: list[Event] = []
        read = []
        for name in answered:
            host = self.world.hosts[name]
            if self.api(host) is not ApiAnswer.ANSWERED:
                continue
            read.append(name)
            vms.extend(self.vms_on(host))
            seen = after.get(name, 0)
            if host.events and host.events[-1].key < seen:
                seen = 0
            events.extend(self._event(host, event) for event in host.events if event.key > seen)
        return tuple(vms), tuple(read), tuple(events)

    def _event(self, host: Host, event: HostEvent) -> Event:
        """A host tells the id of those VMs only that it still has."""
        vm = self.world.vms[event.vm] if event.vm else None
        identity = vm.id if vm is not None and vm.name in host.registered else ""
        return Event(host.name, event.key, event.kind, "", identity, vm_name=vm.name if vm is not None else "")

    def vms_on(self, host: Host) -> Iterator[VmObservation]:
        """The VMs that *host* has registered, as it lists them."""
        at = self.instant()
        return (self._vm(self.world.vms[vm], host, at) for vm in sorted(host.registered))

    def reaches_server(self, server: Target) -> bool:
        return server.asked and not self.cut_off

    def storage(self) -> tuple[StorageObservation, ...]:
        return tuple(self._storage(server) for server in self.world.targets.values())

    def _storage(self, server: Target) -> StorageObservation:
        at, name_there = self.instant(), target(server.name)
        if not self.reaches_server(server):
            return StorageObservation(server.name, at, reason="ssh: connect timed out")
        fences = []
        for name in sorted(server.fences):
            line, missing = server.fences[name], server.fence_missing(name)
            if not missing:
                self.world.note_confirmed(self.world.hosts[name], server)
            fences.append(
                Fence(
                    name,
                    initiator(name),
                    line.token,
                    instant(line.at, self.wall_offset, self.world.arbiter_boots),
                    line.reason,
                    confirmed=not missing,
                    why_not=missing,
                )
            )
        common: dict[str, Any] = {"driver": "tgt", "fences": tuple(fences), "highest_token": server.highest_token}
        if not server.serving:
            return StorageObservation(server.name, at, serving=False, reason="tgtd does not run", **common)
        now = self.world.now
        sessions = []
        for name in sorted(server.sessions):
            session = server.sessions[name]
            count = session.counter(now)
            sessions.append(Session(initiator(name), name_there, session.sid, commands_done=count, bytes_done=count * 4096, in_flight=0))
        admitted = tuple(initiator(name) for name in sorted(self.world.hosts) if server.admits(name))
        return StorageObservation(
            server.name,
            at,
            serving=True,
            up_for=now - server.started_at,
            sessions=tuple(sessions),
            access=(TargetAccess(name_there, admitted, luns=(1,)),),
            **common,
        )

    def _host(self, host: Host, at: Instant) -> HostObservation:
        answer = self.api(host)
        power, power_reason = Power.UNKNOWN, "no BMC is configured"
        if self.reaches_bmc(host):
            power, power_reason = (Power.OFF if host.state == "off" else Power.ON), "the BMC says so twice"
        elif host.has_bmc:
            power_reason = "the BMC did not answer"
        ping = {ApiAnswer.TIMED_OUT: Evidence.FAILED, ApiAnswer.NAME_NOT_RESOLVED: Evidence.UNKNOWN}.get(answer, Evidence.OK)
        if answer is not ApiAnswer.ANSWERED:
            return HostObservation(
                host.name, at, answer, ping=ping, power=power, power_reason=power_reason, has_bmc=host.has_bmc, api_reason=answer.value
            )
        memory = UNLIMITED_MEMORY if host.memory is None else host.memory
        cores = UNLIMITED_CORES if host.cores is None else host.cores
        used_memory, used_cores = self.world.used(host.name)
        return HostObservation(
            host.name,
            at,
            answer,
            ping=ping,
            power=power,
            power_reason=power_reason,
            has_bmc=host.has_bmc,
            product="VMware ESXi",
            version="8.0.3",
            uptime=self.world.now - host.booted_at,
            maintenance=host.maintenance,
            cpu_cores=cores,
            cpu_total=cores * CORE,
            cpu_free=max(0, (cores - used_cores) * CORE),
            memory_total=memory,
            memory_free=max(0, memory - used_memory),
            sensors=RED if host.red else GREEN,
            datastores=_datastores(host),
            networks=host.networks,
            capabilities=host.capabilities,
            initiators=(initiator(host.name),),
            live_migration=host.live_migration,
        )

    def _vm(self, vm: Vm, host: Host, at: Instant) -> VmObservation:
        on = host.name in vm.executing
        home, accessible = vm.servers[0], host.links[vm.servers[0]].accessible
        awake = on and vm.hangs_since is None
        return VmObservation(
            vm.id,
            host.name,
            vm.name,
            vmx_path(vm.name, home),
            at,
            power=Power.ON if on else Power.SUSPENDED if vm.suspended_on else Power.OFF,
            moid=vm.name,
            accessible=accessible,
            heartbeat="green" if awake else "red" if on else "gray",
            tools="guestToolsRunning" if awake else "guestToolsNotRunning",
            memory=vm.memory,
            cpu=max(1, vm.cores),
            cpu_reserved=vm.cores * CORE,
            hardware_version="vmx-13",
            io_idle=None if vm.hangs_since is None or not on else self.world.now - vm.hangs_since,
            backings=self._files(vm.name, vm.servers) if accessible else (),
            networks=vm.networks,
            obstacles=vm.obstacles,
        )


def _datastores(host: Host) -> tuple[Datastore, ...]:
    """Those that it has had since its boot, with what it says of them."""
    return tuple(
        Datastore(store_name(server), store(server), accessible=link.accessible, luns=(Lun(target(server), 1),))
        for server, link in host.links.items()
        if link.accessible or link.mounted == host.boot
    )
