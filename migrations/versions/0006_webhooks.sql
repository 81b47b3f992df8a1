-- A subscriber's address. event_types NULL means all of them; a disabled endpoint is owed nothing.
CREATE TABLE webhook_endpoint (
    client_id   uuid        NOT NULL REFERENCES client (id),
    id          uuid        NOT NULL DEFAULT gen_random_uuid(),
    url         text        NOT NULL CHECK (length(url) BETWEEN 1 AND 2000),
    secret      text        NOT NULL CHECK (secret LIKE 'whsec\_%'),
    event_types text[],
    created_at  timestamptz NOT NULL DEFAULT now(),
    disabled_at timestamptz,
    PRIMARY KEY (client_id, id)
);

-- One event owed to one endpoint: the bytes that are signed and sent, and where the sending stands. Queue and history
-- in one table: the queue is what the partial indexes below hold, and they stay as short as the queue is.
--
-- No foreign keys: the apply writes here by the hundred, and a key share lock per row on a few endpoint rows would make
-- every drain wait on the same pages. Endpoints are disabled, never deleted under their deliveries; a delivery whose
-- endpoint is gone or disabled is skipped when its turn comes.
CREATE TABLE webhook_delivery (
    client_id       uuid        NOT NULL,
    id              uuid        NOT NULL,  -- UUIDv7: newest last, in the order in which the events were applied
    endpoint_id     uuid        NOT NULL,
    customer_id     bigint      NOT NULL,
    seq             bigint      NOT NULL,
    event_type      text        NOT NULL,
    webhook_id      text        NOT NULL CHECK (webhook_id LIKE 'msg\_%'),
    body            bytea       NOT NULL CHECK (octet_length(body) < 20480),
    status          text        NOT NULL DEFAULT 'pending'
                                CHECK (status IN ('pending', 'sending', 'delivered', 'failed', 'skipped')),
    priority        smallint    NOT NULL DEFAULT 0,  -- 0: due at once, and before all that wait for their next_attempt_at
    attempts        integer     NOT NULL DEFAULT 0,
    next_attempt_at timestamptz DEFAULT now(),
    lease_until     timestamptz,
    lease_token     uuid,
    created_at      timestamptz NOT NULL DEFAULT now(),
    finished_at     timestamptz,
    PRIMARY KEY (client_id, id),
    UNIQUE (client_id, endpoint_id, customer_id, seq, event_type),
    CHECK ((status = 'pending') = (next_attempt_at IS NOT NULL)),
    CHECK ((status = 'sending') = (lease_until IS NOT NULL AND lease_token IS NOT NULL)),
    CHECK ((status IN ('delivered', 'failed', 'skipped')) = (finished_at IS NOT NULL))
) WITH (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 5000, autovacuum_analyze_scale_factor = 0.02,
        autovacuum_analyze_threshold = 5000);  -- each row is rewritten twice within seconds

-- The queue, endpoint by endpoint: a claim jumps from one endpoint to the next in one descent each, so that a hundred
-- thousand deliveries owed to an endpoint that is full are stepped over as one.
CREATE INDEX webhook_delivery_queue ON webhook_delivery (priority, client_id, endpoint_id, next_attempt_at, id)
    WHERE status = 'pending';
-- Is anything due that waits for its time? (What has priority 0 is due, and the index above finds it.)
CREATE INDEX webhook_delivery_waiting ON webhook_delivery (next_attempt_at) WHERE status = 'pending' AND priority > 0;
-- What is on its way: counted per endpoint for the cap, and looked through for leases that ran out.
CREATE INDEX webhook_delivery_sending ON webhook_delivery (client_id, endpoint_id, lease_until) WHERE status = 'sending';

-- One row per HTTP POST, written before the POST: a send cut short by a crash has its row too. outcome NULL means under
-- way; error is a class of failure, never a message (a message may hold an address or worse).
CREATE TABLE webhook_attempt (
    client_id    uuid        NOT NULL,
    delivery_id  uuid        NOT NULL,
    number       integer     NOT NULL,
    outcome      text        CHECK (outcome IN ('delivered', 'retry', 'failed', 'abandoned')),
    status_code  integer,
    milliseconds integer,
    error        text        CHECK (length(error) <= 40),
    started_at   timestamptz NOT NULL DEFAULT now(),
    finished_at  timestamptz,
    PRIMARY KEY (client_id, delivery_id, number),
    CHECK ((outcome IS NULL) = (finished_at IS NULL))
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 5000);  -- completed in place
