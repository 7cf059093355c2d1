"""``lab up`` and ``lab down``."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from . import api, arbiter, bmc, build, certificates, datastore, machines, network, target
from .errors import LabError, few
from .plan import MAX_HOSTS, MAX_IDLE_VMS, MAX_LABS, MAX_VMS, LabNetwork, Options, make_bmcs, make_hosts, make_vms
from .processes import alive, kill, read_boot_id
from .state import GUESTS, Lab, folder, is_locked, load, locked, processes_of

NUMBERS = Path("/run/libreha-lab-numbers")  # locked while a lab takes its number
SIGNS = {"ack": "record was acknowledged", "tick": "sign of execution came"}
COMMANDS = {"ip": "iproute2", "nsenter": "util-linux", "tgtd": "tgt", "tgtadm": "tgt", "tgt-admin": "tgt"}


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def check_machine(options: Options) -> None:
    """What must hold before anything is changed."""
    if os.geteuid() != 0:
        raise LabError("The lab needs root, for network namespaces, bridges and tgtd. Run: sudo tests/lab/lab ...")
    missing = {command: package for command, package in COMMANDS.items() if shutil.which(command) is None}
    if missing:
        raise LabError(
            "Missing on this machine: %s. Install the Debian packages %s." % (", ".join(missing), " ".join(sorted(set(missing.values()))))
        )
    if not 1 <= options.hosts <= MAX_HOSTS:
        raise LabError("--hosts must be from 1 to %d, not %d." % (MAX_HOSTS, options.hosts))
    most = MAX_VMS if options.workload else MAX_IDLE_VMS
    if not 0 <= options.vms <= most:
        hint = " --no-workload allows up to %d." % MAX_IDLE_VMS if most < options.vms <= MAX_IDLE_VMS else ""
        raise LabError("--vms must be from 0 to %d, not %d.%s" % (most, options.vms, hint))
    names = ["esx%d" % (number + 1) for number in range(options.hosts)]
    unknown = [name for name in options.bmc or () if name not in names]
    if unknown:
        raise LabError("--bmc names hosts that this lab does not have: %s (it has %s)." % (", ".join(unknown), ", ".join(names)))
    vms = [vm.name for vm in make_vms(options, make_hosts(options, LabNetwork(0)))]
    unknown = [name for name in options.no_tools if name not in vms]
    if unknown:
        raise LabError("--no-tools names VMs that this lab does not have: %s (it has %s)." % (", ".join(unknown), ", ".join(vms)))


def running(lab: Lab | None) -> bool:
    """Whether anything of a recorded lab still runs."""
    return lab is not None and lab.boot_id == read_boot_id() and any(alive(process) for process in lab.processes.values())


def in_use(path: Path) -> bool:
    """Whether the lab in this folder runs, also one of another checkout, whose record is of another form, or a command is at work on it."""
    return is_locked(path) or any(map(alive, processes_of(path)))


def own_networks(path: Path, lab: Lab | None) -> list[LabNetwork]:
    """Networks on this machine that belong to the lab in this folder, whether its record can be read or not.

    One that lost its bridges half way belongs to the lab that recorded its number, until another lab has taken that.
    """
    recorded = lab.network if lab is not None else None
    return [
        found
        for found in network.networks()
        if network.owner(found) == str(path) or (found == recorded and network.owner(found) is None and any(network.leftovers(found)))
    ]


def claim_network(path: Path) -> LabNetwork:
    """The first number that no living lab has, with its bridges made: they are the claim. Sweeps away what a crashed lab left of it."""
    with locked(NUMBERS):
        for found in network.networks():
            owner = network.owner(found)
            if owner is not None and in_use(Path(owner)):
                continue
            network.remove_all(found)
            network.make_bridges(found, str(path))
            return found
    raise LabError("%d labs are up on this machine, and it can have no more. End one: LIBREHA_LAB_DIR=FOLDER tests/lab/lab down" % MAX_LABS)


def make_room(path: Path, fresh: bool) -> None:
    """Refuse beside a living lab, unless it may be replaced; sweep away what a crashed one left. The caller holds the lock."""
    lab = load(path)
    if running(lab) and lab is not None and lab.complete and not fresh:
        raise LabError("A lab is up already in %s. End it with 'lab down', or replace it with 'lab up --fresh'." % path)
    if lab is not None or own_networks(path, lab):
        say("removing %s" % ("the lab that is up" if running(lab) and lab is not None and lab.complete else "what an earlier lab left"))
        down(path)
    if path.exists() and any(entry.name != GUESTS for entry in path.iterdir()):
        raise LabError("%s is not empty and holds no lab. Remove it, or name another folder in LIBREHA_LAB_DIR." % path)


def up(options: Options, fresh: bool = False, keep_failed: bool = False) -> Lab:
    """Bring a lab up. On failure all that was started is taken away again, unless it is to be kept for a look."""
    check_machine(options)
    path = folder().absolute()
    begin = time.monotonic()
    make_room(path, fresh)
    if build.outdated():
        say("building esxsim (the first time takes a minute)")
        build.build()
    try:
        lab = _bring_up(path, options)
    except BaseException:
        if not keep_failed:
            down(path)
        raise
    say("up after %.1f s: %d hosts, %d VMs, state in %s" % (time.monotonic() - begin, len(lab.hosts), len(lab.vms), path))
    return lab


def _bring_up(path: Path, options: Options) -> Lab:
    path.mkdir(parents=True, exist_ok=True)
    path.chmod(0o700)
    own = claim_network(path)
    hosts = make_hosts(options, own)
    lab = Lab(path, own, options, hosts, make_bmcs(options, hosts, own), make_vms(options, hosts))
    lab.save()

    say("network: bridges %s, %s; %d namespaces" % (own.management_bridge, own.storage_bridge, len(hosts) + (3 if lab.bmcs else 2)))
    network.make_fixed_namespaces(own, [account.address for account in lab.bmcs])
    say("certificates")
    _issue_certificates(lab)
    datastore.write_vms(lab)
    shared = str(uuid.uuid4())
    for host in hosts:
        machines.write_config(lab, host, shared)
    say("target: tgtd on %s" % own.portal)
    arbiter.make_disk(lab)
    target.make_backing_file(lab)
    target.write_saved_config(lab)
    target.start(lab)
    if lab.bmcs:
        say("BMCs: %s" % ", ".join(account.address for account in lab.bmcs))
        bmc.start(lab)
    say("hosts: %s" % ", ".join(host.name for host in hosts))
    begins = {host.name: machines.boot(lab, host) for host in hosts}
    for host in hosts:
        machines.wait_ready(lab, host, begins[host.name])
    say("VMs: registering and powering on %d" % len(lab.vms))
    with ThreadPoolExecutor(max_workers=len(hosts)) as pool:
        list(pool.map(lambda host: _start_vms(lab, host.name), hosts))
    wait_working(lab)
    bmc.wait_ready(lab)
    lab.complete = True
    lab.save()
    return lab


def _issue_certificates(lab: Lab) -> None:
    (lab.path / "tls").mkdir()
    authority = certificates.Authority()
    authority.write_ca(lab.ca_file)
    for host in lab.hosts:
        authority.issue(host.name, [host.address], *lab.tls(host.name))
    for account in lab.bmcs:
        authority.issue("bmc-%s" % account.host, [account.address], *lab.tls("bmc-%s" % account.host))


def _start_vms(lab: Lab, name: str) -> None:
    seconds = 30 + len(lab.vms) / 50  # hosts and this command share the machine
    api.register_and_power_on(lab.host(name), str(lab.ca_file), [vm for vm in lab.vms if vm.first_host == name], seconds)


class Tail:
    """The lines that a file gained since the last look."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._at = 0

    def lines(self) -> list[str]:
        if not self.path.exists():
            return []
        with open(self.path, "rb") as source:
            source.seek(self._at)
            whole, newline, _unfinished = source.read().rpartition(b"\n")
        self._at += len(whole) + len(newline)
        return whole.decode("ascii", "replace").splitlines()


