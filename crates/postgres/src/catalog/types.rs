//! From Postgres types to [`ColumnType`].

use std::collections::HashMap;

use tidemart_change::{ColumnType, schema::NumericShape};
use tidemart_pipeline::Result;
use tokio_postgres::{Client, types::Type};

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
}

impl Types {
    pub(super) async fn read(client: &Client) -> Result<Self> {
        let doing = at("cannot list the types");
        let rows = client.query(include_str!("types.sql"), &[]).await.map_err(&doing)?;
        let mut types = Self::default();
        for row in rows {
            let oid: u32 = row.try_get("oid").map_err(&doing)?;
            if row.try_get::<_, i8>("kind").map_err(&doing)?.cast_unsigned() == b'e' {
                types.enums.insert(oid, row.try_get("labels").map_err(&doing)?);
            } else {
                let base = row.try_get("base").map_err(&doing)?;
                types.domains.insert(oid, (base, row.try_get("modifier").map_err(&doing)?));
            }
        }
        Ok(types)
    }

    /// The type of a column; a domain is what it is made of, since its values print alike. `None`: not supported.
    pub(crate) fn resolve(&self, oid: u32, modifier: i32) -> Option<ColumnType> {
        let (mut oid, mut modifier) = (oid, modifier);
        for _ in 0..MAX_DOMAINS {
            match self.domains.get(&oid) {
                Some(below) => (oid, modifier) = *below,
                None => break,
            }
        }
        if let Some(labels) = self.enums.get(&oid) {
            return Some(ColumnType::Enum(labels.clone()));
        }
        built_in(&Type::from_oid(oid)?, modifier)
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
        Type::BPCHAR => ColumnType::Char(length?),
        Type::BYTEA => ColumnType::Bytea,
        Type::DATE => ColumnType::Date,
        Type::TIME => ColumnType::Time(fraction),
        Type::TIMESTAMP => ColumnType::Timestamp(fraction),
        Type::TIMESTAMPTZ => ColumnType::TimestampTz(fraction),
        Type::UUID => ColumnType::Uuid,
        Type::JSON => ColumnType::Json,
        Type::JSONB => ColumnType::Jsonb,
        _ => return None,
    })
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

    #[test]
    fn modifiers_are_unpacked() {
        let shape = |precision, scale| Some(NumericShape { precision, scale });
        assert_eq!(numeric(-1), None);
        assert_eq!(numeric((12 << 16 | 2) + 4), shape(12, 2));
        assert_eq!(numeric((5 << 16 | (-3 & 0x7FF)) + 4), shape(5, -3));
        assert_eq!(built_in(&Type::VARCHAR, 14), Some(ColumnType::Varchar(10)));
        assert_eq!(built_in(&Type::VARCHAR, -1), Some(ColumnType::Text));
        assert_eq!(built_in(&Type::BPCHAR, -1), None);
        assert_eq!(built_in(&Type::TIMESTAMPTZ, -1), Some(ColumnType::TimestampTz(6)));
        assert_eq!(built_in(&Type::TIMESTAMP, 0), Some(ColumnType::Timestamp(0)));
        assert_eq!(built_in(&Type::INTERVAL, -1), None);
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
}
