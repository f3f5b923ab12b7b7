-- Macros every SQL model may call. Written in DuckDB's dialect; an engine with other semantics overrides one in its own file.
-- The compiler inlines them, so they never exist in a database.

-- text: trimmed of white space and U+00A0, NULL when nothing is left
CREATE MACRO clean_text(x) AS NULLIF(TRIM(REGEXP_REPLACE(x, '[\s\x{00A0}\x{3000}]+', ' ', 'g')), '');
-- a category: clean text in lower case
CREATE MACRO norm(x) AS LOWER(clean_text(x));
-- whole calendar days (UTC) from a to b; both engines count day boundaries because both sides are dates
CREATE MACRO days_between(a, b) AS DATE_DIFF('DAY', CAST(a AS DATE), CAST(b AS DATE));
-- the value of x in the row with the greatest t, NULL values included
CREATE MACRO latest(x, t) AS ARG_MAX_NULL(x, t);
-- x / y as a double, NULL where y is zero
CREATE MACRO ratio(x, y) AS CAST(x AS DOUBLE) / NULLIF(CAST(y AS DOUBLE), 0);
-- a share of won shrunken towards a prior with a weight in pseudo-counts
CREATE MACRO shrunken(won, total, prior, weight) AS (CAST(won AS DOUBLE) + prior * weight) / (CAST(total AS DOUBLE) + weight);
