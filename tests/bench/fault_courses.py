"""The faults of docs/faults.md: what happens, what must come of it, and what is left to the operator.

A course is a generator: it does its harm, yields when only the outcome is to be waited for, and heals. What it harms it says in
``trial.affected`` before (every VM, if it says nothing).
"""

from __future__ import annotations

import enum
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from chain.chain import LAB, MOMENTS, lab, reached, wait_for

if TYPE_CHECKING:
    from bench_faults import Trial

Course = Callable[["Trial"], Iterator[None]]
HELD = 30.0  # s in which what must not happen would have happened: twice confirm_after
JUMP = 3600  # s


class Expected(enum.Enum):
    MOVES = "its VMs move"
    STAYS = "nothing moves"
    RESTARTS = "its VMs start again where they were, or elsewhere"
    EITHER = "nothing moves, or its VMs move after the fence"


@dataclass(frozen=True)
class Fault:
    what: str
    expected: Expected
    operator: str
    course: Course


REJOIN = "Find out why; let the host in again: `libreha command rejoin HOST`"
NOTHING = "Nothing"


def host_fault(*kinds: str) -> Course:
    def course(trial: Trial) -> Iterator[None]:
        trial.affects(trial.victim)
        for kind in kinds:
            lab("fault", trial.victim, kind)
        yield
        lab("heal", trial.victim)

    return course


def all_hosts(kind: str) -> Course:
    def course(trial: Trial) -> Iterator[None]:
        for host in trial.hosts:
            lab("fault", host, kind)
        yield
        for host in trial.hosts:
            lab("heal", host)

    return course


def flapping(kind: str, bad: float, good: float, times: int = 4) -> Course:
    """A cable with a loose contact."""

    def course(trial: Trial) -> Iterator[None]:
        trial.affects(trial.victim)
        for _time in range(times):
            lab("fault", trial.victim, kind)
            time.sleep(bad)
            lab("heal", trial.victim)
            time.sleep(good)
        yield

    return course


def target_fault(kind: str, seconds: float = 0) -> Course:
    def course(trial: Trial) -> Iterator[None]:
        lab("fault", "target", kind)
        time.sleep(seconds)
        if seconds:
            lab("heal", "target")
        yield

    return course


def kill_beside(kind: str) -> Course:
    """A host dies, and the storage server has trouble of its own."""

    def course(trial: Trial) -> Iterator[None]:
        trial.affects(trial.victim)
        lab("fault", trial.victim, "kill")
        lab("fault", "target", kind)
        yield
        lab("heal", trial.victim)

    return course


def guest(kind: str) -> Course:
    def course(trial: Trial) -> Iterator[None]:
        vm = trial.affects(trial.victim)[0]
        trial.affected = [vm]
        lab("fault", vm, kind)
        yield
        lab("heal", vm)

    return course


def reboot(trial: Trial) -> Iterator[None]:
    trial.affects(trial.victim)
    lab("power", trial.victim, "cycle")
    wait_for("the monitor to see it", lambda: not trial.works(), HELD)
    yield


def power_lost(trial: Trial) -> Iterator[None]:
    """No BMC can prove that it is off: its VMs wait for a person, who comes when the alarm has stood for a while."""
    trial.affects(trial.victim)
    lab("fault", trial.victim, "power-lost")
    wait_for("the fence", lambda: trial.victim in trial.fenced(), 120)
    time.sleep(10)
    trial.nothing_was_started()
    trial.operator("confirmed_off", trial.victim)
    yield
    lab("heal", trial.victim)


def two_of_three(trial: Trial) -> Iterator[None]:
    """More than half of the hosts: the brake holds until one of them answers; the other may then be fenced before it has booted."""
    both = [trial.victim, next(host for host in trial.hosts if host != trial.victim)]
    trial.affects(*both)
    for host in both:
        lab("fault", host, "kill")
    time.sleep(HELD)
    trial.nothing_was_started()
    for host in both:
        lab("heal", host)
    yield


