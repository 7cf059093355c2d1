# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Options of a module that configures one host; ``entry/options/hosts.py`` is the code."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  name:
    description:
      - The name of the host in the inventory; errors name the host by it. The default is O(hostname).
    type: str
  hostname:
    description:
      - Name or address of the host's management interface. Required.
      - If the value is not specified in the task, the value of environment variable E(VMWARE_HOST) is used instead.
    type: str
  username:
    description:
      - User on the host.
      - If the value is not specified in the task, the value of environment variable E(VMWARE_USER) is used instead.
    type: str
    aliases: [admin, user]
  password:
    description:
      - Password on the host.
      - If the value is not specified in the task, the value of environment variable E(VMWARE_PASSWORD) is used instead.
    type: str
    aliases: [pass, pwd]
  port:
    description:
      - TCP port of the host's API.
      - If the value is not specified in the task, the value of environment variable E(VMWARE_PORT) is used instead.
    type: int
    default: 443
  validate_certs:
    description:
      - Whether the host's certificate is verified, its name included.
      - If the value is not specified in the task, the value of environment variable E(VMWARE_VALIDATE_CERTS) is used instead.
    type: bool
    default: true
  ca_path:
    description:
      - PEM file of the authorities that the host's certificate is verified with. Its own self-signed certificate will do.
      - The default is the system's list of authorities.
    type: path
  proxy_host:
    description:
      - Name or address of an HTTP proxy to the host.
      - If the value is not specified in the task, the value of environment variable E(VMWARE_PROXY_HOST) is used instead.
    type: str
  proxy_port:
    description:
      - Port of that proxy.
      - If the value is not specified in the task, the value of environment variable E(VMWARE_PROXY_PORT) is used instead.
    type: int
  timeout:
    description:
      - Seconds to wait for a connection and for each answer of the host. Requests that are known to take long have a limit of their own.
    type: float
    default: 5.0
requirements:
  - pyvmomi >= 8.0.3.0.1 (below 9.1 with Python 3.9)
notes:
  - Connection options have the names and the environment variables that the collection vmware.vmware gives them.
"""
