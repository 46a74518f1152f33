"""`make browser`: see that there is a Chromium, and run the tests that need one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

from tests.browser.chromium import find

PACKAGES = ("chromium", "fonts-dejavu-core")


def install() -> None:
    """With apt-get, as root. Ends the program with a sentence where that cannot be."""
    apt = shutil.which("apt-get")
    if apt is None or os.geteuid() != 0:
        sys.exit("Chromium is missing, and only root can install it, with apt-get. Please install it yourself.")
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", *PACKAGES]):
        if subprocess.run([apt, *command], env=quiet, check=False).returncode != 0:
            sys.exit(f"apt-get {command[0]} failed: Chromium could not be installed.")


def main() -> int:
    if find() is None:
        install()
    if find() is None:
        sys.exit("Chromium was installed, but is not to be found.")
    command = [sys.executable, "-m", "pytest", "-m", "browser", "tests/browser", *sys.argv[1:]]
    return subprocess.run(command, env={**os.environ, "FLASK_ENV": "testing"}, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
