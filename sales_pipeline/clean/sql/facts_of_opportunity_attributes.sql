-- figures of the whole table
SELECT COUNT(*) AS row_count, COUNT(DISTINCT attribute) AS attribute_count,
  COUNT(CASE WHEN (kind IN ('number', 'boolean', 'date')) = (number_value IS NULL) THEN 1 END) AS mistyped_count
FROM opportunity_attributes
