# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The options that say what the cluster is and how the arbiter reaches it: of the module ``ha_run``, and of the resident monitor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...cycle.real import Site
from ...decide.policy import Policy
from ...errors import LibrehaError
from ...policy.reader import read_policy
from ...storage.server import ServerAccess, Ssh
from .hosts import hosts_spec, read_hosts
from .state import state_spec
from .storage import require_absolute, require_control, storage_spec


def site_spec() -> dict[str, Any]:
    """Part of an argument_spec: policy, hosts, storage and state_url."""
    return {**hosts_spec(), **state_spec(), "policy": {"type": "dict", "required": True}, "storage": storage_option()}


def storage_option() -> dict[str, Any]:
    """The option ``storage``: how the arbiter reaches the storage servers."""
    return {"type": "list", "elements": "dict", "required": True, "options": _storage_spec()}


def _storage_spec() -> dict[str, Any]:
    return {
        "name": {"type": "str", "required": True},
        **storage_spec(),
        "ssh": {
            "type": "dict",
            "options": {
                "host": {"type": "str", "required": True},
                "user": {"type": "str", "default": "root"},
                "port": {"type": "int", "default": 22},
                "key": {"type": "path", "default": Ssh.key},
                "unfence_key": {"type": "path", "default": Ssh.unfence_key},
                "known_hosts": {"type": "path", "default": Ssh.known_hosts},
            },
        },
    }


def read_site(params: Mapping[str, Any]) -> Site:
    """The site that *params* (made by site_spec) name. Raises LibrehaError that names the option and the remedy."""
    policy = read_policy(params["policy"])
    accesses = {access.name: access for access in read_hosts(params)}
    servers = read_servers(params, policy)
    url = params["state_url"]
    state_file = url.partition(":///")[2] if url.startswith("sqlite") else ""
    return Site(policy, accesses, servers, url, state_file)


def read_servers(params: Mapping[str, Any], policy: Policy) -> dict[str, ServerAccess]:
    """The storage servers by name. Raises LibrehaError where these or the hosts are not those of the policy."""
    servers = {item["name"]: _server(item) for item in params["storage"]}
    hosts = {item["name"] for item in params["hosts"]}
    for what, known, listed in (("hosts", set(policy.hosts), hosts), ("storage", set(policy.storage), set(servers))):
        if known != listed:
            raise LibrehaError(
                "%s names %s, and the policy's %s are %s" % (what, ", ".join(sorted(listed)), what, ", ".join(sorted(known))),
                remedy="give both the same, as the filters host_connections, storage_servers and cluster_policy do from one inventory",
            )
    return servers


def _server(item: Mapping[str, Any]) -> ServerAccess:
    require_control(item)
    require_absolute(item, "saved_config", "fence_list")
    given = {name: item[name] for name in ("name", "driver", "control_port", "fence_list", "timeout")}
    ssh = item.get("ssh")
    return ServerAccess(
        **given,
        saved_config=item["saved_config"] or "",
        ssh=Ssh(**ssh) if ssh else None,
    )
