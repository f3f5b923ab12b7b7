-- one row per opportunity and instant at which a tracked field changed: the whole state right after
SELECT $source_system AS source_system, opportunity_id, changed_at, sequence, is_creation, stage, state, amount, crm_close_date, crm_probability, owner_id
FROM changed_states
