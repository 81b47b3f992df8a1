-- Calls, one row per leg, by month of their start: old months are dropped whole, and a query of a month reads a month.
CREATE SEQUENCE call_record_id AS bigint;

CREATE TABLE call_record (
    client_id   uuid           NOT NULL,
    start_time  timestamptz    NOT NULL,
    id          bigint         NOT NULL DEFAULT nextval('call_record_id'),
    customer_id bigint,
    uniqueid    text           NOT NULL,
    leg         integer        NOT NULL DEFAULT 0,
    source      text           NOT NULL,
    destination text           NOT NULL,
    end_time    timestamptz    NOT NULL,
    duration    integer        NOT NULL CHECK (duration >= 0),
    amount      numeric(15, 5) NOT NULL,
    PRIMARY KEY (client_id, start_time, id)
) PARTITION BY RANGE (start_time);

ALTER SEQUENCE call_record_id OWNED BY call_record.id;
CREATE INDEX call_record_by_source ON call_record (client_id, source, start_time, id);

-- Make the partition of the month (UTC) that holds a moment, if it is not there; true if it was made.
-- The lock lets two that need the same month wait for each other instead of one failing.
CREATE FUNCTION call_record_ensure_month(p_moment timestamptz) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
    first timestamp := date_trunc('month', p_moment AT TIME ZONE 'UTC');
    part  text := 'call_record_' || to_char(first, 'YYYY_MM');
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('call_record_ensure_month', 0));
    IF to_regclass(part) IS NOT NULL THEN
        RETURN false;
    END IF;
    EXECUTE format(
        'CREATE TABLE %I PARTITION OF call_record FOR VALUES FROM (%L) TO (%L)',
        part, first AT TIME ZONE 'UTC', (first + interval '1 month') AT TIME ZONE 'UTC');
    RETURN true;
END;
$$;
