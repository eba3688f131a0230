-- +goose Up

-- Everything imapsync itself keeps. Every key begins with the tenant, there
-- are no triggers and no foreign keys: the same SQL runs distributed by tenant,
-- and a provider row that belongs to another program may be deleted freely.
SET LOCAL lock_timeout = '5s';

-- What email_providers and imap_email_provider_config have no column for.
-- NULL means the default of the command line or the environment.
CREATE TABLE imap_provider_options (
    tenant                       uuid        NOT NULL,
    provider_id                  uuid        NOT NULL,
    ca_pem                       text,
    tls_server_name              text,
    start                        text        NOT NULL DEFAULT 'recent',
    oauth_preset                 text,
    oauth_flow                   text,
    command_timeout_ms           integer,
    literal_timeout_ms           integer,
    pass_timeout_ms              integer,
    max_message_bytes            bigint,
    max_attachment_bytes         bigint,
    max_attachments_total_bytes  bigint,
    max_attachments              integer,
    max_bytes_per_day            bigint,
    updated_at                   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, provider_id)
);

-- One row a provider: the fence (run_epoch), the schedule and the counters.
CREATE TABLE imap_sync_state (
    tenant               uuid        NOT NULL,
    provider_id          uuid        NOT NULL,
    run_epoch            bigint      NOT NULL DEFAULT 0,
    run_id               uuid,
    last_attempt_at      timestamptz,
    last_success_at      timestamptz,
    next_attempt_at      timestamptz,
    consecutive_failures integer     NOT NULL DEFAULT 0,
    auth_failures        integer     NOT NULL DEFAULT 0,
    last_error_code      text,
    last_error           text,
    published            bigint      NOT NULL DEFAULT 0,
    duplicates           bigint      NOT NULL DEFAULT 0,
    skipped              bigint      NOT NULL DEFAULT 0,
    expunged             bigint      NOT NULL DEFAULT 0,
    quarantined          bigint      NOT NULL DEFAULT 0,
    bytes_fetched        bigint      NOT NULL DEFAULT 0,
    bytes_day            date,
    bytes_today          bigint      NOT NULL DEFAULT 0,
    PRIMARY KEY (tenant, provider_id)
);

-- The cursor, one row a folder. Every UID up to settled_uid is final;
-- last_uid is the highest that was handled; what lies up to start_uid was there
-- before and is not ours to publish.
CREATE TABLE imap_folder_state (
    tenant           uuid        NOT NULL,
    provider_id      uuid        NOT NULL,
    folder           text        NOT NULL,
    uid_validity     bigint      NOT NULL,
    start_uid        bigint      NOT NULL DEFAULT 0,
    settled_uid      bigint      NOT NULL DEFAULT 0,
    last_uid         bigint      NOT NULL DEFAULT 0,
    uid_next         bigint      NOT NULL DEFAULT 0,
    highest_modseq   bigint      NOT NULL DEFAULT 0,
    backlog          bigint      NOT NULL DEFAULT 0,
    gap_passes       integer     NOT NULL DEFAULT 0,
    in_flight        bigint[]    NOT NULL DEFAULT '{}',
    resync_since     timestamptz,
    resync_reason    text,
    resync_count     integer     NOT NULL DEFAULT 0,
    paused_reason    text,
    last_search_at   timestamptz,
    last_seen_at     timestamptz,
    last_served_at   timestamptz,
    last_error       text,
    PRIMARY KEY (tenant, provider_id, folder)
);

-- The ledger: what became of every UID. A row is written in the transaction
-- that moves the cursor, after the broker has acknowledged the event.
CREATE TABLE imap_messages (
    tenant       uuid        NOT NULL,
    provider_id  uuid        NOT NULL,
    folder       text        NOT NULL,
    uid_validity bigint      NOT NULL,
    uid          bigint      NOT NULL,
    event_key    text,
    message_id   text,
    fingerprint  text,
    outcome      text        NOT NULL
        CHECK (outcome IN ('published', 'duplicate', 'skipped', 'expunged', 'quarantined')),
    reason       text,
    stream_seq   bigint,
    size         bigint      NOT NULL DEFAULT 0,
    attempts     integer     NOT NULL DEFAULT 1,
    processed_at timestamptz NOT NULL,
    PRIMARY KEY (tenant, provider_id, folder, uid_validity, uid)
);
CREATE UNIQUE INDEX imap_messages_published
    ON imap_messages (tenant, provider_id, event_key) WHERE outcome = 'published';
