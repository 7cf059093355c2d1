"""Bridges, namespaces and cables. All in the machine's own namespace but for the far ends; no forwarding, no default routes."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from .errors import LabError, run
from .plan import MAX_LABS, PREFIX, Host, LabNetwork

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


def owner(network: LabNetwork) -> str | None:
    """The state folder of the lab whose bridges exist on this machine (kept as the bridge's alias); None without bridges."""
    for name in (network.management_bridge, network.storage_bridge):
        if Path("/sys/class/net/%s" % name).exists():
            return Path("/sys/class/net/%s/ifalias" % name).read_text(encoding="utf-8").strip()
    return None


def networks() -> list[LabNetwork]:
    """All that a machine can have."""
    return [LabNetwork(number) for number in range(MAX_LABS)]


def make_bridges(network: LabNetwork, state_folder: str) -> None:
    bridges = (
        (network.management_bridge, network.machine_management, "02:4c:48:00:00:01"),
        (network.storage_bridge, network.machine_storage, "02:4c:48:00:01:fe"),
    )
    for name, address, mac in bridges:
        _batch(
            [
                # with an address of its own: a bridge without one takes over its ports', and changes it as hosts come and go
                "link add %s address %s type bridge forward_delay 0" % (name, mac),
                "link set %s alias %s" % (name, state_folder),
                "addr add %s/%d dev %s" % (address, PREFIX, name),
                "link set %s up" % name,
            ],
            "make the bridge %s" % name,
        )


def make_fixed_namespaces(network: LabNetwork, bmc_addresses: Sequence[str]) -> None:
    """The storage server, the isolation address and, if there are any, the BMCs."""
    storage, management = network.storage_bridge, network.management_bridge
    make_namespace(network.storage_namespace)
    plug(network.storage_namespace, storage, network.storage_link("san"), "stor0", [network.portal_address], "02:4c:48:00:01:01")
    make_namespace(network.gateway_namespace)
    plug(network.gateway_namespace, management, network.management_link("gw"), "mgmt0", [network.gateway_address], "02:4c:48:00:00:fe")
    if bmc_addresses:
        make_namespace(network.bmc_namespace)
        plug(network.bmc_namespace, management, network.management_link("bmc"), "mgmt0", bmc_addresses, "02:4c:48:00:00:c8")


def make_host(network: LabNetwork, host: Host) -> None:
    """A host's namespace with both cables plugged. The MAC addresses stay the same from boot to boot, as a card's do."""
    namespace = network.namespace(host.name)
    management, storage = network.management_link(host.name), network.storage_link(host.name)
    make_namespace(namespace)
    plug(namespace, network.management_bridge, management, "vmk0", [host.address], "02:4c:48:01:00:%02x" % host.index)
    plug(namespace, network.storage_bridge, storage, "vmk1", [host.storage_address], "02:4c:48:01:01:%02x" % host.index)


def remove_host(network: LabNetwork, host: Host) -> None:
    """Take a dead host's namespace away with all that its kernel still held: a dead machine sends nothing from its buffers later."""
    for link in (network.management_link(host.name), network.storage_link(host.name)):
        remove_link(link)
    remove_namespace(network.namespace(host.name))


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


def set_loss(link: str, percent: int) -> None:
    """A bad cable: so many of the packets are lost, in each direction; 0 ends it. By nftables, since not every kernel has netem."""
    table = "libreha-%s" % link
    rules = ["add table bridge %s" % table, "delete table bridge %s" % table]
    if percent:
        chains = (("prerouting", "iifname"), ("postrouting", "oifname"))
        rules += ["add table bridge %s" % table]
        for hook, end in chains:
            rules += ["add chain bridge %s %s { type filter hook %s priority 0; }" % (table, hook, hook)]
            rules += ['add rule bridge %s %s %s "%s" numgen random mod 100 < %d drop' % (table, hook, end, link, percent)]
    run(["nft", "; ".join(rules)], what="lose packets of the link %s" % link, remedy="Install the Debian package nftables.")


def set_address(namespace: str, device: str, address: str, there: bool) -> None:
    _batch_in(namespace, ["addr %s %s/%d dev %s" % ("add" if there else "del", address, PREFIX, device)])


def link_is_up(link: str) -> bool | None:
    """Whether a cable is plugged in; None when there is none."""
    try:
        flags = int(Path("/sys/class/net/%s/flags" % link).read_text(encoding="ascii"), 16)
    except OSError:
        return None
    return bool(flags & 1)


def remove_link(link: str) -> None:
    """A link that goes by itself meanwhile, because the kernel is taking its namespace away, is no error."""
    place = Path("/sys/class/net/%s" % link)
    if place.exists():
        try:
            run(["ip", "link", "delete", link], what="remove the link %s" % link)
        except LabError:
            if place.exists():
                raise


def remove_namespace(name: str) -> None:
    if Path("/run/netns/%s" % name).exists():
        run(["ip", "netns", "delete", name], what="remove the network namespace %s" % name)


def leftovers(network: LabNetwork) -> tuple[list[str], list[str]]:
    """Links (bridges last) and namespaces on this machine that carry this lab's names."""
    links = [link["ifname"] for link in json.loads(run(["ip", "-json", "link", "show"], what="list network links") or "[]")]
    bridges = [network.management_bridge, network.storage_bridge]
    cables = [name for name in links if name.startswith(tuple("%s-" % bridge for bridge in bridges))]
    names = [entry["name"] for entry in json.loads(run(["ip", "-json", "netns", "list"], what="list network namespaces") or "[]")]
    prefix = network.namespace("")
    return cables + [name for name in bridges if name in links], [name for name in names if name.startswith(prefix)]


def _loss_tables(network: LabNetwork) -> list[str]:
    if shutil.which("nft") is None:
        return []
    listed = json.loads(run(["nft", "--json", "list", "tables"], what="list packet filters"))["nftables"]
    names = [entry["table"]["name"] for entry in listed if entry.get("table", {}).get("family") == "bridge"]
    own = tuple("libreha-%s-" % bridge for bridge in (network.management_bridge, network.storage_bridge))
    return [name for name in names if name.startswith(own)]


def remove_all(network: LabNetwork) -> None:
    """Every namespace, link and bridge of a lab; those that are gone already are no error.

    The bridges go last: as long as one is there, this number is seen to be taken (``owner``).
    """
    links, namespaces = leftovers(network)
    for table in _loss_tables(network):
        run(["nft", "delete table bridge %s" % table], what="remove the packet filter %s" % table)
    for name in namespaces:
        remove_namespace(name)
    for link in links:
        remove_link(link)
