-- +goose Up

-- How many IMAP connections a mailbox may have at a time; NULL means three.
SET LOCAL lock_timeout = '5s';

ALTER TABLE imap_provider_options ADD COLUMN max_connections int;
