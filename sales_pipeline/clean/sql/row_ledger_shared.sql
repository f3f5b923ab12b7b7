-- as row_ledger.sql, where records feed several tables: one that any table took is accepted
SELECT i.source_file, i.source_record, i.line, i.file, i.export_id, i.canonical_table,
  CASE WHEN i.outcome = 'accepted' THEN COALESCE(v.outcome, i.outcome) ELSE i.outcome END AS outcome,
  CASE WHEN i.outcome = 'accepted' THEN COALESCE(v.reason, i.reason) ELSE i.reason END AS reason,
  CASE WHEN i.outcome = 'accepted' THEN v.problem_column ELSE i."column" END AS "column",
  CASE WHEN i.outcome = 'accepted' THEN v.problem_value ELSE i.value END AS value,
  CASE WHEN i.outcome = 'accepted' THEN v.duplicate_of ELSE i.duplicate_of END AS duplicate_of
FROM ingest_ledger AS i
LEFT JOIN taken AS t ON t.source_file = i.source_file AND t.source_record = i.source_record
LEFT JOIN verdicts AS v ON v.source_file = i.source_file AND v.source_record = i.source_record AND t.source_file IS NULL
