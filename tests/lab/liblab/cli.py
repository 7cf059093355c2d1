"""The command line of tests/lab/lab."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

from .errors import LabError
from .faults import ARBITER_FAULTS, HOST_FAULTS, TARGET_FAULTS
from .guest_faults import VM_FAULTS
from .plan import IDLE_INTERVAL_MS, TIMINGS, Options
from .qemu import Guests, commands
from .qemu.commands import GUEST_FAULTS
from .qemu.plan import STANDARD, is_guest_name
from .state import folder, locked, need, present

EPILOG = """\
examples:
  lab up                             3 hosts, 12 VMs, a BMC for each host
  lab up --hosts 4 --vms 40 --bmc esx1,esx2
  lab up --hosts 16 --vms 8000 --no-workload --host-memory-mib 1100000
  lab status --json
  lab fault esx1 kill                esx1 dies; 'lab heal esx1' boots it again
  lab fault vm03 guest-hang          its guest hangs; a reset of the VM ends it
  lab referee                        what happened to the VMs; exit status 1 if anything must not have
  ansible-playbook -i $(lab inventory) libreha.vmware.monitor
  lab up --only-qemu                 QEMU guests: storage, node1, node2; --with-qemu: beside the rest
  lab ssh storage targetcli ls       a command in a guest
  lab up --only-qemu --hosts-in-guests   ESXi hosts esx1 and esx2 in node1 and node2, VMs on the kernel's iSCSI
  lab fault storage reboot           its power is cut and comes back
  lab down

