-- one row where a probability is written as a percentage, none else: the first is enough
SELECT TRUE AS is_percentage
FROM raw
WHERE crm_probability LIKE '%!%%' ESCAPE '!' OR parse_number(crm_probability, '.') > 1
LIMIT 1
