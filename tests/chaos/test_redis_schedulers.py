"""A short run of all harms; ``python -m tests.chaos.redis_schedulers`` is a long one."""

from pathlib import Path

from tests.chaos import redis_schedulers
from tests.servers.redis import RedisServer


def test_harmed_schedulers_over_redis_miss_and_double_nothing(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    redis_schedulers.run(redis_server, tmp_path, seconds=8, seed=3)
