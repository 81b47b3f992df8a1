"""A worker stops whenever it is asked, and gives every shard its turn."""

from __future__ import annotations

import subprocess
import sys

import pytest

from service.access.keys import create_client
from service.doorbell import APPLY, DELIVER, Bell
from service.ledger.append import append
from service.ledger.command import Caller, set_credit
from service.ledger.drain import shard_of
from tests.support.client import add_customer
from tests.support.processes import ROOT
from workers import jobs

# A signal at the worst moments: while the worker registers itself, subscribes, and falls idle.
MOMENTS = ["register_birth", "subscribe", "_install_signal_handlers", "check_for_suspension", "heartbeat"]
SIGNALLED = """
import os, signal, sys
from workers import loop
name = sys.argv[1]
original = getattr(loop.DoorbellWorker, name)
def signalled(self, *args, **kwargs):
    os.kill(os.getpid(), signal.SIGTERM)
    result = original(self, *args, **kwargs)
    os.kill(os.getpid(), signal.SIGTERM)
    return result
setattr(loop.DoorbellWorker, name, signalled)
loop.serve("apply")
"""


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_signal_at_any_moment_of_the_start_stops_the_worker(processes, moment):
    worker = subprocess.Popen([sys.executable, "-c", SIGNALLED, moment], cwd=ROOT, env=processes.environment)
    try:
        assert worker.wait(20) == 0
    finally:
        worker.kill()


class Doorbell:
    def __init__(self):
        self.rung = []

    def answer(self, bell):
        pass

    def ring(self, *bells):
        self.rung += bells


def test_a_busy_shard_makes_room_for_the_others_and_rings_for_itself(own_engine, config, monkeypatch):
    client = create_client(own_engine, "busy")
    customer = add_customer(own_engine, client)
    append(own_engine, [set_credit(Caller(client, "t"), f"id:{customer}", n) for n in range(50)])
    doorbell = Doorbell()
    run = jobs.Runtime(config, own_engine, doorbell, type("Tally", (), {"drained": lambda *_: None})())
    monkeypatch.setattr(jobs, "runtime", lambda: run)
    monkeypatch.setattr(jobs, "TURN", -1.0)
    jobs.apply_shard(shard_of(customer))
    assert doorbell.rung == [Bell(APPLY, shard_of(customer))]


@pytest.mark.parametrize(("seconds", "rung"), [(-1.0, [Bell(DELIVER)]), (60.0, [])])
def test_a_dispatch_that_ended_for_its_time_rings_for_the_next(own_engine, config, monkeypatch, seconds, rung):
    doorbell = Doorbell()
    run = jobs.Runtime(config, own_engine, doorbell, type("Tally", (), {"attempted": lambda *_: None})())
    monkeypatch.setattr(jobs, "runtime", lambda: run)
    monkeypatch.setattr(jobs, "DELIVER_SECONDS", seconds)
    jobs.deliver_due()
    assert doorbell.rung == rung


def test_each_dispatch_of_a_process_goes_on_where_the_one_before_it_ended(own_engine, config, monkeypatch):
    run = jobs.Runtime(config, own_engine, Doorbell(), type("Tally", (), {"attempted": lambda *_: None})())
    rotations = []
    monkeypatch.setattr(jobs, "runtime", lambda: run)
    monkeypatch.setattr(jobs, "dispatch", lambda *_, rotation, **__: rotations.append(rotation))
    jobs.deliver_due()
    jobs.deliver_due()
    assert rotations[0] is rotations[1] is run.rotation
