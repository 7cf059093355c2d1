#!/usr/bin/python

# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: host_certificate
short_description: Shows the certificate of a host's API, and writes it as the file that the host is verified with
version_added: "0.1.0"
author:
  - The libreha contributors (@libreha)
description:
  - A host as installed has a certificate that it signed itself. This module fetches it and shows its fingerprint; a person compares that
    with what the host says on its own console, and gives it as O(fingerprint). Then it becomes the file O(path), which the other
    modules take as C(ca_path).
  - Nothing is trusted on first use. Without O(fingerprint), or with one that does not match, nothing is written and the task fails.
  - The file holds the host's certificate alone. When the host gets a new one its fingerprint is compared again.
  - Before writing, the certificate is verified as it will be later, its names included; one that would not do is refused.
  - Where a CA of your own signs the hosts' certificates, none of this is needed; give that CA as C(ca_path).
options:
  name:
    description:
      - The name of the host in the inventory; errors name the host by it. The default is O(hostname).
    type: str
  hostname:
    description:
      - Name or address by which the host is reached later. It must be a name in the certificate.
    type: str
    required: true
  port:
    description:
      - TCP port of the host's API.
    type: int
    default: 443
  timeout:
    description:
      - Seconds to wait for a connection.
    type: float
    default: 5.0
  fingerprint:
    description:
      - The SHA-256 fingerprint that the host says it has, read on its own console (C(openssl x509 -in /etc/vmware/ssl/rui.crt -noout
        -fingerprint -sha256)). With or without colons.
    type: str
  path:
    description:
      - The file to write. Without it, and without O(fingerprint), the certificate is only shown.
    type: path
attributes:
  check_mode:
    description: Tells whether the file would be written, after all checks.
    support: full
  diff_mode:
    description: Shows the fingerprints before and after.
    support: full
seealso:
  - module: libreha.vmware.preflight_info
"""

EXAMPLES = r"""
- name: Show what the host has
  libreha.vmware.host_certificate:
    hostname: esx1.example.org
  delegate_to: arbiter
  register: shown

- name: Trust it, after its fingerprint was compared
  libreha.vmware.host_certificate:
    hostname: esx1.example.org
    fingerprint: "{{ esx1_fingerprint }}"
    path: /etc/libreha/ca/esx1.pem
  delegate_to: arbiter
"""

RETURN = r"""
fingerprint:
  description: SHA-256 fingerprint of the certificate that the host shows.
  returned: when the host shows one, also on failure
  type: str
  sample: "5A:0C:1D:..."
certificate:
  description: The certificate, PEM.
  returned: when the host shows one, also on failure
  type: str
names:
  description: Names and addresses that the certificate is for. Empty where it does not hold even as its own authority.
  returned: when the host shows one, also on failure
  type: list
  elements: str
  sample: [esx1.example.org]
subject:
  description: Whose it says it is.
  returned: when the host shows one, also on failure
  type: str
issuer:
  description: Who signed it. The same as RV(subject) where nobody else did.
  returned: when the host shows one, also on failure
  type: str
valid_until:
  description: The end of its validity, as OpenSSL writes it.
  returned: when the host shows one, also on failure
  type: str
  sample: "Nov 29 07:00:00 2027 GMT"
trusted:
  description: Whether the file O(path) holds it, or would but for check mode, and it verifies.
  returned: when the host shows one, also on failure
  type: bool
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.libreha.vmware.plugins.module_utils.entry.host_certificate import argument_spec, run
from ansible_collections.libreha.vmware.plugins.module_utils.entry.task import carry_out


def main() -> None:
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    carry_out(module, run)


if __name__ == "__main__":
    main()
