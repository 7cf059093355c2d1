# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Shows what ``vm_migrate`` does while it does it, as that of ``ha_run`` does."""

from __future__ import annotations

from ansible_collections.libreha.vmware.plugins.action.ha_run import ActionModule

__all__ = ["ActionModule"]
