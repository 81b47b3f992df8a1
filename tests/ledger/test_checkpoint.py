"""Signed checkpoints: they show what no chain of hashes can, and are never made over what does not hold."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from decimal import Decimal

import pytest
import structlog
from sqlalchemy import Engine

from service.access.keys import create_client
from service.ledger.append import append_one
from service.ledger.command import Caller, set_credit
from service.ledger.proof.checkpoint import CannotProve, CheckpointKeys, keep_checkpoints, make_checkpoint
from service.ledger.proof.history import Selection
from service.ledger.proof.replay import Break
from service.ledger.proof.verify import verify
from tests.support.client import add_customer
from tests.support.ledger import apply_everything, rows
from tests.support.tampering import fit_head, rehash, run_flask, tamper

KEY = "a checkpoint key of the tests, long enough to be one"
KEYS = CheckpointKeys(KEY)


@pytest.fixture
def client(own_engine):
    return create_client(own_engine, "client")


@pytest.fixture
def customers(own_engine, client):
    """Three customers with five events each, all applied."""
    made = [add_customer(own_engine, client) for _ in range(3)]
    for n in range(4):
        for customer in made:
            change(own_engine, client, customer, n)
    apply_everything(own_engine)
    return made


def change(engine, client, customer, amount):
    append_one(engine, set_credit(Caller(client, "key:1"), f"id:{customer}", Decimal(amount)))


@pytest.fixture
def sealed(own_engine, customers):
    """The same, with a checkpoint."""
    assert make_checkpoint(own_engine, KEYS).number == 1
    assert verify(own_engine, keys=KEYS).checkpoint.number == 1
    return customers


def refused(act: Callable[[], object]) -> Break:
    with pytest.raises(Break) as caught:
        act()
    return caught.value


@dataclass
class Crime:
    """What somebody does who may write to every table, and what verify and the next checkpoint have to say of it.

    `seen_by_make`: a checkpoint follows what is new, so a change that leaves every head as it is, is left to verify.
    """

    do: Callable[[Engine, int], None]
    sentence: str
    seen_by_make: bool = True


def change_an_event(engine, customer):
    tamper(engine, "UPDATE ledger_event SET reason = 'none' WHERE customer_id = :id AND seq = 3", id=customer)


def swap_two_events(engine, customer):
    tamper(
        engine,
        "UPDATE ledger_event SET seq = -seq WHERE customer_id = :id AND seq IN (3, 4)",
        "UPDATE ledger_event SET seq = 7 + seq WHERE customer_id = :id AND seq < 0",
        id=customer,
    )


def swap_two_events_and_hash_anew(engine, customer):
    tamper(
        engine,
        """UPDATE ledger_event SET amount = 2, balance_after = 2, delta = 2 - 0
           WHERE customer_id = :id AND seq = 3""",
        """UPDATE ledger_event SET amount = 1, balance_after = 1, delta = 1 - 2
           WHERE customer_id = :id AND seq = 4""",
        "UPDATE ledger_event SET delta = 3 - 1 WHERE customer_id = :id AND seq = 5",
        id=customer,
    )
    rehash(engine, customer)
    fit_head(engine, customer)


def delete_the_tail(engine, customer):
    tamper(engine, "DELETE FROM ledger_event WHERE customer_id = :id AND seq > 3", id=customer)
    fit_head(engine, customer)


def delete_the_stream(engine, customer):
    tables = ("ledger_event", "stream", "outbox", "change_log", "hold", "caller_id")
    tamper(
        engine,
        *(f"DELETE FROM {table} WHERE customer_id = :id" for table in tables),
        "DELETE FROM customer WHERE id = :id",
        id=customer,
    )


def delete_the_stream_and_its_noted_head(engine, customer):
    delete_the_stream(engine, customer)
    tamper(engine, "DELETE FROM checkpoint_head WHERE customer_id = :id", id=customer)


def write_the_chain_anew(engine, customer):
    tamper(
        engine,
        """UPDATE ledger_event SET amount = 1000, balance_after = 1000, delta = delta + 997
           WHERE customer_id = :id AND seq = 5""",
        id=customer,
    )
    rehash(engine, customer)
    fit_head(engine, customer)


def write_the_chain_anew_and_add_an_event(engine, customer):
    write_the_chain_anew(engine, customer)
    client = rows(engine, "SELECT client_id FROM customer WHERE id = :id", id=customer)[0].client_id
    change(engine, client, customer, 7)


def write_the_chain_anew_and_note_its_head(engine, customer):
    write_the_chain_anew(engine, customer)
    tamper(
        engine,
        """UPDATE checkpoint_head k SET hash = s.last_hash, seq = s.last_seq FROM stream s
           WHERE k.customer_id = s.customer_id""",
    )


def forge_a_checkpoint(engine, customer):
    write_the_chain_anew_and_note_its_head(engine, customer)
    tamper(engine, """
        UPDATE ledger_checkpoint SET digest = (
            SELECT sha256(convert_to(string_agg(line, '' ORDER BY customer_id), 'UTF8')) FROM (
                SELECT customer_id, customer_id || E'\\t' || seq || E'\\t' || encode(hash, 'hex') || E'\\n' AS line
                FROM checkpoint_head) AS lines)
    """)  # fmt: skip


CRIMES = [
    Crime(change_an_event, "customer 2, event 3: hash should be ", seen_by_make=False),
    Crime(swap_two_events, "customer 2, event 3: hash should be ", seen_by_make=False),
    Crime(swap_two_events_and_hash_anew, "customer 2, event 5: the hash that the checkpoint saw should be "),
    Crime(delete_the_tail, "customer 2, event 4: the event that the checkpoint saw should be there, and is missing"),
    Crime(delete_the_stream, "customer 2, event 5: the "),
    Crime(delete_the_stream_and_its_noted_head, "the number of streams of checkpoint 1 should be 3, and is 2"),
    Crime(write_the_chain_anew, "customer 2, event 5: the hash that the checkpoint saw should be "),
    Crime(write_the_chain_anew_and_add_an_event, "customer 2, event "),
    Crime(write_the_chain_anew_and_note_its_head, "the digest of checkpoint 1 should be "),
    Crime(forge_a_checkpoint, "the signature of checkpoint 1 should be "),
]


@pytest.mark.parametrize("crime", CRIMES, ids=lambda crime: crime.do.__name__)
def test_what_somebody_does_who_may_write_everywhere_is_named(own_engine, own_database, sealed, crime):
    assert sealed[1] == 2
    crime.do(own_engine, 2)
    assert refused(lambda: verify(own_engine, keys=KEYS)).sentence.startswith(crime.sentence)
    done = run_flask(own_database, "ledger", "verify", CHECKPOINT_KEY=KEY)
    assert done.returncode == 1
    assert crime.sentence in done.stderr


@pytest.mark.parametrize("crime", [crime for crime in CRIMES if crime.seen_by_make], ids=lambda c: c.do.__name__)
def test_the_next_checkpoint_is_not_made_over_it(own_engine, client, sealed, crime):
    change(own_engine, client, 1, 99)
    crime.do(own_engine, 2)
    noted = rows(own_engine, "SELECT * FROM checkpoint_head ORDER BY customer_id")
    assert refused(lambda: make_checkpoint(own_engine, KEYS)).sentence
    assert len(rows(own_engine, "SELECT FROM ledger_checkpoint")) == 1
    assert rows(own_engine, "SELECT * FROM checkpoint_head ORDER BY customer_id") == noted


@pytest.mark.parametrize("crime", [c for c in CRIMES if not c.seen_by_make], ids=lambda c: c.do.__name__)
def test_a_checkpoint_made_after_it_does_not_hide_it_from_verify(own_engine, client, sealed, crime):
    crime.do(own_engine, 2)
    change(own_engine, client, 1, 99)
    assert make_checkpoint(own_engine, KEYS).number == 2
    assert refused(lambda: verify(own_engine, keys=KEYS)).sentence.startswith(crime.sentence)


@pytest.mark.parametrize("crime", [write_the_chain_anew, delete_the_tail, delete_the_stream])
def test_only_a_checkpoint_can_show_it(own_engine, customers, crime):
    crime(own_engine, 2)
    assert verify(own_engine).checkpoint is None


def test_new_events_are_followed_from_the_sealed_hash(own_engine, client, sealed):
    for statement in (
        "UPDATE ledger_event SET amount = 4 WHERE customer_id = 2 AND seq = 6",
        "DELETE FROM ledger_event WHERE customer_id = 2 AND seq = 6",
        "DELETE FROM ledger_event WHERE customer_id = 2 AND seq = 7",
        "UPDATE stream SET last_hash = '' WHERE customer_id = 2",
    ):
        change(own_engine, client, 2, 9)
        change(own_engine, client, 2, 8)
        tamper(own_engine, statement)
        assert refused(lambda: make_checkpoint(own_engine, KEYS)).customer_id == 2


def test_a_checkpoint_seals_what_came_since_and_knows_the_one_before(own_engine, client, sealed):
    change(own_engine, client, 3, 9)
    later = add_customer(own_engine, client)
    first = verify(own_engine, keys=KEYS).checkpoint
    second = make_checkpoint(own_engine, KEYS)
    assert (second.number, second.streams, second.events) == (2, 4, 17)
    assert second.previous == first.signature
    change(own_engine, client, later, 1)
    assert verify(own_engine, keys=KEYS).checkpoint == second


class TestKeys:
    def test_without_a_key_there_is_no_proof(self, own_engine, own_database, sealed):
        with pytest.raises(CannotProve):
            verify(own_engine)
        done = run_flask(own_database, "ledger", "verify")
        assert (done.returncode, "CHECKPOINT_KEY is not set" in done.stderr) == (1, True)
        done = run_flask(own_database, "ledger", "checkpoint")
        assert (done.returncode, "CHECKPOINT_KEY is not set" in done.stderr) == (1, True)
        assert "Traceback" not in done.stderr

    def test_another_key_proves_nothing(self, own_engine, sealed):
        other = CheckpointKeys("b" * 40)
        for act in (verify, make_checkpoint):
            assert refused(lambda act=act: act(own_engine, keys=other)).what == "the signature of checkpoint 1"

    def test_a_key_is_changed_with_the_old_one_beside_it_until_a_checkpoint_has_been_made(self, own_engine, sealed):
        assert verify(own_engine, keys=CheckpointKeys("b" * 40, KEY)).checkpoint.number == 1
        make_checkpoint(own_engine, CheckpointKeys("b" * 40, KEY))
        assert verify(own_engine, keys=CheckpointKeys("b" * 40)).checkpoint.number == 2
        make_checkpoint(own_engine, CheckpointKeys("c" * 40, "b" * 40))
        assert verify(own_engine, keys=CheckpointKeys("c" * 40)).checkpoint.number == 3
        assert refused(lambda: verify(own_engine, keys=KEYS)).what == "the signature of checkpoint 2"


@pytest.mark.parametrize(
    ("statement", "what"),
    [
        ("UPDATE ledger_checkpoint SET events = events + 1 WHERE number = 2", "the signature of checkpoint 2"),
        ("UPDATE ledger_checkpoint SET streams = 0 WHERE number = 3", "the signature of checkpoint 3"),
        ("UPDATE ledger_checkpoint SET made_at = now() WHERE number = 3", "the signature of checkpoint 3"),
        ("UPDATE ledger_checkpoint SET digest = '' WHERE number = 3", "the signature of checkpoint 3"),
        ("UPDATE ledger_checkpoint SET signature = '' WHERE number = 2", "the signature of checkpoint 2"),
        ("UPDATE ledger_checkpoint SET previous = NULL WHERE number = 3", "the signature before checkpoint 3"),
        ("DELETE FROM ledger_checkpoint WHERE number = 2", "the next checkpoint"),
        ("DELETE FROM ledger_checkpoint WHERE number = 1", "the next checkpoint"),
        ("DELETE FROM ledger_checkpoint WHERE number = 3", "the number of events of checkpoint 2"),
        ("DELETE FROM ledger_checkpoint", "a checkpoint for the heads that were noted"),
        ("UPDATE checkpoint_head SET hash = '' WHERE customer_id = 2", "the digest of checkpoint 3"),
        ("UPDATE checkpoint_head SET seq = seq + 1 WHERE customer_id = 2", "the number of events of checkpoint 3"),
        ("DELETE FROM checkpoint_head WHERE customer_id = 2", "the number of streams of checkpoint 3"),
    ],
)
def test_checkpoints_that_were_changed_or_removed_are_named(own_engine, client, sealed, statement, what):
    for n in range(2):
        change(own_engine, client, 1, n)
        make_checkpoint(own_engine, KEYS)
    assert verify(own_engine, keys=KEYS).checkpoint.number == 3
    tamper(own_engine, statement)
    assert refused(lambda: verify(own_engine, keys=KEYS)).what == what
    assert refused(lambda: verify(own_engine, Selection(customer_id=1), keys=KEYS)).what == what
    assert refused(lambda: make_checkpoint(own_engine, KEYS)).what == what


def test_who_knows_a_number_sees_that_newer_checkpoints_were_deleted(own_engine, own_database, sealed):
    assert verify(own_engine, keys=KEYS, at_least=1).checkpoint.number == 1
    tamper(own_engine, "DELETE FROM ledger_checkpoint", "DELETE FROM checkpoint_head")
    assert verify(own_engine, keys=KEYS).checkpoint is None
    assert "should be number 1 or a later one, and is none" in refused(
        lambda: verify(own_engine, keys=KEYS, at_least=1)
    ).sentence  # fmt: skip
    done = run_flask(own_database, "ledger", "verify", "--checkpoint", "1", CHECKPOINT_KEY=KEY)
    assert (done.returncode, "number 1 or a later one" in done.stderr) == (1, True)


def test_two_makers_at_once_make_one_after_the_other(own_engine, client, customers):
    def make(n):
        change(own_engine, client, customers[n % 3], n)
        return make_checkpoint(own_engine, KEYS).number

    with ThreadPoolExecutor(6) as pool:
        assert sorted(pool.map(make, range(18))) == list(range(1, 19))
    assert verify(own_engine, keys=KEYS).checkpoint.number == 18


def test_writes_may_go_on_while_checkpoints_are_made_and_proved(own_engine, client, customers):
    done = threading.Event()

    def write(customer):
        while not done.is_set():
            change(own_engine, client, customer, 1)

    threads = [threading.Thread(target=write, args=(customer,)) for customer in customers]
    for thread in threads:
        thread.start()
    try:
        for n in range(1, 11):
            assert make_checkpoint(own_engine, KEYS).number == n
            assert verify(own_engine, keys=KEYS).checkpoint.number == n
    finally:
        done.set()
        for thread in threads:
            thread.join()


class TestKeepingThem:
    def test_one_is_made_when_the_newest_is_old_enough_and_there_are_events_since(self, own_engine, client, customers):
        with structlog.testing.capture_logs() as logged:
            made = keep_checkpoints(own_engine, KEYS, 3600)
        assert logged == [
            {"event": "checkpoint", "log_level": "info", "number": 1, "streams": 3, "events": 15,
             "signature": made.signature.hex()}
        ]  # fmt: skip
        change(own_engine, client, 1, 7)
        assert keep_checkpoints(own_engine, KEYS, 3600) is None
        assert keep_checkpoints(own_engine, KEYS, 0).number == 2
        assert keep_checkpoints(own_engine, KEYS, 0) is None

    def test_an_empty_ledger_needs_none(self, own_engine):
        assert keep_checkpoints(own_engine, KEYS, 0) is None

    def test_what_does_not_hold_goes_to_the_log_as_an_error(self, own_engine, sealed):
        write_the_chain_anew(own_engine, 2)
        with structlog.testing.capture_logs() as logged:
            assert keep_checkpoints(own_engine, KEYS, 0) is None
        assert [(line["event"], line["log_level"], line["customer_id"]) for line in logged] == [
            ("ledger broken", "error", 2)
        ]


def test_the_command_makes_one_and_prints_what_is_to_be_kept(own_engine, own_database, customers):
    done = run_flask(own_database, "ledger", "checkpoint", CHECKPOINT_KEY=KEY)
    assert done.returncode == 0, done.stderr
    made = verify(own_engine, keys=KEYS).checkpoint
    first, signature = done.stdout.splitlines()
    assert first.startswith("Checkpoint 1 of ")
    assert first.endswith(": 3 streams with 15 events.")
    assert signature == made.signature.hex()
    done = run_flask(own_database, "ledger", "verify", "--checkpoint", "1", CHECKPOINT_KEY=KEY)
    assert (done.returncode, done.stdout.splitlines()[0]) == (0, "3 customers with 15 events: everything holds.")
    write_the_chain_anew(own_engine, 2)
    done = run_flask(own_database, "ledger", "checkpoint", CHECKPOINT_KEY=KEY)
    assert (done.returncode, "customer 2, event 5" in done.stderr) == (1, True)
