-- What closes a hold or reverses a change comes to: depends on the event that it refers to, and what became of that.
-- Called under the lock of the stream's head. outcome NULL: it can be done.
CREATE FUNCTION ledger_settle(
    p_customer bigint, p_kind text, p_amount numeric, p_refers bigint, p_moment timestamptz,
    OUT outcome text, OUT delta numeric, OUT held numeric, OUT lapsed numeric
)
LANGUAGE plpgsql STABLE AS $$
DECLARE
    the_hold hold;
    original ledger_event;
    rest     numeric;
BEGIN
    delta := 0;
    held := 0;
    lapsed := 0;
    IF p_kind = 'credit.reversed' THEN
        SELECT * INTO original FROM ledger_event e WHERE e.customer_id = p_customer AND e.seq = p_refers;
        IF NOT FOUND THEN
            outcome := 'no_event';
        ELSIF original.kind = 'credit.reversed' OR original.delta = 0 THEN
            outcome := 'not_reversible';
        ELSE
            rest := abs(original.delta) - (
                SELECT coalesce(sum(abs(e.delta)), 0) FROM ledger_event e
                WHERE e.customer_id = p_customer AND e.refers_to = p_refers AND e.kind = 'credit.reversed');
            outcome := CASE WHEN rest = 0 OR p_amount > rest THEN 'reversed' END;
            delta := -sign(original.delta) * coalesce(p_amount, rest);
        END IF;
        RETURN;
    END IF;

    SELECT * INTO the_hold FROM hold h WHERE h.customer_id = p_customer AND h.seq = p_refers;
    outcome := CASE
        WHEN NOT FOUND THEN 'no_hold'
        WHEN the_hold.status <> 'open' THEN 'hold_' || the_hold.status
        WHEN p_kind <> 'hold.expired' AND the_hold.expires_at <= p_moment THEN 'hold_expired'
        WHEN p_kind = 'hold.expired' AND the_hold.expires_at > p_moment THEN 'bad_kind'
        WHEN p_kind = 'hold.captured' AND p_amount > the_hold.amount THEN 'insufficient'
    END;
    held := -the_hold.amount;
    IF the_hold.expires_at <= p_moment THEN
        lapsed := -the_hold.amount;
    END IF;
    IF p_kind = 'hold.captured' THEN
        delta := -coalesce(p_amount, the_hold.amount);
    END IF;
END;
$$;

-- The hash of an event in format 2: SHA-256 over the hash before (nothing for the first) and these fields as a JSON
-- array of texts. Money with five decimals, the moment in microseconds since 1970. service/ledger/proof/chain.py works out the
-- same. Postgres inlines it; of the ways to frame twenty fields this one costs the least.
CREATE FUNCTION ledger_hash(
    p_previous bytea, p_customer bigint, p_seq bigint, p_client uuid, p_command uuid, p_kind text, p_amount numeric,
    p_delta numeric, p_balance numeric, p_held numeric, p_creditlimit numeric, p_status smallint, p_refers bigint,
    p_detail text, p_reason text, p_reference text, p_key text, p_actor text, p_request text, p_micros bigint
) RETURNS bytea
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT sha256(p_previous || convert_to(array_to_json(ARRAY[
        '2', p_customer::text, p_seq::text, p_client::text, p_command::text, p_kind, p_amount::text, p_delta::text,
        p_balance::text, p_held::text, p_creditlimit::text, p_status::text, p_refers::text, p_detail, p_reason,
        p_reference, p_key, p_actor, p_request, p_micros::text])::text, 'UTF8'))
$$;

-- Write a warning behind the event that led to it: the head as it is then.
CREATE FUNCTION ledger_warn(p_head stream, p_kind text, p_refers bigint, p_request text, p_detail text) RETURNS stream
LANGUAGE plpgsql AS $$
DECLARE
    head    stream := p_head;
    command uuid := gen_random_uuid();
BEGIN
    head.last_seq := head.last_seq + 1;
    head.last_hash := ledger_hash(
        p_head.last_hash, head.customer_id, head.last_seq, head.client_id, command, p_kind, NULL, 0::numeric(16, 5),
        head.balance, head.held, head.creditlimit, head.status, p_refers, p_detail, NULL, NULL, NULL, 'system',
        p_request, (extract(epoch FROM head.last_at) * 1000000)::bigint);
    INSERT INTO ledger_event (
        customer_id, seq, client_id, command_id, kind, delta, balance_after, held_after, creditlimit_after, status_after,
        refers_to, detail, actor, request_id, recorded_at, position, hash_format, hash)
    VALUES (
        head.customer_id, head.last_seq, head.client_id, command, p_kind, 0, head.balance, head.held, head.creditlimit,
        head.status, p_refers, p_detail::json, 'system', p_request, head.last_at, head.last_position, 2, head.last_hash);
    INSERT INTO outbox (customer_id, seq, shard, recorded_at)
    VALUES (head.customer_id, head.last_seq, ledger_shard(head.customer_id), head.last_at);
    RETURN head;
END;
$$;
