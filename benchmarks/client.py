"""A light HTTP client for thousands of people at once, and how late it itself was."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

ANSWER_SECONDS = 60.0


@dataclass(frozen=True)
class Answer:
    """`status` is 0 when none came."""

    status: int
    body: bytes = b""
    retry_after: float | None = None

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def name(self) -> str:
        """The status, with the code of what is not a success."""
        if self.status == 0:
            return "no answer"
        if self.status < 400:
            return str(self.status)
        name = str(self.status)
        with suppress(ValueError, TypeError, KeyError):
            name = f"{name} {self.json()['code']}"
        is_rude = self.status == 503 and self.retry_after is None
        return f"{name} without Retry-After" if is_rude else name


class Client:
    """Keeps connections that are free for whoever comes next, as a proxy in front of the server would."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port or 80
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def ask(self, method: str, path: str, *, bearer: str = "", body: Any = None) -> Answer:
        content = b"" if body is None else json.dumps(body).encode()
        head = f"{method} {path} HTTP/1.1\r\nHost: {self._host}:{self._port}\r\n"
        head += f"Authorization: {bearer}\r\n" if bearer else ""
        head += f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n" if body is not None else ""
        request = head.encode() + b"\r\n" + content
        try:
            return await asyncio.wait_for(self._exchange(request), ANSWER_SECONDS)
        except (OSError, asyncio.IncompleteReadError, asyncio.TimeoutError):
            return Answer(0)

    async def _exchange(self, request: bytes) -> Answer:
        """Where the server has closed a free connection meanwhile, over another one."""
        while self._idle:
            try:
                return await self._exchange_over(*self._idle.pop(), request)
            except (ConnectionError, asyncio.IncompleteReadError) as error:
                if getattr(error, "partial", b""):
                    raise
        return await self._exchange_over(*await asyncio.open_connection(self._host, self._port), request)

    async def _exchange_over(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes
    ) -> Answer:
        is_reusable = False
        try:
            writer.write(request)
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            first, *lines = head.rstrip("\r\n").split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            is_reusable = headers.get("connection", "").lower() != "close"
            after = headers.get("retry-after")
            return Answer(int(first.split(" ", 2)[1]), body, float(after) if after else None)
        finally:
            if is_reusable:
                self._idle.append((reader, writer))
            else:
                writer.close()

    async def close(self) -> None:
        for _, writer in self._idle:
            writer.close()
        self._idle.clear()


@dataclass
class Times:
    """How long one kind of request took, from the moment it was meant to be sent."""

    seconds: list[float] = field(default_factory=list)
    answers: Counter[str] = field(default_factory=Counter)

    def note(self, answer: Answer, seconds: float) -> None:
        self.answers[answer.name] += 1
        self.seconds.append(seconds)

    def as_json(self) -> dict[str, Any]:
        return {
            "count": len(self.seconds),
            **{f"p{part}_ms": round(quantile(self.seconds, part / 100) * 1000, 1) for part in (50, 95, 99)},
            "answers": dict(self.answers.most_common()),
        }


class Timetable:
    """Moments counted from a common beginning, and how late they were kept."""

    def __init__(self) -> None:
        self.began = time.perf_counter()
        self.late: list[float] = []

    @property
    def now(self) -> float:
        return time.perf_counter() - self.began

    async def wait_until(self, moment: float) -> None:
        await asyncio.sleep(max(0.0, moment - self.now))
        self.late.append(self.now - moment)


def quantile(values: Sequence[float], part: float) -> float:
    """The least value that so large a part of all does not exceed; 0 of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))] if ordered else 0.0
