-- One row per export file, outcome and reason.
SELECT
  file,
  source_file AS sha256,
  MIN(export_id) AS export_id,
  MIN(canonical_table) AS canonical_table,
  outcome,
  reason,
  CAST(COUNT(*) AS BIGINT) AS records,
  $run_id AS run_id
FROM row_ledger
GROUP BY file, source_file, outcome, reason
