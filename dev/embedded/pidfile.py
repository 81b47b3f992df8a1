"""Who holds a cluster: what `postmaster.pid` says, and whether that is still true.

PostgreSQL itself asks only whether *some* process has the number in the file. After a `kill -9` that may be a
zombie nobody has reaped yet, and in a container, where numbers are small and start over, an innocent process.
Either would keep the server from starting.
"""

from pathlib import Path

import psutil

NOBODY = 999_999_999
"""Above every process id of Linux and macOS: no process ever has it."""


def holder(cluster: Path) -> int | None:
    """The process id of a living PostgreSQL on this cluster."""
    pid = _recorded(cluster)
    return pid if pid and _is_postmaster_of(pid, cluster) else None


def disown_stale(cluster: Path) -> None:
    """Take the dead owner's number out of the file, and leave the rest.

    Removing the file would lose the number of its shared memory, by which PostgreSQL notices backends that
    outlived their postmaster and still write to the data.
    """
    if _recorded(cluster):
        file = cluster / "postmaster.pid"
        _, rest = file.read_text().split("\n", 1)
        file.write_text(f"{NOBODY}\n{rest}")


def _recorded(cluster: Path) -> int | None:
    """The first line of the file; None where there is no whole file."""
    try:
        first, newline, _ = (cluster / "postmaster.pid").read_text().partition("\n")
        return int(first) if newline else None
    except (OSError, ValueError):
        return None


def _is_postmaster_of(pid: int, cluster: Path) -> bool:
    try:
        process = psutil.Process(pid)
        return process.status() != psutil.STATUS_ZOMBIE and Path(process.cwd()).samefile(cluster)
    except psutil.AccessDenied:
        return True  # another user's process: let PostgreSQL judge
    except (psutil.Error, OSError):
        return False
