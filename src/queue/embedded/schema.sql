CREATE TABLE messages (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    queue           TEXT NOT NULL CHECK (queue IN ('bookings', 'dead')),
    body            BLOB NOT NULL,
    headers         TEXT NOT NULL,
    routing_key     TEXT NOT NULL,
    message_type    TEXT,
    message_id      TEXT,
    correlation_id  TEXT,
    content_type    TEXT,
    timestamp_ms    INTEGER,
    enqueued_ms     INTEGER NOT NULL,
    rank_ms         INTEGER NOT NULL,
    due_ms          INTEGER NOT NULL DEFAULT 0,
    deliveries      INTEGER NOT NULL DEFAULT 0,
    redelivered     INTEGER NOT NULL DEFAULT 0,
    lease           TEXT,
    leased_until_ms INTEGER
);
CREATE INDEX messages_in_order ON messages (queue, rank_ms, id);
CREATE INDEX messages_leased ON messages (lease) WHERE lease IS NOT NULL;
