-- The door. Takes commands as arrays of one length, gives one outcome for each; a bad command never fails its
-- neighbours. One call is one transaction's worth of work and one round trip.
--
--   p_expected  the seq that the stream must be at, for commands that shall not follow a change that nobody has seen.
--   p_refers    the seq of the event that a command is about: the hold to capture, the change to reverse.
--   p_details   JSON: {"expires_at"} of a hold, {"creditlimit", "credit_notification"} of a new customer or a new limit.
--   p_wait      wait for streams that another session has locked (2 s at most, then the call fails); or leave them be,
--               which is for those who append for several callers at once.
--   p_again     the same commands may have been appended before, by a call whose answer was lost: look first.
--
-- Outcomes: appended; not_found, ambiguous, no_event, no_hold; busy (without p_wait); reference_taken (customer_id and
-- seq are the first event's); moved_on (seq is where the stream is); insufficient (available credit would fall below
-- zero); hold_captured, hold_released, hold_expired (it is closed already); reversed (no such rest), not_reversible;
-- overflow (a balance with more than ten digits before the point); not_exact (more than five decimals, be they zeros),
-- too_large (more than ten digits before the point, or no number), bad_status (none of 0 to 8), bad_kind (unknown, out
-- of place, or without what it needs).
--
-- available = balance - held + creditlimit, and a hold whose time is over (it has lapsed) holds nothing, though nobody
-- has closed it yet. What takes credit away or holds it may not make that negative; a 'set' may, an opening balance that
-- is imported, the charge for a call (it has taken place), and the capture of a hold, whose credit was put aside before.
--
-- credit.low and credit.exhausted are written behind the event that leads there: when balance falls below the
-- customer's credit_notification, when nothing is available any more. What a customer begins with warns of nothing. last_seq counts them in; seq is the event's own.
--
-- Locks: first the references, in the order of their hashes, then the heads of all customers concerned, in the order of
-- their ids, so that two calls can't deadlock.
CREATE OR REPLACE FUNCTION ledger_append(
    p_clients     uuid[],
    p_refs        text[],
    p_command_ids uuid[],
    p_kinds       text[],
    p_amounts     numeric[],
    p_statuses    smallint[],
    p_reasons     text[],
    p_references  text[],
    p_actors      text[],
    p_request_ids text[],
    p_expected    bigint[],
    p_refers      bigint[],
    p_details     text[],
    p_keys        text[],
    p_wait        boolean,
    p_again       boolean
) RETURNS TABLE (
    ordinal integer, outcome text, customer_id bigint, seq bigint, last_seq bigint,
    balance_after numeric, available numeric, status_after smallint
)
LANGUAGE plpgsql
SET lock_timeout = '2s'
AS $$
#variable_conflict use_column
DECLARE
    c_cents CONSTANT integer := 5;     -- decimals of a credit
    c_limit CONSTANT numeric := 1e10;  -- credit has ten digits before the point
    size    CONSTANT integer := cardinality(p_refs);
    ids     bigint[] := array_fill(NULL::bigint, ARRAY[size]);
    turns   integer[] := ARRAY[1];     -- the commands in the order of their customers' ids, each customer's as given
    turn    integer := 1;
    means   bigint[];
    locks   bigint[] := '{}';
    busy    bigint[] := '{}';          -- hashes of references that another session is about to use
    lock_id bigint;
    heads   stream[];
    head    stream;
    old     ledger_event;
    first   record;
    settled record;
    main    bigint;                    -- the seq of the event that was asked for
    balance numeric;
    held    numeric;
    before  numeric;                   -- what was available
    lapsed  numeric;                   -- what is held by holds whose time is over
    delta   numeric(16, 5);
    hash    bytea;
    place   bigint := 0;
    place_0 bigint;
    moment  timestamptz;
    was_low boolean;                   -- before a new limit took effect
    now_low boolean;                   -- by this very event
    now_out boolean;
    i       integer;
