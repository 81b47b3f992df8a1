-- The head of each stream as of the newest checkpoint. No foreign key: a stream that vanished must leave its row here.
CREATE TABLE checkpoint_head (
    customer_id bigint PRIMARY KEY,
    seq         bigint NOT NULL,
    hash        bytea  NOT NULL
);

-- digest is the SHA-256 over all rows of checkpoint_head; signature an HMAC over everything else in the row, with a key
-- from the environment. Each covers the signature before it. Only service/ledger/proof/checkpoint.py writes here.
CREATE TABLE ledger_checkpoint (
    number    bigint      PRIMARY KEY,
    made_at   timestamptz NOT NULL,
    streams   bigint      NOT NULL,
    events    bigint      NOT NULL,
    digest    bytea       NOT NULL,
    previous  bytea,
    signature bytea       NOT NULL
);