def wait_working(lab: Lab, seconds: float = 20.0) -> None:
    """Until every VM works: has an acknowledged record, or, without workload, gave a sign that it executes after its start."""
    sign = "ack" if lab.options.workload else "tick"
    waiting = {vm.name for vm in lab.vms}
    logs = [Tail(lab.execution_log(host.name)) for host in lab.hosts]
    deadline = time.monotonic() + seconds
    while True:
        for log in logs:
            for line in log.lines():
                fields = line.split()
                if len(fields) >= 4 and fields[1] == sign:
                    waiting.discard(fields[2])
        if not waiting:
            return
        if time.monotonic() > deadline:
            raise LabError("No %s from %s within %g s of power-on. See hosts/*/esxsim.log." % (SIGNS[sign], few(sorted(waiting)), seconds))
        time.sleep(0.1)


def down(path: Path | None = None) -> bool:
    """End everything the lab started, take its network and folder away; whether there was anything. A half-made lab is no error."""
    path = (path or folder()).absolute()
    broken = None
    try:
        lab = load(path)
    except LabError as error:  # unreadable: network and folder can be removed all the same, its processes cannot be known
        lab, broken = None, error
    networks = own_networks(path, lab)
    if lab is not None and lab.boot_id == read_boot_id():
        # the BMCs first: they start hosts
        for name in sorted(lab.processes, key=lambda name: (name != "bmc", name == "tgtd", name)):
            kill(lab.processes[name])
    for own in networks:
        network.remove_all(own)
    if lab is not None or broken is not None:
        arbiter.remove_disk(path)
        remove_folder(path)
    if broken is not None:
        say("warning: %s" % broken)
    return lab is not None or bool(networks)


def remove_folder(path: Path) -> None:
    """Remove the state folder's content but for the guests; the folder itself too unless it is a mount point or somebody's own."""
    for entry in path.iterdir():
        if entry.name == GUESTS:
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
    with contextlib.suppress(OSError):
        path.rmdir()
