-- whether probabilities are written as percentages
SELECT COALESCE(MAX(CASE WHEN crm_probability LIKE '%!%%' ESCAPE '!' OR parse_number(crm_probability, '.') > 1 THEN 1 ELSE 0 END), 0) = 1 AS is_percentage
FROM raw
