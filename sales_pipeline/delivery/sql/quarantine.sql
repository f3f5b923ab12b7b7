-- One row per quarantined record, and one per cell of an accepted record that could not be used.
SELECT
  l.file, l.source_file, l.source_record, l.line, l.canonical_table, l."column", l.value, l.reason, 'record' AS scope
FROM row_ledger AS l
WHERE l.outcome = 'quarantined'
UNION ALL
SELECT
  c.file, c.source_file, c.source_record, l.line, c.canonical_table, c."column", c.value, c.reason, 'cell' AS scope
FROM cell_issues AS c
LEFT JOIN row_ledger AS l ON c.source_file = l.source_file AND c.source_record = l.source_record
