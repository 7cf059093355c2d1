# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The vSphere privileges that the monitor's user needs on a standalone host, each with the calls that need it.

The one list: the module ``esxi_monitor_user`` grants it, preflight judges by it, docs/host-privileges.md is written from it.
Source: the type table of pyVmomi, where the vSphere API states the privilege of each method, parameter and property (a test compares);
for Datastore.Browse, which that table leaves to the files named, the API reference of HostDatastoreBrowser.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Privilege:
    """``calls`` are methods ("Folder.RegisterVM_Task"), a method's parameter ("Folder.RegisterVM_Task(pool)") or properties
    ("SessionManager.sessionList"), under their names in the vSphere API; ``purpose`` is what the monitor does by them."""

    name: str
    calls: tuple[str, ...]
    purpose: str


#: Every role has these; they are never granted one by one.
OF_EVERY_ROLE = (
    Privilege(
        "System.View",
        (
            "ServiceInstance.CurrentTime",
            "EventManager.CreateCollectorForEvents",
            "EventManager.QueryEvents",
            "PerformanceManager.QueryPerf",
            "PropertyCollector.ContinueRetrievePropertiesEx",
            "SessionManager.Logout",
        ),
        "a look: the inventory's names, events, statistics, the host's time",
    ),
    Privilege("System.Read", ("HostSystem.RetrieveHardwareUptime",), "a look: what hosts, VMs and datastores say of themselves"),
)
GRANTED = (
    Privilege("Datastore.Browse", ("HostDatastoreBrowser.SearchDatastoreSubFolders_Task",), "finds VMs that no host has registered"),
    Privilege("Resource.AssignVMToPool", ("Folder.RegisterVM_Task(pool)",), "registers a VM: it goes to the host's resource pool"),
    Privilege("VirtualMachine.Inventory.Register", ("Folder.RegisterVM_Task",), "registers a VM on the host that takes it over"),
    Privilege("VirtualMachine.Inventory.Unregister", ("VirtualMachine.UnregisterVM",), "removes the registration that a VM left behind"),
    Privilege("VirtualMachine.Interact.PowerOn", ("VirtualMachine.PowerOnVM_Task",), "starts a VM"),
    Privilege(
        "VirtualMachine.Interact.PowerOff",
        ("VirtualMachine.PowerOffVM_Task", "VirtualMachine.ShutdownGuest"),
        "stops the VMs of a host that lost its storage; shuts guests down before a move",
    ),
    Privilege("VirtualMachine.Interact.Suspend", ("VirtualMachine.SuspendVM_Task",), "suspends a VM for its move to another host"),
    Privilege("VirtualMachine.Interact.Reset", ("VirtualMachine.ResetVM_Task",), "restarts a guest that hangs"),
    Privilege(
        "Host.Config.Maintenance",
        ("HostSystem.EnterMaintenanceMode_Task", "HostSystem.ExitMaintenanceMode_Task", "HostSystem.ShutdownHost_Task"),
        "has an evacuated host enter maintenance mode, and leave it; shuts the host down with everything",
    ),
    Privilege("VirtualMachine.Interact.AnswerQuestion", ("VirtualMachine.AnswerVM",), "answers that a VM was moved, or lost its lock"),
)
#: What preflight and the obstacles read beyond that. Each allows more than reading: granted only where somebody names it.
ADDITIONAL = (
    Privilege("Global.Licenses", ("LicenseManager.licenses",), "preflight: licences. It allows adding and removing them"),
    Privilege("Sessions.TerminateSession", ("SessionManager.sessionList",), "preflight: who else is logged in. It allows ending sessions"),
    Privilege("Cryptographer.ManageKeys", ("CryptoManager.ListKeys",), "which encrypted VMs a host can start. It allows changing keys"),
)

GRANTED_NAMES = tuple(one.name for one in GRANTED)
NEEDED_NAMES = tuple(one.name for one in (*OF_EVERY_ROLE, *GRANTED))
