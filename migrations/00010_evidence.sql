-- +goose Up

-- What a folder's cursor is evidence of: of which account, since when, and what
-- does not add up in what the server says.
SET LOCAL lock_timeout = '5s';

ALTER TABLE imap_folder_state
    ADD COLUMN account       text    NOT NULL DEFAULT '',
    ADD COLUMN first_look_at timestamptz,
    ADD COLUMN horizon_at    timestamptz,
    ADD COLUMN held          bigint  NOT NULL DEFAULT 0,
    ADD COLUMN unstable      boolean NOT NULL DEFAULT false,
    ADD COLUMN sweep_at      timestamptz,
    ADD COLUMN sweep_key     text,
    ADD COLUMN messages      bigint  NOT NULL DEFAULT -1,
    ADD COLUMN shrunk_at     timestamptz,
    ADD COLUMN counted_at    timestamptz,
    ADD COLUMN gap_since     timestamptz,
    ADD COLUMN gap_looks     integer NOT NULL DEFAULT 0,
    ADD COLUMN gap_sessions  integer NOT NULL DEFAULT 0,
    ADD COLUMN surplus       bigint  NOT NULL DEFAULT 0,
    ADD COLUMN surplus_since timestamptz,
    ADD COLUMN surplus_looks integer NOT NULL DEFAULT 0;

ALTER TABLE imap_messages
    ADD COLUMN internal_date timestamptz,
    ADD COLUMN by_header     boolean NOT NULL DEFAULT false;

ALTER TABLE imap_quarantine
    ADD COLUMN charges       integer NOT NULL DEFAULT 0,
    ADD COLUMN kills         integer NOT NULL DEFAULT 0,
    ADD COLUMN charged_at    timestamptz,
    ADD COLUMN internal_date timestamptz;

-- A numbering that was put aside is below zero: UIDVALIDITY may have 63 bits.
UPDATE imap_messages SET uid_validity = 4294967296 - uid_validity WHERE uid_validity >= 4294967296;
