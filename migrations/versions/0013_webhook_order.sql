-- What is not over yet, customer by customer: from each customer's earliest delivery one descent to the next customer's.
-- As short as the queue is.
CREATE INDEX webhook_delivery_order ON webhook_delivery (client_id, endpoint_id, customer_id, seq, id)
    WHERE status IN ('pending', 'sending');

-- What has been over for longest, for the retention. An attempt is found by when it began, which never changes: an index
-- on when it ended would be written once more for each attempt.
CREATE INDEX webhook_delivery_finished ON webhook_delivery (finished_at) WHERE finished_at IS NOT NULL;
CREATE INDEX webhook_attempt_started ON webhook_attempt (started_at);
