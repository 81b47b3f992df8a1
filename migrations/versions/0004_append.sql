-- A field as a netstring, `<octets>:<field>,`, and a NULL as `-,`: fields put one behind the other can be told apart
-- again. Without the length, ('ab', 'c') and ('a', 'bc') would hash alike. Written so that Postgres inlines it.
CREATE FUNCTION ledger_netstring(p_field text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT coalesce(octet_length(p_field)::text || ':' || p_field || ',', '-,')
$$;

-- The door. Takes commands as arrays of one length, gives one outcome for each; a bad command never fails its
-- neighbours. One call is one transaction's worth of work and one round trip.
--
--   p_wait    wait for streams that another session has locked (2 s at most, then the call fails); or leave them be,
--             which is for those who append for several callers at once.
--   p_again   the same commands may have been appended before, by a call whose answer was lost: look first.
--
-- Outcomes: appended, not_found, ambiguous, busy (without p_wait), not_exact (more than five decimals, be they zeros),
-- too_large (more than ten digits before the point, or no number), bad_status (none of 0 to 8), bad_kind (unknown, out of
-- place, or without what it needs).
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
    c_cents CONSTANT integer := 5;     -- decimals of a credit
    c_limit CONSTANT numeric := 1e10;  -- credit has ten digits before the point
    size    CONSTANT integer := cardinality(p_refs);
    ids     bigint[] := array_fill(NULL::bigint, ARRAY[size]);
    turns   integer[] := ARRAY[1];     -- the commands in the order of their customers' ids, each customer's as given
    turn    integer := 1;
    found   bigint[];
    heads   stream[];
    head    stream;
    old     ledger_event;
    balance numeric(15, 5);
    moment  timestamptz;
    hash    bytea;
    i       integer;
BEGIN
    IF ARRAY[cardinality(p_clients), cardinality(p_command_ids), cardinality(p_kinds), cardinality(p_amounts),
             cardinality(p_statuses), cardinality(p_reasons), cardinality(p_references), cardinality(p_actors),
             cardinality(p_request_ids)] IS DISTINCT FROM array_fill(size, ARRAY[9]) THEN
        RAISE EXCEPTION 'ledger_append takes arrays of one length' USING ERRCODE = 'invalid_parameter_value';
    END IF;
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
    IF size > 1 THEN
        turns := ARRAY(SELECT n FROM generate_series(1, size) n WHERE ids[n] IS NOT NULL ORDER BY ids[n], n);
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

    FOREACH head IN ARRAY heads LOOP
        WHILE ids[turns[turn]] <= head.customer_id LOOP
            i := turns[turn];
            turn := turn + 1;
            ordinal := i;
            customer_id := ids[i];
            seq := NULL;
            balance_after := NULL;
            status_after := NULL;
            IF p_again THEN
                SELECT * INTO old FROM ledger_event e
                WHERE e.customer_id = ids[i] AND e.command_id = p_command_ids[i];
            END IF;

            IF ids[i] < head.customer_id THEN
                outcome := 'busy';  -- its head was skipped
            ELSIF p_again AND old.seq IS NOT NULL THEN
                outcome := 'appended';
                seq := old.seq;
                balance_after := old.balance_after;
                status_after := old.status_after;
            ELSIF (p_kinds[i] = 'customer.created' AND head.last_seq = 0
                       AND p_amounts[i] IS NOT NULL AND p_statuses[i] IS NOT NULL
                   OR p_kinds[i] = 'credit.set' AND p_amounts[i] IS NOT NULL AND p_statuses[i] IS NULL
                   OR p_kinds[i] = 'status.set' AND p_amounts[i] IS NULL AND p_statuses[i] IS NOT NULL) IS NOT TRUE THEN
                outcome := 'bad_kind';
            ELSIF scale(p_amounts[i]) > c_cents THEN
                outcome := 'not_exact';
            ELSIF NOT abs(p_amounts[i]) < c_limit THEN  -- NaN is larger than any number
                outcome := 'too_large';
            ELSIF p_statuses[i] NOT BETWEEN 0 AND 8 THEN
                outcome := 'bad_status';
            ELSE
                outcome := 'appended';
                seq := head.last_seq + 1;
                balance := coalesce(p_amounts[i], head.balance);
                balance_after := balance;
                status_after := coalesce(p_statuses[i], head.status);
                moment := greatest(clock_timestamp(), head.last_at);  -- a clock set back never reorders a stream
                -- Format 1: SHA-256 over the hash before (nothing for the first) and these fields. Money with five
                -- decimals, the moment in microseconds since 1970. service/ledger/chain.py works out the same.
                hash := sha256(head.last_hash || convert_to(
                    ledger_netstring('1')
                    || ledger_netstring(customer_id::text)
                    || ledger_netstring(seq::text)
                    || ledger_netstring(head.client_id::text)
                    || ledger_netstring(p_command_ids[i]::text)
                    || ledger_netstring(p_kinds[i])
                    || ledger_netstring(p_amounts[i]::numeric(15, 5)::text)
                    || ledger_netstring((balance - head.balance)::text)
                    || ledger_netstring(balance::text)
                    || ledger_netstring(status_after::text)
                    || ledger_netstring(p_reasons[i])
                    || ledger_netstring(p_references[i])
                    || ledger_netstring(p_actors[i])
                    || ledger_netstring(p_request_ids[i])
                    || ledger_netstring((extract(epoch FROM moment) * 1000000)::bigint::text),
                    'UTF8'));

                INSERT INTO ledger_event (
                    customer_id, seq, client_id, command_id, kind, amount, delta, balance_after, status_after,
                    reason, reference, actor, request_id, recorded_at, hash_format, hash)
                VALUES (
                    head.customer_id, seq, head.client_id, p_command_ids[i], p_kinds[i], p_amounts[i],
                    balance - head.balance, balance, status_after,
                    p_reasons[i], p_references[i], p_actors[i], p_request_ids[i], moment, 1, hash);
                INSERT INTO outbox (customer_id, seq, shard, recorded_at)
                VALUES (head.customer_id, seq, ledger_shard(head.customer_id), moment);

                head.last_seq := seq;
                head.balance := balance;
                head.status := status_after;
                head.last_hash := hash;
                head.last_at := moment;
            END IF;
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
        customer_id := ids[turns[turn]];
        seq := NULL;
        balance_after := NULL;
        status_after := NULL;
        turn := turn + 1;
        RETURN NEXT;
    END LOOP;
END;
$$;
