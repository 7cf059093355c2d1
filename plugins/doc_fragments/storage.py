# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations


class ModuleDocFragment:
    """The target service and fence list of a storage server (plugins/module_utils/entry/options/storage.py)."""

    DOCUMENTATION = r"""
options:
  driver:
    description:
      - The iSCSI target service that runs on this storage server.
      - V(tgt) is tgtd, the target in user space. V(lio) is the kernel's own target, LIO.
    type: str
    choices: [tgt, lio]
    default: tgt
  control_port:
    description:
      - The control port of tgtd, the number after C(tgtd -C). Of no meaning with O(driver=lio).
    type: int
    default: 0
  saved_config:
    description:
      - The saved configuration that the service loads at its start.
      - With O(driver=tgt) the file after C(tgt-admin -e -c), by default C(/etc/tgt/targets.conf). Included files are followed.
        Every target in it must have an C(initiator-address) line, C(initiator-address 255.255.255.255) where hosts are admitted by name.
        Without one C(tgt-admin) admits everybody, whatever C(initiator-name) lines there are.
      - With O(driver=lio) the save file of rtslib-fb and targetcli. By default that of the distribution,
        C(/etc/rtslib-fb-target/saveconfig.json) or C(/etc/target/saveconfig.json).
    type: path
  fence_list:
    description:
      - The file that remembers which initiators are fenced, and the highest fencing token seen. Keep it on a local, durable file system.
      - With O(driver=lio) the ACLs of fenced initiators are kept beside it (C(fences-acls.json)), for the day when they are unfenced.
    type: path
    default: /var/lib/libreha/fences.json
  timeout:
    description:
      - Seconds to wait for each answer of tgtd, or for the kernel to end the sessions of an initiator.
    type: float
    default: 5.0
requirements:
  - tgt (for O(driver=tgt))
  - rtslib-fb >= 2.1.74 (for changes with O(driver=lio); C(python3-rtslib-fb) on Debian and Ubuntu, C(python3-rtslib) on the RHEL family)
  - Linux 5.6 or newer
"""
