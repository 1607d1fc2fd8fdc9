-- Version 1. Records are appended to a rowid table with a narrow index: a table clustered on (entity, number) dirties a
-- page per entity at each commit and is 2 to 6 times slower.
CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;

CREATE TABLE entities (
	id     INTEGER PRIMARY KEY,
	name   TEXT NOT NULL UNIQUE,
	kind   TEXT NOT NULL,
	closed INTEGER NOT NULL
);
CREATE INDEX open_entities ON entities (kind, name) WHERE closed = 0;

CREATE TABLE records (
	entity  INTEGER NOT NULL,
	number  INTEGER NOT NULL,
	epoch   INTEGER NOT NULL,
	at      INTEGER NOT NULL, -- microseconds, with the nanoseconds beyond in at_nanos
	at_nanos INTEGER NOT NULL,
	input   TEXT NOT NULL,
	version INTEGER NOT NULL,
	body    BLOB
);
CREATE UNIQUE INDEX record_numbers ON records (entity, number);

CREATE TABLE snapshots (entity INTEGER PRIMARY KEY, number INTEGER NOT NULL, state BLOB NOT NULL);

CREATE TABLE timers (
	entity TEXT NOT NULL,
	name   TEXT NOT NULL,
	due    INTEGER NOT NULL,
	due_nanos INTEGER NOT NULL,
	PRIMARY KEY (entity, name)
) WITHOUT ROWID;

CREATE TABLE outbox (
	position INTEGER PRIMARY KEY AUTOINCREMENT,
	key      TEXT NOT NULL UNIQUE,
	entity   TEXT NOT NULL,
	record   INTEGER NOT NULL,
	body     BLOB
);

CREATE TABLE receipts (
	key     TEXT PRIMARY KEY,
	answer  BLOB,
	expires INTEGER, -- null: never
	expires_nanos INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX receipt_ends ON receipts (expires) WHERE expires IS NOT NULL;

CREATE TABLE rows (
	row     INTEGER PRIMARY KEY,
	service TEXT NOT NULL,
	kind    TEXT NOT NULL,
	account TEXT NOT NULL,
	region  TEXT NOT NULL,
	id      TEXT NOT NULL,
	version INTEGER NOT NULL,
	value   BLOB,
	UNIQUE (service, kind, account, region, id)
);

CREATE TABLE row_index (
	service TEXT NOT NULL,
	kind    TEXT NOT NULL,
	name    TEXT NOT NULL,
	account TEXT NOT NULL,
	region  TEXT NOT NULL,
	sort    TEXT NOT NULL,
	id      TEXT NOT NULL,
	row     INTEGER NOT NULL,
	PRIMARY KEY (service, kind, name, account, region, sort, id)
) WITHOUT ROWID;
CREATE INDEX row_index_rows ON row_index (row);
