# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The end of every module's ``main``: what was done becomes the task's result, and an error the failed task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Callable

from ..errors import LibrehaError


def fail(module, error: LibrehaError, **result) -> None:
    """Turn *error* into ``module.fail_json``; *result* is whatever is worth returning beside the message."""
    if error.host is not None:
        result.setdefault("host", error.host)
    for key, value in error.details.items():
        result.setdefault(key, value)
    module.fail_json(msg=str(error), **result)


def carry_out(module: Any, run: Callable[[Mapping[str, Any], bool], dict[str, Any]]) -> None:
    """The end of every module's ``main``: *run* with the parameters and the check mode, and its result or its error as the task's.

    What the result has under ``warnings`` is shown as Ansible shows warnings.
    """
    try:
        result = run(module.params, module.check_mode)
    except LibrehaError as error:
        fail(module, error)
    else:
        for warning in result.pop("warnings", ()):
            module.warn(warning)
        module.exit_json(**result)
