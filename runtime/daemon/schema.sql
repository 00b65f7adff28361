-- The journal of a daemon. One row of parts for each accepted part; `verdict` is null until it is final.
CREATE TABLE parts (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    station TEXT NOT NULL,
    product TEXT NOT NULL,
    source TEXT NOT NULL,
    reference TEXT,
    received_at REAL NOT NULL,
    image_sha256 TEXT NOT NULL,
    verdict TEXT CHECK (verdict IN ('normal', 'anomaly', 'uncertain')),
    finished_at REAL,
    reason TEXT,
    score REAL,
    image_file TEXT,
    record TEXT -- all of the final record, as JSON
) STRICT;
CREATE INDEX parts_open ON parts (id) WHERE verdict IS NULL;
CREATE INDEX parts_by_verdict ON parts (verdict, id);
CREATE INDEX parts_by_station ON parts (station, id);
CREATE INDEX parts_by_product ON parts (product, id);
CREATE INDEX parts_by_time ON parts (received_at);
CREATE INDEX parts_by_reference ON parts (reference) WHERE reference IS NOT NULL;
CREATE INDEX parts_with_image ON parts (id) WHERE image_file IS NOT NULL;

-- What each output has yet to be told, in order. A row goes when the output has confirmed it.
CREATE TABLE outbox (
    output TEXT NOT NULL,
    part INTEGER NOT NULL REFERENCES parts (id),
    PRIMARY KEY (output, part)
) STRICT, WITHOUT ROWID;

-- Who did what to products, goldens, reviews and settings; rows are only ever added.
CREATE TABLE audit (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at REAL NOT NULL,
    who TEXT NOT NULL,
    action TEXT NOT NULL,
    details TEXT NOT NULL -- JSON
) STRICT;

-- What people say of verdicts; the last one of a part counts.
CREATE TABLE reviews (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    part INTEGER NOT NULL REFERENCES parts (id),
    at REAL NOT NULL,
    who TEXT NOT NULL,
    truth TEXT NOT NULL CHECK (truth IN ('good', 'bad'))
) STRICT;
CREATE INDEX reviews_by_part ON reviews (part, id);

-- Single values that outlive a start, as JSON: the product of each station, how long a start took.
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
