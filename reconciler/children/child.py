"""What runs inside a child process: `python -m reconciler.children.child async|sync CONTROL [SIDE] BOARD PARENT`.

CONTROL is the socket it takes calls from. SIDE is the `async` child's socket for what is told of calls while they run,
BOARD a file of memory shared with the parent. The child dies with its parent: by the kernel's word where there is one,
and when the socket closes.
"""

from __future__ import annotations

import os
import resource
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from reconciler.children.frames import CHUNK, Frames, frame
from reconciler.registry import registry

PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> None:
    kind, control, *fds, parent = arguments
    _die_with(int(parent))
    for fd in (control, *fds):
        os.set_inheritable(int(fd), False)  # a task's own children must not keep the line open
    line = Line(socket.socket(fileno=int(control)))
    start = line.receive()[1]
    faults = registry.auto_discover_tasks(
        start["modules"],
        Path(start["directory"]),
        skip=start["skip"],
        importing=lambda name: line.send(["importing", name]),
    )
    if kind == "async":
        from reconciler.children.child_async import serve

        line.send(["hello", _catalogue(faults), faults])
        serve(line.sock, line.rest, end_all, *(int(fd) for fd in fds))
    else:
        from reconciler.children.child_sync import work
        from reconciler.execute.memory import in_use

        line.send(["hello", in_use()])
        work(line, int(fds[0]))


class Line:
    """The control socket before there is an event loop, and where there never is one."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._frames = Frames()
        self.rest: list[list[Any]] = []

    def receive(self) -> list[Any]:
        """The next message; ends this process with all it started when there is none."""
        while not self.rest:
            data = self.sock.recv(CHUNK)
            if not data:
                end_all()
            self.rest += self._frames.feed(data)
        return self.rest.pop(0)

    def cancellations(self) -> list[tuple[int, str]]:
        """The calls that have been cancelled, with the reason, as far as that has arrived; never waits."""
        with suppress(BlockingIOError, InterruptedError):
            data = self.sock.recv(CHUNK, socket.MSG_DONTWAIT)
            if not data:
                end_all()
            self.rest += self._frames.feed(data)
        heard = [(message[1], message[2]) for message in self.rest if message[0] == "cancel"]
        self.rest = [message for message in self.rest if message[0] != "cancel"]
        return heard

    def send(self, message: list[Any]) -> None:
        try:
            self.sock.sendall(frame(message))
        except (BrokenPipeError, ConnectionResetError):
            end_all()


def end_all() -> None:
    """The parent is gone: end, and what the tasks started with us."""
    os.killpg(0, signal.SIGKILL)


def _die_with(parent: int) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before we could ask
        end_all()


def _catalogue(faults: list[str]) -> dict[str, Any]:
    """Every task as its name and what others may know of it. One that cannot be described is a fault."""
    from reconciler.registry.catalogue import entry

    catalogue = {}
    for name, task in registry.TASKS.items():
        try:
            schema = entry(task)
        except Exception as error:
            faults.append(f"{task.place}: task {name!r} cannot be described: {error}")
            schema = {}
        catalogue[name] = [task.is_async, schema, task.doc, task.context_parameter is not None]
    return catalogue


if __name__ == "__main__":
    main(sys.argv[1:])
