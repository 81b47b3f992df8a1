"""Runs a command as somebody who is not root, for a program that refuses root.

    python -I -S unprivileged.py mapped|nobody COMMAND …

`mapped`: in a user namespace where our user is number 1000. Outside of it nothing changes: files belong to
whom they belonged, data stays where it is. The kernel wants a single-threaded process for this, so it can't
be done in a test run's `preexec_fn` with threads around: hence a program of its own that becomes the command.

`nobody`: by changing the user, where namespaces are forbidden. Data below a directory that only root enters
(/root, a `mkdtemp`) would be out of reach then, so that on Linux the one capability to pass through is kept.
"""

import ctypes
import os
import pwd
import struct
import sys
from pathlib import Path

MAPPED_ID = 1000
CLONE_NEWUSER = 0x10000000
PR_SET_KEEPCAPS, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE = 8, 47, 2
CAP_DAC_OVERRIDE = 1
CAPABILITY_VERSION = 0x20080522

libc = ctypes.CDLL(None, use_errno=True)


def become_mapped() -> None:
    """Enter a user namespace as MAPPED_ID."""
    uid, gid = os.geteuid(), os.getegid()
    if libc.unshare(CLONE_NEWUSER):
        raise OSError(ctypes.get_errno(), "user namespaces are forbidden here")
    Path("/proc/self/setgroups").write_text("deny")  # the kernel's condition for writing a gid_map
    Path("/proc/self/uid_map").write_text(f"{MAPPED_ID} {uid} 1")
    Path("/proc/self/gid_map").write_text(f"{MAPPED_ID} {gid} 1")


def become_nobody() -> None:
    """Change to the user `nobody`."""
    entry = pwd.getpwnam("nobody")
    if sys.platform == "linux":
        libc.prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0)
    os.setgroups([])
    os.setgid(entry.pw_gid)
    os.setuid(entry.pw_uid)
    if sys.platform == "linux":
        keep_only(CAP_DAC_OVERRIDE)


def keep_only(capability: int) -> None:
    """Give up every capability but one, and hand that one on to the command; without it, go on without it."""
    mask = 1 << capability
    header = struct.pack("Ii", CAPABILITY_VERSION, 0)
    if libc.capset(header, struct.pack("6I", mask, mask, mask, 0, 0, 0)):
        libc.capset(header, bytes(24))
    libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0)


def main(way: str, *command: str) -> None:
    """Become somebody else, then the command."""
    try:
        {"mapped": become_mapped, "nobody": become_nobody}[way]()
        os.execvp(command[0], command)  # noqa: S606  # a shell would run as the wrong user
    except OSError as error:
        sys.exit(f"cannot run {command[0]} ({way}): {error.strerror}")


if __name__ == "__main__":
    main(*sys.argv[1:])
