-- one row per opportunity and instant at which a tracked field changed: the whole state right after; changes at one instant are numbered from 0 in `sequence`.
-- Most stand alone at theirs and need not be put in order for it.
WITH numbered AS (
  SELECT opportunity_id, changed_at, 0 AS sequence, is_creation, stage, state, amount, crm_close_date, crm_probability, owner_id
  FROM changed_states WHERE NOT shares_instant
  UNION ALL
  SELECT opportunity_id, changed_at, ROW_NUMBER() OVER (PARTITION BY opportunity_id, changed_at ORDER BY step, change_id, source_record) - 1,
    is_creation, stage, state, amount, crm_close_date, crm_probability, owner_id
  FROM changed_states WHERE shares_instant
)
SELECT $source_system AS source_system, opportunity_id, changed_at, sequence, is_creation, stage, state, amount, crm_close_date, crm_probability, owner_id
FROM numbered
