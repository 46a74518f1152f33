"""Several processes that count requests together, in a real Redis."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
import requests

from tests import live
from tests.support import free_port
from tests.waiting import wait_until
from utils import launch

pytestmark = pytest.mark.redis
MOST = 40


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """Of a Redis that answers. There is no run without one."""
    url = os.environ["TEST_REDIS_URL"]
    with redis.Redis.from_url(url) as server:
        wait_until(lambda: _answers(server), seconds=10)
        yield url


@pytest.fixture(autouse=True)
def _empty(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as server:
        server.flushall()


def _answers(server: redis.Redis) -> bool:
    try:
        return bool(server.ping())
    except redis.RedisError:
        return False


def start(database_url: str, redis_url: str, **more: str) -> live.Live:
    environment = {
        "DATABASE_URL": database_url,
        "RATELIMIT_ENABLED": "true",
        "RATELIMIT_PER_MINUTE": str(MOST),
        "REDIS_URL": redis_url,
        "WEB_WORKERS": "1",
        "WEB_THREADS": "8",
    }
    return live.start(environment | more, has_worker=False)


def statuses(*servers: live.Live, each: int) -> list[int]:
    return [requests.get(server.url + "/", timeout=10).status_code for _ in range(each) for server in servers]


def test_two_servers_share_one_limit(database_url: str, redis_url: str) -> None:
    servers = [start(database_url, redis_url) for _ in range(2)]
    try:
        told = statuses(*servers, each=MOST)
        assert sorted(told) == [200] * MOST + [429] * MOST
        assert told[:MOST] == [200] * MOST
    finally:
        for server in servers:
            server.stop()


def test_without_redis_each_counts_its_own(database_url: str) -> None:
    """What the test before would show if nothing were shared."""
    servers = [start(database_url, "") for _ in range(2)]
    try:
        assert statuses(*servers, each=MOST) == [200] * 2 * MOST
    finally:
        for server in servers:
            server.stop()


def test_a_redis_that_dies_takes_nothing_down_and_is_used_again_when_it_is_back(
    database_url: str, redis_url: str, tmp_path: Path
) -> None:
    """One of its own, which may be killed."""
    port = free_port()
    url = f"redis://127.0.0.1:{port}/0"

    def run_redis() -> subprocess.Popen[bytes]:
        options = ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(tmp_path), "--save", ""]
        command = launch.command("redis-server", *options, end_with=signal.SIGTERM)
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        with redis.Redis.from_url(url) as server:
            wait_until(lambda: _answers(server), seconds=10)
        return process

    def is_counting() -> bool:
        with redis.Redis.from_url(url) as server:
            assert statuses(ticksy, each=1)[0] in (200, 429)
            return bool(server.keys("*"))

    process = run_redis()
    ticksy = start(database_url, url, RATELIMIT_PER_MINUTE="1000")
    try:
        wait_until(is_counting)
        process.kill()
        process.wait()
        assert statuses(ticksy, each=20) == [200] * 20
        process = run_redis()
        wait_until(is_counting, seconds=30)
    finally:
        ticksy.stop()
        process.kill()
        process.wait()
