//! How a source table is called in MySQL.

use tidemart_change::{TableName, TableSchema};

/// Prefix of our own tables; no replica may have it.
pub const OWN_PREFIX: &str = "tidemart_";
/// Characters that MySQL allows a name.
pub(crate) const LONGEST_NAME: usize = 64;

/// The replica's name: `public.orders` is `orders`, `sales.orders` is `sales__orders`.
///
/// # Errors
/// Why a name cannot be used in MySQL. That no two tables get one name is checked where they are recorded.
pub fn replica_name(table: &TableName) -> Result<String, String> {
    let name = match table.schema.as_str() {
        "public" => table.name.clone(),
        schema => format!("{schema}__{}", table.name),
    };
    check(&name).map_err(|reason| format!("table {table} cannot be replicated: its name {reason}"))?;
    if name.to_lowercase().starts_with(OWN_PREFIX) {
        return Err(format!("table {table} cannot be replicated: names with {OWN_PREFIX} are our own"));
    }
    Ok(name)
}

/// Checks the names of a table's columns: MySQL tells them apart without regard to case.
pub(crate) fn check_columns(schema: &TableSchema) -> Result<(), String> {
    let mut seen = std::collections::BTreeSet::new();
    for column in &schema.columns {
        let refuse = |reason| {
            format!("column {}.{} cannot be replicated: its name {reason}", schema.table, column.name)
        };
        check(&column.name).map_err(refuse)?;
        if !seen.insert(column.name.to_lowercase()) {
            return Err(refuse("differs from another column's only in upper and lower case"));
        }
    }
    Ok(())
}

fn check(name: &str) -> Result<(), &'static str> {
    if name.chars().count() > LONGEST_NAME {
        return Err("is longer than the 64 characters of MySQL");
    }
    if name.is_empty()
        || name.ends_with(' ')
        || name.contains('\0')
        || name.chars().any(|c| c as u32 > 0xFFFF)
    {
        return Err("is empty, ends with a blank or has characters that MySQL forbids in names");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schemas_other_than_public_go_before_the_name() {
        assert_eq!(replica_name(&TableName::new("public", "orders")).unwrap(), "orders");
        assert_eq!(replica_name(&TableName::new("Sales", "my table")).unwrap(), "Sales__my table");
    }

    #[test]
    fn unusable_names_are_refused() {
        let long = "x".repeat(63);
        for (schema, name) in [
            ("public", "tidemart_x"),
            ("public", "TideMart_x"),
            ("tidemart_", "x"),
            ("s", &long),
            ("public", "x "),
        ] {
            assert!(
                replica_name(&TableName::new(schema, name)).unwrap_err().contains(name),
                "{schema}.{name}"
            );
        }
    }
}
