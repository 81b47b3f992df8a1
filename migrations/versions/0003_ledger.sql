-- The head of each customer's stream: what the next append starts from. The seq of an event comes from this row, locked,
-- and never from a sequence, so it has no gaps.
CREATE TABLE stream (
    customer_id bigint         PRIMARY KEY REFERENCES customer (id),
    client_id   uuid           NOT NULL,
    last_seq    bigint         NOT NULL DEFAULT 0,
    balance     numeric(15, 5) NOT NULL DEFAULT 0,
    status      smallint       NOT NULL,
    last_hash   bytea          NOT NULL DEFAULT '\x',
    last_at     timestamptz    NOT NULL DEFAULT '-infinity'
) WITH (fillfactor = 50);      -- every append rewrites the row: keep the new version on its page

-- The truth. amount is what was asked for, delta what it came to: up to twice as large as a balance, hence 16 digits.
-- No CHECK constraints here nor on stream: Postgres parses each anew for every row of a short statement, and the one
-- writer is ledger_append.
CREATE TABLE ledger_event (
    customer_id   bigint         NOT NULL,
    seq           bigint         NOT NULL,
    client_id     uuid           NOT NULL,
    command_id    uuid           NOT NULL,
    kind          text           NOT NULL,
    amount        numeric(15, 5),
    delta         numeric(16, 5) NOT NULL,
    balance_after numeric(15, 5) NOT NULL,
    status_after  smallint       NOT NULL,
    reason        text,
    reference     text,
    actor         text           NOT NULL,
    request_id    text,
    recorded_at   timestamptz    NOT NULL,
    hash_format   smallint       NOT NULL,
    hash          bytea          NOT NULL,
    PRIMARY KEY (customer_id, seq),
    UNIQUE (customer_id, command_id)  -- a command that was delayed on its way and sent again meanwhile is no second event
);

CREATE FUNCTION ledger_event_is_append_only() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'ledger_event is append-only: % is refused', TG_OP USING ERRCODE = 'restrict_violation';
END;
$$;

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON ledger_event
    FOR EACH ROW EXECUTE FUNCTION ledger_event_is_append_only();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON ledger_event
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_event_is_append_only();
-- ALWAYS: an ordinary trigger sleeps under session_replication_role = replica.
ALTER TABLE ledger_event ENABLE ALWAYS TRIGGER append_only;
ALTER TABLE ledger_event ENABLE ALWAYS TRIGGER append_only_truncate;

-- What a worker has still to apply. Sixteen shards let sixteen workers apply at once; a customer is always in one.
CREATE FUNCTION ledger_shard(p_customer bigint) RETURNS smallint
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT (p_customer % 16)::smallint $$;

CREATE TABLE outbox (
    customer_id bigint      NOT NULL,
    seq         bigint      NOT NULL,
    shard       smallint    NOT NULL,
    recorded_at timestamptz NOT NULL,
    parked      boolean     NOT NULL DEFAULT false,
    PRIMARY KEY (customer_id, seq)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000, autovacuum_analyze_scale_factor = 0,
        autovacuum_analyze_threshold = 10000);  -- a queue: always short, always churning

CREATE INDEX outbox_due ON outbox (shard, recorded_at) WHERE NOT parked;

CREATE TABLE change_log (
    customer_id   bigint         NOT NULL,
    seq           bigint         NOT NULL,
    client_id     uuid           NOT NULL,
    kind          text           NOT NULL,
    credit_before numeric(15, 5) NOT NULL,
    credit_after  numeric(15, 5) NOT NULL,
    status_before smallint       NOT NULL,
    status_after  smallint       NOT NULL,
    actor         text           NOT NULL,
    reason        text,
    recorded_at   timestamptz    NOT NULL,
    applied_at    timestamptz    NOT NULL DEFAULT now(),
    PRIMARY KEY (customer_id, seq)
);
