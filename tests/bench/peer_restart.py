"""What a failover is compared with: a bare pyVmomi script that registers VMs at hosts and powers them on, so many at a time on each host.

It fences nothing, records nothing, waits for no lock, and trusts every answer.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from pyVim.connect import SmartConnect
from pyVim.task import WaitForTask


def restart(hosts: Sequence[Mapping[str, Any]], vms: Mapping[str, tuple[str, str]], files: Mapping[Path, str], at_a_time: int) -> float:
    """Seconds from the first registration until the last of *vms* is powered on.

    *hosts*: entries of ``lab status``; *vms*: name -> (host, path), where they run now; *files*: what their .vmx were at the host that
    died, so that each asks again whether it was moved. Raises what pyVmomi raises.
    """
    own = {host["name"]: [vm for vm in vms if vms[vm][0] == host["name"]] for host in hosts}
    sessions = {host["name"]: [connect(host) for _thread in range(at_a_time)] for host in hosts if own[host["name"]]}
    for name, (session, *_more) in sessions.items():
        for vm in vm_folder(session).childEntity:
            if vm.name in own[name]:
                WaitForTask(vm.PowerOffVM_Task())
                vm.UnregisterVM()
    for file, old in files.items():
        file.write_text(old)
    with ThreadPoolExecutor(max_workers=sum(map(len, sessions.values()))) as pool:
        begun = time.monotonic()
        work = [
            pool.submit(_start_all, session, [vms[vm][1] for vm in own[name][number::at_a_time]])
            for name in sessions
            for number, session in enumerate(sessions[name])
        ]
        for one in work:
            one.result()
        return time.monotonic() - begun


def connect(host: Mapping[str, Any]) -> Any:
    context = ssl.create_default_context(cafile=host["ca_file"])
    return SmartConnect(host=host["address"], port=host["port"], user=host["username"], pwd=host["password"], sslContext=context)


def vm_folder(session: Any) -> Any:
    return session.RetrieveContent().rootFolder.childEntity[0].vmFolder


def _start_all(session: Any, paths: Sequence[str]) -> None:
    folder = vm_folder(session)
    pool = session.RetrieveContent().rootFolder.childEntity[0].hostFolder.childEntity[0].resourcePool
    for path in paths:
        registering = folder.RegisterVM_Task(path=path, asTemplate=False, pool=pool)
        WaitForTask(registering)
        vm = registering.info.result
        starting = vm.PowerOnVM_Task()
        while starting.info.state in ("queued", "running"):
            question = vm.runtime.question
            if question is not None:
                (moved,) = [choice.key for choice in question.choice.choiceInfo if "moved" in choice.summary.lower()]
                vm.AnswerVM(question.id, moved)
            time.sleep(0.05)
        WaitForTask(starting)
