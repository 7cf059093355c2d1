#!/usr/bin/python

# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: arbiter_info
short_description: Whether a machine has the Python and the libraries that the modules of this collection need
version_added: "0.1.0"
author:
  - The libreha contributors (@libreha)
description:
  - Looks at the Python that the task runs with (C(ansible_python_interpreter)), and at the version of every library that the other modules
    need there. It imports each of them, so that one that is damaged is found out too.
  - A library that is missing or too old is a result, RV(problems), and no failure. It needs no library itself.
  - The role P(libreha.vmware.arbiter#role) installs what is missing. The playbook C(site) checks it before it does anything else.
options:
  lio:
    description:
      - Whether the iSCSI target of the kernel (LIO) runs on this machine, which needs rtslib-fb.
    type: bool
    default: false
  postgresql:
    description:
      - Whether the state database is in PostgreSQL, which needs psycopg.
    type: bool
    default: false
  monitor:
    description:
      - Whether the resident monitor runs on this machine (role P(libreha.vmware.ha_monitor#role)), which needs ansible-core.
    type: bool
    default: false
extends_documentation_fragment:
  - libreha.vmware.info
"""

EXAMPLES = r"""
- name: Look at the libraries of the storage server
  libreha.vmware.arbiter_info:
    lio: true
  register: arbiter

- name: Stop where one is missing or too old
  ansible.builtin.assert:
    that: arbiter.problems | length == 0
    fail_msg: "{{ arbiter.problems | join('; ') }}. Remedy: {{ arbiter.remedy }}"
"""

RETURN = r"""
python:
  description: The Python that the task ran with.
  returned: always
  type: dict
  contains:
    executable:
      description: Its path.
      returned: always
      type: str
      sample: /opt/libreha/venv/bin/python
    version:
      description: Its version.
      returned: always
      type: str
      sample: 3.11.2
libraries:
  description: Every library that is needed.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: Its name for pip.
      returned: always
      type: str
      sample: SQLAlchemy
    module:
      description: What is imported.
      returned: always
      type: str
      sample: sqlalchemy
    minimum:
      description: The lowest version that will do.
      returned: always
      type: str
      sample: "2.0"
    purpose:
      description: What needs it.
      returned: always
      type: str
      sample: the state database
    version:
      description: The version that is installed; empty when there is none, or when it does not tell.
      returned: always
      type: str
      sample: 2.0.36
    problem:
      description: Why it will not do; empty when it will.
      returned: always
      type: str
      sample: SQLAlchemy 1.4.46 is installed, SQLAlchemy>=2.0 is needed
    requirement:
      description: What pip is to install.
      returned: always
      type: str
      sample: SQLAlchemy>=2.0
problems:
  description: Everything that will not do. Empty when the modules can run here.
  returned: always
  type: list
  elements: str
  sample: []
to_install:
  description: What pip is to install to mend it, one requirement for each library that will not do.
  returned: always
  type: list
  elements: str
  sample: []
remedy:
  description: What to do about RV(problems); empty when there is none.
  returned: always
  type: str
  sample: ""
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.libreha.vmware.plugins.module_utils.entry.arbiter_info import argument_spec, run
from ansible_collections.libreha.vmware.plugins.module_utils.entry.task import carry_out


def main() -> None:
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    carry_out(module, run)


if __name__ == "__main__":
    main()
