-- +goose Up

-- A list of a thousand UIDs is written with every step of a folder. To compress it
-- takes PostgreSQL longer than all else about the row.
SET LOCAL lock_timeout = '5s';

-- Citus cannot change how a column of a distributed table is stored.
-- +goose StatementBegin
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_proc WHERE proname = 'create_distributed_table') THEN
        ALTER TABLE imap_folder_state ALTER COLUMN in_flight SET STORAGE EXTERNAL;
    END IF;
END
$$;
-- +goose StatementEnd
