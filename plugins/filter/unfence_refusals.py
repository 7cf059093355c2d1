# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
name: unfence_refusals
short_description: What stands against letting a fenced host in again
version_added: "0.1.0"
author:
  - The libreha contributors (@libreha)
description:
  - Judges what was read of a fenced host and of its VMs just now, before M(libreha.vmware.iscsi_fence) is asked to let it in.
    That module itself demands the proof of a fresh start.
  - The host must answer, run no VM, and have no VM registered that is recorded on another host. No failover of its VMs may be open,
    and every storage server must have been asked.
positional: host, servers, health, vms, record
options:
  _input:
    description: One RV(libreha.vmware.iscsi_session_info#module:storage) for each storage server that could be asked.
    type: list
    elements: dict
    required: true
  host:
    description: Name of the host in the inventory.
    type: str
    required: true
  servers:
    description: Names of all storage servers.
    type: list
    elements: str
    required: true
  health:
    description: What M(libreha.vmware.host_health_info) returned of this host alone.
    type: dict
    required: true
  vms:
    description: What M(libreha.vmware.vm_health_info) returned of this host alone.
    type: dict
    required: true
  record:
    description: What M(libreha.vmware.ha_state_info) returned with C(include=[vms, transactions]), the transactions with
      C(source) set to the host and a limit that leaves none out.
    type: dict
    required: true
  forced:
    description: Whether a person's word is to replace the proof of a fresh start.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Refuse what must not be let in
  ansible.builtin.assert:
    that: refusals | length == 0
    fail_msg: "{{ refusals | join('; ') }}"
  vars:
    refusals: "{{ storage | libreha.vmware.unfence_refusals('esx1', groups['libreha_storage'], health, vms, record) }}"
"""

RETURN = r"""
_value:
  description: Each reason against it, with what to do. Empty when the host may be let in.
  type: list
  elements: str
"""

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.libreha.vmware.plugins.module_utils.decide.hosts.unfence import Return, refusals
from ansible_collections.libreha.vmware.plugins.module_utils.decide.json_form import from_dict
from ansible_collections.libreha.vmware.plugins.module_utils.decide.observations import HostObservation, StorageObservation, VmObservation


def unfence_refusals(
    storage: Sequence[Mapping[str, Any]],
    host: str,
    servers: Sequence[str],
    health: Mapping[str, Any],
    vms: Mapping[str, Any],
    record: Mapping[str, Any],
    forced: bool = False,
) -> list[str]:
    """See DOCUMENTATION."""
    listed = None
    if host in vms["vms_read"]:
        listed = [from_dict(VmObservation, item, "vms[%d]" % index) for index, item in enumerate(vms["vms"])]
    return refusals(
        Return(
            host=host,
            servers=servers,
            storage=[from_dict(StorageObservation, item, "storage[%d]" % index) for index, item in enumerate(storage)],
            seen=from_dict(HostObservation, health["hosts"][0], "hosts[0]"),
            vms=listed,
            recorded=record["vms"],
            transactions=record["transactions"],
            forced=forced,
        )
    )


class FilterModule:
    """Ansible's way to find the filter."""

    def filters(self) -> dict[str, Any]:
        return {"unfence_refusals": unfence_refusals}
