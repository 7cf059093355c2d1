"""Guests of QEMU: machines with kernels of their own, for what namespaces cannot show (kernel LIO, kernel initiators, real reboots).

``Guests`` is the API for test fixtures; ``tests/lab/lab up --only-qemu`` and its other commands are the same for people and playbooks.
"""

from .guests import Guests

__all__ = ["Guests"]
