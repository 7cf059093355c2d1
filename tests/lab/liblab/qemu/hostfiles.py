"""What a host in a guest is given: esxsim's configuration, the way it is started, and its place in an inventory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..plan import DATASTORE, Host, Options
from . import arbiter
from .plan import API_PORT, LAN, Guest, guest_named

HOME = "/opt/esxsim"  # in the guest
LOG = "/var/log/esxsim.log"
PORT_OF_LOG = "/dev/virtio-ports/execution"
STORAGE_PATH = "stor0"  # one path to the LUN
SESSION_EXISTS = 15  # iscsiadm(8): it is logged in already


def guest_of(host: Host) -> Guest:
    return guest_named("node%d" % (host.index + 1))


def portal() -> str:
    return "%s:%d" % (guest_named("storage").addresses[STORAGE_PATH], arbiter.PORT)


def config(host: Host, options: Options, datastore: str, offset_ns: int) -> dict[str, Any]:
    """esxsim's input, tests/lab/README.md. ``datastore``: its UUID."""
    return {
        "name": host.name,
        "uuid": host.uuid,
        "address": guest_of(host).addresses[LAN],
        "listen": "0.0.0.0",  # on the LAN for the arbiter, and where QEMU lets the machine in
        "port": API_PORT,
        "username": host.username,
        "password": host.password,
        "certificate": "%s/tls.pem" % HOME,
        "key": "%s/tls.key" % HOME,
        "state_dir": "%s/state" % HOME,
        "execution_log": PORT_OF_LOG,
        "product": {"version": options.esxi_version, "build": options.esxi_build},
        "memory_mib": options.host_memory_mib,
        "cpu_cores": options.host_cpu_cores,
        "iscsi": {
            "initiator": host.initiator,
            "portal": portal(),
            "target": arbiter.TARGET,
            "lun": arbiter.LUN,
            "host_index": host.index,
            "device": "/dev/disk/by-path/ip-%s-iscsi-%s-lun-%d" % (portal(), arbiter.TARGET, arbiter.LUN),
        },
        "datastore": {"name": DATASTORE, "uuid": datastore},
        "lease_seconds": options.lease_seconds,
        "record_interval_ms": options.record_interval_ms,
        "heartbeat_interval_ms": options.heartbeat_interval_ms,
        "iscsi_timeout_s": options.iscsi_timeout_s,
        "question_on_other_host": options.question,
        "session_idle_s": options.session_idle_s,
        "boottime_offset_ns": offset_ns,
    }


def start_script(host: Host) -> str:
    """For bash in the guest, with the CHAP secret. replacement_timeout -1: what a lost session leaves queued waits for ever, as on a
    host of VMs."""
    node = "iscsiadm -m node -T %s -p %s" % (arbiter.TARGET, portal())
    settings = (
        ("session.timeo.replacement_timeout", "-1"),
        ("session.initial_login_retry_max", "4"),
        ("session.auth.authmethod", "CHAP"),
        ("session.auth.username", host.initiator),
        ("session.auth.password", host.chap_secret),
    )
    lines: Sequence[str] = [
        "set -e",
        "install -d -m 700 %s %s/state && tar -xf /root/host.tar -C %s && rm /root/host.tar" % (HOME, HOME, HOME),
        "%s -o new >/dev/null" % node,
        *("%s -o update -n node.%s -v %s" % (node, key, value) for key, value in settings),
        # a host whose storage is away or refuses it boots all the same, and tries again
        "systemd-run --quiet --unit=login --collect -p Restart=on-failure -p RestartSec=5 -p SuccessExitStatus=%d %s --login"
        % (SESSION_EXISTS, node),
        "systemd-run --quiet --unit=esxsim --collect -p StandardOutput=append:%s -p StandardError=append:%s "
        "%s/esxsim --config %s/config.json" % (LOG, LOG, HOME, HOME),
    ]
    return "\n".join(lines) + "\n"


def inventory(hosts: Sequence[Host]) -> dict[str, dict[str, Any]]:
    """Files of an inventory, as a user would write them. The storage guest is the arbiter: it asks the hosts at their LAN addresses."""
    entries = {
        host.name: {
            "ansible_host": guest_of(host).addresses[LAN],
            "libreha_port": API_PORT,
            "libreha_timeout": 20,
            "libreha_username": host.username,
            "libreha_password": host.password,
            "libreha_ca_path": "/etc/libreha/ca.pem",
            "libreha_initiator": host.initiator,
        }
        for host in hosts
    }
    storage = {"libreha_storage": {"driver": "lio", "target": arbiter.TARGET}}
    # Looks come every io_stale / 3 or confirm_after / 5, whichever is sooner: 24 s. An emulated arbiter needs 5 to 30 s for one, a minute
    # on a machine that is busy. Two probes of a silent API must not be further apart than confirm_after, and a host that is well must be
    # seen to write within io_stale of the last look: both hold while a look takes less than 100 s, four times what it should.
    policy = {
        "mode": "act",
        "fail_on_alarm": "none",  # one look that an emulated server did not answer in time is no failure of a run here
        "isolation_addresses": ["10.0.2.2"],  # QEMU's end of mgmt0
        "storage_grace": 10,
        "io_stale": 100,
        "confirm_after": 120,
        "lease": 900,
        "failover": {"lock_retry": 180, "power_on_timeout": 180, "start_bound": 900},
    }
    return {
        "hosts.yml": {"libreha_hosts": {"hosts": entries}, "libreha_storage": {"hosts": {"storage": storage}}},
        "group_vars/all.yml": {"libreha_policy": policy},
    }
