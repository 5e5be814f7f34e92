-- A column of every type that is captured, with the values at its edges.
CREATE TYPE label AS ENUM ('new', 'Paid ', 'it''s');
CREATE DOMAIN price AS numeric(12, 2);
CREATE TABLE types (
    id integer PRIMARY KEY,
    b boolean,
    i2 smallint,
    i4 integer,
    i8 bigint,
    f4 real,
    f8 double precision,
    n numeric,
    n12 numeric(12, 2),
    n65 numeric(65, 30),
    p price,
    t text,
    v varchar(20),
    v2000 varchar(2000),
    c char(5),
    y bytea,
    d date,
    tm time,
    tm3 time(3),
    ts timestamp,
    ts0 timestamp(0),
    tz timestamptz,
    u uuid,
    j json,
    jb jsonb,
    l label
);
INSERT INTO types (id) VALUES (0);
INSERT INTO types VALUES
    (1, true, -32768, -2147483648, -9223372036854775808, '-0', '-0', 'NaN', '-0.01', '-1e34', '0', '', '', '', '',
     '', '0001-01-01', '00:00', '23:59:59.9995', '0001-01-01 00:00', '2024-02-29 12:00:00.4',
     '0001-01-01 00:00+00', '00000000-0000-0000-0000-000000000000', '{ "b":1, "a" : 1.0}', '{ "b":1, "a" : 1.0}', 'new'),
    (2, false, 32767, 2147483647, 9223372036854775807, 3.4028235e38, 1.7976931348623157e308, 1e-200,
     9999999999.99, 1e-30, 1.5, E'a\t\n\r\\\'"`%_', 'a ', ' ', 'a', '\x00ff5c27', '9999-12-31', '24:00', '12:00:00.5',
     '9999-12-31 23:59:59.999999', '2024-03-31 02:30', '2038-01-19 03:14:08+00',
     'ffffffff-ffff-ffff-ffff-ffffffffffff', 'null', '[1e2, 1.10]', 'Paid '),
    (3, NULL, 0, 0, 0, 0.1, 9.999999999999999e22, '-Infinity', 0.10, 0, NULL, U&'\+01F30A\00E4', 'ä', repeat('x', 2000),
     'a b ', '\xdeadbeef', '2024-02-29', '12:00:00.000001', '10:00', '1969-12-31 23:59:59.9', '2024-02-29 12:00',
     '2024-02-29 12:00:00.000001+03', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '"\u0041"', '"\\"', 'it''s'),
    (4, true, 1, 1, 1, 1e6, 1e15, 1.10, 1, 1, 1, repeat('long ', 100000), 'NULL', '\N', 'NULL',
     decode(repeat('00', 70000), 'hex'), '1970-01-01', '23:59:59.999999', '23:59', '1970-01-01', '1970-01-01',
     '1970-01-01+00', '00000000-0000-0000-0000-00000000000a', '[]', '{}', 'new'),
    (5, true, 1, 1, 1, 1e-45, 5e-324, 'Infinity', 1, 1, 1, 'A', 'A', 'a', 'A', '\x', '1970-01-01', '01:00', '01:00',
     '1970-01-01', '1970-01-01', '1970-01-01+00', '00000000-0000-0000-0000-00000000000a', '1', '1', 'new');
