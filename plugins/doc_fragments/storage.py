# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations


class ModuleDocFragment:
    """The target service and fence list of a storage server (plugins/module_utils/arguments/storage.py)."""

    DOCUMENTATION = r"""
options:
  driver:
    description:
      - The iSCSI target service that runs on this storage server.
      - V(tgt) is tgtd, the target in user space.
      - V(lio) is the target of the Linux kernel, which targetcli configures.
    type: str
    choices: [tgt, lio]
    default: tgt
  control_port:
    description:
      - With O(driver=tgt), the control port of tgtd, the number after C(tgtd -C).
    type: int
    default: 0
  saved_config:
    description:
      - The saved configuration that the service loads at its start.
      - With O(driver=tgt), the file after C(tgt-admin -e -c), F(/etc/tgt/targets.conf) by default. Included files are followed.
      - With O(driver=lio), F(/etc/rtslib-fb-target/saveconfig.json) or F(/etc/target/saveconfig.json), whichever this system has.
      - Every target of tgt must have an C(initiator-address) line, C(initiator-address 255.255.255.255) where hosts are admitted by name.
        Without one C(tgt-admin) admits everybody, whatever C(initiator-name) lines there are.
    type: path
  fence_list:
    description:
      - The file that remembers which initiators are fenced, and the highest fencing token seen. Keep it on a local, durable file system.
      - With O(driver=lio), the file C(lio_acls.json) beside it keeps the ACLs of fenced initiators until they are let in again.
    type: path
    default: /var/lib/libreha/fences.json
  timeout:
    description:
      - Seconds to wait for each answer of the target service.
    type: float
    default: 5.0
requirements:
  - tgt (for O(driver=tgt))
  - The kernel's target and python3-rtslib-fb (for O(driver=lio)).
  - Linux 5.6 or newer
"""
