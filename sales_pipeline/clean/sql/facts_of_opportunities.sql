-- figures of the whole table
SELECT COUNT(*) AS row_count, 
  COUNT(CASE WHEN o.state <> 'open' THEN 1 END) AS closed_count, COUNT(CASE WHEN o.state = 'open' THEN 1 END) AS open_count,
  COALESCE(CAST(MAX(i.orphans) AS DOUBLE) / NULLIF(COUNT(*), 0), 0) AS orphan_account_share,
  COALESCE(CAST(MAX(l.quarantined) AS DOUBLE) / NULLIF(MAX(l.records), 0), 0) AS quarantined_share
FROM opportunities AS o
CROSS JOIN (SELECT COUNT(*) AS orphans FROM cell_issues WHERE canonical_table = 'opportunities' AND "column" = 'account_id') AS i
CROSS JOIN (
  SELECT COUNT(CASE WHEN outcome = 'quarantined' THEN 1 END) AS quarantined, COUNT(CASE WHEN outcome <> 'structural' THEN 1 END) AS records
  FROM row_ledger WHERE canonical_table = 'opportunities'
) AS l
