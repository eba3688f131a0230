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
    ADD COLUMN surplus_looks integer NOT NULL DEFAULT 0,
    ADD COLUMN unfetched     bigint[] NOT NULL DEFAULT '{}';

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

-- What the stream took last of a provider, and what it has lost of it since:
-- lost_state is empty, 'heal' (the next pass publishes it again) or 'missing' (a
-- person decides). Rows of the ledger up to lost_until have been looked at.
ALTER TABLE imap_sync_state
    ADD COLUMN stream_seq  bigint NOT NULL DEFAULT 0,
    ADD COLUMN lost_state  text   NOT NULL DEFAULT '',
    ADD COLUMN lost_since  timestamptz,
    ADD COLUMN lost_until  timestamptz,
    ADD COLUMN lost_events bigint NOT NULL DEFAULT 0,
    ADD COLUMN republished bigint NOT NULL DEFAULT 0;

-- The streams that events and blobs were seen to stand on, a bucket's by OBJ_ and
-- its name. One that was made anew under the same name is another one.
CREATE TABLE imap_streams (
    name       text        NOT NULL,
    created_at timestamptz NOT NULL, -- by the broker's clock
    since      timestamptz NOT NULL, -- by ours: older rows of the ledger belong to the one before
    max_age_ms bigint      NOT NULL, -- 0: for ever
    replicas   integer     NOT NULL,
    PRIMARY KEY (name, created_at)
);

-- +goose StatementBegin
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_proc WHERE proname = 'create_reference_table') THEN
        PERFORM create_reference_table('imap_streams');
    END IF;
END
$$;
-- +goose StatementEnd
