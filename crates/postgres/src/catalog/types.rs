//! From Postgres types to [`ColumnType`].

use std::collections::HashMap;

use tidemart_change::{ColumnType, schema::NumericShape};
use tidemart_pipeline::Result as PipelineResult;
use tokio_postgres::{
    Client, Row,
    types::{Kind, Type},
};

use crate::error::at;

/// Digits of a second's fraction where a column states none.
const MAX_FRACTION: u8 = 6;

/// Bytes that `atttypmod` counts besides the length it states (`VARHDRSZ`).
const MODIFIER_HEADER: i32 = 4;

/// Domains nest no deeper; a bound against a broken catalog.
const MAX_DOMAINS: usize = 32;

/// The database's own types as far as they can be captured.
#[derive(Clone, Debug, Default)]
pub(crate) struct Types {
    domains: HashMap<u32, (u32, i32)>,
    enums: HashMap<u32, Vec<String>>,
    /// Ranges and multiranges, by name, with what they range over.
    ranges: HashMap<u32, (String, u32)>,
    /// Types of extensions.
    plain: HashMap<u32, String>,
    /// Arrays of all these, with their elements.
    arrays: HashMap<u32, u32>,
}

impl Types {
    pub(super) async fn read(client: &Client) -> PipelineResult<Self> {
        let doing = at("cannot list the types");
        let rows = client.query(include_str!("types.sql"), &[]).await.map_err(&doing)?;
        let mut types = Self::default();
        for row in rows {
            types.learn(&row).map_err(&doing)?;
        }
        Ok(types)
    }

    fn learn(&mut self, row: &Row) -> Result<(), tokio_postgres::Error> {
        let oid: u32 = row.try_get("oid")?;
        match row.try_get::<_, i8>("kind")?.cast_unsigned() {
            b'd' => drop(self.domains.insert(oid, (row.try_get("base")?, row.try_get("modifier")?))),
            b'e' => drop(self.enums.insert(oid, row.try_get("labels")?)),
            b'r' | b'm' => drop(self.ranges.insert(oid, (row.try_get("name")?, row.try_get("base")?))),
            _ => drop(self.plain.insert(oid, row.try_get("name")?)),
        }
        self.arrays.insert(row.try_get("array_oid")?, oid);
        Ok(())
    }

    /// The type of a column; a domain is what it is made of, since its values print alike. `None`: not supported.
    pub(crate) fn resolve(&self, oid: u32, modifier: i32) -> Option<ColumnType> {
        let (oid, modifier) = self.below_domains(oid, modifier);
        let Some(element) = self.element(oid) else { return self.single(oid, modifier) };
        let (element, modifier) = self.below_domains(element, modifier);
        match self.single(element, modifier)? {
            // New labels need not be told then.
            ColumnType::Enum(_) => Some(ColumnType::Array(Box::new(ColumnType::Text))),
            // Before version 16 a byte above 127 makes the whole array no UTF-8.
            ColumnType::Plain(name) if name == "char" => None,
            single => Some(ColumnType::Array(Box::new(single))),
        }
    }

    fn below_domains(&self, mut oid: u32, mut modifier: i32) -> (u32, i32) {
        for _ in 0..MAX_DOMAINS {
            match self.domains.get(&oid) {
                Some(below) => (oid, modifier) = *below,
                None => break,
            }
        }
        (oid, modifier)
    }

    fn element(&self, array: u32) -> Option<u32> {
        let own = self.arrays.get(&array).copied().filter(|_| array != 0);
        own.or_else(|| match (Type::from_oid(array)?, Type::from_oid(array)?.kind()) {
            // They print otherwise.
            (Type::INT2_VECTOR | Type::OID_VECTOR, _) => None,
            (_, Kind::Array(element)) => Some(element.oid()),
            _ => None,
        })
    }

