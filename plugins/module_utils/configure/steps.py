# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What was done before a host refused the next step: said in the error, and in its details."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

from ..errors import LibrehaError
from ..hypervisor.interface import HypervisorFault


@contextlib.contextmanager
def telling(done: Sequence[str]) -> Iterator[None]:
    """A host's refusal leaves the block as LibrehaError with *done*, the texts of the steps that were taken until then."""
    try:
        yield
    except HypervisorFault as fault:
        raise LibrehaError(
            "%s (done before: %s)" % (fault.message, ", ".join(done) or "nothing"),
            host=fault.host,
            remedy=fault.remedy or "correct what the host refuses, and run this again: what is done already stays",
            details={"steps": list(done)},
        ) from fault
