"""Work that goes on after the answer, in this process. A head start, never the only one to do it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from flask import current_app

log = logging.getLogger("ticksy.background")

_THREADS = 2
_pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="after-answer")


def run(function: Callable[..., Any], *args: Any) -> None:
    """Call the function soon, in a thread with an app context of its own. What it raises is logged and lost."""
    app = current_app._get_current_object()  # type: ignore[attr-defined]

    def work() -> None:
        with app.app_context():
            try:
                function(*args)
            except Exception:
                log.exception("%s failed after the answer", function.__name__)

    _pool.submit(work)
