-- +goose Up

-- Whether to log in before the server has greeted, which saves a round trip.
SET LOCAL lock_timeout = '5s';

ALTER TABLE imap_provider_options ADD COLUMN eager_login boolean NOT NULL DEFAULT false;
