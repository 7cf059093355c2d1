# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the inventory plugins share: the options that say how hosts are reached (doc fragment ``libreha.vmware.inventory``)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleParserError
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.libreha.vmware.plugins.module_utils.entry.options.hosts import SHARED, hosts_spec

try:
    from ansible.template import trust_as_template
except ImportError:  # before ansible-core 2.19 every string is a template

    def trust_as_template(value: Any) -> Any:
        return value


def as_template(text: str) -> Any:
    """*text* for Ansible to evaluate where it is used."""
    return trust_as_template(text)


def inventory_spec() -> dict[str, Any]:
    """An argument_spec of the options by which hosts are reached."""
    spec = {name: rule for name, rule in hosts_spec().items() if name in ("hosts", *SHARED)}
    spec["hosts"] = {**spec["hosts"], "required": True}
    return spec


def read_options(config: Mapping[str, Any], spec: Mapping[str, Any], templar: Any) -> dict[str, Any]:
    """Those options of *config* (the inventory file as it stands) that *spec* has, evaluated and of their types.

    Raises AnsibleParserError that names the option.
    """
    given = plain(templar.template({name: config[name] for name in spec if name in config}))
    if "hosts" in given:
        given["hosts"] = host_entries(given["hosts"])
    result = ArgumentSpecValidator(dict(spec)).validate(given)
    if result.error_messages:
        raise AnsibleParserError("; ".join(result.error_messages))
    return dict(result.validated_parameters)


def host_entries(hosts: Any) -> list[dict[str, Any]]:
    """``hosts`` with every element as a dictionary that has a name."""
    if not isinstance(hosts, list) or not hosts:
        raise AnsibleParserError("hosts is %r. Remedy: list the names or addresses of the hosts' management interfaces" % (hosts,))
    entries = []
    for entry in hosts:
        one = dict(entry) if isinstance(entry, Mapping) else {"name": str(entry)}
        one.setdefault("name", one.get("hostname"))
        entries.append(one)
    return entries


def plain(value: Any) -> Any:
    """Without the classes that Ansible's YAML reader gives to strings; a vaulted string is decrypted."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if value is None or isinstance(value, (bool, int, float)):
        return value
    return str(value)


def password_as_given(config: Mapping[str, Any], name: str) -> Any:
    """The password of the host *name* in *config*, not evaluated: what is vaulted stays so, and a template is one still."""
    own = [entry for entry in host_entries(config["hosts"]) if plain(entry["name"]) == name]
    shared = config.get("password", as_template("{{ lookup('ansible.builtin.env', 'VMWARE_PASSWORD') }}"))
    return own[0].get("password", shared) if own else shared
