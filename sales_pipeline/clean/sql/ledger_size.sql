-- physical records of the ingested files
SELECT COUNT(*) AS records FROM ingest_ledger
