//! Types of Postgres, values at their edges and random ones.

use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::{
    collection::vec,
    prelude::*,
    strategy::{BoxedStrategy, Union},
};

use super::compare::Look;

/// A type and its values, as texts that Postgres reads.
#[derive(Clone)]
pub(crate) struct Case {
    /// As DDL says it.
    pub(crate) postgres: String,
    pub(crate) edges: Vec<String>,
    pub(crate) random: BoxedStrategy<String>,
    /// Whether it may be in a key.
    pub(crate) key: bool,
    pub(crate) look: Look,
}

impl Case {
    fn new(postgres: &str, edges: &[&str], random: impl Strategy<Value = String> + 'static) -> Self {
        Self {
            postgres: postgres.to_owned(),
            edges: edges.iter().map(ToString::to_string).collect(),
            random: random.boxed(),
            key: false,
            look: Look::Text,
        }
    }

    fn key(self) -> Self {
        Self { key: true, ..self }
    }

    fn look(self, look: Look) -> Self {
        Self { look, ..self }
    }

    fn edge(mut self, edge: String) -> Self {
        self.edges.push(edge);
        self
    }
}

/// What the types need.
pub(crate) const PRELUDE: &str = "
CREATE EXTENSION citext; CREATE EXTENSION hstore; CREATE EXTENSION ltree;
CREATE TYPE label AS ENUM ('new', 'Paid ', 'it''s', 'ä\"\\');
CREATE DOMAIN price AS numeric(12, 2);
CREATE DOMAIN tags AS text[];
CREATE TYPE span AS RANGE (subtype = float8);
";

/// Every type, arrays among them.
pub(crate) fn all() -> Vec<Case> {
    let mut cases = numbers();
    cases.extend(texts());
    cases.extend(moments());
    cases.extend(networks_and_bits());
    cases.extend(shapes());
    cases.extend(ranges());
    cases.extend(others());
    let arrays: Vec<_> = cases.iter().filter(|case| case.postgres != "\"char\"").map(array).collect();
    cases.extend(arrays);
    let tags = Case { postgres: "tags".to_owned(), ..array(&Case::new("text", HOSTILE, text())) };
    cases.push(tags);
    cases
}

fn shown<T: ToString + std::fmt::Debug>(
    strategy: impl Strategy<Value = T> + 'static,
) -> BoxedStrategy<String> {
    strategy.prop_map(|value| value.to_string()).boxed()
}

fn double() -> BoxedStrategy<String> {
    any::<u64>()
        .prop_map(f64::from_bits)
        .prop_filter("finite", |x| x.is_finite())
        .prop_map(|x| format!("{x:e}"))
        .boxed()
}

fn numbers() -> Vec<Case> {
    let real = any::<u32>().prop_map(f32::from_bits).prop_filter("finite", |x| x.is_finite());
    let doubles =
        ["0", "-0", "0.1", "1e15", "1e-5", "1e23", "9007199254740993", "1.7976931348623157e308", "5e-324"];
    let reals = ["0", "-0", "0.1", "1e6", "16777216", "3.4028235e38", "1e-45"];
    let bigints = ["-9223372036854775808", "9223372036854775807", "-1", "0", "9", "10"];
    let digits = "9".repeat(35);
    vec![
        Case::new("boolean", &["true", "false"], shown(any::<bool>())).key().look(Look::Boolean),
        Case::new("smallint", &["-32768", "32767"], shown(any::<i16>())).key(),
        Case::new("integer", &["-2147483648", "2147483647"], shown(any::<i32>())).key(),
        Case::new("bigint", &bigints, shown(any::<i64>())).key(),
        Case::new("oid", &["0", "4294967295"], shown(any::<u32>())).key(),
        Case::new("real", &reals, real.prop_map(|x| format!("{x:e}"))).look(Look::Real),
        Case::new("double precision", &doubles, double()).look(Look::Double),
        Case::new(
            "numeric",
            &["0", "0.00", "NaN", "Infinity", "1e-200", "1e200", "1.10"],
            r"-?[0-9]{1,60}(\.[0-9]{1,60})?",
        )
        .look(Look::Numeric),
        Case::new("numeric(12,2)", &["0", "-0.01", "9999999999.99"], r"-?[0-9]{1,10}\.[0-9]{2}")
            .key()
            .look(Look::Numeric),
        Case::new("numeric(65,30)", &["0", "1e-30", "-1e34"], r"-?[0-9]{1,35}\.[0-9]{0,30}")
            .edge(format!("{digits}.{}", &digits[..30]))
            .key()
            .look(Look::Numeric),
        Case::new("numeric(3,-2)", &["99900", "-100", "0"], r"-?[0-9]{1,4}").key().look(Look::Numeric),
        Case::new("price", &["0"], r"-?[0-9]{1,10}\.[0-9]{2}").key().look(Look::Numeric),
    ]
}

