"""`make test-redis`: see that there is a Redis, start one on a free port, and run the tests that need it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile

from tests.support import free_port
from utils import launch


def install() -> None:
    """With apt-get, as root. Ends the program with a sentence where that cannot be."""
    apt = shutil.which("apt-get")
    if apt is None or os.geteuid() != 0:
        sys.exit("redis-server is missing, and only root can install it, with apt-get. Please install it yourself.")
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", "redis-server"]):
        if subprocess.run([apt, *command], env=quiet, check=False).returncode != 0:
            sys.exit(f"apt-get {command[0]} failed: redis-server could not be installed.")


def main() -> int:
    if shutil.which("redis-server") is None:
        install()
    program = shutil.which("redis-server")
    if program is None:
        sys.exit("redis-server was installed, but is not to be found.")
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="ticksy-redis-") as folder:
        options = ["--port", str(port), "--bind", "127.0.0.1", "--dir", folder, "--save", "", "--appendonly", "no"]
        server = subprocess.Popen(launch.command(program, *options), stdout=subprocess.DEVNULL)
        try:
            command = [sys.executable, "-m", "pytest", "-m", "redis", "tests/redis_server", *sys.argv[1:]]
            told = {"FLASK_ENV": "testing", "TEST_REDIS_URL": f"redis://127.0.0.1:{port}/0"}
            return subprocess.run(command, env={**os.environ, **told}, check=False).returncode
        finally:
            server.terminate()
            server.wait(10)


if __name__ == "__main__":
    sys.exit(main())
