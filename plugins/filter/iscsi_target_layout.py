# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
name: iscsi_target_layout
short_description: What the role iscsi_target will make of disks and volumes, and everything that forbids it
version_added: "0.1.0"
author:
  - The libreha contributors (@libreha)
description:
  - Judges the variables of the role P(libreha.vmware.iscsi_target#role) together with what the machine has of disks, volumes
    and addresses. It runs nothing and changes nothing.
  - The role uses it before it changes anything.
options:
  _input:
    description: The role's variables without their prefix.
    type: dict
    required: true
  found:
    description:
      - What M(libreha.vmware.storage_layout_info) returned as C(layout).
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: What would be made
  ansible.builtin.debug:
    msg: "{{ description | libreha.vmware.iscsi_target_layout(found) }}"
"""

RETURN = r"""
_value:
  description:
    - C(problems) is a list of texts, each with its remedy. C(volume_groups), C(thin_pools) and C(volumes) are what shall be there, with
      sizes in bytes. C(device_units) are the LUNs' disks as systemd names them, C(folders) those of
      their files, C(missing) the names of LUNs whose volume is not there yet.
      No secret is in it.
  type: dict
"""

import os
from collections.abc import Mapping
from typing import Any

from ansible_collections.libreha.vmware.plugins.module_utils.entry import role_iscsi_target as described
from ansible_collections.libreha.vmware.plugins.module_utils.storage.layout import make_layout, read_found


def iscsi_target_layout(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
    """See DOCUMENTATION."""
    machine = read_found(found)
    layout = make_layout(wanted, machine)
    paths = [described.device_of(lun) for lun in wanted["luns"]]
    return {
        "problems": described.problems(wanted) + (described.tgt_lacks(wanted) if wanted["driver"] == "tgt" else []) + layout.problems,
        "volume_groups": layout.volume_groups,
        "thin_pools": layout.thin_pools,
        "volumes": layout.volumes,
        "device_units": [described.device_unit(path) for path in paths if path.startswith("/dev/")],
        "folders": sorted({os.path.dirname(path) for path in paths if not path.startswith("/dev/")}),
        "missing": [
            lun["name"] for lun in wanted["luns"] if lun.get("volume_group") and (lun["volume_group"], lun["name"]) not in machine.volumes
        ],
    }


class FilterModule:
    """Makes the filter known to Ansible."""

    def filters(self) -> dict[str, Any]:
        return {"iscsi_target_layout": iscsi_target_layout}
