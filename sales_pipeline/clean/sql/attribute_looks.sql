-- one row per opportunity and export that holds it, numbered from the first on
WITH per_export AS (
  SELECT opportunity_id, source_file, source_record, exported_at, modified_at,
    ROW_NUMBER() OVER (PARTITION BY opportunity_id, exported_at ORDER BY version) AS place
  FROM staged_opportunities WHERE problem IS NULL
)
SELECT opportunity_id, source_file, source_record, exported_at, modified_at,
  ROW_NUMBER() OVER (PARTITION BY opportunity_id ORDER BY exported_at) AS number,
  LAG(exported_at) OVER (PARTITION BY opportunity_id ORDER BY exported_at) AS previous_exported_at
FROM per_export WHERE place = 1
