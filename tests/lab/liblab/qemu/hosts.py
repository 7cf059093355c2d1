"""Hosts in guests: esxsim on the kernel's own initiator, all on one LUN of the storage guest's kernel target.

What the quick lab has in network namespaces, on machines with kernels of their own: ``esx1`` lives in ``node1`` and so on. A host's power
is its QEMU process. The hosts' boot-time clocks are brought to the machine's when they start, so that the referee needs only one.
"""

from __future__ import annotations

import dataclasses
import json
import secrets
import tarfile
import tempfile
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from .. import api, build, certificates, execution, lun
from ..errors import LabError
from ..plan import Host, Options, Vm, make_vms
from ..referee import SECOND, Case, judge
from ..state import write_private
from . import arbiter, clock, extents, hostfiles, record
from .guests import Guests, say
from .plan import API_PORT, LAN, guest_named

RECORD = "hosts.json"
START_SECONDS = 300.0  # a hang guard
# Emulated machines are slow, and on a busy one they stand still for seconds.
OPTIONS = Options(hosts=2, vms=4, record_interval_ms=500, iscsi_timeout_s=30)


@dataclasses.dataclass
class GuestHosts:
    """``hosts.json`` beside the guests' record. ``offsets``: host to what was added to its clock at its latest start, in ns."""

    guests: Guests
    options: Options
    hosts: list[Host]
    vms: list[Vm]
    datastore: str
    offsets: dict[str, int] = dataclasses.field(default_factory=dict)
    faults: list[float] = dataclasses.field(default_factory=list)  # CLOCK_BOOTTIME of the machine, s

    # -- places ------------------------------------------------------------------------------------------------
    @property
    def path(self) -> Path:
        return self.guests.path / RECORD

    @property
    def ca_file(self) -> Path:
        return self.guests.path / "hosts" / "ca.pem"

    @property
    def lun_file(self) -> Path:
        """The file behind the LUN: the storage guest's disk, which QEMU keeps in this machine's page cache, so that both see the same."""
        present = record.load(self.guests.path)
        if present is None:
            raise LabError("The guests are gone.")
        return present.data_disk("storage", "data1")

    def guest_of(self, host: str) -> str:
        return hostfiles.guest_of(self._host(host)).name

    def host_in(self, guest: str) -> str | None:
        return next((host.name for host in self.hosts if self.guest_of(host.name) == guest), None)

    def _host(self, name: str) -> Host:
        for host in self.hosts:
            if host.name == name:
                return host
        raise LabError("There is no host '%s' in the guests; there are %s." % (name, ", ".join(host.name for host in self.hosts)))

    # -- their lives -------------------------------------------------------------------------------------------
    @classmethod
    def make(cls, guests: Guests, options: Options = OPTIONS) -> GuestHosts:
        """Everything on guests that are up: the LUN, its target, the hosts, their VMs running. Raises LabError with what failed."""
        if build.outdated():
            say("building esxsim (the first time takes a minute)")
            build.build()
        entries = {entry["name"]: entry for entry in guests.status()}
        hosts = [_plan_host(index, entries) for index in range(options.hosts)]
        made = cls(guests, options, hosts, make_vms(options, hosts), str(uuid.uuid4()))
        try:
            made._bring_up(entries)
        except BaseException:
            made.path.unlink(missing_ok=True)  # half made is not made; what the guests hold by now goes with 'lab down'
            raise
        return made

    def _bring_up(self, entries: dict[str, dict[str, Any]]) -> None:
        guests, hosts = self.guests, self.hosts
        self._issue_certificates()
        self.save()
        say("storage: the LUN with %d VMs' files, and the kernel's target" % len(self.vms))
        extents.write(self.lun_file, self.vms, self.options)
        arbiter.serve(guests, entries["storage"]["addresses"][hostfiles.STORAGE_PATH], {host.initiator: host.chap_secret for host in hosts})
        arbiter.install_libraries(guests)
        guests.ssh("storage", "mkdir -p /etc/libreha")
        guests.put("storage", self.ca_file, "/etc/libreha/ca.pem")
        for host in hosts:
            self.start(host.name)
        say("VMs: registering and powering on %d" % len(self.vms))
        with ThreadPoolExecutor(max_workers=len(hosts)) as pool:
            list(pool.map(self._start_vms, hosts))

    def start(self, name: str) -> None:
        """Boot a host's software in its guest: the kernel's initiator logs in, esxsim runs, its API answers."""
        guest = self.guest_of(name)
        offset = clock.measure(self.guests, guest)
        self.offsets[name] = offset.offset_ns
        self.save()
        say("%s in %s: its clock is known to %.0f ms" % (name, guest, offset.error_ns / 1e6))
        with tempfile.TemporaryDirectory() as folder:
            archive = Path(folder) / "host.tar"
            with tarfile.open(archive, "w") as tar:
                tar.add(build.BINARY, arcname="esxsim")
                tar.add(self._write_config(name, Path(folder)), arcname="config.json")
                for kind in ("pem", "key"):
                    tar.add(self.guests.path / "hosts" / ("%s.%s" % (name, kind)), arcname="tls.%s" % kind)
            archive.chmod(0o600)
            self.guests.put(guest, archive, "/root/host.tar")
        self.guests.ssh(guest, "bash -s", input=hostfiles.start_script(self._host(name)), timeout=START_SECONDS)
        self._wait_api(name)

    def wait_ok(self, seconds: float) -> dict[str, Any]:
        """The referee's verdict when all is well, or the last one when it does not get so: a busy machine lets VMs pause for seconds."""
        deadline = time.monotonic() + seconds
        while True:
            verdict = self.referee()
            if verdict["ok"] or time.monotonic() > deadline:
                return verdict
            time.sleep(2)

    def note_fault(self) -> None:
        self.faults.append(time.clock_gettime(time.CLOCK_BOOTTIME))
        self.save()

    # -- the truth ---------------------------------------------------------------------------------------------
    def referee(self, since: str | None = None) -> dict[str, Any]:
        """As the quick lab's: hosts, then execution logs (files of the machine), then the file behind the LUN."""
        names = {vm.path: vm.name for vm in self.vms}
        seen = api.poll(self.hosts, str(self.ca_file), timeout=20.0)
        powers = {host: None if vms is None else {names.get(vm.path, vm.path): vm.power for vm in vms} for host, vms in seen.items()}
        now_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        present = record.load(self.guests.path)
        assert present is not None
        executions = execution.read({host.name: present.execution_log(self.guest_of(host.name)) for host in self.hosts})
        return judge(
            Case(
                extents={vm.name: vm.extent for vm in self.vms},
                disks=lun.read(self.lun_file, [vm.extent for vm in self.vms]),
                executions=executions,
                powers=powers,
                now_ns=now_ns,
                record_interval_ns=self.options.record_interval_ms * 1_000_000,
                since_ns=int(self.faults[-1] * SECOND) if since == "fault" and self.faults else 0,
            )
        )

    def clock_error_s(self, name: str) -> float:
        """How far a running host's clock, as brought to the machine's at its start, is off by now."""
        found = clock.measure(self.guests, self.guest_of(name))
        return (abs(found.offset_ns - self.offsets[name]) + found.error_ns) / SECOND

    # -- on disk -----------------------------------------------------------------------------------------------
    def save(self) -> None:
        content = {
            "options": dataclasses.asdict(self.options),
            "hosts": [dataclasses.asdict(host) for host in self.hosts],
            "vms": [dataclasses.asdict(vm) for vm in self.vms],
            "datastore": self.datastore,
            "offsets": self.offsets,
            "faults": self.faults,
        }
        write_private(self.path, json.dumps(content, indent=1) + "\n")

    # -- inside ------------------------------------------------------------------------------------------------
    def _issue_certificates(self) -> None:
        folder = self.ca_file.parent
        folder.mkdir(mode=0o700, exist_ok=True)
        authority = certificates.Authority()
        authority.write_ca(self.ca_file)
        for host in self.hosts:
            addresses = [hostfiles.guest_of(host).addresses[LAN], host.address]
            authority.issue(host.name, addresses, folder / ("%s.pem" % host.name), folder / ("%s.key" % host.name))

    def _write_config(self, name: str, folder: Path) -> Path:
        path = folder / "config.json"
        config = hostfiles.config(self._host(name), self.options, self.datastore, self.offsets[name])
        write_private(path, json.dumps(config, indent=1) + "\n")
        return path

    def _wait_api(self, name: str) -> None:
        host = self._host(name)
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                with api.session(host, str(self.ca_file), timeout=20.0):
                    return
            except LabError as error:
                if time.monotonic() > deadline:
                    log = self.guests.ssh(self.guest_of(name), "tail -n 20 %s" % hostfiles.LOG, check=False).stdout
                    raise LabError("%s\nThe end of its log, %s in %s:\n%s" % (error, hostfiles.LOG, self.guest_of(name), log)) from error
            time.sleep(1)

    def _start_vms(self, host: Host) -> None:
        api.register_and_power_on(host, str(self.ca_file), [vm for vm in self.vms if vm.first_host == host.name], START_SECONDS)


def load(guests: Guests) -> GuestHosts | None:
    """The hosts that were made in these guests, or None."""
    try:
        raw = json.loads((guests.path / RECORD).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    options = Options(**{**raw["options"], "bmc": None})
    hosts, vms = [Host(**host) for host in raw["hosts"]], [Vm(**vm) for vm in raw["vms"]]
    return GuestHosts(guests, options, hosts, vms, raw["datastore"], raw["offsets"], raw["faults"])


def _plan_host(index: int, entries: dict[str, dict[str, Any]]) -> Host:
    guest = guest_named("node%d" % (index + 1))
    if guest.name not in entries or "storage" not in entries:
        raise LabError("Hosts in guests need storage and %s; there are: %s." % (guest.name, ", ".join(entries) or "none"))
    return Host(
        name="esx%d" % (index + 1),
        index=index,
        address="127.0.0.1",
        storage_address=guest.addresses[hostfiles.STORAGE_PATH],
        username="root",
        password=secrets.token_urlsafe(12),
        initiator=guest.initiator,
        uuid=str(uuid.uuid4()),
        port=entries[guest.name]["ports"][str(API_PORT)],
        chap_secret=secrets.token_hex(8),
    )
