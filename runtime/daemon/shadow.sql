-- Version 2 of the journal: what a shadow bundle said of parts that the line had inspected.
CREATE TABLE shadow (
    part INTEGER NOT NULL REFERENCES parts (id) ON DELETE CASCADE,
    bundle TEXT NOT NULL,
    at REAL NOT NULL,
    verdict TEXT CHECK (verdict IN ('normal', 'anomaly', 'uncertain')), -- null: it failed
    score REAL,
    agrees INTEGER, -- 1 where its verdict is the line's, 0 where it is not; null: it failed
    ms REAL NOT NULL,
    problem TEXT,
    PRIMARY KEY (part, bundle)
) STRICT, WITHOUT ROWID;
CREATE INDEX shadow_disagreeing ON shadow (bundle, part) WHERE agrees = 0;
