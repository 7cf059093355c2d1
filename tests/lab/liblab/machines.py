"""The hosts as machines: power, memory and cables. What esxsim does above that is its own affair."""

from __future__ import annotations

import json
import signal
import time
import uuid

from . import network
from .build import BINARY
from .errors import LabError
from .plan import DATASTORE, LOSS_PERCENT, LUN, TARGET_IQN, Host
from .processes import alive, kill, send, spawn, state_of, tail
from .state import CABLES, LOSSES, Lab, write_private

BOOT_SECONDS = 20.0


def write_config(lab: Lab, host: Host, datastore_uuid: str) -> None:
    """esxsim's input, tests/lab/README.md."""
    home = lab.host_folder(host.name)
    (home / "local").mkdir(parents=True, exist_ok=True)
    lab.execution_log(host.name).parent.mkdir(parents=True, exist_ok=True)
    certificate, key = lab.tls(host.name)
    options = lab.options
    config = {
        "name": host.name,
        "uuid": host.uuid,
        "address": host.address,
        "port": host.port,
        "username": host.username,
        "password": host.password,
        "certificate": str(certificate),
        "key": str(key),
        "state_dir": str(home),
        "execution_log": str(lab.execution_log(host.name)),
        "product": {"version": options.esxi_version, "build": options.esxi_build},
        "memory_mib": options.host_memory_mib,
        "cpu_cores": options.host_cpu_cores,
        "cpu_mhz": 2400,
        "iscsi": {"initiator": host.initiator, "portal": lab.network.portal, "target": TARGET_IQN, "lun": LUN, "host_index": host.index},
        "datastore": {"name": DATASTORE, "uuid": datastore_uuid, "folder": str(lab.datastore)},
        "local_datastore": {
            "name": "local%d" % (host.index + 1),
            "uuid": str(uuid.uuid5(uuid.UUID(host.uuid), "local")),
            "folder": str(home / "local"),
        },
        "lease_seconds": options.lease_seconds,
        "record_interval_ms": options.record_interval_ms,
        "heartbeat_interval_ms": options.heartbeat_interval_ms,
        "iscsi_login_retry_ms": 1000,
        "iscsi_timeout_s": options.iscsi_timeout_s,
        "question_on_other_host": options.question,
        "session_idle_s": options.session_idle_s,
    }
    write_private(home / "config.json", json.dumps(config, indent=1) + "\n")


def state_word(lab: Lab, name: str) -> str:
    """on, hung, crashed (powered, but nothing runs) or off."""
    state = lab.states[name]
    if alive(lab.processes.get(name)):
        return "hung" if state.hung or state_of(lab.processes.get(name)) == "T" else "on"
    return "crashed" if state.powered else "off"


def has_shut_itself_down(lab: Lab, name: str) -> bool:
    """Its system ended in order, and nobody has noted yet that this switches the machine off."""
    if state_word(lab, name) != "crashed":
        return False
    return tail(lab.host_folder(name) / "esxsim.log", 1).strip() == "off"


def _links(lab: Lab, host: Host) -> tuple[str, str]:
    """A host's cables at the switch's end, in the order of ``CABLES``."""
    return lab.network.management_link(host.name), lab.network.storage_link(host.name)


def set_links(lab: Lab, host: Host) -> None:
    """Bring the cables into the state that the host's state and faults ask for."""
    state = lab.states[host.name]
    running = alive(lab.processes.get(host.name)) and not state.hung
    for link, fault in zip(_links(lab, host), CABLES):
        if network.link_is_up(link) is not None:
            network.set_link(link, running and fault not in state.faults)


def set_losses(lab: Lab, host: Host) -> None:
    """Have its cables lose the packets that its faults say, or none."""
    for link, fault in zip(_links(lab, host), LOSSES):
        network.set_loss(link, LOSS_PERCENT if fault in lab.states[host.name].faults else 0)


def set_bmc_power(lab: Lab, host: Host, on: bool) -> None:
    """The supply of its BMC: without, nothing is at the BMC's address."""
    account = lab.bmc_of(host.name)
    if account is not None:
        network.set_address(lab.network.bmc_namespace, "mgmt0", account.address, on)


def stop_at_once(lab: Lab, host: Host, *, powered: bool) -> None:
    """The machine stops: first nothing leaves it any more, then its process and all that its kernel held are gone."""
    state = lab.states[host.name]
    state.powered, state.hung = powered, False
    lab.save()
    for link in _links(lab, host):
        if network.link_is_up(link) is not None:
            network.set_link(link, False)  # before the kill: the dying process' FIN must not reach anybody
    kill(lab.processes.get(host.name))
    network.remove_host(lab.network, host)


def freeze(lab: Lab, host: Host) -> None:
    """The machine hangs: it neither runs nor answers, and knows nothing of it."""
    lab.states[host.name].hung = True
    lab.save()
    for link in _links(lab, host):
        network.set_link(link, False)
    if not send(lab.processes.get(host.name), signal.SIGSTOP):
        raise LabError("%s cannot be frozen: its process has ended. See %s/esxsim.log." % (host.name, lab.host_folder(host.name)))


def thaw(lab: Lab, host: Host) -> None:
    """Both at once: it runs on with its network, as if nothing had happened."""
    lab.states[host.name].hung = False
    lab.save()
    set_links(lab, host)
    send(lab.processes.get(host.name), signal.SIGCONT)


def boot(lab: Lab, host: Host) -> int:
    """Switch on: a new namespace, a new process. Returns where in its log this boot begins; does not wait."""
    network.remove_host(lab.network, host)
    network.make_host(lab.network, host)
    log = lab.host_folder(host.name) / "esxsim.log"
    begin = log.stat().st_size if log.exists() else 0
    argv = [str(BINARY), "--config", str(lab.host_folder(host.name) / "config.json")]
    lab.processes[host.name] = spawn(argv, log, namespace=lab.network.namespace(host.name))
    state = lab.states[host.name]
    state.powered, state.hung = True, False
    lab.save()
    set_links(lab, host)  # a cable that was pulled stays pulled
    return begin


def wait_ready(lab: Lab, host: Host, begin: int, seconds: float = BOOT_SECONDS) -> None:
    """Wait until esxsim says that its API answers. Raises LabError with its log when it ends or does not come up."""
    log = lab.host_folder(host.name) / "esxsim.log"
    deadline = time.monotonic() + seconds
    while True:
        ended = not alive(lab.processes[host.name])
        with open(log, "rb") as source:
            source.seek(begin)
            if b"ready" in source.read().splitlines():
                return
        if ended:
            raise LabError("esxsim of %s ended while booting. Its log %s:\n%s" % (host.name, log, tail(log, start=begin)))
        if time.monotonic() > deadline:
            raise LabError("esxsim of %s is not ready after %g s. Its log %s:\n%s" % (host.name, seconds, log, tail(log, start=begin)))
        time.sleep(0.05)
