# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""balance"""

from __future__ import annotations

from .placement_problem import Plan


def balance(plan: Plan) -> None:
    return
