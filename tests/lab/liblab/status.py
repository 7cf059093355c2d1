"""``lab status``: what is up, for people and programs (tests/lab/README.md has the keys)."""

from __future__ import annotations

from typing import Any

from . import api, machines
from .plan import TARGET_IQN
from .processes import alive
from .qemu import commands
from .state import Lab


def collect(lab: Lab) -> dict[str, Any]:
    """Where the VMs are is asked from the hosts; what a host's own state is, the lab knows."""
    words = {host.name: machines.state_word(lab, host.name) for host in lab.hosts}
    seen = api.poll([host for host in lab.hosts if words[host.name] == "on"], str(lab.ca_file))
    hosts = []
    for host in lab.hosts:
        found: dict[str, Any] = {
            "name": host.name,
            "address": host.address,
            "port": host.port,
            "username": host.username,
            "password": host.password,
            "ca_file": str(lab.ca_file),
            "initiator": host.initiator,
            "uuid": host.uuid,
            "up": seen.get(host.name) is not None,
            "state": words[host.name],
            "faults": list(lab.states[host.name].faults),
            "bmc": None,
        }
        account = lab.bmc_of(host.name)
        if account:
            found["bmc"] = {
                "driver": "redfish",
                "address": account.url,
                "username": account.username,
                "password": account.password,
                "system": "/redfish/v1/Systems/%s" % host.uuid,
                "ca_file": str(lab.ca_file),
            }
        hosts.append(found)
    return {
        "running": True,
        "complete": lab.complete,
        "started": lab.started,
        "state_folder": str(lab.path),
        "hosts": hosts,
        "vms": _vms(lab, seen),
        "target": {
            "driver": "tgt",
            "iqn": TARGET_IQN,
            "portal": lab.network.portal,
            "backing_file": str(lab.lun_file),
            "up": alive(lab.processes.get("tgtd")),
            "control_port": lab.network.control_port,
            "saved_config": str(lab.saved_config),
            "fence_list": str(lab.fence_list),
        },
        "events": lab.events,
    }


def _vms(lab: Lab, seen: dict[str, list[api.VmSeen] | None]) -> list[dict[str, Any]]:
    places: dict[str, list[tuple[str, api.VmSeen]]] = {}
    for host, vms in seen.items():
        for vm in vms or []:
            places.setdefault(vm.path, []).append((host, vm))
    return [_vm(vm.name, vm.path, vm.extent, places.get(vm.path, [])) for vm in lab.vms]


def _vm(name: str, path: str, extent: int, found: list[tuple[str, api.VmSeen]]) -> dict[str, Any]:
    """``host``: where it is powered on, else where it is registered, among the hosts that answer; None when nowhere."""
    on = [(host, vm) for host, vm in found if vm.power == "on"]
    nowhere: list[tuple[str | None, api.VmSeen | None]] = [(None, None)]
    host, vm = (on or found or nowhere)[0]
    return {
        "name": name,
        "host": host,
        "path": path,
        "power": vm.power if vm else None,
        "question": vm.question if vm else None,
        "registered": sorted(host for host, _vm in found),
        "extent": extent,
    }


def text(status: dict[str, Any]) -> str:
    """For the terminal; without passwords."""
    parts = ([_quick(status)] if status["target"] else []) + ([commands.text(status["guests"])] if status["guests"] else [])
    return "\n\n".join(parts)


def _quick(status: dict[str, Any]) -> str:
    lines = ["%-8s %-13s %-9s %-8s %-22s %s" % ("HOST", "ADDRESS", "STATE", "API", "FAULTS", "BMC")]
    for host in status["hosts"]:
        bmc = host["bmc"]["address"] if host["bmc"] else "-"
        answers = "answers" if host["up"] else "-"
        lines.append(
            "%-8s %-13s %-9s %-8s %-22s %s" % (host["name"], host["address"], host["state"], answers, ",".join(host["faults"]) or "-", bmc)
        )
    lines += ["", "%-8s %-8s %-10s %s" % ("VM", "HOST", "POWER", "PATH")]
    for vm in status["vms"]:
        lines.append("%-8s %-8s %-10s %s" % (vm["name"], vm["host"] or "-", vm["power"] or "-", vm["path"]))
    target = status["target"]
    lines += [
        "",
        "target %s at %s (%s), control port %d"
        % (target["iqn"], target["portal"], "up" if target["up"] else "down", target["control_port"]),
    ]
    return "\n".join(lines)
