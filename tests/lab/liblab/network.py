"""Bridges, namespaces and cables. All in the machine's own namespace but for the far ends; no forwarding, no default routes."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path

from .errors import LabError, run
from .plan import (
    BMC_NAMESPACE,
    GATEWAY_ADDRESS,
    GATEWAY_NAMESPACE,
    MACHINE_MANAGEMENT,
    MACHINE_STORAGE,
    MANAGEMENT_BRIDGE,
    PORTAL_ADDRESS,
    PREFIX,
    STORAGE_BRIDGE,
    STORAGE_NAMESPACE,
    Host,
)

ROOT_HINT = "Network namespaces and bridges need root and a kernel with veth and bridge."


def _batch(lines: Sequence[str], what: str) -> None:
    """Several ``ip`` commands in one go; the first that fails ends it."""
    try:
        done = subprocess.run(["ip", "-batch", "-"], input="\n".join(lines) + "\n", capture_output=True, text=True, timeout=30, check=False)
    except FileNotFoundError as error:
        raise LabError("Could not %s: ip is not installed (Debian package iproute2)." % what) from error
    except subprocess.TimeoutExpired as error:
        raise LabError("Could not %s: ip gave no answer within 30 s." % what) from error
    if done.returncode != 0:
        raise LabError("Could not %s: ip said: %s %s" % (what, done.stderr.strip(), ROOT_HINT))


def bridge_owner() -> str | None:
    """The state folder of the lab whose bridges exist on this machine (kept as the bridge's alias); None without bridges."""
    for name in (MANAGEMENT_BRIDGE, STORAGE_BRIDGE):
        if Path("/sys/class/net/%s" % name).exists():
            return Path("/sys/class/net/%s/ifalias" % name).read_text(encoding="utf-8").strip()
    return None


def make_bridges(owner: str) -> None:
    bridges = ((MANAGEMENT_BRIDGE, MACHINE_MANAGEMENT, "02:4c:48:00:00:01"), (STORAGE_BRIDGE, MACHINE_STORAGE, "02:4c:48:00:01:fe"))
    for name, address, mac in bridges:
        _batch(
            [
                # with an address of its own: a bridge without one takes over its ports', and changes it as hosts come and go
                "link add %s address %s type bridge forward_delay 0" % (name, mac),
                "link set %s alias %s" % (name, owner),
                "addr add %s/%d dev %s" % (address, PREFIX, name),
                "link set %s up" % name,
            ],
            "make the bridge %s" % name,
        )


def make_fixed_namespaces(bmc_addresses: Sequence[str]) -> None:
    """The storage server, the isolation address and, if there are any, the BMCs."""
    make_namespace(STORAGE_NAMESPACE)
    plug(STORAGE_NAMESPACE, STORAGE_BRIDGE, "lhs-san", "stor0", [PORTAL_ADDRESS], "02:4c:48:00:01:01")
    make_namespace(GATEWAY_NAMESPACE)
    plug(GATEWAY_NAMESPACE, MANAGEMENT_BRIDGE, "lhm-gw", "mgmt0", [GATEWAY_ADDRESS], "02:4c:48:00:00:fe")
    if bmc_addresses:
        make_namespace(BMC_NAMESPACE)
        plug(BMC_NAMESPACE, MANAGEMENT_BRIDGE, "lhm-bmc", "mgmt0", bmc_addresses, "02:4c:48:00:00:c8")


def make_host(host: Host) -> None:
    """A host's namespace with both cables plugged. The MAC addresses stay the same from boot to boot, as a card's do."""
    make_namespace(host.namespace)
    plug(host.namespace, MANAGEMENT_BRIDGE, host.management_link, "vmk0", [host.address], "02:4c:48:01:00:%02x" % host.index)
    plug(host.namespace, STORAGE_BRIDGE, host.storage_link, "vmk1", [host.storage_address], "02:4c:48:01:01:%02x" % host.index)


def remove_host(host: Host) -> None:
    """Take a dead host's namespace away with all that its kernel still held: a dead machine sends nothing from its buffers later."""
    for link in (host.management_link, host.storage_link):
        remove_link(link)
    remove_namespace(host.namespace)


def make_namespace(name: str) -> None:
    run(["ip", "netns", "add", name], what="make the network namespace %s" % name, remedy=ROOT_HINT)
    _batch_in(name, ["link set lo up"])


def plug(namespace: str, bridge: str, near: str, far: str, addresses: Sequence[str], mac: str) -> None:
    """A cable: ``near`` at the bridge, ``far`` inside the namespace."""
    _batch(
        [
            "link add %s type veth peer name %s address %s netns %s" % (near, far, mac, namespace),
            "link set %s master %s" % (near, bridge),
            "link set %s up" % near,
        ],
        "connect %s to %s" % (namespace, bridge),
    )
    _batch_in(namespace, ["addr add %s/%d dev %s" % (address, PREFIX, far) for address in addresses] + ["link set %s up" % far])


def _batch_in(namespace: str, lines: Sequence[str]) -> None:
    for line in lines:
        run(["ip", "-n", namespace, *line.split()], what="set up the network of %s" % namespace, remedy=ROOT_HINT)


def set_link(link: str, up: bool) -> None:
    """Plug or pull a cable at the switch's end: the far end loses its carrier and nothing passes either way."""
    run(["ip", "link", "set", link, "up" if up else "down"], what="switch the link %s" % link)


def link_is_up(link: str) -> bool | None:
    """Whether a cable is plugged in; None when there is none."""
    try:
        flags = int(Path("/sys/class/net/%s/flags" % link).read_text(encoding="ascii"), 16)
    except OSError:
        return None
    return bool(flags & 1)


def remove_link(link: str) -> None:
    if Path("/sys/class/net/%s" % link).exists():
        run(["ip", "link", "delete", link], what="remove the link %s" % link)


def remove_namespace(name: str) -> None:
    if Path("/run/netns/%s" % name).exists():
        run(["ip", "netns", "delete", name], what="remove the network namespace %s" % name)


def leftovers() -> tuple[list[str], list[str]]:
    """Links and namespaces on this machine that carry the lab's names."""
    links = [link["ifname"] for link in json.loads(run(["ip", "-json", "link", "show"], what="list network links") or "[]")]
    ours = [name for name in links if name in (MANAGEMENT_BRIDGE, STORAGE_BRIDGE) or name.startswith(("lhm-", "lhs-"))]
    names = [entry["name"] for entry in json.loads(run(["ip", "-json", "netns", "list"], what="list network namespaces") or "[]")]
    fixed = (STORAGE_NAMESPACE, BMC_NAMESPACE, GATEWAY_NAMESPACE)
    return ours, [name for name in names if name in fixed or name.startswith("lh-esx")]


def remove_all() -> None:
    """Every link, bridge and namespace of the lab; those that are gone already are no error."""
    links, namespaces = leftovers()
    for link in sorted(links, key=lambda name: name in (MANAGEMENT_BRIDGE, STORAGE_BRIDGE)):
        remove_link(link)
    for name in namespaces:
        remove_namespace(name)
