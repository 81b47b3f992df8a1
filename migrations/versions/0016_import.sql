-- What was brought over from A2Billing, each row under its id there: what is here is never brought again.

CREATE TABLE customer_group (
    client_id uuid   NOT NULL REFERENCES client (id),
    id        bigint NOT NULL,
    name      text   NOT NULL,
    PRIMARY KEY (client_id, id)
);

-- What the card was when it was last brought. As long as the customer still has this credit, this status and these
-- limits, nobody has changed them here, and what A2Billing says may take their place. profile is the SHA-256 of all else.
CREATE TABLE imported_card (
    client_id           uuid           NOT NULL,
    card_id             bigint         NOT NULL,
    customer_id         bigint         NOT NULL REFERENCES customer (id),
    username            text           NOT NULL,
    useralias           text           NOT NULL,
    credit              numeric(15, 5) NOT NULL,
    status              smallint       NOT NULL,
    creditlimit         numeric(15, 5),
    credit_notification numeric(15, 5),
    profile             bytea          NOT NULL,
    imported_at         timestamptz    NOT NULL DEFAULT now(),
    PRIMARY KEY (client_id, card_id)
);

CREATE INDEX imported_card_by_customer ON imported_card (customer_id);

CREATE TABLE imported_caller_id (
    client_id   uuid    NOT NULL,
    callerid_id bigint  NOT NULL,
    card_id     bigint  NOT NULL,
    cid         text    NOT NULL,
    activated   boolean NOT NULL,
    PRIMARY KEY (client_id, callerid_id)
);

-- fingerprint is the SHA-256 of the row that was brought: another under the same id is told of, not taken.
CREATE TABLE imported_call (
    client_id   uuid   NOT NULL,
    call_id     bigint NOT NULL,
    fingerprint bytea  NOT NULL,
    PRIMARY KEY (client_id, call_id)
);

-- What was paid in before, as history: it is in the imported credit already.
CREATE TABLE imported_refill (
    client_id   uuid           NOT NULL,
    refill_id   bigint         NOT NULL,
    customer_id bigint         NOT NULL REFERENCES customer (id),
    refilled_at timestamptz,
    credit      numeric(15, 5) NOT NULL,
    description text           NOT NULL,
    refill_type integer,
    PRIMARY KEY (client_id, refill_id)
);

CREATE INDEX imported_refill_by_customer ON imported_refill (customer_id, refilled_at);

-- Have the ids of new customers begin above p_id, so that ids up to it can be kept from elsewhere. Two who do this at
-- once take turns: setval must never go back. Others who draw meanwhile advance one by one, hence the margin.
CREATE FUNCTION customer_ids_above(p_id bigint) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    c_margin CONSTANT bigint := 10000;
    ids      CONSTANT regclass := pg_get_serial_sequence('customer', 'id')::regclass;
    last     bigint;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('customer_ids_above', 0));
    last := coalesce(pg_sequence_last_value(ids), 0);
    IF last + c_margin < p_id THEN
        PERFORM setval(ids, p_id);
    ELSIF last < p_id THEN
        PERFORM nextval(ids) FROM generate_series(1, p_id - last);
    END IF;
END;
$$;
