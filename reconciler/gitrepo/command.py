"""How the `git` command is run: nothing of a repository runs with it, nobody is asked, and it always comes to an end.

Hooks and the file-system monitor are off, a protocol is open only where it is named, prompts are impossible, and a
call that takes too long ends with all that it has started. A secret is never an argument, and never in a message.
"""

from __future__ import annotations

import atexit
import os
import re
import signal
import subprocess
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final

SECONDS: Final = 10.0
MOST_OUTPUT: Final = 1024 * 1024
MOST_COMPLAINT: Final = 16 * 1024
LONGEST_REASON: Final = 300
ALWAYS: Final = (
    *("--no-pager", "--no-optional-locks", "--literal-pathspecs"),
    *("-c", "core.fsmonitor=false"),
    *("-c", "core.hooksPath=/dev/null"),
    *("-c", "core.protectHFS=true", "-c", "core.protectNTFS=true"),
    # A directory that was committed with HEAD, objects and refs in it is no repository with settings of its own.
    *("-c", "safe.bareRepository=explicit"),
    *("-c", "submodule.recurse=false", "-c", "fetch.recurseSubmodules=false"),
    *("-c", "gc.auto=0", "-c", "maintenance.auto=false"),
    *("-c", "log.showSignature=false", "-c", "log.follow=false", "-c", "i18n.logOutputEncoding=UTF-8"),
    *("-c", "advice.detachedHead=false"),
    *("-c", "http.lowSpeedLimit=1000", "-c", "http.lowSpeedTime=30"),
)
# What a hook exports names the repository that it runs in, and what a trace prints may be a secret: so only these.
INHERITED: Final = ("GIT_CEILING_DIRECTORIES", "GIT_DISCOVERY_ACROSS_FILESYSTEM", "GIT_EXEC_PATH")
INHERITED_SETTINGS: Final = ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_NOSYSTEM", "GIT_CONFIG_COUNT")
INHERITED_MEANS: Final = ("GIT_CONFIG_KEY_", "GIT_CONFIG_VALUE_", "GIT_SSH", "GIT_SSL_", "GIT_PROXY_", "GIT_HTTP_")
KEPT: Final = (*INHERITED, *INHERITED_SETTINGS, *INHERITED_MEANS)
# Where something is missing in a partial clone, git before 2.45 starts `git fetch NAME` by itself, and that one the
# next, without end where the remote lacks it too. With this as the name it says one line, and that was it.
REMOTE: Final = "--negotiate-only"
_UNDER_WAY: Final[set[Running]] = set()
_over = False


class Trouble(Exception):
    """Git gave no answer; the text says why, in one line without a secret."""


class TookTooLong(Trouble):
    """Git was ended because it had not answered in time."""


class TooMuch(Trouble):
    """Git answered with more than anybody wants to hold; asking again would not help."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What git said. `complaint` is all of its standard error that matters, line by line."""

    code: int
    output: bytes
    complaint: tuple[str, ...]

    @property
    def text(self) -> str:
        """The output without the newline at its end."""
        return self.output.decode(errors="replace").removesuffix("\n")

    @property
    def reason(self) -> str:
        """The one line of the complaint that says most."""
        lines = [line for line in self.complaint if REMOTE not in line]
        fatal = [line for line in lines if line.startswith(("fatal: ", "error: "))]
        if fatal and "Could not read from remote repository" in fatal[0]:
            # What ssh or the other side said last before it; greetings and frames come earlier.
            said = [re.sub(r"^remote:\s*", "", line) for line in lines[: lines.index(fatal[0])]]
            return next((line for line in reversed(said) if re.search("[a-z]", line)), fatal[0].removeprefix("fatal: "))
        line = (fatal or lines or ("an object is missing here" if self.complaint else "git gave no reason",))[0]
        return line.removeprefix("fatal: ").removeprefix("error: ")


