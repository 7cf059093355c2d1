"""The other end of the monitor's socket, as its protocol says, for the tests of its readers."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

Answer = Callable[[dict[str, Any]], "dict[str, Any] | bytes"]


@contextlib.contextmanager
def serving(path: Path, answer: Answer) -> Iterator[list[dict[str, Any]]]:
    """Meanwhile each line at *path* is answered by what *answer* makes of it, bytes as they are; yields the requests that came."""
    heard: list[dict[str, Any]] = []
    over = threading.Event()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(str(path))
        listening.listen()
        listening.settimeout(0.1)

        def serve() -> None:
            while not over.is_set():
                try:
                    channel, _peer = listening.accept()
                except TimeoutError:
                    continue
                with channel, contextlib.suppress(OSError):
                    heard.append(json.loads(channel.makefile().readline()))
                    said = answer(heard[-1])
                    channel.sendall(said if isinstance(said, bytes) else json.dumps(said).encode() + b"\n")

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield heard
        finally:
            over.set()
            thread.join()
