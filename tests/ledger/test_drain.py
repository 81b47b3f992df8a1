"""Promise 6: each event is applied once, in order, and yields exactly one change log row."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest
from sqlalchemy import text

from service.db.transaction import transaction
from service.ledger import drain as drain_module
from service.ledger.append import append, append_one
from service.ledger.command import Caller, Command, Why, set_credit, set_status
from service.ledger.drain import SHARDS, drain, shard_of
from service.ledger.event import Kind, Status
from service.ledger.lag import apply_lag, shards_left_behind, unpark
from tests.support.ledger import (
    apply_everything,
    assert_applied,
    change_log,
    events,
    projection,
    rows,
)


def nothing_owed(connection, applied):
    return 0


@pytest.fixture
def caller(client_id):
    return Caller(client_id, "key:1")


def set_to(engine, caller, customer, *amounts):
    for amount in amounts:
        append_one(engine, set_credit(caller, f"id:{customer}", Decimal(amount)))


def charge(engine, caller, customer, detail):
    append_one(engine, Command(caller, f"id:{customer}", Kind.CALL_CHARGED, amount=Decimal(1), detail=detail))


def test_the_change_log_says_who_changed_what_from_what_to_what(engine, caller, new_customer):
    customer = new_customer(credit=Decimal(10))
    append_one(engine, set_credit(caller, f"id:{customer}", Decimal("12.5"), Why("nạp tiền")))
    append_one(engine, set_status(caller, f"id:{customer}", Status.SUSPENDED))
    apply_everything(engine)
    created, credit, status = change_log(engine, customer)
    assert (created.credit_before, created.credit_after) == (0, 10)
    assert (credit.credit_before, credit.credit_after, credit.actor, credit.reason) == (10, 12.5, "key:1", "nạp tiền")
    assert (status.status_before, status.status_after, status.credit_before) == (1, 6, 12.5)
    assert status.applied_at >= status.recorded_at
    assert_applied(engine, customer)


def test_a_batch_of_one_shard_is_one_commit(engine, caller, customer):
    append(engine, [set_credit(caller, f"id:{customer}", Decimal(n)) for n in range(300)])
    drained = drain(engine, shard_of(customer), nothing_owed)
    assert [a.event.seq for a in drained.applied if a.event.customer_id == customer] == list(range(1, 302))
    assert (
        len({row.xmin for row in rows(engine, "SELECT xmin::text FROM change_log WHERE customer_id = :c", c=customer)})
        == 1
    )


def test_draining_again_changes_nothing(engine, caller, customer):
    set_to(engine, caller, customer, 1, 2, 3)
    apply_everything(engine)
    before = change_log(engine, customer)
    assert drain(engine, shard_of(customer), nothing_owed).applied == []
    assert change_log(engine, customer) == before


def test_a_second_drain_of_a_shard_leaves_it_to_the_first(engine, caller, customer):
    set_to(engine, caller, customer, 1)
    with transaction(engine) as tx:
        tx.execute(text("SELECT pg_advisory_xact_lock(hashtext('ledger_shard'), :n)"), {"n": shard_of(customer)})
        assert drain(engine, shard_of(customer), nothing_owed).busy
    apply_everything(engine)
    assert_applied(engine, customer)


def test_drains_and_writers_at_once_apply_everything_once(engine, caller, new_customer):
    customers = [new_customer() for _ in range(6)]

    def write(n):
        for amount in range(30):
            append_one(engine, set_credit(caller, f"id:{customers[(n + amount) % 6]}", Decimal(amount)))

    def work(n):
        for _ in range(20):
            for shard in range(SHARDS):
                drain(engine, (shard + n) % SHARDS, nothing_owed)

    with ThreadPoolExecutor(12) as pool:
        for future in [*(pool.submit(write, n) for n in range(8)), *(pool.submit(work, n) for n in range(4))]:
            future.result()
    apply_everything(engine)
    for customer in customers:
        assert_applied(engine, customer)


def test_what_is_owed_fails_with_the_apply(engine, caller, customer):
    set_to(engine, caller, customer, 1)

    def killed(connection, applied):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        drain(engine, shard_of(customer), killed)
    assert change_log(engine, customer) == []
    assert projection(engine, customer).applied_seq == 0
    apply_everything(engine)
    assert_applied(engine, customer)


@pytest.mark.parametrize(
    ("detail", "used"),
    [
        ("{}", None),
        ('{"start_time": null}', None),
        ('{"start_time": "2024-05-06T07:08:09Z"}', "2024-05-06T07:08:09Z"),
        ('{"start_time": "2024-05-06T07:08:09.25+07:00"}', "2024-05-06T00:08:09.250000Z"),
        ('{"start_time": "9999-12-31T23:59:59.999999Z"}', "9999-12-31T23:59:59.999999Z"),
    ],
)
def test_a_customer_was_used_when_its_call_began_if_the_call_says_when(engine, api, caller, customer, detail, used):
    charge(engine, caller, customer, detail)
    apply_everything(engine)
    assert_applied(engine, customer)
    shown = api.get(f"/v1/customer/{customer}").json
    assert (shown["firstusedate"], shown["lastuse"]) == (used, used)


def test_an_append_never_waits_for_a_worker(engine, caller, customer):
    set_to(engine, caller, customer, 1)
    with transaction(engine) as tx:
        tx.execute(text("SELECT FROM customer WHERE id = :id FOR NO KEY UPDATE"), {"id": customer})
        set_to(engine, caller, customer, 2)
    assert len(events(engine, customer)) == 3


class TestAPoisonEvent:
    """One that cannot be applied parks its own customer, visibly, and nobody else."""

    @pytest.fixture
    def neighbours(self, engine, caller, new_customer):
        """Two customers of one shard."""
        first = new_customer()
        while shard_of(second := new_customer()) != shard_of(first):
            pass
        return first, second

    @pytest.fixture(autouse=True)
    def clean(self, engine):
        apply_everything(engine)
        yield
        with transaction(engine) as tx:
            tx.execute(text("DROP TRIGGER IF EXISTS poison ON change_log"))
            tx.execute(text("DELETE FROM outbox WHERE parked"))
            tx.execute(text("UPDATE customer SET parked_at = NULL WHERE parked_at IS NOT NULL"))

    def test_a_sum_that_does_not_hold_parks_its_customer_only(self, engine, caller, neighbours):
        poisoned, healthy = neighbours
        set_to(engine, caller, poisoned, 1, 2)
        set_to(engine, caller, healthy, 1, 2)
        with transaction(engine) as tx:
            tx.execute(text("UPDATE customer SET credit = 99 WHERE id = :id"), {"id": poisoned})
        apply_everything(engine)
        assert_applied(engine, healthy)
        assert "99" in projection(engine, poisoned).parked_reason
        assert apply_lag(engine).parked_customers == 1

    def test_an_event_that_is_missing_parks_its_customer_only(self, engine, caller, neighbours):
        poisoned, healthy = neighbours
        set_to(engine, caller, poisoned, 1)
        set_to(engine, caller, healthy, 1)
        with transaction(engine) as tx:
            beyond = "INSERT INTO outbox (customer_id, seq, shard, recorded_at) VALUES (:id, 3, :shard, now())"
            tx.execute(text(beyond), {"id": poisoned, "shard": shard_of(poisoned)})
        apply_everything(engine)
        assert_applied(engine, healthy)
        assert projection(engine, poisoned).parked_reason == "event 3 is missing"

    @pytest.mark.parametrize(
        "detail",
        ["[1]", '"2024-05-06T07:08:09Z"', "0"]
        + [
            f'{{"start_time": {start}}}'
            for start in (
                "5", '["2024-05-06T07:08:09Z"]', '"infinity"', '"nonsense"', '"20000-01-01T00:00:00Z"',
                '"1969-12-31T23:59:59Z"', '"2024-02-30T00:00:00Z"', '"2024-05-06T07:08:09"', '"2024-05-06"',
                '"9999-12-31T23:59:59-14:00"', '"2024-05-06T24:00:00Z"',
            )
        ],
    )  # fmt: skip
    def test_a_call_that_began_at_no_moment_parks_its_customer_only(self, engine, api, caller, neighbours, detail):
        poisoned, healthy = neighbours
        charge(engine, caller, poisoned, '{"start_time": "2024-05-06T07:08:09Z"}')
        charge(engine, caller, poisoned, detail)
        set_to(engine, caller, healthy, 1)
        apply_everything(engine)
        assert_applied(engine, healthy)
        row = projection(engine, poisoned)
        assert (row.parked_reason, row.applied_seq) == ("event 3: its start_time is not a moment", 2)
        shown = api.get(f"/v1/customer/{poisoned}")
        assert (shown.status, shown.json["lastuse"]) == (200, "2024-05-06T07:08:09Z")

    def test_a_parked_customer_is_left_alone(self, engine, caller, neighbours):
        parked, healthy = neighbours
        set_to(engine, caller, parked, 1)
        set_to(engine, caller, healthy, 1)
        with transaction(engine) as tx:
            tx.execute(text("UPDATE customer SET parked_at = now() WHERE id = :id"), {"id": parked})
        apply_everything(engine)
        assert_applied(engine, healthy)
        assert projection(engine, parked).applied_seq < 2

    def test_what_the_database_refuses_parks_its_customer_only(self, engine, caller, neighbours):
        poisoned, healthy = neighbours
        set_to(engine, caller, poisoned, 1)
        set_to(engine, caller, healthy, 1)
        with transaction(engine) as tx:
            tx.execute(
                text(f"""
                    CREATE OR REPLACE FUNCTION poison() RETURNS trigger LANGUAGE plpgsql AS
                    $$ BEGIN IF NEW.customer_id = {poisoned} THEN RAISE EXCEPTION 'poison'; END IF; RETURN NEW; END $$
                """)
            )
            tx.execute(text("CREATE TRIGGER poison BEFORE INSERT ON change_log FOR EACH ROW EXECUTE FUNCTION poison()"))
        apply_everything(engine)
        assert_applied(engine, healthy)
        assert projection(engine, poisoned).parked_reason == "poison"

    def test_a_parked_customer_takes_changes_and_is_applied_once_it_is_unparked(self, engine, caller, neighbours):
        poisoned, _ = neighbours
        with transaction(engine) as tx:
            tx.execute(text("UPDATE customer SET credit = 99 WHERE id = :id"), {"id": poisoned})
        set_to(engine, caller, poisoned, 1)
        apply_everything(engine)
        set_to(engine, caller, poisoned, 2)
        apply_everything(engine)
        assert not shards_left_behind(engine, 0)
        with transaction(engine) as tx:
            tx.execute(text("UPDATE customer SET credit = 0 WHERE id = :id"), {"id": poisoned})
        assert unpark(engine, poisoned)
        apply_everything(engine)
        assert_applied(engine, poisoned)


def test_sql_and_python_agree_on_the_shards(engine):
    found = rows(engine, "SELECT n, ledger_shard(n) FROM generate_series(1, 64) n")
    assert [(n, shard_of(n)) for n in range(1, 65)] == [tuple(row) for row in found]
    assert {shard for _, shard in found} == set(range(SHARDS))


def test_those_who_wait_longest_are_applied_first(engine, caller, new_customer, monkeypatch):
    first = new_customer()
    while shard_of(second := new_customer()) != shard_of(first):
        pass
    apply_everything(engine)
    set_to(engine, caller, second, 1)
    set_to(engine, caller, first, 1)
    monkeypatch.setattr(drain_module, "BATCH", 1)
    assert [a.event.customer_id for a in drain(engine, shard_of(first), nothing_owed).applied] == [second]
    assert [a.event.customer_id for a in drain(engine, shard_of(first), nothing_owed).applied] == [first]


def test_a_drain_goes_by_what_whoever_held_a_projection_row_left_there(engine, caller, customer):
    set_to(engine, caller, customer, 1)
    with ThreadPoolExecutor(1) as pool:
        with transaction(engine) as tx:
            tx.execute(text("UPDATE customer SET parked_at = now() WHERE id = :id"), {"id": customer})
            draining = pool.submit(drain, engine, shard_of(customer), nothing_owed)
            with pytest.raises(TimeoutError):
                draining.result(0.3)
        applied = draining.result(10).applied
    assert customer not in {a.event.customer_id for a in applied}
    assert projection(engine, customer).applied_seq == 0
    assert unpark(engine, customer)
    apply_everything(engine)
    assert_applied(engine, customer)


def test_a_lost_doorbell_is_seen_by_its_age(engine, caller, customer):
    apply_everything(engine)
    assert apply_lag(engine).waiting == 0
    set_to(engine, caller, customer, 1)
    assert shards_left_behind(engine, 0) == [shard_of(customer)]
    assert shards_left_behind(engine, 60) == []
    assert apply_lag(engine).waiting == 1
