# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which fence agents prove by their "off" that a machine has no power.

An agent's list of actions does not tell: agents that ping, write a status file or ask a cluster for its opinion know the actions
on, off, reboot and status like any other. What counts is where the agent's "off" comes from. It is a proof if

* the agent asks what switches the machine itself: its BMC, its chassis, its outlet, the hypervisor that executes it; and
* it says "off" only when that answers "off". Many agents say "off" for whatever is not "on": an outlet that does not exist, a state
  that the device does not know, an error message.

So READS_POWER is a positive list. Every agent that it does not name needs the operator's word (``proves_power_off``). Judged were the
agents of fence-agents 4.12.1 (Debian 12) by their source. The tests hold that each of them is in exactly one of the two tables below.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

SYSTEM_FOLDERS = ("/usr/sbin", "/usr/bin", "/sbin", "/bin")

_IPMI = "the BMC's chassis power as ipmitool reads it: on or off, nothing else"

READS_POWER: Mapping[str, str] = {
    # BMCs
    "fence_idrac": _IPMI,
    "fence_ilo3": _IPMI,
    "fence_ilo4": _IPMI,
    "fence_ilo5": _IPMI,
    "fence_imm": _IPMI,
    "fence_ipmilan": _IPMI,
    "fence_ipmilanplus": _IPMI,
    "fence_redfish": "PowerState of the system; whatever is not Off counts as on",
    "fence_ilo": "HOST_POWER as iLO tells it by RIBCL",
    "fence_ilo2": "HOST_POWER as iLO tells it by RIBCL",
    "fence_drac5": "racadm's power status; turning on and turning off count as on",
    "fence_rsa": "the line Power of RSA II",
    "fence_rsb": "the line Power Status of RSB",
    # chassis
    "fence_bladecenter": "power -state of the blade",
    "fence_hds_cb": "the power column of the blade",
    "fence_hpblade": "the line Power of the blade",
    "fence_ilo_moonshot": "the power column of the cartridge",
    # outlets
    "fence_apc": "the outlet's line, ON or OFF",
    "fence_cdu": "the outlet's line, On or Off",
    "fence_eaton_snmp": "the outlet's state, on or off; every other value is an error",
    "fence_eps": "the outlet's line, 0 or 1",
    "fence_lindypdu": "the outlet's digit, 0 or 1; every other value is an error",
    "fence_netio": "the outlet's digit, 0 or 1",
    "fence_raritan": "powerState of the outlet, 1 or 2",
    "fence_raritan_px3": "Power state of the outlet",
    "fence_powerman": "what powerman's device says when it is asked: off, on or unknown",
    # the hypervisor that executes a nested ESXi
    "fence_pve": "whether the VM's process runs, as the node that executes it says: running or stopped",
}

_WIDE = "it says off for whatever is not on"
_SNMP = _WIDE + ", so also for an outlet or blade that does not exist (No Such Instance)"
_MANAGER = "it asks a manager, which answers from its records also when it cannot reach the machine"
_CLOUD = "it asks a cloud for the state of an instance, and not the machine"
_STORAGE = "it cuts a path to storage or network and reads no power"
_NOT_X86 = "it is for machines on which ESXi does not run; nobody looked at its proof"

