"""Runs one command and sees to it that it never outlives whoever asked for it.

    python -I -S guard.py STOP_SIGNAL GRACE COMMAND …

A process that is killed with -9 can't clean up after itself, so somebody else must. That is this program: it
is the parent of the command and holds the reading end of a pipe whose writing end only the starter has. When
the starter is gone, however it went, the pipe reads as ended, and the command is told to stop, then killed.

Being the *parent* is the point. A watchdog beside the command would have to signal a process id that may
belong to somebody else by now; a parent can't be mistaken about its child, and reaps it, so that no zombie
postmaster is left to hold a `postmaster.pid`.

Traps this avoids:
- the pipe lives on in a forked copy of the starter, so the end of the pipe is not enough: the parent id is
  watched too;
- a terminal sends Ctrl-C to its whole process group, so guard and command each get a session of their own;
- workers of a killed gunicorn, backends of a killed postmaster: on Linux orphans are adopted and ended,
  elsewhere the command's process group is.

It stands alone (standard library, no imports from this project) because it starts with every server of every
test.
"""

import contextlib
import ctypes
import math
import os
import select
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

STOP, KILL = b"S", b"K"
"""The orders that may come down the pipe; its end means STOP."""

ORDERS = 0
"""Orders come on standard input: no descriptor number to pass on."""

PARENT_CHECK = 1.0
"""Seconds between looks at the parent id; only a starter with forked copies needs them."""

CANNOT_RUN = 127
"""Exit code for a command that could not be started, as in a shell."""

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
"""From <linux/prctl.h>."""


def prctl(option: int, value: int) -> None:
    """Ask the kernel for a favour only Linux grants; elsewhere do without."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def start(command: Sequence[str], stop_signal: int) -> int:
    """Fork the command into a session of its own; returns its process id."""
    child = os.fork()
    if child:
        return child
    try:
        os.setsid()
        os.dup2(os.open(os.devnull, os.O_RDONLY), ORDERS)
        # Python ignores SIGPIPE, a background shell ignores SIGINT, and both would be inherited.
        for number in (signal.SIGPIPE, signal.SIGINT, signal.SIGQUIT):
            signal.signal(number, signal.SIG_DFL)
        prctl(PR_SET_PDEATHSIG, stop_signal)
        os.execvp(command[0], list(command))  # noqa: S606  # a shell would stand between us and the command
    except OSError as error:
        sys.stderr.write(f"cannot run {command[0]}: {error.strerror}\n")
        sys.stderr.flush()
    os._exit(CANNOT_RUN)


def bell() -> int:
    """A descriptor that becomes readable on SIGCHLD and SIGTERM, for `select` to wait on."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    for number in (signal.SIGCHLD, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    signal.set_wakeup_fd(writing)
    return reading


class Watch:
    """The vigil over one running command."""

    def __init__(self, child: int, stop_signal: int, grace: float, bell: int) -> None:
        self.child, self.stop_signal, self.grace, self.bell = child, stop_signal, grace, bell
        self.listening = [ORDERS, bell]
        self.starter = os.getppid()
        self.deadline = math.inf

    def until_the_end(self) -> int:
        """Pass orders on until the command has ended; returns its exit code."""
        while (code := self.reaped()) is None:
            self.obey(self.next_order())
            if time.monotonic() >= self.deadline:
                self.obey(KILL)
        return code

    def reaped(self) -> int | None:
        """The command's exit code, once it has one; adopted orphans are buried on the way."""
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == self.child:
                return os.waitstatus_to_exitcode(status)
            if pid == 0:
                return None

    def next_order(self) -> bytes:
        """STOP, KILL, or nothing after a second or a signal."""
        patience = min(PARENT_CHECK, max(0.0, self.deadline - time.monotonic()))
        ready, _, _ = select.select(self.listening, [], [], patience)
        if self.bell in ready and signal.SIGTERM in os.read(self.bell, 64):
            return STOP
        if ORDERS in ready:
            return self.read_order()
        return b"" if os.getppid() == self.starter else STOP

    def read_order(self) -> bytes:
        """What the pipe says; an ended pipe says STOP, once."""
        if order := os.read(ORDERS, 1):
            return order
        self.listening.remove(ORDERS)
        return STOP

    def obey(self, order: bytes) -> None:
        """Carry out an order; a second STOP changes nothing, or a nervous Ctrl-C would postpone the end."""
        if order == KILL:
            os.kill(self.child, signal.SIGKILL)
            self.deadline = math.inf
        elif order == STOP and self.deadline == math.inf:
            os.kill(self.child, self.stop_signal)
            self.deadline = time.monotonic() + self.grace


def orphans() -> list[int]:
    """Processes that were adopted when the command ended before its children."""
    listing = Path(f"/proc/self/task/{os.getpid()}/children")
    try:
        return [int(pid) for pid in listing.read_text().split()]
    except OSError:
        return []


def sweep(child: int) -> None:
    """End what the command left behind: its process group, then whoever made a group of their own."""
    with contextlib.suppress(OSError):  # nobody left is the usual case
        os.killpg(child, signal.SIGKILL)
    while left := orphans():
        for pid in left:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def main(stop_signal: str, grace: str, *command: str) -> int:
    """Run the command to its end; exits as it did (128 + n after signal n, as in a shell)."""
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    ringing = bell()
    child = start(command, int(stop_signal))
    code = Watch(child, int(stop_signal), float(grace), ringing).until_the_end()
    sweep(child)
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
