-- +goose Up

-- Since when a folder has had messages that were seen and not handled: the age
-- of the oldest mail that is not delivered.
SET LOCAL lock_timeout = '5s';

ALTER TABLE imap_folder_state ADD COLUMN backlog_since timestamptz;
