# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Shows what ``ha_run`` does while it does it.

The module runs in the background on its machine and appends a line to a file for each thing that happens; here the new lines are read
and shown. So it works wherever the module runs, and no module is run for the reading.
"""

from __future__ import annotations

import shlex
import time
from typing import Any

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

display = Display()

POLL = 1.0  # s between two looks at the file
# s until Ansible is asked whether the module still runs; each time later than before, since that is a module run of its own.
# It matters only for one that failed before it had a file: later, the shell that reads the file sees whether the process is there.
FIRST_QUESTION, LAST_QUESTION = 3.0, 60.0
# What is in the file after the first line and those that were shown, and whether the process was there before it was read.
READ = (
    "s=waits; [ ! -s %(file)s ] || { kill -0 $(head -n 1 %(file)s) 2>/dev/null && s=runs || s=over; tail -n +%(from)d %(file)s; }; echo $s"
)
LIMIT = 86400  # s after which Ansible ends the module; its own bounds are far shorter


class ActionModule(ActionBase):
    """Run the module in the background and follow its lines."""

    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        if self._task.check_mode:
            return self._execute_module(module_args=arguments, task_vars=task_vars)
        folder = self._make_tmp_path()
        arguments["progress"] = self._connection._shell.join_path(folder, "progress")
        self._task.async_val = LIMIT
        try:
            started = self._execute_module(module_args=arguments, task_vars=task_vars, wrap_async=True)
        finally:
            self._task.async_val = 0
        try:
            if started.get("failed") or "ansible_job_id" not in started:
                return started
            return self._follow(started["ansible_job_id"], arguments["progress"], task_vars)
        finally:
            self._remove_tmp_path(folder)

    def _follow(self, job: str, path: str, task_vars: dict[str, Any] | None) -> dict[str, Any]:
        shown, asked, pause = 0, time.monotonic(), FIRST_QUESTION
        while True:
            time.sleep(POLL)
            shown, over = self._show(path, shown)
            if not over and time.monotonic() - asked < pause:
                continue
            asked, pause = time.monotonic(), min(2 * pause, LAST_QUESTION)
            status = self._status(job, "status", task_vars)
            if status.get("finished") or (status.get("failed") and "started" not in status):
                self._show(path, shown)
                break
        self._status(job, "cleanup", task_vars)
        for name in ("ansible_job_id", "started", "finished", "results_file", "stdout", "stderr", "stdout_lines", "stderr_lines"):
            status.pop(name, None)
        return status

    def _show(self, path: str, shown: int) -> tuple[int, bool]:
        """Show what the file has after *shown* lines; returns how many it has, and whether the run is over. The first line is the
        process of the run."""
        read = self._low_level_execute_command(READ % {"file": shlex.quote(path), "from": shown + 2}, sudoable=True)
        *lines, last = str(read.get("stdout") or "").splitlines() or ["waits"]
        for line in lines:
            display.display("  %s" % line)
        return shown + len(lines), last.strip() == "over"

    def _status(self, job: str, mode: str, task_vars: dict[str, Any] | None) -> dict[str, Any]:
        folder = self._remote_expand_user(self.get_shell_option("async_dir", default="~/.ansible_async"))
        return self._execute_module(
            module_name="ansible.legacy.async_status", module_args={"jid": job, "mode": mode, "_async_dir": folder}, task_vars=task_vars
        )
