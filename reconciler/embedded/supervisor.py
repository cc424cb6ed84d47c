"""The process that keeps one server for as long as anybody uses it, and then stops it.

It belongs to nobody's terminal and to nobody's process group: it outlives the command that started it, and Ctrl-C
passes it by. Who uses the server is known by a shared lock, so a user killed with -9 counts no longer.

Run as `python -I -S` with only the standard library: its order comes as JSON, its answer is one line on stdout.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import sys
import time
import traceback
from pathlib import Path

from reconciler.embedded.launch import Launcher, StartError
from reconciler.embedded.locks import Lock
from reconciler.embedded.servers import SERVERS, Server
from reconciler.embedded.words import in_words

POLL = 0.2
LINGER = 2.0
STOP_NOW = signal.SIGUSR1


def main() -> None:
    order = json.loads(sys.argv[1])
    # Twice forked: the one who started us has a child to wait for, which is gone at once.
    if os.fork():
        os._exit(0)
    server = SERVERS[order["server"]](Path(order["root"]), Path(order["program"]))
    lock = Lock(server.supervisor_lock, order["lock"])
    os.set_inheritable(lock.descriptor, False)
    try:
        supervisor = Supervisor(server, lock)
        # After the handlers are in place: whoever reads the id may send a signal.
        server.supervisor_lock.write_text(f"{os.getpid()}\n")
        supervisor.run()
    except StartError as error:
        answer(f"failed {error}")
    except OSError as error:
        answer(f"failed {in_words(error, server.root)}")
    except Exception:
        traceback.print_exc()
        raise
    finally:
        lock.remove()


def answer(line: str) -> None:
    """Tell the starter, if it still listens, and let go of its pipe."""
    with contextlib.suppress(OSError):
        os.write(1, os.fsencode(line + "\n"))
    with Path(os.devnull).open("wb") as nothing:
        os.dup2(nothing.fileno(), 1)


class Supervisor:
    def __init__(self, server: Server, lock: Lock) -> None:
        self.server = server
        self.lock = lock
        self.launcher = Launcher(server)
        self.users: Lock | None = None
        self.linger = LINGER
        self.alone_since: float | None = None
        self.is_told = False
        self.wakeup, self.alarm = socket.socketpair()
        self._listen_to_signals()

    def run(self) -> None:
        """Start, keep, stop. StartError when the server does not start."""
        self.launcher.prepare()
        self.launcher.start()
        try:
            answer("ready")
            while not self.is_over():
                self._wait(POLL)
                self.launcher.revive()
        finally:
            # With the directory removed there is nothing to shut down for, and its paths may be another's already.
            is_ours = self.lock.is_current()
            self.launcher.stop(is_quick=not is_ours)
            if self.users or (self.is_told and is_ours):
                with contextlib.suppress(OSError):
                    self.server.users_lock.unlink(missing_ok=True)

    def is_over(self) -> bool:
        """Whether to stop: told to, or nobody is left for the linger time, or the directory was removed."""
        if self.is_told or not self.lock.is_current():
            return True
        try:
            alone = Lock.take(self.server.users_lock, exclusive=True)
        except OSError:
            return True
        if alone is None:
            self.alone_since = None
            return False
        now = time.monotonic()
        self.alone_since = self.alone_since or now
        if now - self.alone_since < self.linger:
            alone.release()
            return False
        # Held from the decision to the end: whoever comes now waits, and starts a new set.
        self.users = alone
        return True

    def _listen_to_signals(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._hurry)
        signal.signal(STOP_NOW, self._stop_now)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        self.alarm.setblocking(False)
        self.wakeup.setblocking(False)
        signal.set_wakeup_fd(self.alarm.fileno(), warn_on_full_buffer=False)

    def _hurry(self, *_: object) -> None:
        self.linger = 0.0

    def _stop_now(self, *_: object) -> None:
        """Sent by the last user, which holds the users' lock exclusively until we are gone."""
        self.is_told = True

    def _wait(self, seconds: float) -> None:
        if select.select([self.wakeup], [], [], seconds)[0]:
            with contextlib.suppress(BlockingIOError):
                while self.wakeup.recv(512):
                    pass


if __name__ == "__main__":
    main()
