ALTER TABLE stream
    ADD COLUMN held                numeric(15, 5) NOT NULL DEFAULT 0,           -- the sum of the open holds
    ADD COLUMN creditlimit         numeric(15, 5),                              -- how far below zero one may go
    ADD COLUMN credit_notification numeric(15, 5),                              -- below this, credit is low
    ADD COLUMN status_at           timestamptz,                                 -- when somebody last set the status
    ADD COLUMN last_position       bigint         NOT NULL DEFAULT 0;

UPDATE stream s
SET creditlimit = c.creditlimit,
    status_at = c.status_at
FROM customer c
WHERE c.id = s.customer_id;

-- refers_to is the seq of an earlier event of the same stream: the hold that is captured, the change that is reversed,
-- the change by which credit became low. detail is JSON, kept to the letter because the hash covers it.
ALTER TABLE ledger_event
    ADD COLUMN held_after        numeric(15, 5) NOT NULL DEFAULT 0,
    ADD COLUMN creditlimit_after numeric(15, 5),
    ADD COLUMN refers_to         bigint,
    ADD COLUMN detail            json,
    ADD COLUMN idempotency_key   text,
    ADD COLUMN position          bigint         NOT NULL DEFAULT 0;

CREATE INDEX ledger_event_referring ON ledger_event (customer_id, refers_to) WHERE refers_to IS NOT NULL;

-- The feed: every event of a client in an order to which nothing is ever added but at the end.
--
-- No sequence can give that: a lower number may be committed after a higher one, and a reader that was past it never
-- sees it. A position is the id of the writing transaction, or that of the event before it in the stream if that is
-- larger. Who reads only positions below the oldest transaction still running (pg_snapshot_xmin) reads what is final:
-- whatever comes later is written by a transaction with a larger id.
CREATE INDEX ledger_event_feed ON ledger_event (client_id, position, customer_id, seq);

-- Added to transaction ids, which begin again where a dump is restored into a new cluster: `flask ledger rebase` then
-- lifts the base above all positions so far.
CREATE TABLE feed_base (
    only_one boolean PRIMARY KEY DEFAULT true CHECK (only_one),
    base     bigint  NOT NULL DEFAULT 0
);
INSERT INTO feed_base DEFAULT VALUES;

-- Up to where a feed may be read now.
CREATE FUNCTION feed_horizon() RETURNS bigint
LANGUAGE sql STABLE AS $$
    SELECT base + pg_snapshot_xmin(pg_current_snapshot())::text::bigint FROM feed_base
$$;

-- A hold is known by its place, that of the event that made it. Rows are written under the lock of the stream's head.
CREATE TABLE hold (
    customer_id bigint         NOT NULL,
    seq         bigint         NOT NULL,
    client_id   uuid           NOT NULL,
    amount      numeric(15, 5) NOT NULL,
    captured    numeric(15, 5) NOT NULL DEFAULT 0,
    status      text           NOT NULL DEFAULT 'open' CHECK (status IN ('open', 'captured', 'released', 'expired')),
    expires_at  timestamptz    NOT NULL,
    closed_seq  bigint,
    PRIMARY KEY (customer_id, seq),
    CHECK ((status = 'open') = (closed_seq IS NULL))
);

CREATE INDEX hold_expiring ON hold (expires_at) WHERE status = 'open';
CREATE INDEX hold_open ON hold (customer_id, expires_at) WHERE status = 'open';

-- A payment's own number, which a client uses once and never again. Apart from the events, because it is unique over
-- all customers of a client, and a table of events that is split by customer could not promise that.
CREATE TABLE ledger_reference (
    client_id   uuid   NOT NULL,
    reference   text   NOT NULL,
    customer_id bigint NOT NULL,
    seq         bigint NOT NULL,
    PRIMARY KEY (client_id, reference)
);

-- The first answer to a request, to be given again to whoever asks again with the same key. status NULL: the request
-- was begun and not answered yet, and customers are those whom its commands mean. fingerprint: SHA-256 of method, path
-- and body.
CREATE TABLE idempotency_key (
    client_id   uuid        NOT NULL,
    key         text        NOT NULL,
    fingerprint bytea       NOT NULL,
    status      smallint,
    headers     json,
    body        bytea,
    customers   bigint[],
    created_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (client_id, key)
);

CREATE INDEX idempotency_key_by_age ON idempotency_key (created_at);

-- The answer that was given to a request with this key, if any. Where there is none, the key is locked until the end of
-- the transaction, so that nobody else carries the same request out meanwhile; locked is false where somebody does.
CREATE FUNCTION idempotency_claim(
    p_client uuid, p_key text,
    OUT locked boolean, OUT fingerprint bytea, OUT customers bigint[], OUT status smallint, OUT headers json, OUT body bytea
)
LANGUAGE plpgsql AS $$
BEGIN
    FOR turn IN 1 .. 2 LOOP  -- the second look comes after the lock: whoever held it may have answered since the first
        SELECT k.fingerprint, k.customers, k.status, k.headers, k.body
        INTO fingerprint, customers, status, headers, body
        FROM idempotency_key k WHERE k.client_id = p_client AND k.key = p_key;
        EXIT WHEN locked OR status IS NOT NULL;
        locked := pg_try_advisory_xact_lock(hashtextextended('key ' || p_client::text || p_key, 0));
        EXIT WHEN NOT locked;
    END LOOP;
    locked := coalesce(locked, false);
END;
$$;
