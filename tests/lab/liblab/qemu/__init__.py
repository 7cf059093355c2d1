"""Guests of QEMU: machines with kernels of their own, for what namespaces cannot show (kernel LIO, kernel initiators, real reboots).

``Guests`` is the API for test fixtures; ``tests/lab/lab guests`` is the same for people and playbooks.
"""

from .guests import Guests

__all__ = ["Guests"]
