-- +goose Up

-- How far old rows of the ledger have been given up, by UID: what lies below is
-- no mail that was missed. And when that was last seen to.
SET LOCAL lock_timeout = '5s';

ALTER TABLE imap_folder_state ADD COLUMN pruned_uid bigint NOT NULL DEFAULT 0;

CREATE TABLE imap_maintenance (
    what    text        NOT NULL PRIMARY KEY,
    done_at timestamptz NOT NULL
);