/// Texts that something on the way could take for something else.
const HOSTILE: &[&str] = &[
    "",
    " ",
    "a",
    "a ",
    "A",
    "ä",
    "'",
    "\\",
    "\\'",
    "\"`",
    "%_",
    "\u{1F30A}",
    "\t\r\n\u{8}\u{b}\u{1a}",
    "NULL",
    "null",
    "\\N",
    "'; DROP",
    "{}",
    "{a,b}",
    "[1]",
    "\u{7f}\u{2028}",
    "x'00'",
    "0",
    "-0",
    "__debezium_unavailable_value",
];

fn text() -> BoxedStrategy<String> {
    "\\PC{0,40}|[ -~]{0,80}|[\u{1}-\u{7f}]{0,20}".boxed()
}

fn json() -> BoxedStrategy<String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        shown(any::<bool>()),
        "-?[1-9][0-9]{0,25}(\\.[0-9]{1,9})?",
        "[ -!#-\\[\\]-~äß🛒]{0,9}".prop_map(|text| format!("\"{text}\"")),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        let member = ("[a-z]{1,5}", inner.clone()).prop_map(|(name, value)| format!("\"{name}\" : {value}"));
        prop_oneof![
            vec(inner, 0..4).prop_map(|values| format!("[{}]", values.join(", "))),
            vec(member, 0..4).prop_map(|members| format!("{{{}}}", members.join(","))),
        ]
    })
    .boxed()
}

fn texts() -> Vec<Case> {
    let bytes = ["\\x", "\\x00", "\\xdeadbeef", "\\x5c27"];
    let uuids = ["00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff"];
    let documents =
        ["{ \"b\":1, \"a\" : 1.0}", "null", "\"\\u0041\"", "[1e2, 1.10]", "\"\\\\\"", "{\"a\":1,\"a\":2}"];
    vec![
        Case::new("text", HOSTILE, text()).key(),
        Case::new("varchar", HOSTILE, text()).key(),
        Case::new("varchar(80)", HOSTILE, text()).key(),
        Case::new("varchar(2000)", HOSTILE, text()),
        Case::new("char(10)", &["", "a", "a b", "ä"], "\\PC{0,9}").key(),
        Case::new("bpchar", HOSTILE, text()),
        Case::new("name", &["", "a", "ä"], "\\PC{0,9}").key(),
        Case::new("citext", HOSTILE, text()),
        Case::new("\"char\"", &["a", "", "'", "\\", "\\200"], "[ -~]"),
        Case::new("bytea", &bytes, "\\\\x([0-9a-f]{2}){0,60}").key().look(Look::Bytes),
        Case::new("uuid", &uuids, "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}").key(),
        Case::new("json", &documents, json()),
        Case::new("jsonb", &documents, json()),
        Case::new("jsonpath", &["$", "$.a[*] ? (@ > 1)", "strict $.\"a b\""], "\\$(\\.[a-z]{1,5}){1,4}"),
        Case::new("label", &["new", "Paid ", "it's", "ä\"\\"], "new|Paid |it's").key(),
        Case::new(
            "hstore",
            &["", "a=>1", "\"a b\"=>NULL, b=>\"x\\\"y\""],
            "[a-z]{1,4}=>[0-9]{1,4}(, [a-z]{1,4}=>NULL){0,2}",
        ),
        Case::new("ltree", &["", "Top.Science_1"], "[a-z]{1,4}(\\.[A-Z0-9]{1,4}){0,4}"),
        Case::new("tsvector", &["", "'it''s':1A,2 b:3", "'a b'"], "([a-z]{1,5}:[1-9]{1,3}[ABCD]? ){0,5}"),
        Case::new("tsquery", &["", "a & !b | c <-> d:*A"], "[a-z]{1,4}( (&|\\||<->) !?[a-z]{1,4}){0,3}"),
    ]
}

