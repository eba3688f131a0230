-- +goose Up

-- What a folder's cursor is evidence of: of which account, since when, and what
-- does not add up in what the server says.
SET LOCAL lock_timeout = '5s';

ALTER TABLE imap_folder_state
    DROP COLUMN gap_passes, -- gap_looks counts what is evidence
    ADD COLUMN account       text    NOT NULL DEFAULT '',
    ADD COLUMN first_look_at timestamptz,
    ADD COLUMN horizon_at    timestamptz,
    ADD COLUMN held          bigint  NOT NULL DEFAULT 0,
    ADD COLUMN old_left      bigint  NOT NULL DEFAULT 0,
    ADD COLUMN renumbered_at timestamptz,
    ADD COLUMN unstable      boolean NOT NULL DEFAULT false,
    ADD COLUMN sweep_left    bigint  NOT NULL DEFAULT 0,
    ADD COLUMN lowest_uid    bigint  NOT NULL DEFAULT 0,
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

-- No folder waits for a person any more: what does is held, message by message.
ALTER TABLE imap_folder_state DROP COLUMN paused_reason;

ALTER TABLE imap_messages
    ADD COLUMN internal_date timestamptz,
    ADD COLUMN by_header     boolean NOT NULL DEFAULT false,
    ADD COLUMN body_key      text; -- of one by_header: the key of the mail that it is the header of

-- The last event of a Message-ID is asked for before each mail is published, and for
-- mail that goes out by its header what was published of that header.
DROP INDEX imap_messages_message_id;
CREATE INDEX imap_messages_message_id
    ON imap_messages (tenant, provider_id, message_id, outcome, processed_at) WHERE message_id IS NOT NULL;
CREATE INDEX imap_messages_by_header
    ON imap_messages (tenant, provider_id) WHERE by_header AND outcome = 'published';
CREATE INDEX imap_messages_nameless
    ON imap_messages (tenant, provider_id, fingerprint) WHERE message_id IS NULL AND outcome IN ('published', 'duplicate');

ALTER TABLE imap_quarantine
    ADD COLUMN charges       integer NOT NULL DEFAULT 0,
    ADD COLUMN kills         integer NOT NULL DEFAULT 0,
    ADD COLUMN charged_at    timestamptz,
    ADD COLUMN internal_date timestamptz;

-- A message of a folder that was numbered anew may be held: unknown, older than the
-- folder's first look, and for a person to decide about.
ALTER TABLE imap_messages DROP CONSTRAINT imap_messages_outcome_check;
ALTER TABLE imap_messages ADD CONSTRAINT imap_messages_outcome_check
    CHECK (outcome IN ('published', 'duplicate', 'skipped', 'expunged', 'quarantined', 'held')) NOT VALID;

-- A numbering that was put aside is below zero: UIDVALIDITY may have 63 bits.
UPDATE imap_messages SET uid_validity = 4294967296 - uid_validity WHERE uid_validity >= 4294967296;

-- What was read so far is of the account that the settings name now. Were that left
-- to the next pass, settings that are changed before it would give the cursor to
-- another account. Citus cannot join what may be local tables here: there the next
-- pass does it. The two halves are those of AccountKey in package sync.
-- +goose StatementBegin
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_proc WHERE proname = 'create_distributed_table') THEN
        UPDATE imap_folder_state f SET account =
            left(encode(sha256(convert_to(lower(rtrim(a.host, '.') COLLATE "C") || '|' || a.port, 'UTF8')), 'hex'), 16) ||
            left(encode(sha256(convert_to(a.username, 'UTF8')), 'hex'), 16)
        FROM (
            SELECT c.tenant, c.email_provider_id, c.host, c.port,
                CASE WHEN c.auth_type = 'oauth2' AND o.oauth_preset = 'microsoft' THEN p.mailbox ELSE c.username END AS username
            FROM imap_email_provider_config c
            JOIN email_providers p ON p.tenant = c.tenant AND p.id = c.email_provider_id
            LEFT JOIN imap_provider_options o ON o.tenant = c.tenant AND o.provider_id = c.email_provider_id
        ) a
        WHERE a.tenant = f.tenant AND a.email_provider_id = f.provider_id
            AND a.host IS NOT NULL AND a.port IS NOT NULL AND a.username IS NOT NULL;
    END IF;
END
$$;
-- +goose StatementEnd

-- What the stream took last of a provider, and what it has lost of it since:
-- lost_state is empty, 'heal' (the next pass publishes it again) or 'missing' (a
-- person decides). Rows of the ledger up to lost_until have been looked at.
ALTER TABLE imap_sync_state
    ADD COLUMN account_at    timestamptz,              -- when the settings last named another user
    ADD COLUMN folders_named text   NOT NULL DEFAULT '', -- with their account, as a pass has met them in the settings
    ADD COLUMN folders_at    timestamptz,              -- and when the first pass did
    ADD COLUMN stream_seq    bigint NOT NULL DEFAULT 0,
    ADD COLUMN lost_state    text   NOT NULL DEFAULT '',
    ADD COLUMN lost_since    timestamptz,
    ADD COLUMN lost_until    timestamptz,
    ADD COLUMN lost_events   bigint NOT NULL DEFAULT 0,
    ADD COLUMN republished   bigint NOT NULL DEFAULT 0;

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
