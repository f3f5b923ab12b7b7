-- where no history export exists: each export shows whole states; a record has held its state since its last modification
WITH per_export AS (
  SELECT opportunity_id, exported_at, modified_at, stage, state, amount, crm_close_date, crm_probability, owner_id, source_record,
    ROW_NUMBER() OVER (PARTITION BY opportunity_id, exported_at ORDER BY version) AS place
  FROM staged_opportunities WHERE problem IS NULL
)
SELECT opportunity_id, CASE WHEN modified_at <= exported_at THEN modified_at ELSE exported_at END AS changed_at, CAST(NULL AS VARCHAR) AS change_id,
  source_record, stage, state, amount, crm_close_date, crm_probability, owner_id, CAST(NULL AS VARCHAR) AS problem, CAST(1 AS BIGINT) AS version
FROM per_export WHERE place = 1
