-- one row per line item
SELECT $source_system AS source_system, s.line_id, s.opportunity_id, s.product_id, s.quantity, s.total_price, s.created_at, s.source_file, s.source_record
FROM staged_opportunity_products AS s
WHERE s.problem IS NULL AND s.version = 1
