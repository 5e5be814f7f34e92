//! Types of columns: what DDL says, what values they may have, and how both servers are asked for them.

use rand::{RngExt, rngs::SmallRng};

/// How values are made alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    Text,
    Boolean,
    Float,
    Bytes,
    Moment,
    /// An array here, a text of JSON there.
    Array,
}

/// A type.
#[derive(Debug)]
pub struct Kind {
    /// As DDL says it.
    pub name: &'static str,
    /// What it can become, with every value as it is.
    pub wider: Option<&'static str>,
    /// Whether it may be in a key.
    pub key: bool,
    /// Bytes of it do not count much in a row of three hundred columns.
    pub small: bool,
    pub look: Look,
    /// A value as DDL and INSERT say it.
    pub value: fn(&mut SmallRng) -> String,
}

/// What has to be there before the first table.
pub const PRELUDE: &str =
    "CREATE TYPE label AS ENUM ('new', 'Paid ', 'it''s', 'ä\"\\'); CREATE SCHEMA \"Sales & Co\";";

/// Texts that something on the way could take for something else.
const HOSTILE: [&str; 14] =
    ["", " ", "a", "a ", "A", "ä", "it''s", "\\", "\"`", "%_", "\u{1F30A}", "NULL", "\\N", "{a,b}"];

const fn kind(
    name: &'static str,
    wider: Option<&'static str>,
    look: Look,
    value: fn(&mut SmallRng) -> String,
) -> Kind {
    Kind { name, wider, key: false, small: true, look, value }
}

const fn key(kind: Kind) -> Kind {
    Kind { key: true, ..kind }
}

const fn large(kind: Kind) -> Kind {
    Kind { small: false, ..kind }
}

/// All of them.
pub const KINDS: [Kind; 20] = [
    key(kind("smallint", Some("integer"), Look::Text, |random| random.random::<i16>().to_string())),
    key(kind("integer", Some("bigint"), Look::Text, |random| random.random::<i32>().to_string())),
    key(kind("bigint", None, Look::Text, |random| random.random::<i64>().to_string())),
    key(kind("numeric(12,2)", Some("numeric(20,2)"), Look::Text, |random| {
        format!("{}.{:02}", random.random_range(-9_999_999..9_999_999), random.random_range(0..100))
    })),
    large(kind("numeric", None, Look::Text, |random| {
        format!("{}.{}0", random.random::<i64>(), random.random::<u32>())
    })),
    kind("double precision", None, Look::Float, |random| format!("{:e}", random.random::<f64>() * 1e9)),
    kind("real", Some("double precision"), Look::Float, |random| format!("{:e}", random.random::<f32>())),
    key(kind("boolean", None, Look::Boolean, |random| random.random::<bool>().to_string())),
    large(key(kind("text", None, Look::Text, text))),
    large(kind("text COLLATE \"C\"", None, Look::Text, |random| {
        format!("repeat('{:x}', {})", random.random::<u16>(), random.random_range(0..2_000))
    })),
    large(key(kind("varchar(30)", Some("varchar(60)"), Look::Text, text))),
    large(kind("char(12)", None, Look::Text, text)),
    large(key(kind("label", None, Look::Text, |random| {
        (*one_of(random, &["'new'", "'Paid '", "'it''s'", "'ä\"\\'"])).to_owned()
    }))),
    key(kind("date", None, Look::Text, |random| {
        format!("date '1000-01-01' + {}", random.random_range(0..3_000_000))
    })),
    kind("timestamptz(6)", None, Look::Moment, |random| {
        format!(
            "timestamptz '2001-02-03 04:05:06.000007+08' + {} * interval '1 second'",
            random.random::<i32>()
        )
    }),
    large(key(kind("uuid", None, Look::Text, |random| format!("md5('{}')::uuid", random.random::<u64>())))),
    large(kind("jsonb", None, Look::Text, |random| {
        format!("jsonb_build_object('b', {}, 'a', ARRAY[NULL, 'x'])", random.random::<i32>())
    })),
    large(kind("bytea", None, Look::Bytes, |random| format!("'\\x00ff27{:08x}'", random.random::<u32>()))),
    large(kind("text[]", None, Look::Array, |random| {
        format!("ARRAY[{}, NULL, {}]", text(random), text(random))
    })),
    large(kind("interval", None, Look::Text, |random| {
        format!("make_interval(months => {}, secs => 0.5)", random.random_range(-99..99))
    })),
];

fn text(random: &mut SmallRng) -> String {
    if random.random_bool(0.5) {
        return format!("'{}'", one_of(random, &HOSTILE));
    }
    format!("'{:x}'", random.random::<u32>())
}

pub fn one_of<'a, T>(random: &mut SmallRng, from: &'a [T]) -> &'a T {
    &from[random.random_range(0..from.len())]
}

/// A name in Postgres or, with backticks, in MySQL.
pub fn quoted(name: &str, quote: char) -> String {
    format!("{quote}{}{quote}", name.replace(quote, &format!("{quote}{quote}")))
}
