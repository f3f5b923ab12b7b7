-- figures of the whole table; of records, a verdict of cleaning counts instead of what ingest said
WITH counted AS (
  SELECT source_file, export_id, outcome, COUNT(*) AS records
  FROM ingest_ledger WHERE canonical_table = 'opportunities' GROUP BY source_file, export_id, outcome
), first_exports AS (
  SELECT source_file, MIN(export_id) AS export_id FROM counted GROUP BY source_file
), judged AS (
  SELECT v.outcome, COUNT(*) AS records FROM verdicts AS v JOIN first_exports AS f ON f.source_file = v.source_file GROUP BY v.outcome
), every AS (
  SELECT c.outcome, c.records FROM counted AS c JOIN first_exports AS f ON f.source_file = c.source_file AND f.export_id = c.export_id
  UNION ALL
  SELECT outcome, records FROM judged
  UNION ALL
  SELECT 'accepted' AS outcome, -records AS records FROM judged
)
SELECT COUNT(*) AS row_count,
  COUNT(CASE WHEN o.state <> 'open' THEN 1 END) AS closed_count, COUNT(CASE WHEN o.state = 'open' THEN 1 END) AS open_count,
  COALESCE(CAST(MAX(i.orphans) AS DOUBLE) / NULLIF(COUNT(*), 0), 0) AS orphan_account_share,
  COALESCE(CAST(MAX(l.quarantined) AS DOUBLE) / NULLIF(MAX(l.records), 0), 0) AS quarantined_share
FROM opportunities AS o
CROSS JOIN (SELECT COUNT(*) AS orphans FROM cell_issues WHERE canonical_table = 'opportunities' AND "column" = 'account_id') AS i
CROSS JOIN (
  SELECT SUM(CASE WHEN outcome = 'quarantined' THEN records ELSE 0 END) AS quarantined, SUM(CASE WHEN outcome <> 'structural' THEN records ELSE 0 END) AS records
  FROM every
) AS l
