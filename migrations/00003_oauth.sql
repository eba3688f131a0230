-- +goose Up

-- What OAuth2 needs beyond the columns shared with a settings UI. The times are
-- what a forecast of the credentials' end is made of.
SET LOCAL lock_timeout = '5s';

ALTER TABLE imap_provider_options
    ADD COLUMN oauth_tenant                text,
    ADD COLUMN oauth_device_url            text,
    ADD COLUMN oauth_client_secret_expires date,
    ADD COLUMN oauth_authorised_at         timestamptz,
    ADD COLUMN oauth_refreshed_at          timestamptz,
    ADD COLUMN oauth_refresh_expires_at    timestamptz;
