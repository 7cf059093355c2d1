# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a process that looks keeps from look to look: its sessions with the hosts, and who asks."""

from __future__ import annotations

from ..hypervisor.sessions import HostSessions
from ..parallel import Workers
from .sampler import Samplers


class Pools:
    """Make it after the fork server (act/worker.py), and close it at the end: then it logs out everywhere."""

    def __init__(self) -> None:
        self.sessions = HostSessions()
        self.workers = Workers()
        self.samplers = Samplers()
        self.events_after: dict[str, int] = {}  # host -> the key of the newest of its events that is known; for the samplers

    def close(self) -> None:
        self.samplers.stop()
        self.sessions.close()

    def __enter__(self) -> Pools:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()
