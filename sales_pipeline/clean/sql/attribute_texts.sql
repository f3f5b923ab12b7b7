-- the texts of unmapped columns that are categories
SELECT v.attribute, v.text_value, MIN(v.text_key) AS text_key, COUNT(*) AS cells
FROM attribute_values AS v JOIN attribute_kinds AS k ON k.attribute = v.attribute AND k.kind = 'category'
GROUP BY v.attribute, v.text_value ORDER BY v.attribute, v.text_value