def password(trial: Trial) -> Iterator[None]:
    """The monitor is given a wrong one, as if somebody had changed it at the host."""
    trial.affects(trial.victim)
    own = Path(trial.chain.inventory) / "host_vars" / ("%s.yml" % trial.victim)
    own.parent.mkdir(exist_ok=True)
    own.write_text("libreha_password: wrong\n")
    try:
        trial.reconfigure()
        yield
    finally:
        own.unlink()
    trial.reconfigure()


def disk_full(trial: Trial) -> Iterator[None]:
    lab("fault", "arbiter", "disk-full")
    yield
    lab("heal", "arbiter")


def disk_full_and_kill(trial: Trial) -> Iterator[None]:
    """Nothing can be recorded, so nothing may be done until there is room."""
    trial.affects(trial.victim)
    lab("fault", "arbiter", "disk-full")
    time.sleep(5)
    lab("fault", trial.victim, "kill")
    time.sleep(HELD)
    trial.nothing_was_started()
    lab("heal", "arbiter")
    yield
    lab("heal", trial.victim)


def clock_jump(seconds: int) -> Course:
    """The arbiter's wall clock jumps while a dead host is being confirmed."""

    def course(trial: Trial) -> Iterator[None]:
        trial.affects(trial.victim)
        library, offset = trial.chain.folder / "wall_clock.so", trial.chain.folder / "wall_clock"
        subprocess.run(["gcc", "-shared", "-fPIC", "-o", str(library), str(LAB.parent / "liblab" / "wall_clock.c")], check=True)
        offset.write_text("0")
        trial.stop_monitor()
        trial.start_monitor("LD_PRELOAD=%s" % library, "LAB_WALL_CLOCK=%s" % offset)
        lab("fault", trial.victim, "kill")
        time.sleep(7)
        offset.write_text(str(seconds))
        yield
        lab("heal", trial.victim)
        trial.stop_monitor()
        trial.start_monitor()

    return course


def monitor_killed(trial: Trial) -> Iterator[None]:
    """At another step of the failover in each run; systemd starts it anew a second later."""
    trial.affects(trial.victim)
    moment = MOMENTS[trial.number % len(MOMENTS)]
    lab("fault", trial.victim, "kill")
    wait_for(moment, partial(reached, trial.chain, moment, trial.after), 120, every=0.05)
    trial.monitor.kill()
    time.sleep(1)
    trial.start_monitor()
    yield
    lab("heal", trial.victim)


def monitor_frozen(trial: Trial) -> Iterator[None]:
    """In the middle of a failover, for 90 s and past the end of its lease (a fence may need 90 s, so that act has prolonged it): what the
    monitor had decided before, it must not do any more."""
    trial.affects(trial.victim)
    lab("fault", trial.victim, "kill")
    wait_for("registering", partial(reached, trial.chain, "registering begins", trial.after), 120, every=0.05)
    trial.chain.freeze(trial.monitor)
    (token,) = {entry["token"] for entry in trial.chain.journal("lease", after=trial.monitor_began)}
    last = trial.chain.journal()[-1]["seq"]
    time.sleep(max(90.0, trial.chain.lease_ends() + 2 - time.clock_gettime(time.CLOCK_BOOTTIME)))
    trial.monitor.signal(signal.SIGCONT)
    yield
    old = [entry["text"] for entry in trial.chain.journal("step", "fence", "action", after=last) if entry["token"] == token]
    if old:
        trial.wrong.append("it acted under the lease that had ended while it was frozen: %s" % old)
    lab("heal", trial.victim)


