-- Nobody writes calls while they are indexed and counted, and everybody reads them, up to the last statements.
LOCK TABLE call_record IN SHARE ROW EXCLUSIVE MODE;

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

CREATE FUNCTION call_record_uncount() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% can''t be done to %: its calls would stay counted', lower(TG_OP), TG_TABLE_NAME
        USING HINT = 'SELECT call_record_drop_month(moment) gives up a month; delete and insert a call that has to move.';
END;
$$;

-- A statement on call_record fires its triggers and not those of the months; one on a month itself fires the month's.
CREATE FUNCTION call_record_watch(p_table regclass) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('CREATE TRIGGER call_record_added AFTER INSERT ON %s REFERENCING NEW TABLE AS changed
                    FOR EACH STATEMENT EXECUTE FUNCTION call_record_count()', p_table);
    EXECUTE format('CREATE TRIGGER call_record_removed AFTER DELETE ON %s REFERENCING OLD TABLE AS changed
                    FOR EACH STATEMENT EXECUTE FUNCTION call_record_count()', p_table);
    EXECUTE format('CREATE TRIGGER call_record_moved BEFORE UPDATE OF client_id, start_time ON %s
                    FOR EACH STATEMENT EXECUTE FUNCTION call_record_uncount()', p_table);
    EXECUTE format('CREATE TRIGGER call_record_emptied BEFORE TRUNCATE ON %s
                    FOR EACH STATEMENT EXECUTE FUNCTION call_record_uncount()', p_table);
END;
$$;

SELECT call_record_watch('call_record');
SELECT call_record_watch(inhrelid) FROM pg_inherits WHERE inhparent = 'call_record'::regclass;

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
    total      bigint := 0;
BEGIN
    IF first_hour >= last_hour THEN
        RETURN (SELECT count(*) FROM call_record c
                WHERE c.client_id = p_client AND c.start_time >= p_from AND c.start_time < p_before);
    END IF;
    IF first_day >= last_day THEN
        first_day := last_hour;
        last_day := last_hour;
    END IF;
    IF first_day < last_day THEN
        total := total + (SELECT coalesce(sum(t.calls), 0)::bigint FROM call_tally t WHERE t.client_id = p_client
                          AND t.hours = 24 AND t.starts_at >= first_day AND t.starts_at < last_day);
    END IF;
    IF first_hour < first_day THEN
        total := total + (SELECT coalesce(sum(t.calls), 0)::bigint FROM call_tally t WHERE t.client_id = p_client
                          AND t.hours = 1 AND t.starts_at >= first_hour AND t.starts_at < first_day);
    END IF;
    IF last_day < last_hour THEN
        total := total + (SELECT coalesce(sum(t.calls), 0)::bigint FROM call_tally t WHERE t.client_id = p_client
                          AND t.hours = 1 AND t.starts_at >= last_day AND t.starts_at < last_hour);
    END IF;
    IF p_from < first_hour THEN
        total := total + (SELECT count(*) FROM call_record c
                          WHERE c.client_id = p_client AND c.start_time >= p_from AND c.start_time < first_hour);
    END IF;
    IF last_hour < p_before THEN
        total := total + (SELECT count(*) FROM call_record c
                          WHERE c.client_id = p_client AND c.start_time >= last_hour AND c.start_time < p_before);
    END IF;
    RETURN total;
END;
$$;

-- How many calls a stretch has, and where a page begins that leaves out its newest p_offset calls: before which moment
-- to look, and how many of the calls there to leave out still. Those of an hour at most, or p_near, which are stepped
-- over sooner than they are looked up. First the day is found, then the hour in it.
CREATE FUNCTION call_place(
    p_client uuid, p_from timestamptz, p_before timestamptz, p_offset bigint, p_near bigint,
    OUT total bigint, OUT before timestamptz, OUT skip bigint
)
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
DECLARE
    first_day timestamptz := call_day(p_from + interval '1 day' - interval '1 microsecond');
    last_day  timestamptz := call_day(p_before);
    newest    bigint := 0;  -- calls of the day in which the stretch ends, if it ends within one
    whole     bigint := 0;  -- calls of whole days
    oldest    bigint := 0;
    newer     bigint;
    lower     timestamptz;
    hour      record;
BEGIN
    IF first_day > last_day THEN
        first_day := p_before;
        last_day := p_before;
    END IF;
    IF last_day < p_before THEN
        newest := call_count(p_client, last_day, p_before);
    END IF;
    IF first_day < last_day THEN
        whole := (SELECT coalesce(sum(t.calls), 0)::bigint FROM call_tally t WHERE t.client_id = p_client
                  AND t.hours = 24 AND t.starts_at >= first_day AND t.starts_at < last_day);
    END IF;
    IF p_from < first_day THEN
        oldest := call_count(p_client, p_from, first_day);
    END IF;
    total := newest + whole + oldest;
    before := p_before;
    skip := p_offset;
    IF skip < p_near OR skip >= total THEN
        RETURN;
    ELSIF skip < newest THEN
        lower := last_day;
    ELSIF skip < newest + whole THEN
        SELECT d.starts_at, d.newer INTO lower, newer
        FROM (SELECT t.starts_at, sum(t.calls) AS calls,
                     sum(sum(t.calls)) OVER (ORDER BY t.starts_at DESC) - sum(t.calls) AS newer
              FROM call_tally t WHERE t.client_id = p_client AND t.hours = 24 AND t.starts_at >= first_day
                                  AND t.starts_at < last_day
              GROUP BY t.starts_at) AS d
        WHERE d.newer <= skip - newest AND d.newer + d.calls > skip - newest;
        skip := skip - newest - newer;
        before := lower + interval '1 day';
    ELSE
        skip := skip - newest - whole;
        lower := p_from;
        before := first_day;
    END IF;
    FOR hour IN
        SELECT greatest(t.starts_at, lower) AS starts_at, least(t.starts_at + interval '1 hour', before) AS ends_at,
               CASE WHEN t.starts_at >= lower AND t.starts_at + interval '1 hour' <= before
                    THEN sum(t.calls)::bigint END AS calls
        FROM call_tally t
        WHERE t.client_id = p_client AND t.hours = 1 AND t.starts_at >= call_hour(lower) AND t.starts_at < before
        GROUP BY t.starts_at ORDER BY t.starts_at DESC
    LOOP
        hour.calls := coalesce(hour.calls, call_count(p_client, hour.starts_at, hour.ends_at));
        EXIT WHEN hour.calls > skip;
        skip := skip - hour.calls;
        before := hour.starts_at;
    END LOOP;
END;
$$;

-- A page of the calls of a stretch, newest first, in one look-up: each row with the total; without any rows, the total
-- alone.
CREATE FUNCTION call_page(
    p_client uuid, p_from timestamptz, p_before timestamptz, p_limit bigint, p_offset bigint, p_near bigint
) RETURNS TABLE (total bigint, call call_record)
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
DECLARE
    place record;
BEGIN
    place := call_place(p_client, p_from, p_before, p_offset, p_near);
    IF p_offset < place.total THEN
        RETURN QUERY
            SELECT place.total, c FROM call_record c
            WHERE c.client_id = p_client AND c.start_time >= p_from AND c.start_time < place.before
            ORDER BY c.start_time DESC, c.id DESC LIMIT p_limit OFFSET place.skip;
    ELSE
        total := place.total;
        RETURN NEXT;
    END IF;
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
    PERFORM call_record_watch(part::regclass);
    RETURN true;
END;
$$;

-- Give up the month (UTC) that holds a moment: its calls and what was counted of them. What they were known by stays, so
-- that a call that is brought again is still not charged again. True if there was such a month.
CREATE FUNCTION call_record_drop_month(p_moment timestamptz) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
    first timestamp := date_trunc('month', p_moment AT TIME ZONE 'UTC');
    part  text := 'call_record_' || to_char(first, 'YYYY_MM');
BEGIN
    IF to_regclass(part) IS NULL THEN
        RETURN false;
    END IF;
    EXECUTE format('ALTER TABLE call_record DETACH PARTITION %I', part);
    EXECUTE format('DROP TABLE %I', part);
    DELETE FROM call_tally t
    WHERE t.starts_at >= first AT TIME ZONE 'UTC' AND t.starts_at < (first + interval '1 month') AT TIME ZONE 'UTC';
    RETURN true;
END;
$$;

-- event_seq: the event in the customer's stream that charged the call; NULL where nobody was found to charge it to, or
-- where its cost is in an imported balance already.
ALTER TABLE call_record
    ADD COLUMN disposition text,
    ADD COLUMN event_seq   bigint;
