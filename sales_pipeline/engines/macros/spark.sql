-- Overrides for Apache Spark; bodies are written in DuckDB's dialect as well, with Spark's functions where they differ.
CREATE MACRO latest(x, t) AS MAX_BY(x, t);
CREATE MACRO day_of(x) AS CAST(x AS DATE);
CREATE MACRO instant_before(x) AS x - INTERVAL '1' MICROSECOND;
CREATE MACRO days_before(x, n) AS TIMESTAMP_MICROS(UNIX_MICROS(x) - n * 86400000000);
CREATE MACRO hours_between(a, b) AS DATE_DIFF('HOUR', DATE_TRUNC('HOUR', a), DATE_TRUNC('HOUR', b));
-- Spark writes instants slowly, and looks each time zone in a text up by patterns: what has the usual form is cast, in the session's UTC, and
-- whether it is a day or time at all is left to the cast.
CREATE MACRO is_plain_day(x) AS REGEXP_MATCHES(x, '^(19[7-9][0-9]|20[0-9][0-9])-[0-9][0-9]-[0-9][0-9]\z');
CREATE MACRO is_plain_instant(x) AS REGEXP_MATCHES(x, '^(19[7-9][0-9]|20[0-9][0-9])-[0-9][0-9]-[0-9][0-9] [0-9][0-9]:[0-9][0-9]:[0-9][0-9]\z');
CREATE MACRO usual_instant(x) AS TRY_CAST(CASE
  WHEN REGEXP_MATCHES(x, '^(19[7-9][0-9]|20[0-9][0-9])-[0-9][0-9]-[0-9][0-9]( [0-9][0-9]:[0-9][0-9]:[0-9][0-9])?\z') THEN x
END AS TIMESTAMPTZ);
