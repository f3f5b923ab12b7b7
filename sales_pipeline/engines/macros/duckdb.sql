-- Macros every SQL model may call. Written in DuckDB's dialect; an engine with other semantics overrides one in its own file.
-- The compiler inlines them, so they never exist in a database. Patterns end in \z: Java's $ stands before a last line break as well.

-- text: trimmed of white space, U+00A0 and U+3000, inner blanks folded to one, NULL when nothing is left. What is printable ASCII with single
-- blanks inside is as it should be: looking costs a third of replacing.
CREATE MACRO clean_text(x) AS CASE WHEN REGEXP_MATCHES(x, '[^ -~]|  |^ | \z') THEN NULLIF(TRIM(REGEXP_REPLACE(x, '[\s\x{00A0}\x{3000}]+', ' ', 'g')), '') ELSE NULLIF(x, '') END;
-- text as it is, without plain blanks around it, NULL when nothing is left
CREATE MACRO trimmed(x) AS NULLIF(TRIM(x), '');
-- a category: clean text in lower case
CREATE MACRO norm(x) AS LOWER(clean_text(x));
-- The day (UTC) of an instant, the instant a microsecond before (the last one an as-of sees), and the one so many days of 24 hours before.
-- DuckDB casts and shifts instants by the calendar of a time zone, which takes ten times as long as counting microseconds.
CREATE MACRO day_of(x) AS CAST(MAKE_TIMESTAMP(EPOCH_US(x)) AS DATE);
CREATE MACRO instant_before(x) AS MAKE_TIMESTAMPTZ(EPOCH_US(x) - 1);
CREATE MACRO days_before(x, n) AS MAKE_TIMESTAMPTZ(EPOCH_US(x) - n * 86400000000);
-- whole calendar days (UTC) from a to b; both engines count day boundaries because both sides are dates
CREATE MACRO days_between(a, b) AS DATE_DIFF('DAY', day_of(a), day_of(b));
-- hours (UTC) from a to b, by the hours of the clock they lie in: where Spark counts what has elapsed, DuckDB counts the hours that began
CREATE MACRO hours_between(a, b) AS DATE_DIFF('HOUR', DATE_TRUNC('HOUR', MAKE_TIMESTAMP(EPOCH_US(a))), DATE_TRUNC('HOUR', MAKE_TIMESTAMP(EPOCH_US(b))));
-- the value of x in the row with the greatest t, NULL values included
CREATE MACRO latest(x, t) AS ARG_MAX_NULL(x, t);
-- x / y as a double, NULL where y is zero
CREATE MACRO ratio(x, y) AS CAST(x AS DOUBLE) / NULLIF(CAST(y AS DOUBLE), 0);
-- a share of won shrunken towards a prior with a weight in pseudo-counts
CREATE MACRO shrunken(won, total, prior, weight) AS (CAST(won AS DOUBLE) + prior * weight) / (CAST(total AS DOUBLE) + weight);

-- Days and instants. Years 1970 to 2099 only. `date_order` is 'ymd', 'mdy' or 'dmy' and decides about two numbers before a year;
-- dots are always day first, and under 'ymd' slashes are month first. What is no such day or instant is NULL, never another one.
CREATE MACRO is_month_first(x, date_order) AS (date_order = 'mdy' AND NOT SUBSTRING(x, 1, 6) LIKE '%.%') OR (date_order = 'ymd' AND SUBSTRING(x, 1, 6) LIKE '%/%');
-- 2026-06-30 and 2026-06-30 10:00:00: what reads as a day or time and is written as that is written. Cheaper than a pattern.
CREATE MACRO is_plain_day(x) AS LENGTH(x) = 10 AND x >= '1970' AND x < '2100' AND CAST(TRY_CAST(x AS DATE) AS VARCHAR) = x;
CREATE MACRO is_plain_instant(x) AS LENGTH(x) = 19 AND x >= '1970' AND x < '2100' AND CAST(TRY_CAST(x AS TIMESTAMP) AS VARCHAR) = x;
CREATE MACRO day_part(x, n) AS LPAD(REGEXP_EXTRACT(x, '^([0-9]+)[-/.]([0-9]+)[-/.]([0-9]+)', n), 2, '0');
CREATE MACRO day_text(x, date_order) AS CASE
  WHEN REGEXP_MATCHES(x, '^(19[7-9][0-9]|20[0-9][0-9])-[0-9][0-9]-[0-9][0-9]([T ,]|\z)') THEN SUBSTRING(x, 1, 10)
  WHEN REGEXP_MATCHES(x, '^(19[7-9][0-9]|20[0-9][0-9])[0-9]{4}([T ,]|\z)') THEN SUBSTRING(x, 1, 4) || '-' || SUBSTRING(x, 5, 2) || '-' || SUBSTRING(x, 7, 2)
  WHEN REGEXP_MATCHES(x, '^(19[7-9][0-9]|20[0-9][0-9])[-/.][0-9]{1,2}[-/.][0-9]{1,2}([T ,]|\z)') THEN SUBSTRING(x, 1, 4) || '-' || day_part(x, 2) || '-' || day_part(x, 3)
  WHEN REGEXP_MATCHES(x, '^[0-9]{1,2}[-/.][0-9]{1,2}[-/.](19[7-9][0-9]|20[0-9][0-9])([T ,]|\z)') THEN REGEXP_EXTRACT(x, '^[0-9]+[-/.][0-9]+[-/.]([0-9]{4})', 1) || '-'
    || CASE WHEN is_month_first(x, date_order) THEN day_part(x, 1) || '-' || day_part(x, 2) ELSE day_part(x, 2) || '-' || day_part(x, 1) END
