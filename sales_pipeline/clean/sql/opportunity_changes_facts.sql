-- which fields the history shows
SELECT MAX(CASE WHEN stage IS NOT NULL THEN 1 ELSE 0 END) = 1 AS stage, MAX(CASE WHEN amount IS NOT NULL THEN 1 ELSE 0 END) = 1 AS amount,
  MAX(CASE WHEN crm_close_date IS NOT NULL THEN 1 ELSE 0 END) = 1 AS crm_close_date,
  MAX(CASE WHEN crm_probability IS NOT NULL THEN 1 ELSE 0 END) = 1 AS crm_probability,
  MAX(CASE WHEN owner_id IS NOT NULL THEN 1 ELSE 0 END) = 1 AS owner_id
FROM staged_state_history WHERE problem IS NULL AND version = 1