State lies in /run/libreha-lab, or in $LIBREHA_LAB_DIR. Exit status: 0 done, 1 failed or not ok, 2 wrong usage, 3 no lab is up."""


def parser() -> argparse.ArgumentParser:
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--json", action="store_true", help="print the result as JSON on standard output")
    top = argparse.ArgumentParser(
        prog="lab",
        description="A laboratory of real processes: standalone ESXi hosts (esxsim), iSCSI storage (tgtd) and BMCs (Redfish), "
        "each in its own network namespace of this machine. Needs root.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, text: str, **more: Any) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".", parents=[shared], **more)

    plain = Options()
    up = add("up", "build esxsim if needed and bring a lab up", formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    up.add_argument("--hosts", type=int, default=plain.hosts, help="number of ESXi hosts")
    up.add_argument("--vms", type=int, default=plain.vms, help="number of VMs, spread evenly and powered on")
    bmcs = up.add_mutually_exclusive_group()
    bmcs.add_argument("--no-bmc", action="store_true", help="no host has a BMC")
    bmcs.add_argument("--bmc", metavar="HOST,...", help="only these hosts have a BMC (all of them if not given)")
    up.add_argument(
        "--timings",
        choices=list(TIMINGS),
        default=plain.timings,
        help="how long locks live, how often hosts write, how long the policy waits: as in production, or shorter for tests",
    )
    # argparse's own default text would name production's figure, whatever --timings says
    up.add_argument(
        "--lease-seconds", type=float, default=argparse.SUPPRESS, help="how long a lock on a VM's files lives without renewal (--timings)"
    )
    up.add_argument(
        "--no-workload",
        action="store_true",
        help="VMs hold their locks and execute, but write nothing: for many VMs. The referee then judges execution only",
    )
    up.add_argument(
        "--record-interval-ms",
        type=int,
        default=argparse.SUPPRESS,
        help="how often each VM writes a record, or without workload gives a sign that it executes (default: %d, without workload %d)"
        % (plain.record_interval_ms, IDLE_INTERVAL_MS),
    )
    up.add_argument(
        "--heartbeat-interval-ms", type=int, default=argparse.SUPPRESS, help="how often each host writes its heartbeat (--timings)"
    )
    up.add_argument("--iscsi-timeout-s", type=float, default=plain.iscsi_timeout_s, help="how long a host waits for an iSCSI answer")
    up.add_argument("--session-idle-s", type=int, default=plain.session_idle_s, help="how long an idle API session lives")
    up.add_argument("--host-memory-mib", type=int, default=plain.host_memory_mib, help="memory that each host reports")
    up.add_argument("--host-cpu-cores", type=int, default=plain.host_cpu_cores, help="cores that each host reports")
    up.add_argument("--vm-memory-mib", type=int, default=plain.vm_memory_mib, help="memory of each VM")
    up.add_argument("--vm-cpus", type=int, default=plain.vm_cpus, help="virtual CPUs of each VM")
    up.add_argument("--esxi-version", default=plain.esxi_version, help="version that the hosts report")
    up.add_argument("--esxi-build", default=plain.esxi_build, help="build that the hosts report")
    up.add_argument(
        "--arbiter-disk-mib", type=int, default=plain.arbiter_disk_mib, help="give the arbiter a disk of its own, which can be full"
    )
    up.add_argument("--no-question", action="store_true", help="hosts do not ask whether a VM from another host was moved or copied")
    up.add_argument("--no-tools", metavar="VM,...", default="", help="VMs whose guests have no VMware Tools, and so no heartbeat")
    up.add_argument("--fresh", action="store_true", help="replace a lab that is up")
    up.add_argument(
        "--keep-failed", action="store_true", help="when it fails, leave everything as it is, for a look ('lab down' removes it)"
    )

    qemu = up.add_mutually_exclusive_group()
    qemu.add_argument("--with-qemu", action="store_true", help="QEMU guests too; the first time builds their image")
    qemu.add_argument("--only-qemu", action="store_true", help="QEMU guests alone; guests that run already are left as they are")
    up.add_argument(
        "--hosts-in-guests", action="store_true", help="with --only-qemu: ESXi hosts in node1 and node2, their VMs on a LUN of storage"
    )
    up.add_argument("--guests", metavar="NAME,...", default=",".join(STANDARD), help="which guests: storage, storage2, ..., node1, ...")

    add("status", "show hosts, VMs, the target and guests")
    kinds = ["hosts:"] + ["  %-12s %s" % item for item in HOST_FAULTS.items()]
    kinds += ["target:"] + ["  %-12s %s" % item for item in TARGET_FAULTS.items()]
    kinds += ["arbiter:"] + ["  %-12s %s" % item for item in ARBITER_FAULTS.items()]
    kinds += ["VMs:"] + ["  %-12s %s" % item for item in VM_FAULTS.items()]
    kinds += ["guests:"] + ["  %-12s %s" % item for item in GUEST_FAULTS.items()]
    fault = add(
        "fault",
        "do something bad to a host, to a VM, to the target, to the arbiter or to a guest",
        epilog="\n".join(kinds),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    fault.add_argument("subject", metavar="HOST|VM|target|arbiter|GUEST", help="whom it happens to")
    fault.add_argument(
        "kind",
        choices=list(dict.fromkeys([*HOST_FAULTS, *VM_FAULTS, *TARGET_FAULTS, *ARBITER_FAULTS, *GUEST_FAULTS])),
        metavar="KIND",
        help="what happens, see below",
    )
    heal = add("heal", "end all faults of a host, a VM, the target, the arbiter or a guest; boots a dead one, thaws a frozen one")
    heal.add_argument("subject", metavar="HOST|VM|target|arbiter|GUEST")
    power = add("power", "press a host's power button, as its BMC does")
    power.add_argument("subject", metavar="HOST")
    power.add_argument("action", choices=["on", "off", "cycle"])
    referee = add("referee", "judge what happened to the VMs, from the LUN and the execution logs")
    referee.add_argument(
        "--since",
        metavar="fault|SECONDS",
        help="measure downtime from the last fault on, or from this time on CLOCK_BOOTTIME, instead of from the start",
    )
    referee.add_argument("--off", metavar="VM,...", default="", help="VMs that are meant to be powered off now")
    add("inventory", "write the Ansible inventory of what is up and print its path")
    ssh = add("ssh", "run a command in a guest as root, or a shell without one; its exit status is this command's")
    ssh.add_argument("subject", metavar="GUEST")
    ssh.add_argument("words", nargs=argparse.REMAINDER, metavar="COMMAND")
    add("down", "end the lab: its processes, its network, its guests and their disks, its state folder")
    return top


def _up(args: argparse.Namespace) -> dict[str, Any]:
    guests = Guests()
    if args.hosts_in_guests and not args.only_qemu:
        raise LabError("--hosts-in-guests goes with --only-qemu: a lab has its hosts in guests or in network namespaces.")
    if not args.only_qemu:
        _up_quick(args)
    if args.with_qemu or args.only_qemu:
        guests.up([name.strip() for name in args.guests.split(",") if name.strip()])
    if args.hosts_in_guests:
        from .qemu.hosts import GuestHosts, load

        if load(guests) is None:
            GuestHosts.make(guests)
    return _status(args)


def _up_quick(args: argparse.Namespace) -> None:
    from .up import up

    bmc: tuple[str, ...] | None = () if args.no_bmc else None
    if args.bmc is not None:
        bmc = tuple(name.strip() for name in args.bmc.split(",") if name.strip())
    timings = TIMINGS[args.timings]
    options = Options(
        hosts=args.hosts,
        vms=args.vms,
        bmc=bmc,
        timings=args.timings,
        lease_seconds=getattr(args, "lease_seconds", timings["lease_seconds"]),
        record_interval_ms=getattr(args, "record_interval_ms", IDLE_INTERVAL_MS if args.no_workload else Options.record_interval_ms),
        heartbeat_interval_ms=getattr(args, "heartbeat_interval_ms", timings["heartbeat_interval_ms"]),
        iscsi_timeout_s=args.iscsi_timeout_s,
        session_idle_s=args.session_idle_s,
        host_memory_mib=args.host_memory_mib,
        host_cpu_cores=args.host_cpu_cores,
        vm_memory_mib=args.vm_memory_mib,
        vm_cpus=args.vm_cpus,
        esxi_version=args.esxi_version,
        esxi_build=args.esxi_build,
        arbiter_disk_mib=args.arbiter_disk_mib,
        question=not args.no_question,
        no_tools=tuple(name.strip() for name in args.no_tools.split(",") if name.strip()),
        workload=not args.no_workload,
    )
    with locked():
        up(options, fresh=args.fresh, keep_failed=args.keep_failed)


def _status(args: argparse.Namespace) -> dict[str, Any]:
    """Quick lab and guests are independent of each other: either may be up alone."""
    from . import status

    guests = Guests().status()
    lab = present() if guests else need()
    quick = status.collect(lab) if lab else {"running": True, "hosts": [], "vms": [], "target": None}
    return {**quick, "guests": guests}


def _change(args: argparse.Namespace) -> dict[str, Any]:
    from . import faults

    if args.command != "power" and is_guest_name(args.subject):
        return {"done": _change_guest(args)}
    with locked():
        lab = need()
        if args.command == "fault":
            done = faults.inject(lab, args.subject, args.kind)
        elif args.command == "heal":
            done = faults.heal(lab, args.subject)
        else:
            done = faults.power(lab, args.subject, args.action)
        return {"done": done, "event": lab.events[-1] if lab.events else None}


def _change_guest(args: argparse.Namespace) -> str:
    """A fault of a guest, or its heal; a host that lived in it boots with it."""
    from .qemu.hosts import load

    guests = Guests()
    hosts = load(guests)
    if args.command == "fault":
        if hosts is not None:
            hosts.note_fault()
        return commands.inject(guests, args.subject, args.kind)
    was_off = any(entry["name"] == args.subject and entry["state"] == "off" for entry in guests.status())
    done = guests.heal(args.subject)
    name = hosts.host_in(args.subject) if hosts is not None and was_off else None
    if hosts is not None and name is not None:
        hosts.start(name)
        done += "; %s answers" % name
    return done


def _referee(args: argparse.Namespace) -> dict[str, Any]:
    from .qemu.hosts import load
    from .referee import judge_lab

    hosts = load(Guests())
    if hosts is not None:
        if args.off or args.since not in (None, "fault"):
            raise LabError("For hosts in guests the referee takes --since fault, and no other option.")
        return hosts.referee(args.since)

    return judge_lab(need(), since=args.since, meant_off={name.strip() for name in args.off.split(",") if name.strip()})


def _inventory(args: argparse.Namespace) -> dict[str, Any]:
    from .inventory import write
    from .qemu.hostfiles import inventory
    from .qemu.hosts import load

    guests = Guests()
    entries = guests.status()
    hosts = load(guests)
    return {"path": str(write(folder(), present() if entries else need(), entries, inventory(hosts.hosts) if hosts else None))}


def _ssh(args: argparse.Namespace) -> dict[str, Any]:
    """Becomes ssh; with --json it waits and returns what the command said."""
    words = " ".join(args.words)
    if not args.json:
        argv = Guests().ssh_command(args.subject, words)
        os.execvp(argv[0], argv)
    done = Guests().ssh(args.subject, words, timeout=None, check=False)
    return {"ok": done.returncode == 0, "status": done.returncode, "stdout": done.stdout, "stderr": done.stderr}


def _down(args: argparse.Namespace) -> dict[str, Any]:
    from .up import down

    guests = Guests().down()
    with locked():
        return {"done": "the lab is down" if down() or guests else "no lab was up"}


COMMANDS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "up": _up,
    "status": _status,
    "fault": _change,
    "heal": _change,
    "power": _change,
    "referee": _referee,
    "inventory": _inventory,
    "ssh": _ssh,
    "down": _down,
}


def _text(command: str, result: dict[str, Any]) -> str:
    if command in ("up", "status"):
        from . import status

        return status.text(result)
    if command == "referee":
        from . import referee

        return referee.text(result)
    return result.get("path") or result["done"]


def main(argv: Sequence[str] | None = None) -> int:
    args = parser().parse_args(argv)
    try:
        if os.geteuid() != 0:
            raise LabError("The lab needs root, for network namespaces, bridges and tgtd. Run: sudo tests/lab/lab ...")
        try:
            result = COMMANDS[args.command](args)
        except ImportError as error:
            raise LabError("%s. The lab runs in the project's virtualenv (.venv beside galaxy.yml): make setup" % error) from error
    except LabError as error:
        print("lab: %s" % error, file=sys.stderr)
        if args.json:
            print(json.dumps({"ok": False, "error": str(error)}))
        return 3 if str(error).startswith("No lab is up") else 1
    except KeyboardInterrupt:
        print("lab: interrupted; 'lab down' removes what is left in %s" % folder(), file=sys.stderr)
        return 130
    try:
        print(json.dumps(result, indent=1) if args.json else _text(args.command, result))
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0 if result.get("ok", True) else 1