    fn single(&self, oid: u32, modifier: i32) -> Option<ColumnType> {
        if let Some(labels) = self.enums.get(&oid) {
            return Some(ColumnType::Enum(labels.clone()));
        }
        if let Some((name, over)) = self.ranges.get(&oid) {
            return self.resolve(*over, -1).map(|_| ColumnType::Plain(name.clone()));
        }
        let plain = self.plain.get(&oid).map(|name| ColumnType::Plain(name.clone()));
        plain.or_else(|| built_in(&Type::from_oid(oid)?, modifier))
    }
}

fn built_in(built_in: &Type, modifier: i32) -> Option<ColumnType> {
    let length = u32::try_from(modifier - MODIFIER_HEADER).ok().filter(|_| modifier >= MODIFIER_HEADER);
    let fraction = u8::try_from(modifier).unwrap_or(MAX_FRACTION).min(MAX_FRACTION);
    Some(match *built_in {
        Type::BOOL => ColumnType::Boolean,
        Type::INT2 => ColumnType::SmallInt,
        Type::INT4 => ColumnType::Integer,
        Type::INT8 => ColumnType::BigInt,
        Type::FLOAT4 => ColumnType::Real,
        Type::FLOAT8 => ColumnType::Double,
        Type::NUMERIC => ColumnType::Numeric(numeric(modifier)),
        Type::TEXT => ColumnType::Text,
        Type::VARCHAR => length.map_or(ColumnType::Text, ColumnType::Varchar),
        Type::BPCHAR if length.is_some() => ColumnType::Char(length?),
        Type::BYTEA => ColumnType::Bytea,
        Type::DATE => ColumnType::Date,
        Type::TIME => ColumnType::Time(fraction),
        Type::TIMESTAMP => ColumnType::Timestamp(fraction),
        Type::TIMESTAMPTZ => ColumnType::TimestampTz(fraction),
        Type::UUID => ColumnType::Uuid,
        Type::JSON => ColumnType::Json,
        Type::JSONB => ColumnType::Jsonb,
        Type::OID => ColumnType::Oid,
        Type::BIT => ColumnType::Bit(u32::try_from(modifier).ok()?),
        Type::VARBIT => ColumnType::VarBit(u32::try_from(modifier).ok()),
        _ if is_plain(built_in) => ColumnType::Plain(built_in.name().to_owned()),
        _ => return None,
    })
}

/// Types whose text says everything and depends on no setting but those that our sessions fix. Not `money` (it depends
/// on `lc_monetary`), not `regclass` and its like (on names, which change without a change of the row).
fn is_plain(built_in: &Type) -> bool {
    let moments = [Type::TIMETZ, Type::INTERVAL];
    let networks = [Type::INET, Type::CIDR, Type::MACADDR, Type::MACADDR8];
    let texts =
        [Type::NAME, Type::CHAR, Type::BPCHAR, Type::XML, Type::JSONPATH, Type::TS_VECTOR, Type::TSQUERY];
    let shapes = [Type::POINT, Type::LINE, Type::LSEG, Type::BOX, Type::PATH, Type::POLYGON, Type::CIRCLE];
    let ranges = [
        Type::INT4_RANGE,
        Type::INT8_RANGE,
        Type::NUM_RANGE,
        Type::DATE_RANGE,
        Type::TS_RANGE,
        Type::TSTZ_RANGE,
    ];
    let multiranges = [
        Type::INT4MULTI_RANGE,
        Type::INT8MULTI_RANGE,
        Type::NUMMULTI_RANGE,
        Type::DATEMULTI_RANGE,
        Type::TSMULTI_RANGE,
        Type::TSTZMULTI_RANGE,
    ];
    let of_the_system =
        [Type::PG_LSN, Type::XID, Type::XID8, Type::CID, Type::TID, Type::PG_SNAPSHOT, Type::TXID_SNAPSHOT];
    [&moments[..], &networks, &texts, &shapes, &ranges, &multiranges, &of_the_system]
        .iter()
        .any(|types| types.contains(built_in))
}