# Why the others prove nothing by themselves.
PROVES_NOTHING: Mapping[str, str] = {
    # no power at all
    "fence_ack_manual": "it waits for a person's word and reads nothing",
    "fence_compute": "it asks OpenStack whether a compute service is disabled, and reads no power",
    "fence_crosslink": "it pings: a host that does not answer counts as off",
    "fence_dummy": "it reads and writes a status file; without the file it says off",
    "fence_evacuate": "it asks OpenStack whether a compute service is disabled, and reads no power",
    "fence_heuristics_ping": "it pings to decide whether another agent may run, and switches nothing",
    "fence_kdump": "it waits for a message of a crashed kernel",
    "fence_ovh": "it reboots into a rescue system and reads no power",
    "fence_rcd_serial": "it pulls a reset line and reads nothing",
    "fence_sbd": "it reads back the message that it wrote itself for the host to obey",
    # paths
    "fence_brocade": _STORAGE,
    "fence_cisco_mds": _STORAGE,
    "fence_ifmib": _STORAGE,
    "fence_mpath": _STORAGE,
    "fence_sanbox2": _STORAGE,
    "fence_scsi": _STORAGE,
    # power, but an off that is more than off
    "fence_amt": _WIDE + " (S0), also sleep and states that it cannot read",
    "fence_apc_snmp": _SNMP,
    "fence_cisco_ucs": _WIDE + ", also for a blade that is missing or of another kind",
    "fence_cyberpower_ssh": "it reads only the first digit of an outlet's number, so it takes outlet 10 for outlet 1",
    "fence_drac": "it takes the first on or off of an answer that lists all modules",
    "fence_emerson": _SNMP,
    "fence_ibmblade": _SNMP,
    "fence_ilo3_ssh": _WIDE + " (EnabledState); fence_ilo3 reads the power itself",
    "fence_ilo4_ssh": _WIDE + " (EnabledState); fence_ilo4 reads the power itself",
    "fence_ilo5_ssh": _WIDE + " (EnabledState); fence_ilo5 or the driver redfish read the power itself",
    "fence_ilo_ssh": _WIDE + " (EnabledState); fence_ilo5 or the driver redfish read the power itself",
    "fence_intelmodular": _SNMP,
    "fence_ipdu": _SNMP,
    "fence_tripplite_snmp": _SNMP,
    "fence_vbox": "it says off for a VM that the second of two lists lacks, also when that list could not be read",
    "fence_virsh": "it says off for every answer of virsh that it does not recognize, also for a VM that is shutting down",
    "fence_wti": "of a group of plugs it says off when no plug reads exactly on",
    # managers
    "fence_docker": "it asks for a container and not for a machine",
    "fence_ironic": _MANAGER,
    "fence_kubevirt": _MANAGER,
    "fence_openstack": _MANAGER,
    "fence_rhevm": _MANAGER + "; an answer without a status counts as off",
    "fence_skalar": _MANAGER + "; an error counts as off",
    "fence_vmware": _MANAGER,
    "fence_vmware_rest": _MANAGER,
    "fence_vmware_soap": _MANAGER,
    "fence_vmware_vcloud": _MANAGER,
    "fence_xenapi": _MANAGER,
    # clouds
    "fence_aliyun": _CLOUD,
    "fence_aws": _CLOUD,
    "fence_azure_arm": _CLOUD,
    "fence_ecloud": _CLOUD,
    "fence_gce": _CLOUD,
    "fence_ibm_powervs": _CLOUD,
    "fence_ibm_vpc": _CLOUD,
    # SPARC, POWER, Itanium, z
    "fence_alom": _NOT_X86,
    "fence_ibmz": _NOT_X86,
    "fence_ilo_mp": _NOT_X86,
    "fence_ldom": _NOT_X86,
    "fence_lpar": _NOT_X86,
    "fence_zvmip": _NOT_X86,
}

# Options by which an agent of the list no longer reads power. Their names are those of the metadata.
MAKES_OFF_A_GUESS: Mapping[str, str] = {
    "missing_as_off": "by its option missing_as_off it says off for a machine that is not found",
}


def doubt_of(agent: str, options: Mapping[str, str]) -> str:
    """Why the "off" of *agent* (a name, or a path) with its own *options* proves nothing; "" when it is a proof."""
    folder, name = os.path.split(agent)
    for option, why in MAKES_OFF_A_GUESS.items():
        if options.get(option, "").lower() in ("1", "yes", "on", "true"):
            return why
    if name in READS_POWER and (not folder or folder in SYSTEM_FOLDERS):
        return ""
    if name in READS_POWER:
        return "it is not the agent of that name that the system's packages install"
    return PROVES_NOTHING.get(name, "it is not in this collection's list of agents that read power")
