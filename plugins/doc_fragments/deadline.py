# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations


class ModuleDocFragment:
    """Until when a run may act (plugins/module_utils/entry/options/deadline.py)."""

    DOCUMENTATION = r"""
options:
  lease_remaining:
    description:
      - Seconds from the start of this module in which it may act. After that it ends without acting, even if it was frozen in between.
      - Give what is left of the run's lease, less what the start of the module may take.
      - Without this and without O(deadline), it may act for 60 seconds.
    type: float
  deadline:
    description:
      - The point in time after which this module may not act, as M(libreha.vmware.ha_state) returns it in C(lease.deadline).
      - It is exact where the state database is on the machine that this module runs on. Taken on another machine it cannot be compared
        and is not used; O(lease_remaining) is then required. The earlier of the two counts.
    type: dict
"""