END;
-- 2026年6月30日, with a time or without: the parts of it (1 year, 2 month, 3 day, 5 hour, 6 minute, 8 second), and the day
CREATE MACRO cjk_part(x, n) AS REGEXP_EXTRACT(x, '^\s*(19[7-9][0-9]|20[0-9][0-9])年\s*([0-9]{1,2})月\s*([0-9]{1,2})[日号]\s*(([01]?[0-9]|2[0-3])[:时点]([0-5][0-9])([:分]([0-5][0-9])?秒?)?)?\s*\z', n);
CREATE MACRO cjk_day(x) AS cjk_part(x, 1) || '-' || LPAD(cjk_part(x, 2), 2, '0') || '-' || LPAD(cjk_part(x, 3), 2, '0');
-- a day as written; of an instant the day it is written with
CREATE MACRO parse_day(x, date_order) AS TRY_CAST(CASE
  WHEN is_plain_day(x) THEN x
  WHEN x LIKE '%年%' THEN cjk_day(x) ELSE day_text(TRIM(x), date_order)
END AS DATE);
CREATE MACRO time_part(x, n) AS REGEXP_EXTRACT(x, '^[0-9./-]{8,10}[T ,]+([01]?[0-9]|2[0-3]):([0-5][0-9])(:([0-5][0-9])([.][0-9]+)?)? ?([AaPp][Mm])? ?(Z|z|UTC|GMT|[+-][0-9][0-9]:?[0-9][0-9]|[+-][0-9][0-9])?\z', n);
CREATE MACRO hour_text(x) AS LPAD(CASE
  WHEN LOWER(time_part(x, 6)) = 'pm' THEN CAST(CAST(time_part(x, 1) AS INT) % 12 + 12 AS VARCHAR)
  WHEN LOWER(time_part(x, 6)) = 'am' THEN CAST(CAST(time_part(x, 1) AS INT) % 12 AS VARCHAR)
  ELSE time_part(x, 1)
END, 2, '0');
CREATE MACRO instant_text(x, date_order, zone) AS CASE
  WHEN REGEXP_MATCHES(x, '^[0-9./-]{8,10}([T ,]+([01]?[0-9]|2[0-3]):([0-5][0-9])(:([0-5][0-9])([.][0-9]+)?)? ?([AaPp][Mm])? ?(Z|z|UTC|GMT|[+-][0-9][0-9]:?[0-9][0-9]|[+-][0-9][0-9])?)?\z') THEN day_text(x, date_order)
    || CASE WHEN x LIKE '%:%' THEN ' ' || hour_text(x) || ':' || time_part(x, 2) || ':' || COALESCE(NULLIF(time_part(x, 4), ''), '00') || time_part(x, 5)
      || COALESCE(NULLIF(UPPER(time_part(x, 7)), ''), ' ' || zone) ELSE ' 00:00:00 ' || zone END
