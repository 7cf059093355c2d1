# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Bulk reading: one PropertyCollector call for everything that a question needs.

The inventory of a standalone host is always the same chain (root folder, data center, compute resource, host), and the
host knows its VMs, datastores and networks. One traversal along that chain reads them all, so that nothing has to be
created on the host for it, and the number of round trips does not depend on how much there is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .pyvmomi import vim, vmodl

PAGE = 10000  # objects that one answer may hold; a host that prefers shorter answers sends the rest in further pages

Properties = dict[str, Any]


class PropertyReader:
    """Reads through one session's property collector. Counts nothing and caches nothing."""

    def __init__(self, content: Any) -> None:
        self.collector = content.propertyCollector
        self.root = content.rootFolder

    def inventory(self, wanted: Mapping[str, Sequence[str]]) -> dict[str, list[tuple[Any, Properties]]]:
        """The objects of the inventory with the *wanted* properties, in one call.

        *wanted* maps a kind (Datacenter, ComputeResource, HostSystem, VirtualMachine, Datastore, Network) to its
        property paths. The result maps the kind to (object, its properties); a property that the host left out,
        because it is unset or may not be read, is absent.
        """
        types = {
            "Datacenter": vim.Datacenter,
            "ComputeResource": vim.ComputeResource,
            "HostSystem": vim.HostSystem,
            "VirtualMachine": vim.VirtualMachine,
            "Datastore": vim.Datastore,
            "Network": vim.Network,
        }
        spec = vmodl.query.PropertyCollector.FilterSpec(
            objectSet=[vmodl.query.PropertyCollector.ObjectSpec(obj=self.root, skip=True, selectSet=_chain(set(wanted)))],
            propSet=[
                vmodl.query.PropertyCollector.PropertySpec(type=types[kind], pathSet=list(paths), all=False)
                for kind, paths in wanted.items()
            ],
        )
        found: dict[str, list[tuple[Any, Properties]]] = {kind: [] for kind in wanted}
        for reference, properties in self._retrieve(spec):
            for kind in wanted:
                if isinstance(reference, types[kind]):
                    found[kind].append((reference, properties))
        return found

    def objects(self, wanted: Sequence[tuple[Any, Sequence[str]]]) -> dict[str, Properties]:
        """The properties of objects that are known already, in one call: reference -> properties."""
        paths: dict[type, Sequence[str]] = {}
        for reference, names in wanted:
            paths[type(reference)] = names
        spec = vmodl.query.PropertyCollector.FilterSpec(
            objectSet=[vmodl.query.PropertyCollector.ObjectSpec(obj=reference, skip=False) for reference, _names in wanted],
            propSet=[
                vmodl.query.PropertyCollector.PropertySpec(type=kind, pathSet=list(names), all=False) for kind, names in paths.items()
            ],
        )
        return {reference._moId: properties for reference, properties in self._retrieve(spec)}

    def _retrieve(self, spec: Any) -> list[tuple[Any, Properties]]:
        options = vmodl.query.PropertyCollector.RetrieveOptions(maxObjects=PAGE)
        result = self.collector.RetrievePropertiesEx([spec], options)
        found = []
        while result is not None:
            for content in result.objects or ():
                found.append((content.obj, {item.name: item.val for item in content.propSet or ()}))
            result = self.collector.ContinueRetrievePropertiesEx(result.token) if result.token else None
        return found


def _chain(kinds: set[str]) -> list[Any]:
    """The traversal from the root folder down to what hangs on the host."""
    hanging = [
        _step("host" + kind, vim.HostSystem, path, [])
        for kind, path in (("VirtualMachine", "vm"), ("Datastore", "datastore"), ("Network", "network"))
        if kind in kinds
    ]
    to_host = _step("host", vim.ComputeResource, "host", hanging)
    # Compute resources lie in a folder, and some servers nest folders.
    in_folder = _step("folder", vim.Folder, "childEntity", [_named("folder"), _named("datacenter"), to_host])
    return [in_folder, _step("datacenter", vim.Datacenter, "hostFolder", [_named("folder")])]


def _step(name: str, kind: Any, path: str, then: list[Any]) -> Any:
    return vmodl.query.PropertyCollector.TraversalSpec(name=name, type=kind, path=path, skip=False, selectSet=then)


def _named(name: str) -> Any:
    return vmodl.query.PropertyCollector.SelectionSpec(name=name)
