-- the ledger of ingest, a file that several exports share once: with the export that sorts first
WITH numbered AS (
  SELECT i.*, ROW_NUMBER() OVER (PARTITION BY source_file, source_record ORDER BY export_id) AS appearance FROM ingest_ledger AS i
)
SELECT source_file, source_record, line, file, export_id, canonical_table, outcome, reason, "column", value, duplicate_of FROM numbered WHERE appearance = 1
