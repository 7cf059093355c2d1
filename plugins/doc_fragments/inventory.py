# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Options of the inventory plugins, which read hosts; ``plugin_utils/inventory.py`` is the code."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  hosts:
    description:
      - The hosts, all read at the same time. An element is a name or address of a management interface, or a dictionary.
      - A dictionary has C(name) (the inventory name), C(hostname) (the address, by default the name), and what differs from the options
        below (C(username), C(password), C(port), C(validate_certs), C(ca_path), C(proxy_host), C(proxy_port), C(timeout)).
      - An inventory name is what the state database and the fence list know a host by. Do not change it later.
    type: list
    elements: raw
    required: true
  username:
    description: User on the hosts.
    type: str
    env:
      - name: VMWARE_USER
  password:
    description:
      - Password on the hosts. A C(!vault) value or a template, such as C({{ lookup('ansible.builtin.env', 'ESXI_PASSWORD'\) }}), will do.
        Variables of the inventory are not known yet when it is read.
    type: str
    env:
      - name: VMWARE_PASSWORD
  port:
    description: TCP port of the hosts' API.
    type: int
    default: 443
    env:
      - name: VMWARE_PORT
  validate_certs:
    description: Whether the hosts' certificates are verified, their names included.
    type: bool
    default: true
    env:
      - name: VMWARE_VALIDATE_CERTS
  ca_path:
    description:
      - PEM file of the authorities that the hosts' certificates are verified with. The default is the system's list.
    type: path
  proxy_host:
    description: Name or address of an HTTP proxy to the hosts.
    type: str
    env:
      - name: VMWARE_PROXY_HOST
  proxy_port:
    description: Port of that proxy.
    type: int
    env:
      - name: VMWARE_PROXY_PORT
  timeout:
    description: Seconds to wait for a connection and for each answer of a host. A host that is dead costs twice that, and only once.
    type: float
    default: 5.0
requirements:
  - pyvmomi >= 8.0.3.0.1 (below 9.1 with Python 3.9)
"""