END;
-- a day and time written without an offset, in `zone`; of UTC the short form, as a cast that looks a name up takes twice as long
CREATE MACRO zoned(x, zone) AS CASE WHEN zone = 'UTC' THEN x || 'Z' ELSE x || ' ' || zone END;
-- the two usual forms, read as UTC at a third of what a pattern and a cast with a time zone cost; NULL for every other text
CREATE MACRO usual_instant(x) AS MAKE_TIMESTAMPTZ(EPOCH_US(COALESCE(
  TRY_STRPTIME(CASE WHEN x LIKE '____-__-__ __:__:__' AND NOT x LIKE '% ' AND x >= '1970' AND x < '2100' THEN x END, '%Y-%m-%d %H:%M:%S'),
  TRY_STRPTIME(CASE WHEN x LIKE '____-__-__' AND NOT x LIKE '% ' AND x >= '1970' AND x < '2100' THEN x END, '%Y-%m-%d')
)));
CREATE MACRO other_instant(x, date_order, zone) AS TRY_CAST(CASE
  WHEN x IS NULL THEN NULL
  WHEN zone <> 'UTC' AND is_plain_instant(x) THEN zoned(x, zone)
  WHEN zone <> 'UTC' AND is_plain_day(x) THEN zoned(x || ' 00:00:00', zone)
  WHEN REGEXP_MATCHES(x, '^(19[7-9][0-9]|20[0-9][0-9])-[0-9][0-9]-[0-9][0-9][T ]([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]([.][0-9]+)?(Z|[+-][0-9][0-9]:?[0-9][0-9]|[+-][0-9][0-9])\z') THEN x
  WHEN REGEXP_MATCHES(x, '^(19[7-9][0-9]|20[0-9][0-9])-[0-9][0-9]-[0-9][0-9][T ]([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]([.][0-9]+)?\z') THEN zoned(x, zone)
  WHEN x LIKE '%年%' THEN cjk_day(x) || ' ' || LPAD(cjk_part(x, 5), 2, '0') || ':' || LPAD(cjk_part(x, 6), 2, '0') || ':' || LPAD(cjk_part(x, 8), 2, '0') || ' ' || zone
  ELSE instant_text(TRIM(x), date_order, zone)
END AS TIMESTAMPTZ);
-- an instant; what is written without an offset is read in `zone` (an IANA name), a day alone as its first instant
CREATE MACRO parse_instant(x, date_order, zone) AS CASE WHEN zone = 'UTC' THEN COALESCE(usual_instant(x), other_instant(x, date_order, zone)) ELSE other_instant(x, date_order, zone) END;

-- Numbers and money. `decimal_sign` is '.' or ',' and decides only where a text can be read both ways (1,234 and 1.234).
-- Each notation stands in one pattern, as what a macro is given is written out wherever it names it.
CREATE MACRO has_comma_groups(n, decimal_sign) AS CASE WHEN decimal_sign = ',' THEN REGEXP_MATCHES(n, '^([0-9]+([.][0-9]+)?|[0-9]{1,3}(,[0-9]{2,3})*,[0-9]{3}[.][0-9]+|[0-9]{1,3}(,[0-9]{2,3})+,[0-9]{3})\z')
  ELSE REGEXP_MATCHES(n, '^([0-9]+([.][0-9]+)?|[0-9]{1,3}(,[0-9]{2,3})*,[0-9]{3}([.][0-9]+)?)\z') END;
CREATE MACRO has_dot_groups(n, decimal_sign) AS CASE WHEN decimal_sign = ',' THEN REGEXP_MATCHES(n, '^([0-9]{1,3}([.][0-9]{3})+(,[0-9]+)?|[0-9]+,[0-9]+)\z')
  ELSE REGEXP_MATCHES(n, '^([0-9]{1,3}([.][0-9]{3})+,[0-9]+|[0-9]{1,3}([.][0-9]{3}){2,}|[0-9]+,[0-9]+)\z') END;
CREATE MACRO plain_number(n, decimal_sign) AS CASE
  WHEN decimal_sign = ',' AND has_dot_groups(n, ',') THEN REPLACE(REPLACE(n, '.', ''), ',', '.')
  WHEN has_comma_groups(n, decimal_sign) THEN REPLACE(n, ',', '')
  WHEN decimal_sign <> ',' AND has_dot_groups(n, '.') THEN REPLACE(REPLACE(n, '.', ''), ',', '.')
