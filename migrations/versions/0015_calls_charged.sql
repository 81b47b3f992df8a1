-- event_seq: the event in the customer's stream that charged the call; NULL where nobody was found to charge it to, or
-- where its cost is in an imported balance already.
ALTER TABLE call_record
    ADD COLUMN disposition text,
    ADD COLUMN event_seq   bigint;

CREATE INDEX call_record_by_customer ON call_record (client_id, customer_id, start_time, id);
-- Nobody's: to be listed, and to be found again by the source that somebody has added as a caller id.
CREATE INDEX call_record_unmatched ON call_record (client_id, start_time, id) WHERE customer_id IS NULL;
CREATE INDEX call_record_unmatched_source ON call_record (client_id, source, start_time, id) WHERE customer_id IS NULL;

-- What a call is known by: written first, so that of two who bring the same call one waits and finds it there. Apart
-- from the calls, because it is unique over all months, and a table that is split by month could not promise that.
-- fingerprint is the SHA-256 of the content, so that a repeat can be told from another call of the same name.
CREATE TABLE call_leg (
    client_id   uuid        NOT NULL,
    uniqueid    text        NOT NULL,
    leg         integer     NOT NULL,
    fingerprint bytea       NOT NULL,
    start_time  timestamptz NOT NULL,
    call_id     bigint      NOT NULL,
    PRIMARY KEY (client_id, uniqueid, leg)
);

INSERT INTO call_leg (client_id, uniqueid, leg, fingerprint, start_time, call_id)
SELECT client_id, uniqueid, leg, '', start_time, id FROM call_record
ORDER BY client_id, uniqueid, leg, id
ON CONFLICT DO NOTHING;

-- How many calls began in an hour or a day of UTC, so that a month is counted without looking at its calls. Each writer
-- adds to one of several rows, by its number, or all who bring calls of a day would wait for each other's commits.
CREATE TABLE call_tally (
    client_id uuid           NOT NULL,
    hours     smallint       NOT NULL CHECK (hours IN (1, 24)),
    starts_at timestamptz    NOT NULL,
    slot      smallint       NOT NULL,
    calls     bigint         NOT NULL,
    PRIMARY KEY (client_id, hours, starts_at, slot)
) WITH (fillfactor = 70);

CREATE FUNCTION call_hour(p_moment timestamptz) RETURNS timestamptz
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT date_bin('1 hour', p_moment, '2000-01-01 00:00:00+00') $$;

CREATE FUNCTION call_day(p_moment timestamptz) RETURNS timestamptz
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT date_bin('1 day', p_moment, '2000-01-01 00:00:00+00') $$;

-- Days first and each in its order, so that two who count the same days and hours can't lock them crosswise.
CREATE FUNCTION call_record_count() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO call_tally AS t (client_id, hours, starts_at, slot, calls)
    SELECT c.client_id, span.hours, CASE span.hours WHEN 1 THEN call_hour(c.start_time) ELSE call_day(c.start_time) END,
           pg_backend_pid() % 8, CASE TG_OP WHEN 'DELETE' THEN -count(*) ELSE count(*) END
    FROM changed c CROSS JOIN (VALUES (1), (24)) AS span (hours)
    GROUP BY 1, 2, 3
    ORDER BY 1, 2 DESC, 3
    ON CONFLICT (client_id, hours, starts_at, slot) DO UPDATE SET calls = t.calls + excluded.calls;
    RETURN NULL;
END;
$$;

CREATE TRIGGER call_record_added AFTER INSERT ON call_record
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION call_record_count();
CREATE TRIGGER call_record_removed AFTER DELETE ON call_record
    REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION call_record_count();

INSERT INTO call_tally (client_id, hours, starts_at, slot, calls)
SELECT client_id, 1, call_hour(start_time), 0, count(*) FROM call_record GROUP BY 1, 3
UNION ALL
SELECT client_id, 24, call_day(start_time), 0, count(*) FROM call_record GROUP BY 1, 3;

-- How many calls of a client began from a moment to before another: whole days and whole hours by their tallies, what
-- is left at both ends by its calls.
CREATE FUNCTION call_count(p_client uuid, p_from timestamptz, p_before timestamptz) RETURNS bigint
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
DECLARE
    first_hour timestamptz := call_hour(p_from + interval '1 hour' - interval '1 microsecond');
    last_hour  timestamptz := call_hour(p_before);
    first_day  timestamptz := call_day(first_hour + interval '1 day' - interval '1 microsecond');
    last_day   timestamptz := call_day(last_hour);
