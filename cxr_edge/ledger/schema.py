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
    # What is derived is kept by triggers: a program of before, which has the ledger open still,
    # keeps it right, too.
    """
    ALTER TABLE predictions ADD COLUMN
        is_latest INTEGER NOT NULL DEFAULT 0;  -- of its content; without that: of its file
    CREATE TABLE judged (                  -- the latest predictions: a row for each finding, and
        finding TEXT NOT NULL,             -- one for the film as a whole, whose finding is ''
        processed_at TEXT NOT NULL,
        prediction_id INTEGER NOT NULL,
        probability REAL,                  -- of the finding; of the film: of its leading one
        rank REAL,                         -- highest first; NULL: negative for the finding
        outcome TEXT NOT NULL,             -- of the film: positive, negative, refused, failed
        verdicts INTEGER NOT NULL,         -- 1 agree + 2 disagree + 4 unsure
        model TEXT NOT NULL,               -- the beginning of its sha256
        words TEXT NOT NULL,               -- of the film: what may be looked for
        PRIMARY KEY (finding, processed_at, prediction_id)
    ) WITHOUT ROWID;
    CREATE TABLE verdicts (                -- what people say; nothing of it is ever changed
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        prediction_id INTEGER NOT NULL REFERENCES predictions (id) ON DELETE CASCADE,
        finding TEXT NOT NULL,             -- '' for the film as a whole
        verdict TEXT NOT NULL CHECK (verdict IN ('agree', 'disagree', 'unsure')),
        note TEXT NOT NULL,
        said_by TEXT NOT NULL,
        said_at TEXT NOT NULL
    );
    CREATE INDEX verdicts_by_prediction ON verdicts (prediction_id, finding, id);
    CREATE VIEW last_verdicts AS
        SELECT *, CASE verdict WHEN 'agree' THEN 1 WHEN 'disagree' THEN 2 ELSE 4 END AS bit
        FROM verdicts AS said WHERE NOT EXISTS (
            SELECT 1 FROM verdicts AS later WHERE later.prediction_id = said.prediction_id
            AND later.finding = said.finding AND later.id > said.id);
    CREATE VIEW said_findings AS           -- place: 0 for the leading one
        SELECT predictions.id AS prediction_id, key AS place,
            json_extract(value, '$[0]') AS finding, json_extract(value, '$[1]') AS probability,
            json_extract(value, '$[2]') AS threshold
        -- NaN is no JSON, and must not keep a film from being recorded.
        FROM predictions, json_each(iif(json_valid(findings), findings, '[]'));
    CREATE TRIGGER latest_prediction AFTER UPDATE OF is_latest ON predictions
    WHEN NEW.is_latest > OLD.is_latest BEGIN
        INSERT OR IGNORE INTO judged
            SELECT '', NEW.processed_at, NEW.id, probability,
                CASE WHEN NEW.status != 'ok' THEN -1 WHEN probability >= threshold
                    THEN 1 + probability ELSE coalesce(probability, 0) END,
                CASE WHEN NEW.status != 'ok' THEN NEW.status WHEN probability >= threshold
                    THEN 'positive' ELSE 'negative' END,
                -- One that is the latest again may have some.
                coalesce((SELECT sum(DISTINCT bit) FROM last_verdicts
                    WHERE prediction_id = NEW.id), 0),
                substr(NEW.model_sha256, 1, 12),
                -- Its name below its folder, or a pseudonym; and its patient.
                ltrim(CAST(CASE WHEN substr(NEW.source, 1, length(path)) = path
                    THEN substr(NEW.source, length(path) + 1) ELSE NEW.source END AS TEXT), '/\\')
                    || char(10) || NEW.patient
            FROM folders LEFT JOIN said_findings ON prediction_id = NEW.id AND place = 0
            WHERE folders.id = NEW.folder_id;
        INSERT OR IGNORE INTO judged
            SELECT said.finding, NEW.processed_at, NEW.id, said.probability,
                CASE WHEN said.probability >= threshold THEN said.probability END,
                outcome, coalesce((SELECT bit FROM last_verdicts
                    WHERE prediction_id = NEW.id AND finding = said.finding), 0), model, ''
            FROM said_findings AS said JOIN judged AS film ON film.finding = ''
                AND film.processed_at = NEW.processed_at AND film.prediction_id = NEW.id
            WHERE said.prediction_id = NEW.id;
    END;
    CREATE TRIGGER earlier_prediction AFTER UPDATE OF is_latest ON predictions
    WHEN NEW.is_latest < OLD.is_latest BEGIN
        DELETE FROM judged WHERE processed_at = NEW.processed_at AND prediction_id = NEW.id
            AND finding IN (SELECT finding FROM said_findings WHERE prediction_id = NEW.id
                UNION SELECT '');
    END;
    CREATE TRIGGER new_prediction AFTER INSERT ON predictions BEGIN
        UPDATE predictions SET is_latest = 0
            WHERE NEW.sha256 != '' AND substr(sha256, 1, 12) = substr(NEW.sha256, 1, 12)
                AND +sha256 = NEW.sha256 AND is_latest = 1;
        UPDATE predictions SET is_latest = 1 WHERE id = NEW.id;
    END;
    CREATE TRIGGER prediction_goes BEFORE DELETE ON predictions WHEN OLD.is_latest BEGIN
        DELETE FROM judged WHERE processed_at = OLD.processed_at AND prediction_id = OLD.id
            AND finding IN (SELECT finding FROM said_findings WHERE prediction_id = OLD.id
                UNION SELECT '');
    END;
    CREATE TRIGGER prediction_gone AFTER DELETE ON predictions WHEN OLD.is_latest BEGIN
        UPDATE predictions SET is_latest = 1 WHERE id = (
            SELECT max(id) FROM predictions WHERE OLD.sha256 != ''
            AND substr(sha256, 1, 12) = substr(OLD.sha256, 1, 12) AND +sha256 = OLD.sha256);
    END;
    CREATE TRIGGER other_answer AFTER UPDATE OF prediction_id ON files
    WHEN OLD.prediction_id IS NOT NEW.prediction_id BEGIN
        UPDATE predictions SET is_latest = 0
            WHERE id = OLD.prediction_id AND sha256 = '' AND is_latest = 1;
    END;
    CREATE TRIGGER new_verdict AFTER INSERT ON verdicts BEGIN
        UPDATE judged SET verdicts = (SELECT sum(DISTINCT bit) FROM last_verdicts
                WHERE prediction_id = NEW.prediction_id
                AND judged.finding IN ('', last_verdicts.finding))
            WHERE finding IN ('', NEW.finding) AND prediction_id = NEW.prediction_id
                AND processed_at = (
                    SELECT processed_at FROM predictions WHERE id = NEW.prediction_id);
    END;
    UPDATE predictions SET is_latest = 1 WHERE iif(sha256 = '',
        id = (SELECT prediction_id FROM files WHERE files.id = file_id),
        id IN (SELECT max(id) FROM predictions GROUP BY sha256));
    CREATE INDEX judged_by_rank ON judged (finding, rank, prediction_id, outcome, verdicts)
        WHERE rank IS NOT NULL;
    CREATE INDEX predictions_by_patient ON predictions (patient, processed_at) WHERE patient != '';
    """,
    # Films of before have no band: their outcomes stay. A program of before that records one now
    # gives it none either.
    """
    ALTER TABLE predictions ADD COLUMN distance REAL;  -- gate.distance; NULL: not known
    ALTER TABLE predictions ADD COLUMN profile TEXT NOT NULL DEFAULT '';
    DROP VIEW said_findings;
    CREATE VIEW said_findings AS           -- place: 0 for the leading one
        SELECT predictions.id AS prediction_id, key AS place,
            json_extract(value, '$[0]') AS finding, json_extract(value, '$[1]') AS probability,
            json_extract(value, '$[2]') AS threshold,
            json_extract(value, '$[3]') AS unsure_from, json_extract(value, '$[4]') AS unsure_below
        FROM predictions, json_each(iif(json_valid(findings), findings, '[]'));
    DROP TRIGGER latest_prediction;
    CREATE TRIGGER latest_prediction AFTER UPDATE OF is_latest ON predictions
    WHEN NEW.is_latest > OLD.is_latest BEGIN
        INSERT OR IGNORE INTO judged
            SELECT '', NEW.processed_at, NEW.id, probability,
                CASE WHEN NEW.status != 'ok' THEN -1 WHEN probability >= threshold
                    THEN 1 + probability ELSE coalesce(probability, 0) END,
                CASE WHEN NEW.status != 'ok' THEN NEW.status
                    WHEN probability >= unsure_from AND probability < unsure_below THEN 'unsure'
                    WHEN probability >= threshold THEN 'positive' ELSE 'negative' END,
                -- One that is the latest again may have some.
                coalesce((SELECT sum(DISTINCT bit) FROM last_verdicts
                    WHERE prediction_id = NEW.id), 0),
                substr(NEW.model_sha256, 1, 12),
                -- Its name below its folder, or a pseudonym; and its patient.
                ltrim(CAST(CASE WHEN substr(NEW.source, 1, length(path)) = path
                    THEN substr(NEW.source, length(path) + 1) ELSE NEW.source END AS TEXT), '/\\')
                    || char(10) || NEW.patient
            FROM folders LEFT JOIN said_findings ON prediction_id = NEW.id AND place = 0
            WHERE folders.id = NEW.folder_id;
        INSERT OR IGNORE INTO judged
            SELECT said.finding, NEW.processed_at, NEW.id, said.probability,
                CASE WHEN said.probability >= threshold THEN said.probability END,
                outcome, coalesce((SELECT bit FROM last_verdicts
                    WHERE prediction_id = NEW.id AND finding = said.finding), 0), model, ''
            FROM said_findings AS said JOIN judged AS film ON film.finding = ''
                AND film.processed_at = NEW.processed_at AND film.prediction_id = NEW.id
            WHERE said.prediction_id = NEW.id;
    END;
    """,
)
# What an older ledger lacks that is only read, and so not brought up to date: by the first version
# that has it.
STAND_INS = {
    3: "CREATE TEMP VIEW predictions AS SELECT *, NULL AS distance, '' AS profile "
    "FROM main.predictions",
}
# A film's content in a query, as its first value; the first condition is that of the index, and +
# keeps SQLite from putting the value of the second one into it.
SAME_CONTENT = "substr(sha256, 1, 12) = substr(?1, 1, 12) AND +sha256 = ?1"
SCHEMA_VERSION = len(MIGRATIONS)
