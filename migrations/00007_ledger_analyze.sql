-- +goose Up

-- The ledger grows by whole mailboxes at a time. As long as the statistics do not
-- know of a new one, the planner reads all its rows where it should look up a few
-- of them by their keys: a tenth of the table is too late to look at it again.
SET LOCAL lock_timeout = '5s';

ALTER TABLE imap_messages SET (autovacuum_analyze_scale_factor = 0.01, autovacuum_analyze_threshold = 5000);