@dataclass(frozen=True, slots=True)
class Git:
    """Git at one directory: `git_dir` for a bare repository, else whichever the directory lies in.

    `protocols` are those that may be used (none: what is missing in a partial clone is not fetched by stealth);
    `environment` holds what git needs to be let in, and `secrets` what of that nobody may read.
    """

    directory: Path
    git_dir: Path | None = None
    protocols: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()

    def ask(
        self,
        *arguments: str,
        feed: Iterable[bytes] | None = None,
        seconds: float = SECONDS,
        most: int = MOST_OUTPUT,
    ) -> Answer:
        """What git answers, whatever its exit code; Trouble when it does not, or with more than `most` bytes."""
        with self.start(*arguments, feed=feed, seconds=seconds) as running:
            output = running.out.read(most + 1)
            if len(output) > most:
                raise TooMuch(f"git answered with more than {most} bytes")
            return running.answer(output)

    def tell(self, *arguments: str, feed: Iterable[bytes] | None = None, seconds: float = SECONDS) -> str:
        """The text that git answers with; Trouble, with its reason, when it fails."""
        return self.told(*arguments, feed=feed, seconds=seconds).text

    def told(
        self,
        *arguments: str,
        feed: Iterable[bytes] | None = None,
        seconds: float = SECONDS,
        most: int = MOST_OUTPUT,
    ) -> Answer:
        """As `ask`; Trouble, with git's reason, when it fails."""
        answer = self.ask(*arguments, feed=feed, seconds=seconds, most=most)
        if answer.code:
            raise Trouble(answer.reason)
        return answer

    @contextmanager
    def start(
        self, *arguments: str, feed: Iterable[bytes] | None = None, seconds: float = SECONDS
    ) -> Iterator[Running]:
        """Git, running; whatever is left of it afterwards is ended. Trouble where it cannot be run."""
        with ExitStack() as held:
            stdin: IO[bytes] | int = subprocess.DEVNULL
            if feed is not None:
                from tempfile import TemporaryFile

                stdin = held.enter_context(TemporaryFile())
                stdin.writelines(feed)
                stdin.seek(0)
            running = Running(self._process(arguments, stdin), seconds, self.secrets)
            held.callback(running.end)
            if _over:
                raise Trouble("this process is at its end")
            yield running

    def _process(self, arguments: tuple[str, ...], stdin: IO[bytes] | int) -> subprocess.Popen[bytes]:
        where = () if self.git_dir is None else (f"--git-dir={self.git_dir}",)
        try:
            return subprocess.Popen(
                ["git", *where, *ALWAYS, *arguments],
                cwd=self.directory,
                env=self._environment(),
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except FileNotFoundError as error:
            import shutil

            raise Trouble("no git command here" if shutil.which("git") is None else "no such directory") from error
        except OSError as error:
            raise Trouble(f"git cannot be run: {error.strerror}") from error

    def _environment(self) -> dict[str, str]:
        kept = {key: value for key, value in os.environ.items() if not key.startswith("GIT_") or key.startswith(KEPT)}
        kept.pop("SSH_ASKPASS", None)
        return {
            **kept,
            "GIT_ALLOW_PROTOCOL": ":".join(self.protocols),
            "GIT_ASKPASS": "",
            "GIT_NO_LAZY_FETCH": "1",
            "GIT_NO_REPLACE_OBJECTS": "1",
            "GIT_OPTIONAL_LOCKS": "0",
            "GIT_TERMINAL_PROMPT": "0",
            "SSH_ASKPASS_REQUIRE": "never",
            "LC_ALL": "C.UTF-8",
            **self.environment,
        }


@atexit.register
def _end_with_us() -> None:
    """A fetch in a thread that nobody waits for would outlive the process that wanted it, and so would its next one."""
    global _over
    _over = True
    for running in list(_UNDER_WAY):
        running.kill()


class Running:
    """One git command under way. `out` has to be read to its end before `answer` is asked for."""

    def __init__(self, process: subprocess.Popen[bytes], seconds: float, secrets: tuple[str, ...]) -> None:
        assert process.stdout is not None
        self.out: IO[bytes] = process.stdout
        self._process = process
        self._seconds = seconds
        self._secrets = secrets
        self._is_late = False
        self._complaint = b""
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()
        _UNDER_WAY.add(self)
        self._timer = threading.Timer(seconds, self._stop_late)
        self._timer.daemon = True
        self._timer.start()

    def answer(self, output: bytes = b"") -> Answer:
        """How it ended; Trouble when it had to be ended."""
        code = self._wait()
        self._timer.cancel()
        self._listener.join(1.0)
        if self._is_late:
            raise TookTooLong(f"git did not answer within {self._seconds:g} s")
        lines = tuple(self._shown(line) for line in self._complaint.decode(errors="replace").splitlines())
        return Answer(code, output, tuple(line for line in lines if line))

    def end(self) -> None:
        """Stop it and all that it started, if it has not ended by itself."""
        self._timer.cancel()
        _UNDER_WAY.discard(self)
        if self._process.returncode is None:
            self.kill()
            self._process.wait()
        self._listener.join(1.0)
        self.out.close()

    def _wait(self) -> int:
        # As long as it is not waited for, its number is that of its group and of no other.
        with suppress(ChildProcessError):
            found = os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT)
            if found is not None and found.si_status:
                self.kill()
        return self._process.wait()

    def _stop_late(self) -> None:
        # Git itself may have ended: then something that it started holds on to its output.
        self._is_late = True
        self.kill()

    def kill(self) -> None:
        """End it, and all that it started, at once."""
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            self._process.kill()

    def _listen(self) -> None:
        assert self._process.stderr is not None
        # All of it is read, or git would wait for ever; what a remote writes without end is not kept. Only here is it
        # closed: an ssh that stays for the next call may hold it open for hours.
        with self._process.stderr as said:
            while part := said.read1(65_536):  # type: ignore[attr-defined]
                self._complaint += part[: MOST_COMPLAINT - len(self._complaint)]

    def _shown(self, line: str) -> str:
        for secret in self._secrets:
            line = line.replace(secret, "***")
        # A pipeline's clone may have its token in the address of its remote.
        line = re.sub(r"(https?://)[^/@\s]+@|(\w://[^:/@\s]*:)[^@\s]*@", r"\1\2***@", line)
        return "".join(char for char in line if char.isprintable()).strip()[:LONGEST_REASON]
