-- One row per export file, outcome and reason. Records are counted first: a verdict of cleaning takes one off what ingest accepted of its file.
WITH counted AS (
  SELECT source_file, export_id, file, canonical_table, outcome, reason, COUNT(*) AS records
  FROM ingest_ledger
  GROUP BY source_file, export_id, file, canonical_table, outcome, reason
), first_exports AS (
  SELECT source_file, MIN(export_id) AS export_id FROM counted GROUP BY source_file
), ingested AS (
  SELECT c.*
  FROM counted AS c
  JOIN first_exports AS f ON f.source_file = c.source_file AND f.export_id = c.export_id
), judged AS (
  SELECT i.source_file, i.export_id, i.file, i.canonical_table, v.outcome, v.reason, v.records
  FROM ingested AS i
  JOIN (SELECT source_file, outcome, reason, COUNT(*) AS records FROM verdicts GROUP BY source_file, outcome, reason) AS v
    ON v.source_file = i.source_file AND i.outcome = 'accepted'
), every AS (
  SELECT * FROM ingested
  UNION ALL
  SELECT * FROM judged
  UNION ALL
  SELECT source_file, export_id, file, canonical_table, 'accepted' AS outcome, '' AS reason, -records AS records FROM judged
)
SELECT
  file,
  source_file AS sha256,
  MIN(export_id) AS export_id,
  MIN(canonical_table) AS canonical_table,
  outcome,
  reason,
  CAST(SUM(records) AS BIGINT) AS records,
  $run_id AS run_id
FROM every
GROUP BY file, source_file, outcome, reason
HAVING SUM(records) <> 0
