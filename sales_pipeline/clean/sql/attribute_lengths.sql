-- of each unmapped column, how many cells are how long
SELECT attribute, LENGTH(text_value) AS letters, COUNT(*) AS cells FROM attribute_values GROUP BY attribute, LENGTH(text_value) ORDER BY attribute, letters
