# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
name: iscsi_target_options
short_description: The options of the module iscsi_target or tgt_target, from the variables of the role iscsi_target
version_added: "0.1.0"
author:
  - The libreha contributors (@libreha)
description:
  - Turns the variables of the role P(libreha.vmware.iscsi_target#role) into O(libreha.vmware.iscsi_target#module:backstores) and
    O(libreha.vmware.iscsi_target#module:tpgs), or with the driver C(tgt) into the options of M(libreha.vmware.tgt_target).
  - The result holds CHAP secrets; give it to the module only.
options:
  _input:
    description: The role's variables without their prefix.
    type: dict
    required: true
  without:
    description: Names of LUNs to leave out, because their volumes are not there yet.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Build the target
  libreha.vmware.iscsi_target:
    name: "{{ description.name }}"
    backstores: "{{ (description | libreha.vmware.iscsi_target_options).backstores }}"
    tpgs: "{{ (description | libreha.vmware.iscsi_target_options).tpgs }}"
"""

RETURN = r"""
_value:
  description:
    - C(name), C(backstores) and C(tpgs).
    - With the driver C(tgt) C(name), C(portals), C(luns), C(initiators), C(nop_interval) and C(nop_count).
  type: dict
"""

from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.libreha.vmware.plugins.module_utils.entry.role_iscsi_target import module_options, tgt_options


def iscsi_target_options(wanted: Mapping[str, Any], without: Iterable[str] = ()) -> dict[str, Any]:
    """See DOCUMENTATION."""
    return (tgt_options if wanted["driver"] == "tgt" else module_options)(wanted, frozenset(without))


class FilterModule:
    """Makes the filter known to Ansible."""

    def filters(self) -> dict[str, Any]:
        return {"iscsi_target_options": iscsi_target_options}
