-- Fields as one text from which they can be told apart again: each as a netstring, `<octets>:<field>,`, and a NULL as
-- `-,`. Without the length, ('ab', 'c') and ('a', 'bc') would hash alike.
CREATE FUNCTION ledger_netstrings(VARIADIC p_fields text[]) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
    framed text := '';
    field  text;
BEGIN
    FOREACH field IN ARRAY p_fields LOOP
        framed := framed || coalesce(octet_length(field) || ':' || field || ',', '-,');
    END LOOP;
    RETURN framed;
END;
$$;

-- The door. Takes commands as arrays of one length, gives one outcome for each; a bad command never fails its
-- neighbours. One call is one transaction's worth of work and one round trip.
--
--   p_wait    wait for streams that another session has locked (2 s at most, then the call fails); or leave them be,
--             which is for those who append for several callers at once.
--   p_again   the same commands may have been appended before, by a call whose answer was lost: look first.
--
-- Outcomes: appended, not_found, ambiguous, not_exact (more than five decimals), bad_kind, busy (without p_wait).
-- Locks: the heads of all customers concerned, in the order of their ids, so that two calls can't deadlock.
CREATE FUNCTION ledger_append(
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
    p_wait        boolean DEFAULT true,
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
    turns  integer[];                 -- the commands in the order of their customers' ids, each customer's as given
    turn   integer := 1;
    found  bigint[];
    heads  stream[];
    head   stream;
    event  ledger_event;
    i      integer;
BEGIN
    FOR i IN 1 .. size LOOP
        found := customer_resolve(p_clients[i], p_refs[i]);
        IF cardinality(found) = 1 THEN
            ids[i] := found[1];
        ELSE
            ordinal := i;
            outcome := CASE cardinality(found) WHEN 0 THEN 'not_found' ELSE 'ambiguous' END;
            RETURN NEXT;
        END IF;
    END LOOP;

    IF size = 1 THEN
        turns := ARRAY[1];
    ELSE
        turns := ARRAY(SELECT n FROM generate_series(1, size) n WHERE ids[n] IS NOT NULL ORDER BY ids[n], n);
    END IF;
    IF p_wait THEN
        heads := ARRAY(SELECT s FROM stream s WHERE s.customer_id = ANY (ids) ORDER BY s.customer_id FOR UPDATE);
    ELSE
        heads := ARRAY(SELECT s FROM stream s WHERE s.customer_id = ANY (ids) ORDER BY s.customer_id
                       FOR UPDATE SKIP LOCKED);
    END IF;

    FOREACH head IN ARRAY heads LOOP
        WHILE ids[turns[turn]] <= head.customer_id LOOP
            i := turns[turn];
            turn := turn + 1;

            event := NULL;
            IF p_again THEN
                SELECT * INTO event FROM ledger_event e
                WHERE e.customer_id = ids[i] AND e.seq > head.last_seq - c_tail AND e.command_id = p_command_ids[i];
            END IF;
            outcome := CASE
                WHEN ids[i] < head.customer_id THEN 'busy'  -- its head was skipped
                WHEN event.seq IS NOT NULL THEN 'appended'
                WHEN p_kinds[i] NOT IN ('customer.created', 'credit.set', 'status.set') THEN 'bad_kind'
                WHEN p_amounts[i] <> round(p_amounts[i], 5) THEN 'not_exact'
                ELSE 'appended'
            END;

            IF outcome = 'appended' AND event.seq IS NULL THEN
                event.customer_id := head.customer_id;
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
                event.actor := p_actors[i];
                event.request_id := p_request_ids[i];
                -- A clock that is set back never reorders a stream.
                event.recorded_at := greatest(clock_timestamp(), head.last_at);
                event.hash_format := 1;
                -- Format 1: SHA-256 over the hash before (nothing for the first) and these fields. Money with five
                -- decimals, the moment in microseconds since 1970. service/ledger/chain.py works out the same.
                event.hash := sha256(head.last_hash || convert_to(ledger_netstrings(
                    '1', event.customer_id::text, event.seq::text, event.client_id::text, event.command_id::text,
                    event.kind, event.amount::text, event.delta::text, event.balance_after::text,
                    event.status_after::text, event.reason, event.reference, event.actor, event.request_id,
                    (extract(epoch FROM event.recorded_at) * 1000000)::bigint::text
                ), 'UTF8'));

                INSERT INTO ledger_event VALUES (event.*);
                INSERT INTO outbox (customer_id, seq, shard, recorded_at)
                VALUES (event.customer_id, event.seq, ledger_shard(event.customer_id), event.recorded_at);

                head.last_seq := event.seq;
                head.balance := event.balance_after;
                head.status := event.status_after;
                head.last_hash := event.hash;
                head.last_at := event.recorded_at;
            END IF;

            ordinal := i;
            customer_id := ids[i];
            seq := event.seq;
            balance_after := coalesce(event.balance_after, head.balance);
            status_after := coalesce(event.status_after, head.status);
            RETURN NEXT;
        END LOOP;

        UPDATE stream s
        SET last_seq = head.last_seq, balance = head.balance, status = head.status,
            last_hash = head.last_hash, last_at = head.last_at
        WHERE s.customer_id = head.customer_id;
    END LOOP;

    WHILE ids[turns[turn]] IS NOT NULL LOOP
        ordinal := turns[turn];
        outcome := 'busy';
        turn := turn + 1;
        RETURN NEXT;
    END LOOP;
END;
$$;
