"""What a result was measured on: the machine, the versions, the settings, the code."""

from __future__ import annotations

import os
import platform
import subprocess
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

import psutil

from benchmarks import cores, database
from benchmarks.stage import BENCH_PYTHON, Stage
from config import ROOT, Settings, load

_PACKAGES = ("flask", "flask-restful", "sqlalchemy", "psycopg2-binary", "pydantic", "granian")
#: Of Ticksy's settings, what bears on speed.
_TELLING = (
    *("WEB_WORKERS", "WEB_THREADS", "DATABASE_POOL", "BCRYPT_ROUNDS", "LOG_LEVEL", "LOG_FORMAT", "RATELIMIT_ENABLED"),
    *("MPESA_MAX_PUSHES_PER_SECOND", "PUSH_QUEUE_SECONDS", "CATALOGUE_CACHE_SECONDS"),
)


def gather(stage: Stage, plan: Any) -> dict[str, Any]:
    settings = load(stage.environment)
    return {
        "kind": "short" if plan.is_short else "full",
        "plan": asdict(plan),
        "commit": _git("rev-parse", "--short", "HEAD") or "unknown",
        "has_changes": bool(_git("status", "--porcelain", "--untracked-files=no")),
        "machine": {
            "cores": os.cpu_count(),
            "is_pinned": cores.can_pin(),
            "processor": _processor(),
            "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
            "system": platform.platform(),
            "load_at_start": round(os.getloadavg()[0], 2),
        },
        "versions": {
            "python": platform.python_version(),
            "postgresql": stage.rows("SHOW server_version")[0]["server_version"],
            "gunicorn": _gunicorn(),
            **{name: version(name) for name in _PACKAGES},
        },
        "postgresql": database.check_durability(stage.database_url),
        "settings": {name: getattr(settings, name) for name in _TELLING if name in Settings.model_fields},
        "chosen": dict(stage.chosen),
        "verdicts": [],
    }


def _git(*command: str) -> str:
    done = subprocess.run(["git", *command], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def _gunicorn() -> str:
    asked = [str(BENCH_PYTHON), "-c", "from importlib.metadata import version; print(version('gunicorn'))"]
    return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next(line.partition(":")[2].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()
