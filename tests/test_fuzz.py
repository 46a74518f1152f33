"""Schemathesis against the running server: input made from the API's description, right and wrong, as every role.

In the suite a few cases of every operation. `make fuzz` sets FUZZ_EXAMPLES and FUZZ_PHASES for a longer run; FUZZ_ONLY
is a regular expression of the paths to try.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from flask import Flask

import config
from models import User
from tests.support import Maker
from tests.test_access import World

CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,"
    "response_headers_conformance,negative_data_rejection,ignored_auth,use_after_free,unsupported_method,"
    "allow_header_conformance"
)
EXAMPLES = os.environ.get("FUZZ_EXAMPLES", "2")
PHASES = os.environ.get("FUZZ_PHASES", "examples,fuzzing")
ONLY = os.environ.get("FUZZ_ONLY", ".")
#: Seconds of one role.
LIMIT = float(os.environ.get("FUZZ_SECONDS", "600"))


@pytest.mark.parametrize("role", ["nobody", "attendee", "organizer", "admin"])
def test_no_input_that_the_description_leads_to_finds_a_fault(
    app: Flask, settings: config.Settings, make: Maker, tmp_path: Path, role: str
) -> None:
    user = World(make).callers[role]
    run = _run(settings.PUBLIC_URL, make, user, tmp_path)
    assert run.returncode == 0, run.stdout[-30_000:] + run.stderr


def _run(url: str, make: Maker, user: User | None, folder: Path) -> subprocess.CompletedProcess[str]:
    """Its own process: a plugin, a terminal and warnings of its own. Run where no settings file of anybody's lies."""
    logged_in = ["--header", f"Authorization: {make.headers(user)['Authorization']}"] if user else []
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "run", f"{url}/openapi.json", "--url", url),
        *("--checks", CHECKS, "--phases", PHASES, "--max-examples", EXAMPLES),
        *("--generation-deterministic", "--continue-on-failure", "--no-color", "--warnings", "off"),
        *("--suppress-health-check", "all", "--request-timeout", "20"),
        *("--include-path-regex", ONLY),
        # Whoever is logged in would be nobody for all that follows.
        *(("--exclude-path-regex", "^/logout") if user else ()),
        *logged_in,
    ]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=LIMIT, check=False)