const DATE: &str = "[1-9][0-9]{3}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])";
const TIME: &str = "([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,6})?";

fn moment() -> BoxedStrategy<String> {
    (DATE, TIME).prop_map(|(date, time)| format!("{date} {time}")).boxed()
}

fn moments() -> Vec<Case> {
    let moments = [
        "0001-01-01 00:00:00",
        "9999-12-31 23:59:59.999999",
        "1969-12-31 23:59:59.9",
        "2024-02-29 12:00:00.5",
        "2024-02-29 12:00:00.000001",
        "2038-01-19 03:14:08",
        "2024-03-31 02:30:00",
        "1582-10-10 00:00:00",
    ];
    let zoned = ["00:00:00+00", "24:00:00-15:59", "23:59:59.999999+15:59:59", "12:00:00.5+05:30"];
    let intervals = [
        "0",
        "1 month",
        "30 days",
        "-1 year 2 months -3 days 04:05:06.7",
        "178956970 years 7 months 2147483647 days 2562047788:00:54.775807",
        "-178956970 years -8 months -2147483648 days -2562047788 hours",
        "-00:00:00.000001",
    ];
    let interval = (any::<i32>(), any::<i32>(), any::<i64>()).prop_map(|(months, days, micros)| {
        format!("{months} months {days} days {} microseconds", micros / 1000)
    });
    let dates = ["0001-01-01", "9999-12-31", "1970-01-01", "2024-02-29", "1900-02-28"];
    vec![
        Case::new("date", &dates, DATE).key(),
        Case::new("time", &["00:00:00", "24:00:00", "23:59:59.999999", "12:00:00.10"], TIME)
            .key()
            .look(Look::Time),
        Case::new("time(3)", &["23:59:59.9995"], TIME).key().look(Look::Time),
        Case::new(
            "timetz",
            &zoned,
            (TIME, "[+-](0[0-9]|1[0-5]):[0-5][0-9]").prop_map(|(time, zone)| time + &zone),
        )
        .key(),
        Case::new("timestamp", &moments, moment()).key().look(Look::Timestamp),
        Case::new("timestamp(0)", &["2024-02-29 12:00:00.4"], moment()).key().look(Look::Timestamp),
        Case::new("timestamptz", &moments, moment()).key().look(Look::TimestampTz),
        Case::new("timestamptz(2)", &["2024-02-29 12:00:00.444"], moment()).key().look(Look::TimestampTz),
        Case::new("interval", &intervals, interval),
    ]
}

