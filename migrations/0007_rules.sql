-- The rules that decisions were made by, each once: a decision in the journal names them by their hash,
-- so that it can be made again, long after the configuration has changed. Kept as long as the journal.
create table syncline.sync_rules (
    rules_hash text not null,
    rules jsonb not null,
    last_used_on date not null default current_date,
    constraint sync_rules_pkey primary key (rules_hash)
);