FAULTS: dict[str, Fault] = {
    "kill": Fault("A host crashes; its BMC still says on", Expected.MOVES, REJOIN, host_fault("kill")),
    "hang": Fault("A host freezes", Expected.MOVES, REJOIN, host_fault("hang")),
    "power-off": Fault("A host is switched off; its BMC says so", Expected.MOVES, REJOIN, host_fault("power-off")),
    "power-lost": Fault(
        "A host loses its power, and its BMC with it; a person answers 10 s after the fence",
        Expected.MOVES,
        "Look whether it is off, then `libreha command confirmed_off HOST`; later let it in again",
        power_lost,
    ),
    "storage-cut": Fault("A host's storage cable is pulled", Expected.MOVES, REJOIN, host_fault("storage-cut")),
    "both-cables": Fault("Both cables of a host are pulled; it runs on", Expected.MOVES, REJOIN, host_fault("partition", "storage-cut")),
    "kill-target-restart": Fault(
        "A host crashes, and the target is restarted in the same moment", Expected.MOVES, REJOIN, kill_beside("restart")
    ),
    "monitor-killed": Fault(
        "A host crashes, and the monitor is killed (SIGKILL) in the middle of the failover", Expected.MOVES, REJOIN, monitor_killed
    ),
    "monitor-frozen": Fault(
        "A host crashes, and the monitor is frozen in its failover, for 90 s and past its lease", Expected.MOVES, REJOIN, monitor_frozen
    ),
    "disk-full-kill": Fault(
        "The arbiter's disk is full when a host crashes; there is room again 30 s later",
        Expected.MOVES,
        "Make room on the arbiter: nothing is done before; " + REJOIN[0].lower() + REJOIN[1:],
        disk_full_and_kill,
    ),
    "clock-forward": Fault("The arbiter's wall clock jumps an hour ahead while a host is dead", Expected.MOVES, REJOIN, clock_jump(JUMP)),
    "clock-back": Fault("The arbiter's wall clock jumps an hour back while a host is dead", Expected.MOVES, REJOIN, clock_jump(-JUMP)),
    "reboot": Fault("A host is reset and boots again within seconds", Expected.RESTARTS, NOTHING, reboot),
    "two-of-three": Fault(
        "Two of three hosts crash at once; they are switched on again 30 s later",
        Expected.RESTARTS,
        "The brake holds: switch them on, or `failover.yml` for each that is lost",
        two_of_three,
    ),
    "partition": Fault(
        "A host's management cable is pulled", Expected.STAYS, "Plug it in: its VMs run on unwatched", host_fault("partition")
    ),
    "all-partition": Fault("The management network of all hosts is down", Expected.STAYS, "Mend the network", all_hosts("partition")),
    "all-storage-cut": Fault(
        "All hosts lose their storage at once (a switch)", Expected.STAYS, "Mend the network: no host is at fault", all_hosts("storage-cut")
    ),
    "management-loss": Fault(
        "30 % packet loss on a host's management cable", Expected.STAYS, "Mend the cable", host_fault("management-loss")
    ),
    "all-management-loss": Fault(
        "30 % packet loss on all management cables", Expected.STAYS, "Mend the network", all_hosts("management-loss")
    ),
    "storage-loss": Fault("30 % packet loss on a host's storage cable", Expected.EITHER, "Mend the cable", host_fault("storage-loss")),
    "all-storage-loss": Fault("30 % packet loss on all storage cables", Expected.STAYS, "Mend the network", all_hosts("storage-loss")),
    "flapping-management": Fault(
        "A management cable is pulled four times for 5 s", Expected.STAYS, "Mend the cable", flapping("partition", 5, 5)
    ),
    "flapping-storage": Fault(
        "A storage cable is pulled four times for 6 s", Expected.STAYS, "Mend the cable", flapping("storage-cut", 6, 6)
    ),
    "target-restart": Fault("The target is restarted", Expected.STAYS, NOTHING, target_fault("restart")),
    "target-off": Fault("The target is down for 30 s", Expected.STAYS, "Start it, if systemd does not", target_fault("off", 30)),
    "target-hang": Fault("The target freezes for 30 s", Expected.STAYS, "Find out why", target_fault("hang", 30)),
    "lun-stall-5": Fault("The LUN stalls for 5 s; the target answers", Expected.STAYS, "Look at its disks", target_fault("stall", 5)),
    "lun-stall-20": Fault("The LUN stalls for 20 s; the target answers", Expected.STAYS, "Look at its disks", target_fault("stall", 20)),
    "wrong-password": Fault("A host refuses the monitor's login", Expected.STAYS, "Correct the password", password),
    "disk-full": Fault("The arbiter's disk is full for 30 s", Expected.STAYS, "Make room", disk_full),
    "guest-hang": Fault("A VM's guest hangs (policy as by default: an alarm)", Expected.STAYS, "Reset the VM", guest("guest-hang")),
    "tools-gone": Fault("VMware Tools end in a VM's guest", Expected.STAYS, NOTHING, guest("tools-gone")),
}
