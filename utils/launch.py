"""Start a program so that it ends with its parent, or as somebody else than root.

Both are set up by this file, run as a script which then becomes the program. `preexec_fn` of `subprocess`
could do without a script, but is unsafe beside threads.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

#: As `user`: a namespace where root's files belong to an ordinary user, for whom the program takes itself.
NAMESPACE = "namespace"

_PR_SET_PDEATHSIG, _CLONE_NEWUSER = 1, 0x10000000


def command(*arguments: str, end_with: signal.Signals | None = None, user: str | None = None) -> list[str]:
    """What to hand to Popen, by the thread that asks, instead of `arguments`.

    `end_with` is sent to the program when the *thread* that started it ends, by whatever cause. Only Linux
    can do so: elsewhere nothing happens. `user` is a uid to become, or NAMESPACE.
    """
    if sys.platform != "linux":
        end_with = None
    if end_with is None and user is None:
        return list(arguments)
    script = [sys.executable, "-I", "-S", __file__, str(os.getpid())]
    return [*script, str(int(end_with or 0)), user or "", *arguments]


def end_with_parent(by: int) -> None:
    """Have this process sent the signal `by` when its parent ends. Linux only: nothing happens elsewhere."""
    if sys.platform == "linux":
        _call("prctl", _PR_SET_PDEATHSIG, by)


def _become(user: str) -> None:
    if user == NAMESPACE:
        uid, gid = os.geteuid(), os.getegid()
        _call("unshare", _CLONE_NEWUSER)
        for file, text in (("setgroups", "deny"), ("uid_map", f"1000 {uid} 1"), ("gid_map", f"1000 {gid} 1")):
            with open(f"/proc/self/{file}", "w", encoding="ascii") as mapping:
                mapping.write(text)
    elif user:
        os.setgroups([])
        os.setgid(int(user))
        os.setuid(int(user))


def _call(function: str, *arguments: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, function)(*arguments) != 0:
        raise OSError(ctypes.get_errno(), f"{function}: {os.strerror(ctypes.get_errno())}")


def _main(parent: str, end_with: str, user: str, *arguments: str) -> None:
    _become(user)
    if int(end_with):
        end_with_parent(int(end_with))  # only now: becoming somebody else would undo it
        if os.getppid() != int(parent):
            sys.exit("the parent ended before it could be watched")
    os.execvp(arguments[0], arguments)  # noqa: S606  # given by command()


if __name__ == "__main__":
    try:
        _main(*sys.argv[1:])
    except OSError as error:
        sys.exit(f"cannot start {sys.argv[4]}: {error}")
