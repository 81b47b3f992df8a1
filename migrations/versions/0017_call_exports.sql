-- Calls that a client wants as one file, and how far it is written: pending, running, done or failed.
--
--   total       calls of the period (of the source, of the customer) when it was begun; seen: how many of them were
--               looked at, written: how many were wanted and are in the file.
--   place_…     the last call that was looked at. The file goes on after it, newest first.
--   lease_…     whose turn it is, by token, and until when. Without a token: not before then, after a failure.
--   attempts    turns since a chunk was last written.
--   turn_at     when it last had a turn; who has waited longest is next.
CREATE TABLE call_export (
    client_id    uuid        NOT NULL REFERENCES client (id),
    id           uuid        NOT NULL DEFAULT gen_random_uuid(),
    period_start timestamptz NOT NULL,
    period_end   timestamptz NOT NULL,
    source       text,
    customer_id  bigint,
    destination  text,
    disposition  text,
    min_duration integer,
    unmatched    boolean     NOT NULL DEFAULT false,
    status       text        NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'running', 'done', 'failed')),
    total        bigint,
    seen         bigint      NOT NULL DEFAULT 0,
    written      bigint      NOT NULL DEFAULT 0,
    size         bigint      NOT NULL DEFAULT 0,
    chunks       integer     NOT NULL DEFAULT 0,
    place_time   timestamptz,
    place_id     bigint,
    lease_until  timestamptz,
    lease_token  uuid,
    attempts     integer     NOT NULL DEFAULT 0,
    turn_at      timestamptz NOT NULL DEFAULT now(),
    error        text,
    created_at   timestamptz NOT NULL DEFAULT now(),
    finished_at  timestamptz,
    expires_at   timestamptz,
    PRIMARY KEY (client_id, id),
    CHECK ((finished_at IS NOT NULL) = (status IN ('done', 'failed'))),
    CHECK ((expires_at IS NOT NULL) = (finished_at IS NOT NULL))
);

CREATE INDEX call_export_by_age ON call_export (client_id, created_at, id);
CREATE INDEX call_export_unfinished ON call_export (client_id, created_at, id) WHERE finished_at IS NULL;
CREATE INDEX call_export_expiry ON call_export (expires_at) WHERE expires_at IS NOT NULL;

-- Each chunk is one member of a gzip file; one after the other they are the file.
CREATE TABLE call_export_chunk (
    client_id uuid    NOT NULL,
    export_id uuid    NOT NULL,
    number    integer NOT NULL,
    body      bytea   NOT NULL,
    PRIMARY KEY (client_id, export_id, number),
    FOREIGN KEY (client_id, export_id) REFERENCES call_export (client_id, id)
);

ALTER TABLE call_export_chunk ALTER COLUMN body SET STORAGE EXTERNAL;  -- it is compressed already
