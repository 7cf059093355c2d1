# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations


class ModuleDocFragment:
    """The options of modules that judge a look (plugins/module_utils/entry/options/look.py)."""

    DOCUMENTATION = r"""
options:
  policy:
    description:
      - The policy, C(libreha_policy) with the inventory's hosts and storage servers in it, as the filter
        P(libreha.vmware.cluster_policy#filter) puts it together. An unknown option or a wrong value is refused with its place.
      - docs/policy.md of this collection has every option.
    type: dict
    required: true
  observation:
    description:
      - What was seen in this look, the newest if there are several. Required, unless the module says when it is not.
    type: dict
    suboptions:
      taken_at:
        description: The C(taken_at) of M(libreha.vmware.host_health_info).
        type: dict
        required: true
      hosts:
        description: The C(hosts) of M(libreha.vmware.host_health_info).
        type: list
        elements: dict
        default: []
      isolation:
        description: The C(isolation) of M(libreha.vmware.host_health_info).
        type: list
        elements: dict
        default: []
      vms:
        description: The C(vms) of M(libreha.vmware.vm_health_info).
        type: list
        elements: dict
        default: []
      vms_read:
        description: The C(vms_read) of M(libreha.vmware.vm_health_info).
        type: list
        elements: str
        default: []
      events:
        description: The C(events) of M(libreha.vmware.vm_health_info).
        type: list
        elements: dict
        default: []
      event_gaps:
        description:
          - The C(event_gaps) of M(libreha.vmware.vm_health_info). A VM that is found off on a host whose events could not be read is
            neither taken for crashed nor for switched off.
        type: list
        elements: dict
        default: []
      storage:
        description: The C(storage) of M(libreha.vmware.iscsi_session_info), one for each storage server.
        type: list
        elements: dict
        default: []
      storage_health:
        description: The C(storage_health) of M(libreha.vmware.storage_health_info), of the storage servers where it was read in this look.
        type: list
        elements: dict
        default: []
"""
