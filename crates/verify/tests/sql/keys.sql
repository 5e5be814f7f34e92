-- Keys of every kind, enough of each for several pages. Orders that depend on a collation are not the replica's.
CREATE TYPE label AS ENUM ('z', 'a', 'M', 'm ', 'm');
CREATE TABLE texts (k text PRIMARY KEY, v integer);
INSERT INTO texts
SELECT word, row_number() OVER () FROM unnest(ARRAY[
    '', ' ', 'a', 'A', 'a ', 'a  ', 'ä', 'Ä', 'a b', 'ab', 'aB', 'Ab', 'zebra', 'Zebra', 'ß', 'ss', 'é', 'e', 'E',
    'e-1', 'e1', 'e 1', '_', '-', '10', '9', U&'\+01F30A', U&'\FFFD', U&'\FB03', E'a\t', E'a\x01', '''', '\', '"', 'NULL', '\N'
]) AS word;
CREATE TABLE varchars (k varchar(40) PRIMARY KEY, v integer);
INSERT INTO varchars SELECT k, v FROM texts;
CREATE TABLE chars (k char(6) PRIMARY KEY, v integer);
INSERT INTO chars
SELECT word, row_number() OVER () FROM unnest(ARRAY[
    '', 'a', 'A', 'ä', 'a b', E'a\x01', 'ab', 'aB', 'b', '10', '9', '''', '-', E'\t', 'abcdef', 'ab def'
]) AS word;
CREATE TABLE enums (k label, n integer, v integer, PRIMARY KEY (k, n));
INSERT INTO enums SELECT k, n, n FROM unnest(enum_range(NULL::label)) AS k, generate_series(-3, 3) AS n;
CREATE TABLE uuids (k uuid PRIMARY KEY, v integer);
INSERT INTO uuids SELECT md5(n::text)::uuid, n FROM generate_series(1, 50) AS n;
CREATE TABLE byteas (k bytea PRIMARY KEY, v integer);
INSERT INTO byteas SELECT decode(md5(n::text), 'hex'), n FROM generate_series(1, 40) AS n;
INSERT INTO byteas VALUES ('', 0), ('\x00', 0), ('\x0000', 0), ('\xff', 0), ('\x5c', 0), ('\x27', 0);
CREATE TABLE bigints (k bigint PRIMARY KEY, v integer);
INSERT INTO bigints SELECT n, n FROM generate_series(-30, 30) AS n;
INSERT INTO bigints VALUES (-9223372036854775808, 0), (9223372036854775807, 0);
CREATE TABLE numerics (k numeric(20, 4) PRIMARY KEY, v integer);
INSERT INTO numerics SELECT n / 8.0, n FROM generate_series(-30, 30) AS n;
CREATE TABLE moments (k timestamptz PRIMARY KEY, v integer);
INSERT INTO moments SELECT '2024-02-28 23:59:59.5+00'::timestamptz + n * interval '0.25 s', n FROM generate_series(-30, 30) AS n;
CREATE TABLE dates (k date, t time, b boolean, v integer, PRIMARY KEY (k, t, b));
INSERT INTO dates
SELECT '1999-12-30'::date + n, '12:00'::time + m * interval '0.1 s', b, n
FROM generate_series(0, 4) AS n, generate_series(-2, 2) AS m, unnest(ARRAY[true, false]) AS b;
-- The index has another order than the columns, and the key stands between other columns.
CREATE TABLE composites (v integer, b text, w text, a integer, PRIMARY KEY (a, b));
INSERT INTO composites SELECT n, k, k, n FROM texts, generate_series(-1, 1) AS n;
CREATE TABLE only_key (k integer PRIMARY KEY);
INSERT INTO only_key SELECT generate_series(1, 20);
CREATE TABLE empty (k integer PRIMARY KEY);
CREATE SCHEMA "Other";
CREATE TABLE "Other"."My ""table""" ("K`ey" integer PRIMARY KEY, "select" text);
INSERT INTO "Other"."My ""table""" SELECT n, n FROM generate_series(1, 20) AS n;
CREATE TABLE identities (id integer PRIMARY KEY, k uuid NOT NULL UNIQUE);
ALTER TABLE identities REPLICA IDENTITY USING INDEX identities_k_key;
INSERT INTO identities SELECT n, md5(n::text)::uuid FROM generate_series(1, 20) AS n;
