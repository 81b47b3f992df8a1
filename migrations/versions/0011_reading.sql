-- The last event of a customer that was recorded at a moment or before it, by its seq; 0 if there is none.
--
-- A stream has no gaps and its events' times never go back, so the place is found by halving: some twenty look-ups by
-- primary key in a stream of a million events, and no index over recorded_at that each append would have to keep.
CREATE FUNCTION ledger_seq_at(p_customer bigint, p_moment timestamptz) RETURNS bigint
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
DECLARE
    low    bigint := 0;  -- known to be early enough
    high   bigint := (SELECT s.last_seq FROM stream s WHERE s.customer_id = p_customer);  -- NULL: no such stream
    middle bigint;
BEGIN
    WHILE low < high LOOP
        middle := (low + high + 1) / 2;
        IF p_moment >= (SELECT e.recorded_at FROM ledger_event e WHERE e.customer_id = p_customer AND e.seq = middle) THEN
            low := middle;
        ELSE
            high := middle - 1;
        END IF;
    END LOOP;
    RETURN low;
END;
$$;
