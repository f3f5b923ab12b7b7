-- physical records of the ingested files, each file once
SELECT COUNT(*) AS records FROM (SELECT source_file, source_record FROM ingest_ledger GROUP BY source_file, source_record) AS keys