/// Precision in the upper 16 bits, scale in the lower 11, signed (`numeric_typmod_scale` of Postgres 15).
fn numeric(modifier: i32) -> Option<NumericShape> {
    let packed = modifier.checked_sub(MODIFIER_HEADER).filter(|packed| *packed >= 0)?;
    let precision = u16::try_from(packed >> 16).ok()?;
    let scale = i16::try_from(((packed & 0x7FF) ^ 1024) - 1024).ok()?;
    Some(NumericShape { precision, scale })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(name: &str) -> Option<ColumnType> {
        Some(ColumnType::Plain(name.to_owned()))
    }

    #[test]
    fn modifiers_are_unpacked() {
        let shape = |precision, scale| Some(NumericShape { precision, scale });
        assert_eq!(numeric(-1), None);
        assert_eq!(numeric((12 << 16 | 2) + 4), shape(12, 2));
        assert_eq!(numeric((5 << 16 | (-3 & 0x7FF)) + 4), shape(5, -3));
        assert_eq!(built_in(&Type::VARCHAR, 14), Some(ColumnType::Varchar(10)));
        assert_eq!(built_in(&Type::VARCHAR, -1), Some(ColumnType::Text));
        assert_eq!(built_in(&Type::BPCHAR, -1), plain("bpchar"));
        assert_eq!(built_in(&Type::TIMESTAMPTZ, -1), Some(ColumnType::TimestampTz(6)));
        assert_eq!(built_in(&Type::TIMESTAMP, 0), Some(ColumnType::Timestamp(0)));
        assert_eq!(built_in(&Type::BIT, 5), Some(ColumnType::Bit(5)));
        assert_eq!(built_in(&Type::VARBIT, -1), Some(ColumnType::VarBit(None)));
        assert_eq!(built_in(&Type::INTERVAL, -1), plain("interval"));
        assert_eq!(built_in(&Type::MONEY, -1), None);
        assert_eq!(built_in(&Type::REGCLASS, -1), None);
    }

    #[test]
    fn domains_are_what_they_are_made_of_and_a_cycle_ends() {
        let mut types = Types::default();
        types.domains.insert(100, (101, -1));
        types.domains.insert(101, (Type::VARCHAR.oid(), 9));
        types.domains.insert(102, (102, -1));
        assert_eq!(types.resolve(100, -1), Some(ColumnType::Varchar(5)));
        assert_eq!(types.resolve(102, -1), None);
    }

    #[test]
    fn arrays_have_the_type_and_modifier_of_their_elements() {
        let mut types = Types::default();
        types.domains.insert(100, (Type::VARCHAR_ARRAY.oid(), 9));
        types.enums.insert(101, vec!["x".to_owned()]);
        types.ranges.insert(102, ("floats".to_owned(), Type::FLOAT8.oid()));
        types.ranges.insert(103, ("prices".to_owned(), Type::MONEY.oid()));
        types.arrays.extend([(200, 100), (201, 101), (202, 102), (203, 103)]);
        let array = |element| Some(ColumnType::Array(Box::new(element)));
        assert_eq!(types.resolve(Type::INT4_ARRAY.oid(), -1), array(ColumnType::Integer));
        assert_eq!(types.resolve(100, -1), array(ColumnType::Varchar(5)));
        assert_eq!(types.resolve(201, -1), array(ColumnType::Text));
        assert_eq!(types.resolve(202, -1), array(ColumnType::Plain("floats".to_owned())));
        assert_eq!(types.resolve(103, -1), None);
        assert_eq!(types.resolve(203, -1), None);
        assert_eq!(types.resolve(200, -1), None, "an array of arrays");
        assert_eq!(types.resolve(Type::CHAR_ARRAY.oid(), -1), None);
        assert_eq!(types.resolve(Type::MONEY_ARRAY.oid(), -1), None);
        assert_eq!(types.resolve(Type::INT2_VECTOR.oid(), -1), None);
    }
}
