# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
name: hosts
short_description: The hosts of a cluster as an inventory, read from the hosts themselves
version_added: "0.1.0"
author:
  - The libreha contributors (@libreha)
description:
  - Three addresses are an inventory. Initiator names, machines and which BMC belongs to which host are read, so that nobody has to type
    them. The result is the group that the playbooks of this collection take, with the variables that they take
    (see C(playbooks/inventory.example)).
  - A host that does not answer stays in the inventory with what was read of it before, since that is when it is needed. For this the
    plugin writes what it reads to a file, O(record).
  - A host that answers with another initiator, or as another machine than the one on record, is warned about, and keeps what is on record.
    The monitor then calls it unfenceable, as with a name that was typed wrongly.
  - The file's name must end with C(libreha_hosts.yml) or C(libreha_hosts.yaml).
  - The machine that runs Ansible must reach the hosts. It needs pyVmomi, and sushy where O(bmcs) is given.
extends_documentation_fragment:
  - libreha.vmware.inventory
options:
  plugin:
    description: The name of this plugin.
    type: str
    required: true
    choices: [libreha.vmware.hosts]
  hosts:
    description:
      - A dictionary may beside the connection have C(initiator), which then stands above what the host says, and C(bmc), as
        C(libreha_bmc) in C(playbooks/inventory.example).
    type: list
    elements: raw
    required: true
  group:
    description: The group that the hosts are put into. The playbooks take C(libreha_hosts).
    type: str
    default: libreha_hosts
  bmcs:
    description:
      - Redfish BMCs of the hosts, in any order. Each belongs to the host that tells the same system UUID, and becomes its C(libreha_bmc).
      - Devices that tell no UUID, such as outlets and those behind fence agents, are given with the host.
    type: dict
    suboptions:
      addresses:
        description: URLs of the BMCs; V(https) is meant where no scheme is given.
        type: list
        elements: str
        required: true
      username:
        description: User on them.
        type: str
        required: true
      password:
        description: Password on them. A C(!vault) value or a template will do.
        type: str
        required: true
      validate_certs:
        description: Whether their certificates are verified.
        type: bool
        default: true
      ca_path:
        description: PEM file of the authorities of their certificates, on this machine and on the arbiter.
        type: path
  initiator_prefix:
    description:
      - A host whose software iSCSI adapter is off has no initiator's name yet. It is given this prefix and its inventory name, which is
        what the role P(libreha.vmware.vmware_server#role) then sets.
    type: str
    default: "iqn.1998-01.com.vmware:"
  record:
    description:
      - File that keeps what was read. It holds no secret. The default is a hidden file beside the inventory file.
      - Keep it with the inventory. Where the inventory is checked out anew for each run, as in AWX, give a path that stays.
    type: path
notes:
  - A password in the inventory file is handed on as it stands there, as C(libreha_password) of the host. Where it is vaulted it stays
    vaulted in C(ansible-inventory --list), and a template is evaluated only where it is used. One from the environment is looked up there
    by each run.
"""

EXAMPLES = r"""
# cluster.libreha_hosts.yml: three addresses, the user and the password from VMWARE_USER and VMWARE_PASSWORD
plugin: libreha.vmware.hosts
hosts: [192.0.2.11, 192.0.2.12, 192.0.2.13]

# With names, and BMCs that find their hosts
# plugin: libreha.vmware.hosts
# hosts:
#   - {name: esx1, hostname: 192.0.2.11}
#   - {name: esx2, hostname: 192.0.2.12}
#   - {name: esx3, hostname: 192.0.2.13, username: root}
# username: ha
# password: "{{ lookup('ansible.builtin.file', '~/.config/esxi-password') }}"
# ca_path: /etc/pki/esxi-ca.pem
# bmcs:
#   addresses: [192.0.2.111, 192.0.2.112, 192.0.2.113]
#   username: ha
#   password: "{{ lookup('ansible.builtin.env', 'BMC_PASSWORD') }}"
"""

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from ansible.errors import AnsibleParserError
from ansible.plugins.inventory import BaseInventoryPlugin
from ansible_collections.libreha.vmware.plugins.module_utils.access import HostAccess
from ansible_collections.libreha.vmware.plugins.module_utils.entry.options.bmc import read_bmc_variable
from ansible_collections.libreha.vmware.plugins.module_utils.entry.options.hosts import read_hosts
from ansible_collections.libreha.vmware.plugins.module_utils.errors import LibrehaError
from ansible_collections.libreha.vmware.plugins.module_utils.fence.interface import PowerDevice
from ansible_collections.libreha.vmware.plugins.module_utils.observe.inventory_hosts import (
    HostFacts,
    HostRead,
    InventoryHost,
    describe,
    read_inventory_hosts,
)
from ansible_collections.libreha.vmware.plugins.plugin_utils.inventory import host_entries, inventory_spec, password_as_given, read_options

#: What a host's connection and its variables have in common; only what differs from the modules' own defaults is written.
VARIABLES = {"port": 443, "validate_certs": True, "ca_path": None, "proxy_host": None, "proxy_port": None, "timeout": 5.0}
BMC_OPTIONS = {
    "addresses": {"type": "list", "elements": "str", "required": True},
    "username": {"type": "str", "required": True},
    "password": {"type": "str", "required": True, "no_log": True},
    "validate_certs": {"type": "bool", "default": True},
    "ca_path": {"type": "path"},
}


class InventoryModule(BaseInventoryPlugin):
    """See DOCUMENTATION."""

    NAME = "libreha.vmware.hosts"

    def verify_file(self, path: str) -> bool:
        return bool(super().verify_file(path)) and path.endswith(("libreha_hosts.yml", "libreha_hosts.yaml"))

    def parse(self, inventory: Any, loader: Any, path: str, cache: bool = True) -> None:
        super().parse(inventory, loader, path, cache)
        config = self._read_config_data(path)
        params = read_options(config, _spec(), self.templar)
        record = params["record"] or os.path.join(os.path.dirname(path), ".%s.json" % os.path.splitext(os.path.basename(path))[0])
        try:
            accesses = read_hosts(params)
            bmcs = _bmc_devices(params["bmcs"])
            hosts, readings = read_inventory_hosts(accesses, bmcs)
        except LibrehaError as error:
            raise AnsibleParserError(str(error)) from error
        for reading in readings.values():
            if reading.error is not None:
                self.display.warning(str(reading.error))
        on_record = _read_record(record)
        given = {entry["name"]: entry["initiator"] for entry in params["hosts"] if entry.get("initiator")}
        described = describe(hosts, readings, on_record, given, params["initiator_prefix"])
        self._keep(record, on_record, {name: one.facts for name, one in described.items()})
        for access in accesses:
            self._add(config, params, access, hosts[access.name], described[access.name])

    def _add(
        self, config: Mapping[str, Any], params: Mapping[str, Any], access: HostAccess, read: HostRead, described: InventoryHost
    ) -> None:
        for warning in described.warnings:
            self.display.warning(warning)
        name, connection = access.name, access.connection
        self.inventory.add_group(params["group"])
        self.inventory.add_host(name, group=params["group"])
        variables: dict[str, Any] = {
            "ansible_host": connection.hostname,
            "libreha_username": connection.username,
            "libreha_password": password_as_given(config, name),
            "libreha_host_facts": _facts(read),
        }
        for option, default in VARIABLES.items():
            if getattr(connection, option) != default:
                variables["libreha_%s" % option] = getattr(connection, option)
        if described.initiator:
            variables["libreha_initiator"] = described.initiator
        bmc = _bmc_as_given(config, name, described.facts.bmc)
        if bmc is not None:
            variables["libreha_bmc"] = bmc
        for variable, value in variables.items():
            self.inventory.set_variable(name, variable, value)

    def _keep(self, path: str, before: Mapping[str, HostFacts], facts: Mapping[str, HostFacts]) -> None:
        """Write the record as a whole, so that a run that is killed leaves the old one or the new one."""
        if facts == before:
            return
        try:
            with tempfile.NamedTemporaryFile("w", dir=os.path.dirname(path), prefix=".", delete=False) as new:
                json.dump({name: asdict(one) for name, one in facts.items()}, new, indent=2, sort_keys=True)
                new.write("\n")
                new.flush()
                os.fsync(new.fileno())
            os.replace(new.name, path)
        except OSError as error:
            self.display.warning(
                "what was read of the hosts could not be written to %s (%s): a host that does not answer will have no initiator then. "
                "Give a path that can be written with record" % (path, error.strerror)
            )


def _spec() -> dict[str, Any]:
    spec = inventory_spec()
    spec["hosts"]["options"] = {**spec["hosts"]["options"], "initiator": {"type": "str"}}
    return {
        **spec,
        "group": {"type": "str", "default": "libreha_hosts"},
        "bmcs": {"type": "dict", "options": BMC_OPTIONS},
        "initiator_prefix": {"type": "str", "default": "iqn.1998-01.com.vmware:"},
        "record": {"type": "path"},
    }


def _bmc_devices(bmcs: Mapping[str, Any] | None) -> dict[str, PowerDevice]:
    """Address -> the device. Raises LibrehaError."""
    if not bmcs:
        return {}
    shared = {key: value for key, value in bmcs.items() if key != "addresses" and value is not None}
    return {address: read_bmc_variable("the BMC %s" % address, {**shared, "address": address})[0] for address in bmcs["addresses"]}


def _bmc_as_given(config: Mapping[str, Any], name: str, address: str) -> Any:
    """The variable libreha_bmc: the host's own as it stands in the file, else the BMC that was found to be its; None for neither."""
    own = [entry["bmc"] for entry in host_entries(config["hosts"]) if str(entry["name"]) == name and entry.get("bmc")]
    if own or not address:
        return own[0] if own else None
    shared = {key: value for key, value in config["bmcs"].items() if key != "addresses"}
    return {**shared, "address": address}


def _facts(read: HostRead) -> dict[str, Any]:
    """The variable libreha_host_facts: for people and for keyed groups of other plugins. Playbooks look for themselves."""
    if read.seen is None:
        return {"answered": False, "problem": read.problem}
    seen = read.seen
    return {
        "answered": True,
        "product": seen.product,
        "version": seen.version,
        "build": seen.build,
        "uuid": seen.machine.uuid,
        "serial": seen.machine.serial,
        "maintenance": seen.maintenance,
        "initiators": list(seen.initiators),
        "datastores": sorted(store.name for store in seen.datastores),
        "networks": list(seen.networks),
        "vms": sorted(vm.name for vm in read.vms),
    }


def _read_record(path: str) -> dict[str, HostFacts]:
    """Raises AnsibleParserError: a record that cannot be read is not one that is empty."""
    try:
        with open(path, encoding="utf-8") as record:
            return {name: HostFacts(**facts) for name, facts in json.load(record).items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise AnsibleParserError(
            "%s cannot be read: %s. Remedy: restore it, or remove it while all hosts answer: it is then written anew" % (path, error)
        ) from error
