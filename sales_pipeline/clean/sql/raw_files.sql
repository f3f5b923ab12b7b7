-- files that feed a raw table
SELECT source_file FROM raw GROUP BY source_file
