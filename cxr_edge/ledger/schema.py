"""The ledger's tables. Each version of the schema is a step from the one before; a step that has
been released is never changed."""

# "cxre": marks the file as a ledger (PRAGMA application_id).
APPLICATION_ID = 0x63787265

MIGRATIONS = (
    """
    CREATE TABLE folders (
        id INTEGER PRIMARY KEY,
        path BLOB NOT NULL UNIQUE          -- os.fsencode: a name need not be Unicode
    );
    CREATE TABLE files (
        id INTEGER PRIMARY KEY,
        folder_id INTEGER NOT NULL REFERENCES folders (id),
        name BLOB NOT NULL,                -- below the folder, or its pseudonym
        size_bytes INTEGER NOT NULL,       -- the look: what was seen when it was last handed out,
        modified_ns INTEGER NOT NULL,      -- or, before that, when it was first seen
        changed_ns INTEGER NOT NULL,
        state TEXT NOT NULL CHECK (state IN (
            'seen', 'settled', 'read', 'recorded', 'refused', 'failed', 'set_aside', 'gone')),
        prediction_id INTEGER REFERENCES predictions (id) ON DELETE SET NULL,
        sha256 TEXT NOT NULL DEFAULT '',
        moved_to BLOB,                     -- where it lies since it was moved
        owner TEXT NOT NULL DEFAULT '',    -- the watcher that reads it, until its lease ends
        lease_until_s REAL NOT NULL DEFAULT 0,
        seen_at TEXT NOT NULL,
        changed_at TEXT NOT NULL,          -- of the state
        UNIQUE (folder_id, name)
    );
    CREATE INDEX files_by_state ON files (folder_id, state);
    CREATE INDEX files_by_prediction ON files (prediction_id);
    CREATE TABLE predictions (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        folder_id INTEGER NOT NULL REFERENCES folders (id),
        file_id INTEGER NOT NULL REFERENCES files (id) ON DELETE CASCADE,
        source BLOB NOT NULL,              -- as the rows name the film
        sha256 TEXT NOT NULL,              -- of the film; '' where not even its bytes could be had
        status TEXT NOT NULL,
        code TEXT NOT NULL,
        reason TEXT NOT NULL,
        findings TEXT NOT NULL,            -- [[name, probability, threshold or null], ...]
        model TEXT NOT NULL,
        model_sha256 TEXT NOT NULL,
        provider TEXT NOT NULL,
        version TEXT NOT NULL,             -- of cxr-edge
        duration_ms REAL NOT NULL,
        processed_at TEXT NOT NULL,        -- UTC, ISO 8601 with microseconds: sorts as text
        patient TEXT NOT NULL,             -- DICOM identifiers, where they are kept
        study TEXT NOT NULL,
        instance TEXT NOT NULL
    );
    -- By its beginning: small enough to stay in memory, and unique but for an accident.
    CREATE INDEX predictions_by_content ON predictions (substr(sha256, 1, 12));
    CREATE INDEX predictions_by_folder ON predictions (folder_id, id);
    CREATE INDEX predictions_by_file ON predictions (file_id);
    CREATE INDEX predictions_by_time ON predictions (processed_at);
    CREATE TABLE attempts (                -- every reading that may heal and was put off
        id INTEGER PRIMARY KEY,
        file_id INTEGER NOT NULL REFERENCES files (id) ON DELETE CASCADE,
        at TEXT NOT NULL,
        code TEXT NOT NULL
    );
    CREATE INDEX attempts_by_file ON attempts (file_id);
    CREATE TABLE csv_files (
        path BLOB PRIMARY KEY,
        size_bytes INTEGER NOT NULL,       -- after the last row that the ledger knows of
        mount_point BLOB NOT NULL          -- of the disk or share that it was written to
    ) WITHOUT ROWID;
    CREATE TABLE csv_views (               -- how far a folder's predictions are in a CSV
        path BLOB NOT NULL,                -- as it was asked for, before any rotation
        folder_id INTEGER NOT NULL REFERENCES folders (id),
        through_id INTEGER NOT NULL,
        dialect TEXT NOT NULL,
        rotate TEXT NOT NULL,
        PRIMARY KEY (path, folder_id)
    ) WITHOUT ROWID;
    CREATE TABLE facts (                   -- such as the fingerprint of the pseudonyms' key
        name TEXT PRIMARY KEY,
        value TEXT NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE watchers (
        owner TEXT PRIMARY KEY,
        folder_id INTEGER NOT NULL REFERENCES folders (id),
        facts TEXT NOT NULL                -- JSON: see ledger.Watcher
    ) WITHOUT ROWID;
    """,
)
# A film's content in a query, as its first value; the first condition is that of the index, and +
# keeps SQLite from putting the value of the second one into it.
SAME_CONTENT = "substr(sha256, 1, 12) = substr(?1, 1, 12) AND +sha256 = ?1"
SCHEMA_VERSION = len(MIGRATIONS)
