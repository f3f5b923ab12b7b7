-- which of the kept exports holds which unmapped column, and whether any text stands in it
SELECT r.attribute, l.exported_at, MAX(CASE WHEN clean_text(r.value) IS NOT NULL THEN 1 ELSE 0 END) = 1 AS is_filled
FROM raw_opportunity_attributes AS r
JOIN attribute_looks AS l ON l.source_file = r.source_file AND l.source_record = r.source_record
GROUP BY r.attribute, l.exported_at
