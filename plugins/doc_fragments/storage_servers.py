# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations


class ModuleDocFragment:
    """How the arbiter reaches the storage servers (plugins/module_utils/entry/options/site.py, ``storage_option``)."""

    DOCUMENTATION = r"""
options:
  storage:
    description:
      - The storage servers, and how the arbiter reaches them; the filter P(libreha.vmware.storage_servers#filter) makes this list.
      - One without O(storage[].ssh) is this machine.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: The name in the inventory.
        type: str
        required: true
      driver:
        description: Which target serves there.
        type: str
        choices: [tgt, lio]
        default: tgt
      control_port:
        description: The number of tgtd's control port, after C(tgtd -C).
        type: int
        default: 0
      saved_config:
        description: The target's saved configuration; the driver's own place by default.
        type: path
      fence_list:
        description: The durable list of fenced hosts.
        type: path
        default: /var/lib/libreha/fences.json
      timeout:
        description: Seconds to wait for the target's answer.
        type: float
        default: 5
      ssh:
        description:
          - How the arbiter logs in there. The role P(libreha.vmware.storage_access#role) sets up both ends.
          - The keys decide what may be asked, by a forced command; see docs/remote-storage-servers.md of this collection.
        type: dict
        suboptions:
          host:
            description: Address or name.
            type: str
            required: true
          user:
            description: The user.
            type: str
            default: root
          port:
            description: The port of sshd.
            type: int
            default: 22
          key:
            description: A file on the arbiter with the private key for which the server looks and fences. It needs no passphrase.
            type: path
            default: /etc/libreha/ssh/fence
          unfence_key:
            description: The same for the key for which the server also lets hosts in again.
            type: path
            default: /etc/libreha/ssh/unfence
          known_hosts:
            description: A file on the arbiter with the server's host key, under O(storage[].name) in small letters.
            type: path
            default: /etc/libreha/ssh/known_hosts
"""
