# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Shows what ``vm_failover`` does while it does it.

The module runs asynchronously on its machine; meanwhile the journal there, in which each step is written before and
after, is read through ``ha_state`` and every new step is one line on the screen. So it works wherever the module runs.
"""

from __future__ import annotations

import time
from typing import Any

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

display = Display()

POLL = 1.0  # s between two looks at the journal
LIMIT = 3600  # s after which Ansible ends the module; its own bounds are far shorter


class ActionModule(ActionBase):
    """Run the module in the background and follow the journal."""

    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        if self._task.check_mode or not arguments.get("holder"):
            return self._execute_module(module_args=arguments, task_vars=task_vars)
        follow = {name: arguments[name] for name in ("state_url", "url") if arguments.get(name) is not None}
        # Asked only when nobody says it: fences that were read are good for a minute, of which each question takes its part.
        seen = arguments.get("journal_after")
        seen = self._newest(follow, task_vars) if seen is None else int(seen)
        self._task.async_val = LIMIT
        try:
            started = self._execute_module(module_args=arguments, task_vars=task_vars, wrap_async=True)
        finally:
            self._task.async_val = 0
        if started.get("failed") or "ansible_job_id" not in started:
            return started
        return self._follow(started["ansible_job_id"], follow, seen, task_vars)

    def _follow(self, job: str, follow: dict[str, Any], seen: int, task_vars: dict[str, Any] | None) -> dict[str, Any]:
        while True:
            status = self._status(job, "status", task_vars)
            seen = self._show_steps(follow, seen, task_vars)
            if status.get("finished") or (status.get("failed") and "started" not in status):
                break
            time.sleep(POLL)
        self._status(job, "cleanup", task_vars)
        for name in ("ansible_job_id", "started", "finished", "results_file", "stdout", "stderr", "stdout_lines", "stderr_lines"):
            status.pop(name, None)
        return status

    def _status(self, job: str, mode: str, task_vars: dict[str, Any] | None) -> dict[str, Any]:
        folder = self._remote_expand_user(self.get_shell_option("async_dir", default="~/.ansible_async"))
        return self._execute_module(
            module_name="ansible.legacy.async_status", module_args={"jid": job, "mode": mode, "_async_dir": folder}, task_vars=task_vars
        )

    def _newest(self, follow: dict[str, Any], task_vars: dict[str, Any] | None) -> int:
        entries = self._journal(follow, {"limit": 1}, task_vars)
        return max((entry["seq"] for entry in entries), default=0)

    def _show_steps(self, follow: dict[str, Any], seen: int, task_vars: dict[str, Any] | None) -> int:
        entries = self._journal(follow, {"since": seen, "kinds": ["step"], "limit": 1000}, task_vars)
        for entry in entries:
            display.display("  %s  %s" % (entry["at"]["wall"][11:23], entry["text"]))
            seen = max(seen, entry["seq"])
        return seen

    def _journal(self, follow: dict[str, Any], filters: dict[str, Any], task_vars: dict[str, Any] | None) -> list[dict[str, Any]]:
        """New entries; none when the database cannot be read just now: the module itself tells what is wrong."""
        found = self._execute_module(
            module_name="libreha.vmware.ha_state",
            module_args={**follow, "state": "query", "include": ["journal"], "journal": filters},
            task_vars=task_vars,
        )
        entries: list[dict[str, Any]] = found.get("journal") or []
        return entries
