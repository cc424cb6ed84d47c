"""Tasks that do what a task should not, each as a plain function and as an async one, and some that are innocent."""

from __future__ import annotations

import asyncio
import ctypes
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from reconciler import task


def both(function: Callable[..., Any]) -> Callable[..., Any]:
    """Register a function's body also as that of an async one: it stays as rude as it is."""

    async def asynchronous(**params: Any) -> Any:
        print("begun")
        return function(**params)

    def sync(**params: Any) -> Any:
        print("begun")
        return function(**params)

    task(f"nasty.sync.{function.__name__}")(sync)
    task(f"nasty.async.{function.__name__}")(asynchronous)
    return function


@both
def leaves() -> None:
    os._exit(3)


@both
def crashes() -> None:
    ctypes.string_at(0)


@both
def fills() -> None:
    kept = []
    while True:
        kept.append(bytearray(1 << 20))


@both
def floods() -> None:
    for _ in range(200):
        sys.stdout.write(("x" * 999 + "\n") * 1000)
    raise ValueError("that was all")


@both
def returns_nonsense() -> object:
    return object()


class Unpicklable(Exception):
    def __reduce__(self) -> Any:
        raise RuntimeError("no")


@both
def raises_nonsense() -> None:
    raise Unpicklable(lambda: None)


@both
def exits() -> None:
    sys.exit(0)


@both
def goes_on_in_a_thread() -> None:
    threading.Thread(target=time.sleep, args=(600,)).start()
    raise ValueError("that was all")


@both
def stands_still() -> None:
    time.sleep(600)


@task("nasty.async.swallows")
async def swallows() -> None:
    print("begun")
    while True:
        try:
            await asyncio.sleep(600)
        except asyncio.CancelledError:
            print("not me")


@task("nasty.async.waits_for_a_thread")
async def waits_for_a_thread() -> None:
    print("begun")
    await asyncio.to_thread(time.sleep, 600)


@task("nasty.sync.starts_others")
def starts_others(path: str) -> None:
    print("begun", flush=True)
    command = 'sleep 600 & echo $! > "$0"; setsid sleep 600 & echo $! >> "$0"; wait'
    subprocess.run(["sh", "-c", command, path], check=False)


@task("beside.sync")
def beside_sync() -> int:
    return os.getpid()


@task("beside.async")
async def beside_async() -> int:
    return os.getpid()


@task("beside.long")
async def beside_long(path: str) -> None:
    print("begun", flush=True)
    with open(path, "w") as file:  # noqa: PTH123
        file.write("x")
    await asyncio.sleep(600)
