-- one row per key, as last seen; what was deleted in the CRM is left out
SELECT $source_system AS source_system, s.product_id, s.family, s.list_price, s.source_file, s.source_record
FROM staged_products AS s
WHERE s.problem IS NULL AND s.version = 1 AND NOT s.is_deleted
