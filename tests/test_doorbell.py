"""Doorbells: coalesced, lossy, never in anybody's way."""

from __future__ import annotations

import json
import time
import zlib
from dataclasses import replace

import pytest
from redis import Redis

from service.doorbell import APPLY, DELIVER, EXPORT, MAX_WAITING, BackgroundDoorbell, Bell, Doorbell, connect
from tests.support.processes import free_port, until


@pytest.fixture
def redis(valkey):
    return Redis.from_url(valkey.url)


@pytest.fixture
def doorbell(redis):
    return Doorbell(redis)


def test_ringing_again_before_an_answer_is_one_job(doorbell):
    assert all(doorbell.ring(Bell(APPLY, 3)) for _ in range(10))
    assert doorbell.depths()[APPLY] == 1


def test_after_an_answer_the_next_ring_is_a_new_job(doorbell):
    doorbell.ring(Bell(APPLY, 3))
    doorbell.answer(Bell(APPLY, 3))
    doorbell.ring(Bell(APPLY, 3))
    assert doorbell.depths()[APPLY] == 2


def test_shards_ring_apart(doorbell):
    doorbell.ring(*(Bell(APPLY, shard) for shard in range(16)))
    assert doorbell.depths()[APPLY] == 16


def test_exports_are_rung_for_apart_where_the_shards_are(doorbell):
    doorbell.ring(Bell(APPLY, 3), Bell(EXPORT), Bell(EXPORT))
    assert doorbell.depths() == {APPLY: 2, DELIVER: 0}
    assert Bell(EXPORT).flag == "doorbell:export"


def test_a_queue_that_nobody_answers_does_not_fill_redis(doorbell, redis):
    for _ in range(MAX_WAITING + 50):
        doorbell.ring(Bell(APPLY, 3))
        redis.delete(Bell(APPLY, 3).flag)  # as if its time had run out
    assert doorbell.depths()[APPLY] == MAX_WAITING


def test_a_job_carries_a_shard_and_nothing_else(doorbell, redis):
    doorbell.ring(Bell(APPLY, 3))
    [job] = redis.keys("rq:job:*")
    function, _, args, kwargs = json.loads(zlib.decompress(redis.hget(job, "data")))
    assert (function, args, kwargs) == ("workers.jobs.apply_shard", [3], {})
    assert redis.hget(job, "description") == b"doorbell:apply:3"


def test_a_dead_redis_is_no_error_and_no_wait(config):
    dead = Doorbell(connect(replace(config, redis_url=f"redis://127.0.0.1:{free_port()}/0")))
    assert dead.ring(Bell(APPLY, 1)) is False
    dead.answer(Bell(APPLY, 1))
    background = BackgroundDoorbell(dead)
    began = time.perf_counter()
    for shard in range(1000):
        background.ring(Bell(APPLY, shard % 16))
    assert time.perf_counter() - began < 1.0


def test_bells_of_a_busy_process_are_gathered_and_none_is_lost(doorbell):
    background = BackgroundDoorbell(doorbell)
    for shard in range(16):
        background.ring(Bell(APPLY, shard))
    assert until(lambda: doorbell.depths()[APPLY] == 16, 5)


def test_the_thread_outlives_a_redis_that_comes_and_goes(valkey, doorbell):
    background = BackgroundDoorbell(doorbell)
    background.ring(Bell(APPLY, 1))
    assert until(lambda: doorbell.depths()[APPLY] == 1, 5)
    valkey.stop()
    background.ring(Bell(APPLY, 2))
    time.sleep(0.2)
    valkey.start()
    background.ring(Bell(APPLY, 3))
    assert until(lambda: doorbell.depths()[APPLY] == 1, 5)
