-- held, creditlimit and credit_notification are projections too: the stream's head has what was last accepted.
ALTER TABLE customer
    ADD COLUMN type_paid           smallint       NOT NULL DEFAULT 0 CHECK (type_paid IN (0, 1)),  -- 0 prepaid, 1 postpaid
    ADD COLUMN held                numeric(15, 5) NOT NULL DEFAULT 0,
    ADD COLUMN credit_notification numeric(15, 5),
    ADD COLUMN status_at           timestamptz;  -- when somebody last set the status

-- When the customer expires, by A2Billing's rule: enableexpire 1 by date, 2 so many days after the first use, 3 after the
-- creation. Days are days of UTC: an expression over a time zone that may change its rules can't be stored. A hundred
-- years are as good as never, and what an integer can hold is beyond the calendar.
ALTER TABLE customer ADD COLUMN expires_at timestamptz GENERATED ALWAYS AS (
    CASE enableexpire
        WHEN 1 THEN expirationdate
        WHEN 2 THEN CASE WHEN expiredays > 0
            THEN (firstusedate AT TIME ZONE 'UTC' + make_interval(days => least(expiredays, 36500))) AT TIME ZONE 'UTC' END
        WHEN 3 THEN CASE WHEN expiredays > 0
            THEN (creationdate AT TIME ZONE 'UTC' + make_interval(days => least(expiredays, 36500))) AT TIME ZONE 'UTC' END
    END
) STORED;

UPDATE customer c
SET status_at = e.recorded_at
FROM (SELECT customer_id, max(recorded_at) AS recorded_at FROM ledger_event WHERE kind = 'status.set'
      GROUP BY customer_id) AS e
WHERE e.customer_id = c.id;

-- Only who is active can expire, and who was made active after the time stays so. The clock looks here; who is expired
-- already, or is beyond it, is not in its way.
CREATE INDEX customer_expiring ON customer (expires_at) WHERE status = 1 AND (status_at IS NULL OR status_at < expires_at);
