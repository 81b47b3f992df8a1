-- changed_at: when it was enabled again or got another URL; what was sent before that is held against nobody.
-- last_failed_at: after a long quiet, one failure begins a new count instead of ending an old one.
ALTER TABLE webhook_endpoint
    ADD COLUMN changed_at     timestamptz NOT NULL DEFAULT now(),
    ADD COLUMN last_failed_at timestamptz;

-- tried_before: attempts of the rounds before this one. A delivery that is sent again by hand has the whole schedule
-- before it; its attempts are numbered on.
ALTER TABLE webhook_delivery ADD COLUMN tried_before integer NOT NULL DEFAULT 0;

-- What a replay looks for, and a list of failures: few among many that were delivered.
CREATE INDEX webhook_delivery_missed ON webhook_delivery (client_id, endpoint_id, id) WHERE status IN ('failed', 'skipped');
