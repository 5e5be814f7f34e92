//! By which texts a mart's rows are computed.

use toml::{Table, Value};
use xxhash_rust::xxh3::Xxh3;

use crate::definition::Folder;

/// A hash of all that decides a mart's rows; what is said for people, the indexes and the data tests do not. Rows that
/// were computed by other texts are not the mart's any more.
pub(crate) fn hash(folder: &Folder) -> String {
    let mut hash = Xxh3::new();
    let mut files: Vec<_> = folder.files.iter().filter(|(name, _)| !name.starts_with("tests/")).collect();
    files.sort_unstable();
    for (name, text) in files {
        let text = if *name == "mart.toml" { deciding(text) } else { (*text).to_owned() };
        for part in [*name, &text] {
            hash.update(part.as_bytes());
            hash.update(&[0]);
        }
    }
    format!("{:016x}", hash.digest())
}

/// What of mart.toml decides rows. One that cannot be read is no mart.
fn deciding(text: &str) -> String {
    let mut table: Table = toml::from_str(text).unwrap_or_default();
    table.remove("description");
    table.remove("tests");
    let sources = table.get_mut("sources").and_then(Value::as_array_mut);
    for source in sources.into_iter().flatten().filter_map(Value::as_table_mut) {
        source.remove("indexes");
    }
    table.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOML: &str = "# x\ndescription = 'd'\nkey = ['month']\n[[sources]]\ntable = 'public.t'\nindexes = [['a']]\n\
                        [[tests]]\nname = 'n'\n";

    fn hashed(toml: &str, select: &str, test: &str) -> String {
        let leak = |text: &str| -> &'static str { text.to_owned().leak() };
        let files = [("mart.toml", leak(toml)), ("select.sql", leak(select)), ("tests/n.sql", leak(test))];
        hash(&Folder { name: "m", files: files.to_vec().leak() })
    }

    #[test]
    fn what_decides_rows_decides_the_hash_and_nothing_else() {
        let before = hashed(TOML, "SELECT 1", "SELECT 2");
        assert_eq!(before.len(), 16);
        for (change, by) in [("'d'", "'e'"), ("# x", "# y"), ("[['a']]", "[]"), ("'n'", "'o'")] {
            assert_eq!(hashed(&TOML.replace(change, by), "SELECT 1", "SELECT 3"), before, "{change}");
        }
        for (change, by) in [("public.t", "public.u"), ("'month'", "'m'")] {
            assert_ne!(hashed(&TOML.replace(change, by), "SELECT 1", "SELECT 2"), before, "{change}");
        }
        assert_ne!(hashed(TOML, "SELECT 3", "SELECT 2"), before);
    }
}