END;
-- without blanks and apostrophes
CREATE MACRO bare_number(x) AS REGEXP_REPLACE(x, '[\s\x{00A0}\x{202F}\x{2009}\x{2019}'']+', '', 'g');
-- digits and separators of a bare amount with one sign at most; NULL when other words stand in it (10k, 3 MIO, 5 %)
CREATE MACRO amount_digits(b) AS CASE
  WHEN REGEXP_MATCHES(b, '^[(]?[-+]?([A-Z]{0,3}\p{Sc}|[A-Z]{3}|eur|usd|gbp|chf|kr|Kr|Fr|Rs)?[-+]?[0-9][0-9.,]*(\p{Sc}|[A-Z]{3}|eur|usd|gbp|chf|kr|Fr|zł|Kč|Ft)?-?[)]?\z')
    AND NOT REGEXP_MATCHES(b, 'MIO|MRD|MLN|MIL|BLN|TSD|[-+].*[-+]') AND (b LIKE '(%') = (b LIKE '%)')
  THEN REGEXP_REPLACE(b, '[^0-9.,]', '', 'g')
END;
CREATE MACRO signed_number(b, decimal_sign) AS CASE WHEN REGEXP_MATCHES(b, '[(-]') THEN '-' ELSE '' END || plain_number(amount_digits(b), decimal_sign);
CREATE MACRO is_plain_number(x, decimal_sign) AS CASE WHEN decimal_sign = '.' THEN REGEXP_MATCHES(x, '^-?[0-9]+([.][0-9]+)?([eE][+-]?[0-9]{1,2})?\z') ELSE REGEXP_MATCHES(x, '^-?[0-9]+\z') END;
-- Chinese amounts, as 12.5万元, ￥1,200万, 3千万 and 1.2亿: whether a bare amount is one, its power of ten, and its number; NULL for a unit that is
-- none. An amount of two units (1亿2000万) and one that is about (约5万) are no such amount.
CREATE MACRO is_cjk_amount(b) AS REGEXP_MATCHES(b, '^[(]?[-+]?(人民币|[A-Z]{0,3}\p{Sc}|CNY|RMB)?[-+]?[0-9][0-9.,]*[十百千万萬亿億]{0,2}(元|圆|人民币)?(整|CNY|RMB|人民币)?[)]?\z') AND REGEXP_MATCHES(b, '[十百千万萬亿億元圆币]');
CREATE MACRO cjk_exponent(b) AS CASE REGEXP_EXTRACT(b, '([十百千万萬亿億]*)(元|圆|整|人民币|CNY|RMB)*[)]?\z', 1)
  WHEN '' THEN 'e0' WHEN '百' THEN 'e2' WHEN '千' THEN 'e3' WHEN '万' THEN 'e4' WHEN '萬' THEN 'e4' WHEN '十万' THEN 'e5' WHEN '百万' THEN 'e6' WHEN '百萬' THEN 'e6'
  WHEN '千万' THEN 'e7' WHEN '千萬' THEN 'e7' WHEN '亿' THEN 'e8' WHEN '億' THEN 'e8' WHEN '十亿' THEN 'e9' WHEN '百亿' THEN 'e10' WHEN '千亿' THEN 'e11' WHEN '万亿' THEN 'e12'
END;
CREATE MACRO cjk_number(b, decimal_sign) AS signed_number(REGEXP_REPLACE(b, '人民币|CNY|RMB|[十百千万萬亿億元圆整]', '', 'g'), decimal_sign) || cjk_exponent(b);
CREATE MACRO any_number(b, decimal_sign) AS CASE WHEN is_cjk_amount(b) THEN cjk_number(b, decimal_sign) ELSE signed_number(b, decimal_sign) END;
-- money: currency sign or code before or after, thousands by , . ' or blank, brackets or a trailing minus for negatives
CREATE MACRO parse_amount(x, decimal_sign) AS TRY_CAST(CASE
  WHEN is_plain_number(x, decimal_sign) THEN x ELSE any_number(bare_number(x), decimal_sign)
END AS DECIMAL(18, 2));
-- a number in the same notations, as a double
CREATE MACRO parse_number(x, decimal_sign) AS TRY_CAST(CASE
  WHEN is_plain_number(x, decimal_sign) THEN x ELSE any_number(bare_number(x), decimal_sign)
END AS DOUBLE);
-- a yes or no; at most four words a list, as DuckDB looks longer ones up by a join, in every row, whether CASE comes to them or not
CREATE MACRO parse_flag(x) AS CASE
  WHEN x IN ('false', '0') THEN FALSE WHEN x IN ('true', '1') THEN TRUE
  WHEN LOWER(TRIM(x)) IN ('true', 'yes', 'y', 'on') OR LOWER(TRIM(x)) IN ('t', '1', '1.0') THEN TRUE
  WHEN LOWER(TRIM(x)) IN ('false', 'no', 'n', 'off') OR LOWER(TRIM(x)) IN ('f', '0', '0.0') THEN FALSE