BEGIN
    IF ARRAY[cardinality(p_clients), cardinality(p_command_ids), cardinality(p_kinds), cardinality(p_amounts),
             cardinality(p_statuses), cardinality(p_reasons), cardinality(p_references), cardinality(p_actors),
             cardinality(p_request_ids), cardinality(p_expected), cardinality(p_refers), cardinality(p_details),
             cardinality(p_keys)] IS DISTINCT FROM array_fill(size, ARRAY[13]) THEN
        RAISE EXCEPTION 'ledger_append takes arrays of one length' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    FOR i IN 1 .. size LOOP
        means := customer_resolve(p_clients[i], p_refs[i]);
        IF cardinality(means) = 1 THEN
            ids[i] := means[1];
            IF p_references[i] IS NOT NULL THEN
                locks := locks || hashtextextended(p_clients[i]::text || p_references[i], 0);
            END IF;
        ELSE
            ordinal := i;
            outcome := CASE cardinality(means) WHEN 0 THEN 'not_found' ELSE 'ambiguous' END;
            RETURN NEXT;
        END IF;
    END LOOP;
    IF size > 1 THEN
        turns := ARRAY(SELECT n FROM generate_series(1, size) n WHERE ids[n] IS NOT NULL ORDER BY ids[n], n);
    END IF;

    IF cardinality(locks) > 0 THEN
        FOREACH lock_id IN ARRAY ARRAY(SELECT DISTINCT each FROM unnest(locks) AS each ORDER BY each) LOOP
            IF p_wait THEN
                PERFORM pg_advisory_xact_lock(lock_id);
            ELSIF NOT pg_try_advisory_xact_lock(lock_id) THEN
                busy := busy || lock_id;
            END IF;
        END LOOP;
    END IF;

    -- One customer is asked for by '=': for '= ANY' Postgres would make a plan anew at every call.
    IF size = 1 AND p_wait THEN
        heads := ARRAY(SELECT s FROM stream s WHERE s.customer_id = ids[1] FOR UPDATE);
    ELSIF size = 1 THEN
        heads := ARRAY(SELECT s FROM stream s WHERE s.customer_id = ids[1] FOR UPDATE SKIP LOCKED);
    ELSIF p_wait THEN
        heads := ARRAY(SELECT s FROM stream s WHERE s.customer_id = ANY (ids) ORDER BY s.customer_id FOR UPDATE);
    ELSE
        heads := ARRAY(SELECT s FROM stream s WHERE s.customer_id = ANY (ids) ORDER BY s.customer_id
                       FOR UPDATE SKIP LOCKED);
    END IF;
    IF cardinality(heads) > 0 THEN
        place_0 := (SELECT base FROM feed_base) + pg_current_xact_id()::text::bigint;
    END IF;

    FOREACH head IN ARRAY heads LOOP
        WHILE ids[turns[turn]] <= head.customer_id LOOP
            i := turns[turn];
            turn := turn + 1;
            ordinal := i;
            customer_id := ids[i];
            IF size > 1 THEN
                outcome := NULL;
                seq := NULL;
                last_seq := NULL;
                balance_after := NULL;
                available := NULL;
                status_after := NULL;
            END IF;
            IF p_again THEN
                SELECT * INTO old FROM ledger_event e
                WHERE e.customer_id = ids[i] AND e.command_id = p_command_ids[i];
            END IF;

            IF ids[i] < head.customer_id THEN
                outcome := 'busy';  -- its head was skipped
            ELSIF p_again AND old.seq IS NOT NULL THEN
                outcome := 'appended';
                seq := old.seq;
                last_seq := coalesce((SELECT max(e.seq) FROM ledger_event e
                                      WHERE e.customer_id = old.customer_id AND e.refers_to = old.seq
                                        AND e.kind IN ('credit.low', 'credit.exhausted')), old.seq);
                balance_after := old.balance_after;
                available := old.balance_after - old.held_after + coalesce(old.creditlimit_after, 0) + (
                    SELECT coalesce(sum(h.amount), 0) FROM hold h
                    WHERE h.customer_id = old.customer_id AND h.seq <= old.seq AND h.expires_at <= old.recorded_at
                      AND (h.closed_seq IS NULL OR h.closed_seq > old.seq));
                status_after := old.status_after;
            ELSIF p_references[i] IS NOT NULL
                    AND hashtextextended(p_clients[i]::text || p_references[i], 0) = ANY (busy) THEN
                outcome := 'busy';
            ELSIF (head.last_seq = 0) IS DISTINCT FROM (p_kinds[i] = 'customer.created') OR (
                CASE p_kinds[i]
                    WHEN 'credit.set' THEN p_amounts[i] IS NOT NULL AND p_statuses[i] IS NULL
                    WHEN 'credit.added' THEN p_amounts[i] IS NOT NULL AND p_statuses[i] IS NULL
                    WHEN 'credit.imported' THEN p_amounts[i] IS NOT NULL AND p_statuses[i] IS NULL
                    WHEN 'call.charged' THEN p_amounts[i] >= 0 AND p_statuses[i] IS NULL AND p_details[i] IS NOT NULL
                    WHEN 'status.set' THEN p_amounts[i] IS NULL AND p_statuses[i] IS NOT NULL
                    WHEN 'customer.created' THEN p_amounts[i] IS NOT NULL AND p_statuses[i] IS NOT NULL
                    WHEN 'hold.created' THEN p_amounts[i] > 0 AND p_details[i]::json ->> 'expires_at' IS NOT NULL
                    WHEN 'hold.captured' THEN p_refers[i] IS NOT NULL AND coalesce(p_amounts[i] > 0, true)
                    WHEN 'hold.released' THEN p_refers[i] IS NOT NULL AND p_amounts[i] IS NULL
                    WHEN 'hold.expired' THEN p_refers[i] IS NOT NULL AND p_amounts[i] IS NULL
                    WHEN 'credit.reversed' THEN p_refers[i] IS NOT NULL AND coalesce(p_amounts[i] > 0, true)
                    WHEN 'limit.set' THEN p_details[i] IS NOT NULL AND p_amounts[i] IS NULL
                    WHEN 'callerid.added' THEN p_details[i] IS NOT NULL AND p_amounts[i] IS NULL
                    WHEN 'callerid.removed' THEN p_details[i] IS NOT NULL AND p_amounts[i] IS NULL
                END) IS NOT TRUE THEN
                outcome := 'bad_kind';
            ELSIF scale(p_amounts[i]) > c_cents THEN
                outcome := 'not_exact';
            ELSIF NOT abs(p_amounts[i]) < c_limit THEN  -- NaN is larger than any number
                outcome := 'too_large';
            ELSIF p_statuses[i] NOT BETWEEN 0 AND 8 THEN
                outcome := 'bad_status';
            ELSIF p_references[i] IS NOT NULL OR p_expected[i] IS NOT NULL THEN
                SELECT r.customer_id, r.seq INTO first
                FROM ledger_reference r WHERE r.client_id = head.client_id AND r.reference = p_references[i];
                IF FOUND THEN
                    outcome := 'reference_taken';
                    customer_id := first.customer_id;
                    seq := first.seq;
                ELSIF p_expected[i] <> head.last_seq THEN
                    outcome := 'moved_on';
                    seq := head.last_seq;
                END IF;
            END IF;

            -- What it comes to. Most commands are sets, which can't fail any more.
            IF outcome IS NULL THEN
                balance := head.balance;
                held := head.held;
                lapsed := 0;
                was_low := NULL;
                moment := greatest(clock_timestamp(), head.last_at);  -- a clock set back never reorders a stream
                IF held > 0 THEN
                    lapsed := (SELECT coalesce(sum(h.amount), 0) FROM hold h
                               WHERE h.customer_id = head.customer_id AND h.status = 'open' AND h.expires_at <= moment);
                END IF;
                before := balance - held + lapsed + coalesce(head.creditlimit, 0);
                IF p_kinds[i] = 'credit.set' OR p_kinds[i] = 'credit.imported' THEN
                    balance := p_amounts[i];
                ELSIF p_kinds[i] = 'customer.created' OR p_kinds[i] = 'limit.set' THEN
                    was_low := coalesce(head.balance < head.credit_notification, false);
                    balance := coalesce(p_amounts[i], head.balance);
                    -- a key that is there with null takes the limit away; one that is not there leaves it
                    IF p_details[i]::json -> 'creditlimit' IS NOT NULL THEN
                        head.creditlimit := (p_details[i]::json ->> 'creditlimit')::numeric(15, 5);
                    END IF;
                    IF p_details[i]::json -> 'credit_notification' IS NOT NULL THEN
                        head.credit_notification := (p_details[i]::json ->> 'credit_notification')::numeric(15, 5);
                    END IF;
                ELSIF p_kinds[i] <> 'status.set' THEN
                    IF p_kinds[i] = 'credit.added' THEN
                        balance := head.balance + p_amounts[i];
                    ELSIF p_kinds[i] = 'call.charged' THEN
                        balance := head.balance - p_amounts[i];
                    ELSIF p_kinds[i] = 'hold.created' THEN
                        held := head.held + p_amounts[i];
                    ELSIF p_refers[i] IS NOT NULL THEN
                        settled := ledger_settle(head.customer_id, p_kinds[i], p_amounts[i], p_refers[i], moment);
                        outcome := settled.outcome;
                        balance := head.balance + settled.delta;
                        held := head.held + settled.held;
                        lapsed := lapsed + settled.lapsed;
                    END IF;
                    IF outcome IS NULL AND NOT (abs(balance) < c_limit AND held < c_limit) THEN
                        outcome := 'overflow';
                    ELSIF outcome IS NULL AND p_kinds[i] <> 'hold.captured' AND p_kinds[i] <> 'call.charged'
                            AND (balance < head.balance OR held > head.held)
                            AND balance - held + lapsed + coalesce(head.creditlimit, 0) < 0 THEN
                        outcome := 'insufficient';
                    END IF;
                END IF;
            END IF;

            IF outcome IS NULL THEN
                outcome := 'appended';
                main := head.last_seq + 1;
                seq := main;
                balance_after := balance::numeric(15, 5);
                available := balance - held + lapsed + coalesce(head.creditlimit, 0);
                status_after := coalesce(p_statuses[i], head.status);
                place := greatest(place_0, head.last_position);
                delta := balance - head.balance;
                hash := ledger_hash(
                    head.last_hash, customer_id, main, head.client_id, p_command_ids[i], p_kinds[i],
                    p_amounts[i]::numeric(15, 5), delta, balance_after, held::numeric(15, 5), head.creditlimit,
                    status_after, p_refers[i], p_details[i], p_reasons[i], p_references[i], p_keys[i], p_actors[i], p_request_ids[i],
                    (extract(epoch FROM moment) * 1000000)::bigint);
                INSERT INTO ledger_event (
                    customer_id, seq, client_id, command_id, kind, amount, delta, balance_after, held_after,
                    creditlimit_after, status_after, refers_to, detail, reason, reference, idempotency_key, actor,
                    request_id, recorded_at, position, hash_format, hash)
                VALUES (
                    head.customer_id, main, head.client_id, p_command_ids[i], p_kinds[i], p_amounts[i], delta, balance,
                    held, head.creditlimit, status_after, p_refers[i], p_details[i]::json, p_reasons[i],
                    p_references[i], p_keys[i], p_actors[i], p_request_ids[i], moment, place, 2, hash);
                INSERT INTO outbox (customer_id, seq, shard, recorded_at)
                VALUES (head.customer_id, main, ledger_shard(head.customer_id), moment);
                -- Does credit fall below its warning, or is nothing available any more, by this very event?
                now_low := false;
                now_out := false;
                IF p_kinds[i] <> 'customer.created' AND p_kinds[i] <> 'credit.imported' AND (balance < head.credit_notification OR available <= 0) THEN
                    now_low := coalesce(balance < head.credit_notification, false)
                        AND NOT coalesce(was_low, head.balance < head.credit_notification, false);
                    now_out := available <= 0 AND before > 0;
                END IF;
                head.last_seq := main;
                head.last_hash := hash;
                head.last_at := moment;
                head.last_position := place;
                head.balance := balance;
                head.held := held;
                head.status := status_after;
                IF p_kinds[i] <> 'credit.set' AND p_kinds[i] <> 'credit.added' THEN
                    IF p_kinds[i] = 'status.set' THEN
                        head.status_at := moment;
                    ELSIF p_kinds[i] = 'hold.created' THEN
                        INSERT INTO hold (customer_id, seq, client_id, amount, expires_at)
                        VALUES (head.customer_id, main, head.client_id, p_amounts[i],
                                (p_details[i]::json ->> 'expires_at')::timestamptz);
                    ELSIF p_kinds[i] = ANY (ARRAY['hold.captured', 'hold.released', 'hold.expired']) THEN
                        UPDATE hold h
                        SET status = substr(p_kinds[i], 6), captured = -delta, closed_seq = main
                        WHERE h.customer_id = head.customer_id AND h.seq = p_refers[i];
                    END IF;
                END IF;
                IF p_references[i] IS NOT NULL THEN
                    INSERT INTO ledger_reference (client_id, reference, customer_id, seq)
                    VALUES (head.client_id, p_references[i], head.customer_id, main);
                END IF;
                IF now_low THEN
                    head := ledger_warn(head, 'credit.low', main, p_request_ids[i], json_build_object(
                        'credit_notification', head.credit_notification)::text);
                END IF;
                IF now_out THEN
                    head := ledger_warn(head, 'credit.exhausted', main, p_request_ids[i], NULL);
                END IF;
                last_seq := head.last_seq;
            END IF;
            RETURN NEXT;
        END LOOP;

        IF place > 0 THEN
            UPDATE stream s
            SET last_seq = head.last_seq, balance = head.balance, held = head.held, creditlimit = head.creditlimit,
                credit_notification = head.credit_notification, status = head.status, status_at = head.status_at,
                last_hash = head.last_hash, last_at = head.last_at, last_position = head.last_position
            WHERE s.customer_id = head.customer_id;
            place := 0;
        END IF;
    END LOOP;

    WHILE ids[turns[turn]] IS NOT NULL LOOP
        ordinal := turns[turn];
        outcome := 'busy';
        customer_id := ids[turns[turn]];
        seq := NULL;
        last_seq := NULL;
        balance_after := NULL;
        available := NULL;
        status_after := NULL;
        turn := turn + 1;
        RETURN NEXT;
    END LOOP;
END;
$$;