CREATE INDEX imap_messages_message_id
    ON imap_messages (tenant, provider_id, message_id) WHERE message_id IS NOT NULL;
CREATE INDEX imap_messages_processed
    ON imap_messages (tenant, provider_id, processed_at);

-- Messages that failed. While state is 'retry' the message is tried again;
-- 'dead' waits for a person.
CREATE TABLE imap_quarantine (
    tenant          uuid        NOT NULL,
    id              uuid        NOT NULL,
    provider_id     uuid        NOT NULL,
    folder          text        NOT NULL,
    uid_validity    bigint      NOT NULL,
    uid             bigint      NOT NULL,
    state           text        NOT NULL
        CHECK (state IN ('retry', 'dead', 'released', 'discarded')),
    stage           text        NOT NULL,
    error_code      text        NOT NULL,
    error           text        NOT NULL,
    attempts        integer     NOT NULL DEFAULT 0,
    size            bigint      NOT NULL DEFAULT 0,
    message_id      text,
    subject         text,
    sender          text,
    event_key       text,
    raw_blob_key    text,
    next_attempt_at timestamptz,
    created_at      timestamptz NOT NULL,
    updated_at      timestamptz NOT NULL,
    PRIMARY KEY (tenant, id),
    UNIQUE (tenant, provider_id, folder, uid_validity, uid)
);

-- One row a pass that did something or failed; partitioned by month so that
-- old history is dropped, not deleted. The default partition takes what no
-- month has been made for.
CREATE TABLE imap_runs (
    tenant      uuid        NOT NULL,
    provider_id uuid        NOT NULL,
    id          uuid        NOT NULL,
    started_at  timestamptz NOT NULL,
    ended_at    timestamptz NOT NULL,
    outcome     text        NOT NULL,
    error_code  text,
    error       text,
    folders     integer     NOT NULL DEFAULT 0,
    published   integer     NOT NULL DEFAULT 0,
    duplicates  integer     NOT NULL DEFAULT 0,
    skipped     integer     NOT NULL DEFAULT 0,
    expunged    integer     NOT NULL DEFAULT 0,
    quarantined integer     NOT NULL DEFAULT 0,
    bytes       bigint      NOT NULL DEFAULT 0,
    host        text,
    version     text,
    PRIMARY KEY (tenant, provider_id, started_at, id)
) PARTITION BY RANGE (started_at);
CREATE TABLE imap_runs_default PARTITION OF imap_runs DEFAULT;

CREATE TABLE imap_audit_log (
    tenant      uuid        NOT NULL,
    id          uuid        NOT NULL,
    at          timestamptz NOT NULL,
    actor       text        NOT NULL,
    action      text        NOT NULL,
    provider_id uuid,
    detail      jsonb       NOT NULL DEFAULT '{}',
    PRIMARY KEY (tenant, id)
);
CREATE INDEX imap_audit_log_at ON imap_audit_log (tenant, at);

-- Sealed credentials; the highest version is the one in force.
CREATE TABLE imap_secrets (
    tenant     uuid        NOT NULL,
    name       text        NOT NULL,
    version    bigint      NOT NULL,
    envelope   bytea       NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (tenant, name, version)
);

-- +goose StatementBegin
DO $$
DECLARE
    t text;
BEGIN
    IF NOT EXISTS (SELECT FROM pg_proc WHERE proname = 'create_distributed_table') THEN
        RETURN;
    END IF;
    FOREACH t IN ARRAY ARRAY[
        'imap_provider_options', 'imap_sync_state', 'imap_folder_state', 'imap_messages',
        'imap_quarantine', 'imap_runs', 'imap_audit_log', 'imap_secrets']
    LOOP
        EXECUTE format('SELECT create_distributed_table(%L, ''tenant'')', t);
    END LOOP;
END
$$;
-- +goose StatementEnd
