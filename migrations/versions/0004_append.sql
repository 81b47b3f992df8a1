-- One field of the hashed text: its length in four bytes, then its UTF-8 bytes; a NULL is a length of -1 and no bytes.
-- Without the length, ('ab', 'c') and ('a', 'bc') would hash alike.
CREATE FUNCTION ledger_hash_field(p_field text) RETURNS bytea
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT coalesce(int4send(octet_length(p_field)) || convert_to(p_field, 'UTF8'), '\xffffffff'::bytea)
$$;

-- The hash of an event, format 1: SHA-256 over the hash before it (empty for the first) and the fields in this order.
-- Money as text with five decimals; the moment in whole microseconds since 1970. service/ledger/chain.py does the same.
CREATE FUNCTION ledger_event_hash(p_previous bytea, p_event ledger_event) RETURNS bytea
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT sha256(
        p_previous
        || ledger_hash_field('1')
        || ledger_hash_field(p_event.customer_id::text)
        || ledger_hash_field(p_event.seq::text)
        || ledger_hash_field(p_event.client_id::text)
        || ledger_hash_field(p_event.command_id::text)
        || ledger_hash_field(p_event.kind)
        || ledger_hash_field(p_event.amount::text)
        || ledger_hash_field(p_event.delta::text)
        || ledger_hash_field(p_event.balance_after::text)
        || ledger_hash_field(p_event.status_after::text)
        || ledger_hash_field(p_event.reason)
        || ledger_hash_field(p_event.reference)
        || ledger_hash_field(p_event.actor)
        || ledger_hash_field(p_event.request_id)
        || ledger_hash_field((extract(epoch FROM p_event.recorded_at) * 1000000)::bigint::text)
    )
$$;

-- The door. Takes commands as arrays of one length, gives one outcome for each; a bad command never fails its
-- neighbours. One call is one transaction's worth of work and one round trip.
--
--   p_again   the same commands may have been appended before, by a call whose answer was lost: look first.
--
-- Outcomes: appended, not_found, ambiguous, not_exact (more than five decimals), bad_kind.
-- Locks: the heads of all customers concerned, in the order of their ids, so that two calls can't deadlock.
CREATE FUNCTION ledger_append(
    p_client      uuid,
    p_refs        text[],
    p_command_ids uuid[],
    p_kinds       text[],
    p_amounts     numeric[],
    p_statuses    smallint[],
    p_reasons     text[],
    p_references  text[],
    p_actor       text,
    p_request_id  text,
    p_again       boolean DEFAULT false
) RETURNS TABLE (ordinal integer, outcome text, customer_id bigint, seq bigint, balance_after numeric, status_after smallint)
LANGUAGE plpgsql
SET lock_timeout = '2s'
AS $$
#variable_conflict use_column
DECLARE
    c_tail CONSTANT bigint := 10000;  -- a lost answer is asked for again within seconds: it is among the last events
    size   CONSTANT integer := cardinality(p_refs);
    ids    bigint[] := array_fill(NULL::bigint, ARRAY[size]);
    found  bigint[];
    head   stream;
    event  ledger_event;
    i      integer;
BEGIN
    FOR i IN 1 .. size LOOP
        found := customer_resolve(p_client, p_refs[i]);
        IF cardinality(found) = 1 THEN
            ids[i] := found[1];
        ELSE
            ordinal := i;
            outcome := CASE cardinality(found) WHEN 0 THEN 'not_found' ELSE 'ambiguous' END;
            RETURN NEXT;
        END IF;
    END LOOP;

    PERFORM FROM stream s WHERE s.customer_id = ANY (ids) ORDER BY s.customer_id FOR UPDATE;

    FOR i IN SELECT n FROM generate_series(1, size) n WHERE ids[n] IS NOT NULL ORDER BY ids[n], n LOOP
        ordinal := i;
        IF head.customer_id IS DISTINCT FROM ids[i] THEN
            SELECT * INTO STRICT head FROM stream s WHERE s.customer_id = ids[i];
        END IF;

        IF p_again THEN
            SELECT * INTO event FROM ledger_event e
            WHERE e.customer_id = ids[i] AND e.seq > head.last_seq - c_tail AND e.command_id = p_command_ids[i];
            IF FOUND THEN
                outcome := 'appended';
                customer_id := event.customer_id;
                seq := event.seq;
                balance_after := event.balance_after;
                status_after := event.status_after;
                RETURN NEXT;
                CONTINUE;
            END IF;
        END IF;

        outcome := CASE
            WHEN p_kinds[i] NOT IN ('customer.created', 'credit.set', 'status.set') THEN 'bad_kind'
            WHEN p_amounts[i] <> round(p_amounts[i], 5) THEN 'not_exact'
            ELSE 'appended'
        END;
        customer_id := ids[i];
        seq := NULL;
        balance_after := head.balance;
        status_after := head.status;
        IF outcome <> 'appended' THEN
            RETURN NEXT;
            CONTINUE;
        END IF;

        event.customer_id := ids[i];
        event.seq := head.last_seq + 1;
        event.client_id := head.client_id;
        event.command_id := p_command_ids[i];
        event.kind := p_kinds[i];
        event.amount := p_amounts[i];
        event.balance_after := coalesce(p_amounts[i], head.balance);
        event.delta := event.balance_after - head.balance;
        event.status_after := coalesce(p_statuses[i], head.status);
        event.reason := p_reasons[i];
        event.reference := p_references[i];
        event.actor := p_actor;
        event.request_id := p_request_id;
        event.recorded_at := greatest(clock_timestamp(), head.last_at);  -- a clock set back never reorders a stream
        event.hash_format := 1;
        event.hash := ledger_event_hash(head.last_hash, event);

        INSERT INTO ledger_event SELECT event.*;
        INSERT INTO outbox (customer_id, seq, shard, recorded_at)
        VALUES (event.customer_id, event.seq, ledger_shard(event.customer_id), event.recorded_at);
        UPDATE stream s
        SET last_seq = event.seq, balance = event.balance_after, status = event.status_after,
            last_hash = event.hash, last_at = event.recorded_at
        WHERE s.customer_id = event.customer_id
        RETURNING * INTO head;

        seq := event.seq;
        balance_after := event.balance_after;
        status_after := event.status_after;
        RETURN NEXT;
    END LOOP;
END;
$$;
