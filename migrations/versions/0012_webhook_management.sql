-- secret, previous_secret and headers are stored encrypted (service/webhooks/vault.py); those of earlier releases lie in
-- clear until `flask webhook reencrypt` has been run. previous_secret signs along until its time is over.
ALTER TABLE webhook_endpoint
    DROP CONSTRAINT webhook_endpoint_secret_check,
    ADD COLUMN description           text        NOT NULL DEFAULT '',
    ADD COLUMN headers               text,
    ADD COLUMN previous_secret       text,
    ADD COLUMN previous_secret_until timestamptz,
    ADD COLUMN ordered               boolean     NOT NULL DEFAULT false,
    ADD COLUMN disabled_reason       text,
    ADD COLUMN deleted_at            timestamptz,               -- never removed under its deliveries
    -- The breaker: how often in a row it failed, since when nothing but failures came, and until when nothing is sent.
    ADD COLUMN failures              integer     NOT NULL DEFAULT 0,
    ADD COLUMN failing_since         timestamptz,
    ADD COLUMN open_until            timestamptz;

-- An endpoint's deliveries, newest last, for its owner to look through.
CREATE INDEX webhook_delivery_by_endpoint ON webhook_delivery (client_id, endpoint_id, id);

-- Messages that are about no event (a test, an endpoint that was disabled) have customer 0 and a number from here.
CREATE SEQUENCE webhook_message_number;
