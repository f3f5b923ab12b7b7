-- opportunities whose account the exports do not hold
SELECT s.source_file, s.source_record, 'opportunities' AS canonical_table, 'account_id' AS issue_column, s.account_id AS issue_value,
  'names a record that the exports do not hold' AS reason
FROM staged_opportunities AS s
LEFT JOIN accounts AS a ON a.account_id = s.account_id
WHERE s.problem IS NULL AND s.version = 1 AND s.account_id IS NOT NULL AND a.account_id IS NULL AND $has_accounts
