-- One row per quarantined record, and one per cell of an accepted record that could not be used.
WITH first_exports AS (
  SELECT source_file, MIN(export_id) AS export_id FROM ingest_ledger GROUP BY source_file
), ingested AS (
  SELECT i.*
  FROM ingest_ledger AS i
  JOIN first_exports AS f ON f.source_file = i.source_file AND f.export_id = i.export_id
)
SELECT
  file, source_file, source_record, line, canonical_table, "column", value, reason, 'record' AS scope
FROM ingested
WHERE outcome = 'quarantined'
UNION ALL
SELECT
  l.file, l.source_file, l.source_record, l.line, l.canonical_table, v."column", v.value, v.reason, 'record' AS scope
FROM verdicts AS v
JOIN ingested AS l ON l.source_file = v.source_file AND l.source_record = v.source_record
WHERE v.outcome = 'quarantined'
UNION ALL
SELECT
  c.file, c.source_file, c.source_record, l.line, c.canonical_table, c."column", c.value, c.reason, 'cell' AS scope
FROM cell_issues AS c
LEFT JOIN ingested AS l ON c.source_file = l.source_file AND c.source_record = l.source_record