END;

-- Salesforce ids to 18 characters (domain.identifiers.to_sfid18). Which of five characters are upper case is a pattern of five bits; each of
-- the 32 patterns occurs once in a de Bruijn sequence, so its position finds the checksum character, and back.
CREATE MACRO sf_upper_bits(x) AS REGEXP_REPLACE(REGEXP_REPLACE(x, '[a-z0-9]', '0', 'g'), '[A-Z]', '1', 'g');
CREATE MACRO sf_check(bits) AS SUBSTRING('AQY245PX13OHTZMWLV0NGDRIUKFSJECB', STRPOS('000001111101110011010110001010010000', bits), 1);
CREATE MACRO sf_bits(c) AS SUBSTRING('000001111101110011010110001010010000', STRPOS('AQY245PX13OHTZMWLV0NGDRIUKFSJECB', UPPER(c)), 5);
CREATE MACRO sf_cased(x, k, bits, n) AS CASE WHEN SUBSTRING(bits, n, 1) = '1' THEN UPPER(SUBSTRING(x, k, 1)) ELSE LOWER(SUBSTRING(x, k, 1)) END;
CREATE MACRO sf_cased5(x, k, bits) AS sf_cased(x, k, bits, 1) || sf_cased(x, k + 1, bits, 2) || sf_cased(x, k + 2, bits, 3) || sf_cased(x, k + 3, bits, 4) || sf_cased(x, k + 4, bits, 5);
CREATE MACRO sf_checks(x) AS sf_check(sf_upper_bits(SUBSTRING(x, 1, 5))) || sf_check(sf_upper_bits(SUBSTRING(x, 6, 5))) || sf_check(sf_upper_bits(SUBSTRING(x, 11, 5)));
CREATE MACRO sfid18(x) AS CASE
  WHEN LENGTH(x) = 15 AND REGEXP_MATCHES(x, '^[A-Za-z0-9]{15}\z') THEN x || sf_checks(x)
  WHEN LENGTH(x) = 18 AND (x = UPPER(x) OR x = LOWER(x)) AND SUBSTRING(x, 16, 3) <> sf_checks(x) AND REGEXP_MATCHES(x, '^[A-Za-z0-9]{15}[A-Za-z0-5]{3}\z')
  THEN sf_cased5(x, 1, sf_bits(SUBSTRING(x, 16, 1))) || sf_cased5(x, 6, sf_bits(SUBSTRING(x, 17, 1))) || sf_cased5(x, 11, sf_bits(SUBSTRING(x, 18, 1))) || UPPER(SUBSTRING(x, 16, 3))
  ELSE x
END;
CREATE MACRO sfid18_of_15(x) AS CASE WHEN LENGTH(x) = 15 AND REGEXP_MATCHES(x, '^[A-Za-z0-9]{15}\z') THEN x || sf_checks(x) ELSE x END;
-- a GUID in lower case without braces; other text (a display name) as it is
CREATE MACRO guid(x) AS CASE WHEN REGEXP_MATCHES(x, '^[{]?[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}[}]?\z') THEN LOWER(REGEXP_REPLACE(x, '[{}]', '', 'g')) ELSE x END;
-- an identifier: trimmed, and where `id_style` is 'salesforce' to 18 characters ('salesforce_folded': also with its case repaired, which is
-- slow), where it is 'guid' GUIDs to one spelling; NULL when empty. Looking for a blank costs a tenth of trimming.
CREATE MACRO parse_id(x, id_style) AS CASE
  WHEN id_style = 'guid' THEN guid(clean_text(x))
  WHEN id_style = 'salesforce' AND NOT x LIKE '% %' AND LENGTH(x) <> 15 THEN NULLIF(x, '')
  WHEN id_style = 'salesforce' THEN sfid18_of_15(trimmed(x)) WHEN id_style = 'salesforce_folded' THEN sfid18(trimmed(x)) ELSE clean_text(x)
END;

-- What stands for "set to nothing" while states are filled forward
CREATE MACRO no_amount() AS CAST(-999999999999999 AS DECIMAL(18, 2));
CREATE MACRO no_day() AS CAST('1900-01-01' AS DATE);
