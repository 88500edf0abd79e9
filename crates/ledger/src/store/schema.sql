-- The ledger's projection. Everything here can be made again from the facts; another `schema` version is thrown away.
CREATE TABLE meta (
    key TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE association (
    id TEXT PRIMARY KEY,
    source TEXT NOT NULL,
    calling TEXT NOT NULL,
    called TEXT NOT NULL,
    peer TEXT NOT NULL,
    opened_at INTEGER NOT NULL,       -- microseconds since 1970, as all times
    ended_at INTEGER,
    ended TEXT,
    refused_context_used INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
CREATE INDEX association_by_time ON association (opened_at);

CREATE TABLE context (
    association TEXT NOT NULL,
    place INTEGER NOT NULL,           -- from 0, in the proposal's order
    class TEXT NOT NULL,
    syntaxes INTEGER NOT NULL,
    result INTEGER NOT NULL,
    rule TEXT NOT NULL,
    PRIMARY KEY (association, place)
) STRICT, WITHOUT ROWID;

CREATE TABLE account (
    id INTEGER PRIMARY KEY,
    direction INTEGER NOT NULL,       -- 0 outgoing, 1 incoming
    route TEXT NOT NULL,
    source TEXT NOT NULL,
    study TEXT NOT NULL,              -- '' is "no study"
    target TEXT NOT NULL,
    first_at INTEGER NOT NULL,
    last_at INTEGER NOT NULL,
    declared INTEGER,
    patient_id TEXT NOT NULL DEFAULT '',
    issuer_of_patient_id TEXT NOT NULL DEFAULT '',
    patient_name TEXT NOT NULL DEFAULT '',
    accession_number TEXT NOT NULL DEFAULT '',
    study_date TEXT NOT NULL DEFAULT '',
    study_time TEXT NOT NULL DEFAULT '',
    study_description TEXT NOT NULL DEFAULT '',
    institution_name TEXT NOT NULL DEFAULT '',
    UNIQUE (direction, route, source, study)
) STRICT;
CREATE INDEX account_by_time ON account (last_at);
CREATE INDEX account_by_study ON account (study);

CREATE TABLE delivery (
    id TEXT PRIMARY KEY,
    number INTEGER NOT NULL,          -- the fact that began it: the order of reception
    account INTEGER NOT NULL,
    origin TEXT,
    sop_class TEXT NOT NULL,
    sop_instance TEXT NOT NULL,
    series TEXT,
    modality TEXT,
    transfer_syntax TEXT NOT NULL,
    length INTEGER NOT NULL,
    sha256 TEXT NOT NULL,
    repeat INTEGER NOT NULL,
    received_at INTEGER NOT NULL,
    state INTEGER NOT NULL,           -- 0 delivered, 1 in flight, 2 held, 3 failed, 4 discarded
    custody_at INTEGER,
    custody_by TEXT,
    attempts INTEGER NOT NULL DEFAULT 0,
    retry_at INTEGER,
    status INTEGER,
    outcome_at INTEGER,
    outcome_sha256 TEXT,
    reason TEXT,
    pixels TEXT,                      -- digest of its pixels
    compared TEXT,                    -- how it differs from the one before
    replaces TEXT,                    -- the delivery that it replaces
    held_by TEXT,                     -- the rule that held it from the beginning
    held_until INTEGER,               -- when its hold ends; NULL: when somebody releases it
    priority INTEGER NOT NULL,        -- 0 STAT, 1 routine, 2 bulk
    state_at INTEGER NOT NULL,        -- since when it stands so; by the far clock when the far edge said so
    again INTEGER,                    -- delivered and sent again: where that stands, as in state
    converted TEXT                    -- the transfer syntax it was sent in; NULL: its own
) STRICT, WITHOUT ROWID;
CREATE INDEX delivery_by_again ON delivery (again, number) WHERE again IS NOT NULL;
CREATE INDEX delivery_by_account ON delivery (account, sop_instance, state);
CREATE INDEX delivery_by_instance ON delivery (sop_instance);
CREATE INDEX delivery_by_state ON delivery (state, number);
CREATE INDEX delivery_held ON delivery (held_by, length, received_at, held_until) WHERE state = 2;
CREATE INDEX delivery_by_origin ON delivery (origin, account);
CREATE INDEX delivery_open ON delivery (priority, state_at) WHERE state = 1;

CREATE TABLE refusal (
    number INTEGER PRIMARY KEY,       -- the fact
    origin TEXT NOT NULL,
    route TEXT NOT NULL,
    source TEXT NOT NULL,
    sop_class TEXT NOT NULL,
    sop_instance TEXT NOT NULL,
    study TEXT NOT NULL,
    status INTEGER NOT NULL,
    rule TEXT NOT NULL,
    at INTEGER NOT NULL
) STRICT;
CREATE INDEX refusal_by_study ON refusal (study, route, source);
CREATE INDEX refusal_by_instance ON refusal (sop_instance, source);
CREATE INDEX refusal_by_origin ON refusal (origin);

-- What is seen of senders.
CREATE TABLE refused_class (
    source TEXT NOT NULL,
    class TEXT NOT NULL,
    rule TEXT NOT NULL,
    first_at INTEGER NOT NULL,
    last_at INTEGER NOT NULL,
    associations INTEGER NOT NULL DEFAULT 0,  -- on which nothing of it was accepted
    instances INTEGER NOT NULL DEFAULT 0,     -- of it that were answered with a failure by a rule
    PRIMARY KEY (source, class)
) STRICT, WITHOUT ROWID;

CREATE TABLE stop (
    association TEXT PRIMARY KEY,
    source TEXT NOT NULL,
    route TEXT NOT NULL,
    study TEXT NOT NULL,              -- '' is not known
    at INTEGER NOT NULL,
    fact TEXT NOT NULL,               -- the whole of it
    doubtful INTEGER NOT NULL,        -- the sender is known to go on, so that may have been all
    later INTEGER NOT NULL DEFAULT 0, -- instances of the study that came for the first time since
    later_at INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX stop_by_study ON stop (study, route, source);
CREATE INDEX stop_by_source ON stop (source, at);

-- Senders that have gone on behind a refused instance.
CREATE TABLE goes_on (
    source TEXT NOT NULL,
    calling TEXT NOT NULL,
    PRIMARY KEY (source, calling)
) STRICT, WITHOUT ROWID;

CREATE TABLE resend_loop (
    source TEXT NOT NULL,
    route TEXT NOT NULL,
    study TEXT NOT NULL,
    at INTEGER NOT NULL,
    fact TEXT NOT NULL,
    PRIMARY KEY (source, route, study)
) STRICT, WITHOUT ROWID;

CREATE TABLE repetition (
    number INTEGER PRIMARY KEY,       -- the fact
    delivery TEXT NOT NULL,           -- that it joined
    origin TEXT NOT NULL,
    at INTEGER NOT NULL
) STRICT;
CREATE INDEX repetition_by_delivery ON repetition (delivery);
CREATE INDEX repetition_by_origin ON repetition (origin);

CREATE TABLE suspicion (
    study TEXT NOT NULL,
    kind TEXT NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (study, kind)
) STRICT, WITHOUT ROWID;

-- What was noticed while facts were applied, until somebody has told it.
CREATE TABLE noticed (
    number INTEGER PRIMARY KEY,
    what TEXT NOT NULL
) STRICT;

CREATE TABLE notice (
    id TEXT PRIMARY KEY,
    number INTEGER NOT NULL,          -- the fact
    about TEXT NOT NULL,
    key TEXT NOT NULL,
    what TEXT NOT NULL,
    remedy TEXT NOT NULL,
    fields TEXT NOT NULL,             -- JSON
    at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX notice_by_number ON notice (number);
CREATE INDEX notice_by_key ON notice (about, key, at);

CREATE TABLE notice_told (
    id TEXT NOT NULL,
    channel TEXT NOT NULL,
    failure TEXT,                     -- NULL: it was told
    at INTEGER NOT NULL,
    PRIMARY KEY (id, channel)
) STRICT, WITHOUT ROWID;
CREATE INDEX notice_told_by_time ON notice_told (channel, at);

-- Who held, released, retried, discarded or sent a delivery again.
CREATE TABLE handling (
    number INTEGER PRIMARY KEY,       -- the fact
    delivery TEXT NOT NULL,
    what TEXT NOT NULL,
    who TEXT NOT NULL,
    reason TEXT,
    at INTEGER NOT NULL,
    UNIQUE (delivery, what, who, at)
) STRICT;