BEGIN
    IF first_hour >= last_hour THEN
        RETURN (SELECT count(*) FROM call_record c
                WHERE c.client_id = p_client AND c.start_time >= p_from AND c.start_time < p_before);
    END IF;
    IF first_day >= last_day THEN
        first_day := last_hour;
        last_day := last_hour;
    END IF;
    RETURN (SELECT count(*) FROM call_record c
            WHERE c.client_id = p_client AND c.start_time >= p_from AND c.start_time < first_hour)
         + (SELECT coalesce(sum(t.calls), 0)::bigint FROM call_tally t
            WHERE t.client_id = p_client AND t.hours = 1 AND t.starts_at >= first_hour AND t.starts_at < first_day)
         + (SELECT coalesce(sum(t.calls), 0)::bigint FROM call_tally t
            WHERE t.client_id = p_client AND t.hours = 24 AND t.starts_at >= first_day AND t.starts_at < last_day)
         + (SELECT coalesce(sum(t.calls), 0)::bigint FROM call_tally t
            WHERE t.client_id = p_client AND t.hours = 1 AND t.starts_at >= last_day AND t.starts_at < last_hour)
         + (SELECT count(*) FROM call_record c
            WHERE c.client_id = p_client AND c.start_time >= last_hour AND c.start_time < p_before);
END;
$$;

-- Where a page begins that leaves out the newest p_offset calls of a stretch: before which moment to look, and how many
-- of the calls there to leave out still, never more than there are in an hour. Whole days are stepped over by their
-- tallies, the day in which the page begins hour by hour; what is no whole hour, at both ends, is counted.
CREATE FUNCTION call_place(
    p_client uuid, p_from timestamptz, p_before timestamptz, p_offset bigint, OUT before timestamptz, OUT skip bigint
)
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
DECLARE
    day  record;
    hour record;
BEGIN
    before := p_before;
    skip := p_offset;
    FOR day IN
        SELECT t.starts_at, t.starts_at + interval '1 day' AS ends_at, sum(t.calls)::bigint AS calls FROM call_tally t
        WHERE t.client_id = p_client AND t.hours = 24 AND t.starts_at >= call_day(p_from) AND t.starts_at < p_before
        GROUP BY t.starts_at ORDER BY t.starts_at DESC
    LOOP
        IF day.starts_at >= p_from AND day.ends_at <= p_before AND day.calls <= skip THEN
            before := day.starts_at;
            skip := skip - day.calls;
            CONTINUE;
        END IF;
        FOR hour IN
            SELECT greatest(t.starts_at, p_from) AS starts_at, least(t.starts_at + interval '1 hour', p_before) AS ends_at,
                   CASE WHEN t.starts_at >= p_from AND t.starts_at + interval '1 hour' <= p_before
                        THEN sum(t.calls)::bigint END AS calls
            FROM call_tally t
            WHERE t.client_id = p_client AND t.hours = 1 AND t.starts_at >= day.starts_at AND t.starts_at < day.ends_at
              AND t.starts_at + interval '1 hour' > p_from AND t.starts_at < p_before
            GROUP BY t.starts_at ORDER BY t.starts_at DESC
        LOOP
            hour.calls := coalesce(hour.calls, call_count(p_client, hour.starts_at, hour.ends_at));
            IF hour.calls > skip THEN
                before := hour.ends_at;
                RETURN;
            END IF;
            before := hour.starts_at;
            skip := skip - hour.calls;
        END LOOP;
    END LOOP;
    before := p_from;  -- beyond the last call
END;
$$;

-- As before, but attached afterwards: nobody who reads or writes calls has to wait for it.
CREATE OR REPLACE FUNCTION call_record_ensure_month(p_moment timestamptz) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
    first timestamp := date_trunc('month', p_moment AT TIME ZONE 'UTC');
    part  text := 'call_record_' || to_char(first, 'YYYY_MM');
BEGIN
    IF to_regclass(part) IS NOT NULL THEN
        RETURN false;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended('call_record_ensure_month', 0));
    -- By a query: to_regclass remembers that there was none, and waiting for this lock does not make it look again.
    IF EXISTS (SELECT FROM pg_class c WHERE c.relname = part AND c.relnamespace =
                   (SELECT p.relnamespace FROM pg_class p WHERE p.oid = 'call_record'::regclass)) THEN
        RETURN false;
    END IF;
    EXECUTE format('CREATE TABLE %I (LIKE call_record INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', part);
    EXECUTE format(
        'ALTER TABLE call_record ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
        part, first AT TIME ZONE 'UTC', (first + interval '1 month') AT TIME ZONE 'UTC');
    RETURN true;
END;
$$;