fn networks_and_bits() -> Vec<Case> {
    let address = prop_oneof![
        any::<u32>().prop_map(|bits| Ipv4Addr::from(bits).to_string()),
        (any::<u32>(), 0..=32u8).prop_map(|(bits, mask)| format!("{}/{mask}", Ipv4Addr::from(bits))),
        (any::<u128>(), 0..=128u8).prop_map(|(bits, mask)| format!("{}/{mask}", Ipv6Addr::from(bits))),
        (any::<u128>(), any::<u128>())
            .prop_map(|(one, other)| Ipv6Addr::from(one & other & (one >> 64)).to_string()),
    ];
    let network = (any::<u32>(), 0..=32u8).prop_map(|(bits, mask)| {
        format!("{}/{mask}", Ipv4Addr::from(bits & u32::MAX.checked_shl(32 - u32::from(mask)).unwrap_or(0)))
    });
    let addresses = ["0.0.0.0", "0.0.0.0/0", "10.1.2.3/8", "::", "::1", "::ffff:1.2.3.4/96", "fe80::1/64"];
    let longest = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/127";
    vec![
        Case::new("inet", &addresses, address).edge(longest.to_owned()).key(),
        Case::new("cidr", &["0.0.0.0/0", "10.0.0.0/8", "::/0", "2001:db8::/32"], network).key(),
        Case::new("macaddr", &["00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff"], "[0-9a-f]{2}(:[0-9a-f]{2}){5}")
            .key(),
        Case::new("macaddr8", &["00:00:00:00:00:00:00:00"], "[0-9a-f]{2}(:[0-9a-f]{2}){7}").key(),
        Case::new("bit(1)", &["0", "1"], "[01]").key(),
        Case::new("bit(9)", &["000000000", "111111111"], "[01]{9}").key(),
        Case::new("bit(1000)", &[], "[01]{1000}"),
        Case::new("varbit(70)", &["", "0", "00"], "[01]{0,70}").key(),
        Case::new("varbit", &["", "0", "00"], "[01]{0,99}").key(),
        Case::new(
            "pg_lsn",
            &["0/0", "FFFFFFFF/FFFFFFFF"],
            any::<u64>().prop_map(|at| format!("{:X}/{:X}", at >> 32, at & 0xFFFF_FFFF)),
        )
        .key(),
        Case::new("xid8", &["0", "18446744073709551615"], shown(any::<u64>())),
        Case::new("xid", &["0", "4294967295"], shown(any::<u32>())),
        Case::new(
            "tid",
            &["(0,0)", "(4294967295,65535)"],
            (any::<u32>(), any::<u16>()).prop_map(|(page, at)| format!("({page},{at})")),
        ),
    ]
}

fn shapes() -> Vec<Case> {
    let point = || (double(), double()).prop_map(|(x, y)| format!("({x},{y})"));
    let points = |count: std::ops::Range<usize>| vec(point(), count).prop_map(|points| points.join(","));
    vec![
        Case::new("point", &["(0,0)", "(-0,1e-300)", "(NaN,Infinity)"], point()),
        Case::new("line", &["{1,2,3}"], (double(), double()).prop_map(|(b, c)| format!("{{1,{b},{c}}}"))),
        Case::new("lseg", &["[(0,0),(1,1)]"], points(2..3).prop_map(|points| format!("[{points}]"))),
        Case::new("box", &["(1,1),(0,0)"], points(2..3)),
        Case::new(
            "path",
            &["[(0,0)]", "((0,0),(1,1))"],
            points(1..5).prop_map(|points| format!("[{points}]")),
        ),
        Case::new(
            "polygon",
            &["((0,0))"],
            "\\(\\([0-9]{1,3},[0-9]{1,3}\\)(,\\([0-9]{1,3},[0-9]{1,3}\\)){0,4}\\)",
        ),
        Case::new(
            "circle",
            &["<(0,0),0>"],
            (point(), 0.0..1e300).prop_map(|(point, radius)| format!("<{point},{radius:e}>")),
        ),
    ]
}

/// A range between two values that the strategy gives in order.
fn range(pair: BoxedStrategy<(String, String)>) -> BoxedStrategy<String> {
    (pair, any::<(bool, bool)>(), 0..6u8)
        .prop_map(|((low, high), (closed, open), form)| {
            let (left, right) = (if closed { '[' } else { '(' }, if open { ')' } else { ']' });
            match form {
                0 => format!("{left}{low},)"),
                1 => format!("(,{high}{right}"),
                _ => format!("{left}{low},{high}{right}"),
            }
        })
        .boxed()
}

