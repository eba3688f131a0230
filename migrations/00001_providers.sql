-- +goose Up

-- These two tables may have been created by the settings UI they are shared
-- with: they are created only when absent and never altered.
SET LOCAL lock_timeout = '5s';

CREATE TABLE IF NOT EXISTS email_providers (
    tenant                     uuid        NOT NULL,
    id                         uuid        NOT NULL,
    provider_type              text        NOT NULL,
    provider_name              text        NOT NULL,
    mailbox                    text        NOT NULL,
    is_active                  boolean     NOT NULL DEFAULT true,
    status                     text        NOT NULL DEFAULT 'configuring'
        CHECK (status IN ('connected', 'disconnected', 'error', 'configuring')),
    error_message              text,
    last_sync_at               timestamptz,
    inbound_paused_at          timestamptz,
    inbound_pause_reason       text,
    inbound_ticket_defaults_id uuid,
    created_at                 timestamptz NOT NULL DEFAULT now(),
    updated_at                 timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, id),
    UNIQUE (tenant, mailbox)
);

-- uid_validity, last_uid, last_seen_at, last_sync_at, last_error, folder_state
-- and server_capabilities mirror what imap_folder_state knows, for display.
CREATE TABLE IF NOT EXISTS imap_email_provider_config (
    tenant                uuid        NOT NULL,
    email_provider_id     uuid        NOT NULL,
    host                  text        NOT NULL,
    port                  integer     NOT NULL CHECK (port BETWEEN 1 AND 65535),
    secure                boolean     NOT NULL DEFAULT true,
    allow_starttls        boolean     NOT NULL DEFAULT false,
    auth_type             text        NOT NULL DEFAULT 'password'
        CHECK (auth_type IN ('password', 'oauth2')),
    username              text        NOT NULL,
    auto_process_emails   boolean     NOT NULL DEFAULT true,
    max_emails_per_sync   integer     NOT NULL DEFAULT 50,
    folder_filters        jsonb       NOT NULL DEFAULT '[]',
    oauth_authorize_url   text,
    oauth_token_url       text,
    oauth_client_id       text,
    oauth_scopes          text,
    token_expires_at      timestamptz,
    uid_validity          text,
    last_uid              bigint,
    last_seen_at          timestamptz,
    last_sync_at          timestamptz,
    last_error            text,
    folder_state          jsonb       NOT NULL DEFAULT '{}',
    server_capabilities   text,
    connection_timeout_ms integer     NOT NULL DEFAULT 10000,
    created_at            timestamptz NOT NULL DEFAULT now(),
    updated_at            timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, email_provider_id)
);
