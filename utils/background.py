"""Work that goes on after the answer, in this process. A head start, never the only one to do it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import cache
from threading import Semaphore
from typing import Any, ParamSpec, TypeVar

from flask import current_app

from utils import turns

log = logging.getLogger("ticksy.background")

_PAUSE_SECONDS, _MOST_WAITING = 0.05, 50

_Given = ParamSpec("_Given")
_Result = TypeVar("_Result")


@cache
def _thread_of(function: Callable[..., Any]) -> ThreadPoolExecutor:
    """One for each kind of work. What waits for the network holds up nothing else, and what computes takes turns from
    those that answer only once: two threads of it get no more done, since only one at a time may compute."""
    return ThreadPoolExecutor(1, thread_name_prefix=f"after-answer-{function.__name__}")


@cache
def _room_of(_function: Callable[..., Any]) -> Semaphore:
    return Semaphore(_MOST_WAITING)


def run(function: Callable[..., Any], *args: Any) -> None:
    """Call the function soon, in a thread with an app context of its own, after earlier calls of the same function.

    While buyers wait for their turn it waits, too, and with it no more than a few: the worker is quicker then. What it
    raises is logged and lost.
    """
    room = _room_of(function)
    if not room.acquire(blocking=False):
        return
    app = current_app._get_current_object()  # type: ignore[attr-defined]

    def work() -> None:
        while turns.buyers_waiting():
            time.sleep(_PAUSE_SECONDS)
        with app.app_context():
            try:
                function(*args)
            except Exception:
                log.exception("%s failed after the answer", function.__name__)
            finally:
                room.release()

    _thread_of(function).submit(work)


def bound(function: Callable[_Given, _Result]) -> Callable[_Given, _Result]:
    """The function for a thread of its own: each call has an app context of its own."""
    app = current_app._get_current_object()  # type: ignore[attr-defined]

    def call(*args: _Given.args, **kwargs: _Given.kwargs) -> _Result:
        with app.app_context():
            return function(*args, **kwargs)

    return call


def in_threads(function: Callable[..., Any], calls: Iterable[tuple[Any, ...]], *, threads: int) -> None:
    """Make the calls, so many at a time, each with an app context of its own; returns when all are done.

    What one raises is logged and stops no other.
    """
    app = current_app._get_current_object()  # type: ignore[attr-defined]

    def call(arguments: tuple[Any, ...]) -> None:
        with app.app_context():
            try:
                function(*arguments)
            except Exception:
                log.exception("%s failed", function.__name__)

    with ThreadPoolExecutor(threads, thread_name_prefix=function.__name__) as pool:
        for arguments in calls:
            pool.submit(copy_context().run, call, arguments)
