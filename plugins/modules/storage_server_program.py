#!/usr/bin/python

# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: storage_server_program
short_description: Install the program by which an arbiter elsewhere looks at a storage server, fences there, and lets hosts in again
version_added: "0.1.0"
author:
  - The libreha contributors (@libreha)
description:
  - Writes one file with the code of this collection that a storage server runs for the arbiter, and one with what the program must know
    of this server. The program is the forced command of the arbiter's ssh keys.
  - Arbiter and storage server must have the code of the same release. Otherwise the arbiter asks nothing there, and an alarm says so.
  - The role P(libreha.vmware.storage_access#role) uses it, and sets up the keys as well. The playbook C(site) runs that role.
  - Run it as root on the storage server, with the Python that shall run the program.
extends_documentation_fragment:
  - libreha.vmware.storage
options:
  name:
    description: The name of this storage server in the inventory. A request for another one is refused.
    type: str
    required: true
  program:
    description: Where the program is written.
    type: path
    default: /usr/local/lib/libreha/storage-server.pyz
  config:
    description: Where it is written which server this is, and where its target and its fence list are. Requests cannot change that.
    type: path
    default: /etc/libreha/storage-server.json
attributes:
  check_mode:
    description: Says what would be written, and writes nothing.
    support: full
  diff_mode:
    description: Shows which program was there and which is, and what it is told.
    support: full
"""

EXAMPLES = r"""
- name: Let the arbiter ask this storage server
  libreha.vmware.storage_server_program:
    name: san2
    driver: lio
"""

RETURN = r"""
python:
  description: The Python that the module ran with, and that shall run the program.
  returned: always
  type: str
  sample: /opt/libreha/venv/bin/python
identity:
  description: A digest of the program's source, by which the arbiter knows its own release.
  returned: always
  type: str
  sample: 9f86d081884c7d65
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.libreha.vmware.plugins.module_utils.entry.storage_server_program import argument_spec, run
from ansible_collections.libreha.vmware.plugins.module_utils.entry.task import carry_out

# What the program consists of is read from these, so they must be sent along with the module.
from ansible_collections.libreha.vmware.plugins.module_utils.observe import served  # noqa: F401  # pylint: disable=unused-import


def main() -> None:
    carry_out(AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True), run)


if __name__ == "__main__":
    main()