fn ranges() -> Vec<Case> {
    let of = |postgres: &str, edges: &[&str], pair: BoxedStrategy<(String, String)>| {
        let range = range(pair);
        let multirange = postgres.replace("range", "multirange");
        let several = vec(range.clone(), 0..4).prop_map(|ranges| format!("{{{}}}", ranges.join(",")));
        let one = Case::new(postgres, edges, range);
        [one, Case::new(&multirange, &["{}"], several)]
    };
    let integers =
        (-1_000_000..0i64, 0..1_000_000i64).prop_map(|(low, high)| (low.to_string(), high.to_string()));
    let numbers = ("-[0-9]{1,30}\\.[0-9]{0,9}", "[0-9]{1,30}\\.[0-9]{0,9}").boxed();
    let years = || ("1[0-9]{3}", "[2-9][0-9]{3}");
    let dates = years().prop_map(|(low, high)| (format!("{low}-02-28"), format!("{high}-12-31")));
    let moments = || {
        (years(), TIME, TIME)
            .prop_map(|((low, high), from, to)| (format!("{low}-02-28 {from}"), format!("{high}-12-31 {to}")))
    };
    let mut cases = vec![];
    cases.extend(of("int4range", &["empty", "[-2147483648,2147483647)", "(,)"], integers.clone().boxed()));
    cases.extend(of("int8range", &["empty", "[-9223372036854775808,9223372036854775807)"], integers.boxed()));
    cases.extend(of("numrange", &["empty", "[1.0,1.00]"], numbers));
    cases.extend(of(
        "daterange",
        &["empty", "[0001-01-01,9999-12-31]", "[-infinity,infinity)"],
        dates.boxed(),
    ));
    cases.extend(of("tsrange", &["empty", "[0044-03-15 BC,infinity)"], moments().boxed()));
    cases.extend(of("tstzrange", &["empty"], moments().boxed()));
    cases.push(Case::new("span", &["empty", "[-0,1e300]"], "\\[-[0-9]{1,9},[0-9]{1,9}\\.5[\\)\\]]"));
    cases
}

fn others() -> Vec<Case> {
    vec![Case::new(
        "xml",
        &["<a/>", "<a b=\"c\">ä &amp; <!-- x --></a>", "text"],
        "<z y=\"[a-z0-9 ]{0,9}\">[a-z0-9 ]{0,9}</z>",
    )]
}

/// Arrays of the case's values: of one dimension or two, empty, with NULL, and with indexes that begin elsewhere.
fn array(case: &Case) -> Case {
    let edges = Union::new(case.edges.iter().map(|edge| Just(edge.clone())).chain([Just("NULL".to_owned())]));
    let delimiter = if case.postgres == "box" { ";" } else { "," };
    let quote = |value: &String| format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""));
    let element = prop_oneof![
        1 => Just("NULL".to_owned()),
        2 => edges.prop_map(move |value| quote(&value)),
        3 => case.random.clone().prop_map(move |value| quote(&value)),
    ];
    let element = if has_text_null(case) {
        element.boxed()
    } else {
        element.prop_map(|text| text.replace("\"NULL\"", "NULL")).boxed()
    };
    let random = (vec(element, 0..7), 0..5u8).prop_map(move |(elements, form)| {
        let list = |elements: &[String]| format!("{{{}}}", elements.join(delimiter));
        let (half, last) = (elements.len() / 2, elements.len());
        match form {
            0 if half > 0 => {
                format!("{{{}{delimiter}{}}}", list(&elements[..half]), list(&elements[half..half * 2]))
            }
            1 if last > 0 => format!("[-1:{}]={}", last as i64 - 2, list(&elements)),
            _ => list(&elements),
        }
    });
    let cast = match (case.look, case.postgres.as_str()) {
        (Look::Boolean | Look::Real | Look::Double, _) => None,
        (_, "oid") => Some("bigint"),
        // to_json() makes documents of them, or dates of another form.
        (Look::Text, "json" | "jsonb" | "date" | "xml" | "hstore") => Some("text"),
        // A cast of others would print them otherwise than they print.
        (Look::Text, _) => None,
        _ => Some("text"),
    };
    Case {
        postgres: format!("{}[]", case.postgres),
        edges: vec!["{}".to_owned(), "{NULL}".to_owned()],
        random: random.boxed(),
        key: false,
        look: Look::Array { cast },
    }
}

/// Whether the word NULL is a value of the type.
fn has_text_null(case: &Case) -> bool {
    case.edges.iter().any(|edge| edge == "NULL")
}
