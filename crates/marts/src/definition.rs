//! What a mart is: its folder, read.

use std::{collections::BTreeMap, path::PathBuf};

use serde::Deserialize;
use tidemart_change::TableName;
use tidemart_mysql::{MarkRule, quote_identifier, quote_string, replica_name};
use tidemart_pipeline::{Error, Result};

use crate::{
    measures::{Measures, MeasuresToml, columns},
    month::Month,
    session::{TextRow, number},
    texts,
};

/// The place in a SELECT or a test where a restriction goes; a comment, so that the file is SQL as it stands.
const RESTRICTION: &str = "/*{and}*/";
/// The place in a test where one for what it reads of the sources goes.
const OF_SOURCES: &str = "/*{and of sources}*/";
/// The place where MySQL is told to join in the order of the text.
const STRAIGHT: &str = "/*{straight}*/";
/// More values than these are not looked up one by one: the whole month takes less.
const MOST_VALUES: usize = 500;

/// A folder of `marts/` as it was compiled in, or one of the user's that was read.
pub(crate) struct Folder {
    pub(crate) name: &'static str,
    pub(crate) files: &'static [(&'static str, &'static str)],
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Toml {
    pub(crate) description: String,
    key: Vec<String>,
    /// What the months are of, as select.sql calls it.
    month: String,
    /// SELECT of the first of them.
    first: String,
    narrow: Option<Narrow>,
    /// What the columns are besides the key; without it a changed group is always computed anew.
    measures: Option<MeasuresToml>,
    sources: Vec<SourceToml>,
    tests: Vec<TestToml>,
}

/// A second column of the key by which a month of select.sql can be restricted.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Narrow {
    /// The column.
    column: String,
    /// What it is, as `ids` calls it.
    expression: String,
    /// SELECT of the ids that have these values.
    ids: String,
    /// The id, as select.sql calls it.
    id: String,
    /// SELECT of the least and the greatest value of `bounded` in the month.
    bounds: String,
    /// As select.sql calls it.
    bounded: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SourceToml {
    table: String,
    key: Vec<String>,
    columns: Vec<String>,
    /// The column whose values are the units of the mart's sums; none in a dimension.
    unit: Option<String>,
    #[serde(default)]
    indexes: Vec<Vec<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TestToml {
    name: String,
    pace: Pace,
}

/// How often a data test is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Pace {
    /// With each refresh, on the groups that it replaced.
    Refresh,
    /// Now and then, on one month after the other.
    Month,
}

/// A mart.
#[derive(Debug)]
pub(crate) struct Mart {
    pub(crate) name: String,
    pub(crate) toml: Toml,
    pub(crate) sources: Vec<MartSource>,
    pub(crate) tests: Vec<DataTest>,
    /// All columns, in the order of table.sql, which is that of select.sql.
    pub(crate) columns: Vec<String>,
    /// How changes are added to its rows.
    pub(crate) measures: Option<Measures>,
    /// Of what its rows are computed by: see [`texts::hash`].
    pub(crate) texts: String,
    /// Its folder, as messages name it, where it is not compiled in.
    pub(crate) path: Option<PathBuf>,
    pub(crate) files: &'static [(&'static str, &'static str)],
    table: &'static str,
    select: &'static str,
}

/// A table that a mart is computed from.
#[derive(Debug)]
pub(crate) struct MartSource {
    /// Name of the replica.
    pub(crate) replica: String,
    /// What the consumer marks: the columns that select.sql reads.
    pub(crate) rule: MarkRule,
    /// Name of the table of marks.
    pub(crate) marks: String,
    /// The key's columns.
    pub(crate) key: Vec<String>,
    /// The column of the units, as an index among the rule's columns.
    pub(crate) unit: Option<usize>,
    /// Columns of each secondary index that the mart needs.
    pub(crate) indexes: Vec<Vec<String>>,
    /// SELECT of the groups of changed rows; `{table}` stands for each source.
    pub(crate) groups: &'static str,
}

/// A data test: SQL that returns offending rows, the columns of the key first.
#[derive(Debug)]
pub(crate) struct DataTest {
    pub(crate) name: String,
    pub(crate) pace: Pace,
    sql: &'static str,
}

/// A part of a mart that can be computed and replaced by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// All of it.
    Whole,
    /// A month.
    Month(Month),
    /// In a month, the groups whose narrowing column has one of these values.
    Narrow(Month, Vec<String>),
}

impl Mart {
    pub(crate) fn read(folder: &Folder) -> std::result::Result<Self, String> {
        let named = |reason: String| format!("mart {}: {reason}", folder.name);
        let toml: Toml =
            toml::from_str(folder.file("mart.toml")?).map_err(|error| named(error.to_string()))?;
        let sources = toml.sources.iter().map(|source| MartSource::read(folder, source));
        let tests = toml.tests.iter().map(|test| {
            let sql = folder.file(&format!("tests/{}.sql", test.name))?;
            Ok::<_, String>(DataTest { name: test.name.clone(), pace: test.pace, sql })
        });
        let (table, select) = (folder.file("table.sql")?, folder.file("select.sql")?);
        let columns = columns(table);
        let measures =
            toml.measures.as_ref().map(|measures| Measures::read(measures, &toml.key, &columns, select));
        let mart = Self {
            name: folder.name.to_owned(),
            sources: sources.collect::<std::result::Result<_, _>>().map_err(named)?,
            tests: tests.collect::<std::result::Result<_, _>>()?,
            columns,
            measures: measures.transpose().map_err(named)?,
            texts: texts::hash(folder),
            path: None,
            files: folder.files,
            table,
            select,
            toml,
        };
        match mart.sources.iter().find(|source| source.unit.is_some() && !select.contains(&place(source))) {
            Some(source) => Err(named(format!("select.sql lacks {}", place(source)))),
            None => Ok(mart),
        }
    }

    /// The mart's folder, for messages.
    pub(crate) fn place(&self) -> String {
        let own = || format!("marts/{}", self.name);
        self.path.as_ref().map_or_else(own, |path| path.display().to_string())
    }

    /// Why the name cannot be a mart's beside these.
    pub(crate) fn is_called_like_a_replica_of(&self, marts: &[Self]) -> Option<String> {
        let readers = marts.iter().chain([self]);
        let mut sources = readers.flat_map(|mart| mart.sources.iter().map(move |source| (mart, source)));
        let (reader, source) = sources.find(|(_, source)| source.replica == self.name)?;
        Some(format!(
            "a mart's table has its folder's name, and {} is that of the replica of {}, which mart {} reads; rename the folder",
            self.name, source.rule.source, reader.name
        ))
    }

    /// The mart's table, quoted.
    pub(crate) fn table(&self) -> String {
        quote_identifier(&self.name)
    }

    /// The columns that make a group, month first.
    pub(crate) fn key(&self) -> &[String] {
        &self.toml.key
    }

    /// The statement that makes the table.
    pub(crate) fn ddl(&self, dialect: tidemart_mysql::Dialect) -> String {
        self.table.replace("{collation}", dialect.collation())
    }

    /// The SELECT of everything or of a month; of the month for a narrow part, too.
    pub(crate) fn select(&self, part: &Part) -> String {
        self.select.replace(RESTRICTION, &self.month_condition(part))
    }

    /// The SELECT of everything, but with other rows in place of each source that has units.
    pub(crate) fn select_from(&self, rows: impl Fn(&MartSource) -> String) -> String {
        let with_units = self.sources.iter().filter(|source| source.unit.is_some());
        with_units.fold(self.select(&Part::Whole), |sql, source| {
            sql.replace(&place(source), &format!("({})", rows(source)))
        })
    }

    /// For a narrow part: the SELECTs of the ids and of the bounds that [`Mart::select_narrow`] takes.
    pub(crate) fn lookups(&self, part: &Part) -> Option<(String, String)> {
        let (Part::Narrow(_, values), Some(narrow)) = (part, &self.toml.narrow) else { return None };
        let of_values = format!("AND {} IN ({})", narrow.expression, quoted(values));
        let ids = narrow.ids.replace(RESTRICTION, &of_values);
        Some((ids, narrow.bounds.replace(RESTRICTION, &self.month_condition(part))))
    }

    /// The SELECT of a narrow part.
    pub(crate) fn select_narrow(&self, part: &Part, ids: &[i64], (least, greatest): (i64, i64)) -> String {
        let mut condition = self.month_condition(part);
        if let Some(narrow) = &self.toml.narrow {
            let ids: Vec<_> = ids.iter().map(i64::to_string).collect();
            condition.push_str(&format!(
                " AND {} IN ({}) AND {} BETWEEN {least} AND {greatest}",
                narrow.id,
                ids.join(","),
                narrow.bounded
            ));
        }
        self.select.replace(RESTRICTION, &condition).replace(STRAIGHT, "STRAIGHT_JOIN")
    }

    /// For a month: the SELECT of the bounds that [`Mart::select_bounded`] takes, where the mart has such.
    pub(crate) fn bounds(&self, part: &Part) -> Option<String> {
        let (Part::Month(_), Some(narrow)) = (part, &self.toml.narrow) else { return None };
        Some(narrow.bounds.replace(RESTRICTION, &self.month_condition(part)))
    }

    /// The bounds in the answer to such a SELECT; `None` where the month has no rows.
    pub(crate) fn read_bounds(&self, rows: &[TextRow]) -> Result<Option<(i64, i64)>> {
        let row = rows.first().map_or(&[][..], |row| row);
        if row.iter().all(Option::is_none) {
            return Ok(None);
        }
        let bound = |index: usize| row.get(index).and_then(|bound| number::<i64>(bound.as_ref()));
        // Taken for an empty month, it would be deleted.
        bound(0).zip(bound(1)).map(Some).ok_or_else(|| {
            let (place, bounded) = (self.place(), self.toml.narrow.as_ref().map_or("", |narrow| &narrow.bounded));
            Error::fatal(format!(
                "{place}/mart.toml: narrow.bounds must give the least and the greatest {bounded} as integers; \
                 correct it, or name another column in narrow.bounded"
            ))
        })
    }

    /// The SELECT of a month, with what follows from it for the column that has bounds.
    pub(crate) fn select_bounded(&self, part: &Part, (least, greatest): (i64, i64)) -> String {
        let bounded = self.toml.narrow.as_ref();
        let bounded = bounded.map(|narrow| format!(" AND {} BETWEEN {least} AND {greatest}", narrow.bounded));
        let condition = format!("{}{}", self.month_condition(part), bounded.unwrap_or_default());
        self.select.replace(RESTRICTION, &condition)
    }

    /// A condition on the rows of a source by themselves, where that has the column that the months are of.
    pub(crate) fn month_of(&self, source: &MartSource, part: &Part) -> Option<String> {
        let (_, column) = self.toml.month.split_once('.')?;
        let has = |source: &MartSource| source.rule.columns.iter().any(|found| found == column);
        // Of two that have a column of that name nobody can say which is meant.
        let alone = self.sources.iter().filter(|other| has(other)).count() == 1;
        match part {
            Part::Month(month) if alone && has(source) => Some(within(*month, &quote_identifier(column))),
            _ => None,
        }
    }

    /// `AND …` for what reads the sources.
    fn month_condition(&self, part: &Part) -> String {
        match part {
            Part::Whole => String::new(),
            Part::Month(month) | Part::Narrow(month, _) => {
                format!("AND {}", within(*month, &self.toml.month))
            }
        }
    }

    /// The SELECTs that mart.toml holds, each with its key there.
    pub(crate) fn written_in_toml(&self) -> Vec<(&'static str, String)> {
        let month = Month::of_date("2000-01-01").map_or(Part::Whole, Part::Month);
        let first = ("first", self.toml.first.replace(RESTRICTION, &self.month_condition(&month)));
        let narrow = self.toml.narrow.iter().flat_map(|narrow| {
            let value = format!("AND {} IN ('')", narrow.expression);
            let bounds = narrow.bounds.replace(RESTRICTION, &self.month_condition(&month));
            [("ids", narrow.ids.replace(RESTRICTION, &value)), ("bounds", bounds)]
        });
        [first].into_iter().chain(narrow).collect()
    }

    /// SELECTs of the first date, from a month on, that the sources and the mart have.
    pub(crate) fn first_dates(&self, from: Month) -> [String; 2] {
        let (month, from) = (quote_identifier(&self.toml.key[0]), from.first_day());
        [
            self.toml.first.replace(RESTRICTION, &format!("AND {} >= '{from}'", self.toml.month)),
            format!("SELECT MIN({month}) FROM {} WHERE {month} >= '{from}'", self.table()),
        ]
    }

    /// A condition that two tables with the mart's columns have a row of the same group.
    pub(crate) fn same_group(&self, one: &str, other: &str) -> String {
        let same = |column: &String| format!("{one}.{0} = {other}.{0}", quote_identifier(column));
        self.toml.key.iter().map(same).collect::<Vec<_>>().join(" AND ")
    }

    /// Whether a group belongs to a part.
    pub(crate) fn is_in(&self, group: &Group, part: &Part) -> bool {
        let value = self.narrow_position().and_then(|position| group.0.get(position));
        match part {
            Part::Whole => true,
            Part::Month(month) => group.month() == Some(*month),
            Part::Narrow(month, values) => {
                group.month() == Some(*month) && value.is_some_and(|value| values.contains(value))
            }
        }
    }

    /// A condition on the mart's own rows, those of a part, for a table of this alias.
    pub(crate) fn own_condition(&self, part: &Part, alias: &str) -> String {
        let column = |name: &str| format!("{alias}.{}", quote_identifier(name));
        let own_month = column(&self.toml.key[0]);
        match (part, &self.toml.narrow) {
            (Part::Whole, _) => "1 = 1".to_owned(),
            (Part::Narrow(month, values), Some(narrow)) => {
                let (first, values) = (month.first_day(), quoted(values));
                format!("{own_month} = '{first}' AND {} IN ({values})", column(&narrow.column))
            }
            // A row whose month is no first day belongs to it as well, and fails its tests.
            (Part::Month(month) | Part::Narrow(month, _), _) => within(*month, &own_month),
        }
    }

    /// The parts that hold these groups.
    pub(crate) fn parts<'a>(&self, groups: impl IntoIterator<Item = &'a Group>) -> Vec<Part> {
        let position = self.narrow_position();
        let mut months: BTreeMap<Month, Vec<String>> = BTreeMap::new();
        for group in groups {
            if let Some(month) = group.month() {
                let values = months.entry(month).or_default();
                values.extend(position.and_then(|position| group.0.get(position)).cloned());
            }
        }
        let part = |(month, mut values): (Month, Vec<String>)| {
            values.sort_unstable();
            values.dedup();
            match position {
                Some(_) if values.len() <= MOST_VALUES => Part::Narrow(month, values),
                _ => Part::Month(month),
            }
        };
        months.into_iter().map(part).collect()
    }

    /// Where the narrowing column stands in the key.
    fn narrow_position(&self) -> Option<usize> {
        let narrow = self.toml.narrow.as_ref()?;
        self.toml.key.iter().position(|key| *key == narrow.column)
    }
}

impl MartSource {
    fn read(folder: &Folder, source: &SourceToml) -> std::result::Result<Self, String> {
        let (schema, name) = source.table.split_once('.').ok_or("a source is written schema.table")?;
        let table = TableName::new(schema, name);
        let replica = replica_name(&table)?;
        let rule = MarkRule { mart: folder.name.to_owned(), source: table, columns: source.columns.clone() };
        if source.key.iter().any(|column| !source.columns.contains(column)) {
            return Err(format!("the columns of {replica} lack its key"));
        }
        let unit = source.unit.as_ref().map(|unit| {
            let mut found = source.indexes.iter().chain([&source.key]).filter_map(|index| index.first());
            let column = source.columns.iter().position(|column| column == unit);
            column
                .filter(|_| found.any(|first| first == unit))
                .ok_or_else(|| format!("the unit of {replica} needs an index"))
        });
        Ok(Self {
            marks: rule.table().map_err(|error| error.to_string())?,
            groups: folder.file(&format!("groups/{replica}.sql"))?,
            replica,
            rule,
            key: source.key.clone(),
            unit: unit.transpose()?,
            indexes: source.indexes.clone(),
        })
    }
}

impl DataTest {
    /// The test's SQL, on parts of the mart; one that reads the sources must be given one part.
    pub(crate) fn sql(&self, mart: &Mart, parts: &[Part]) -> String {
        let table = mart.table();
        let each: Vec<_> =
            parts.iter().map(|part| format!("({})", mart.own_condition(part, &table))).collect();
        let of_sources = parts.first().map(|part| mart.month_condition(part)).unwrap_or_default();
        self.sql
            .replace(RESTRICTION, &format!("AND ({})", each.join(" OR ")))
            .replace(OF_SOURCES, &of_sources)
    }
}

/// A condition that a date lies within a month.
fn within(month: Month, date: &str) -> String {
    let from = format!("{date} >= '{}'", month.first_day());
    // After the last month there are no dates.
    month.next().map_or_else(|| from.clone(), |next| format!("{from} AND {date} < '{}'", next.first_day()))
}

/// The place in a SELECT where a source stands, marked by a comment that other rows can take the place of.
fn place(source: &MartSource) -> String {
    format!("/*{{{0}}}*/ {0}", source.replica)
}

impl Folder {
    pub(crate) fn file(&self, path: &str) -> std::result::Result<&'static str, String> {
        let found = self.files.iter().find(|(name, _)| *name == path);
        found.map(|(_, text)| *text).ok_or_else(|| format!("mart {}: {path} is missing", self.name))
    }
}

/// The key of a group, each column as text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Group(pub(crate) Vec<String>);

impl Group {
    pub(crate) fn month(&self) -> Option<Month> {
        self.0.first().and_then(|date| Month::of_date(date))
    }
}

impl std::fmt::Display for Group {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.join(" / "))
    }
}

/// Values as literals, with commas between.
pub(crate) fn quoted(values: &[String]) -> String {
    values.iter().map(|value| quote_string(value)).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::{all, find, list, mark_rules};

    #[test]
    fn every_folder_is_read() {
        let names: Vec<_> = list().into_iter().map(|mart| mart.name).collect();
        assert_eq!(names, ["product_sales", "user_sales"]);
        for mart in all() {
            assert_eq!(mart.key()[0], "month", "{}", mart.name);
            assert!(mart.select.contains(RESTRICTION));
            assert!(mart.columns.starts_with(mart.key()) && mart.measures.is_some());
            // The outer SELECT names them all, in the same order.
            let outer = mart.select.split("\nFROM").next().unwrap();
            let named = outer.lines().filter_map(|line| line.trim_end_matches(',').rsplit_once(" AS "));
            assert_eq!(named.map(|(_, name)| name).collect::<Vec<_>>(), mart.columns);
            for test in &mart.tests {
                assert!(test.sql.contains(RESTRICTION), "{}", test.name);
                // A refresh gives several parts.
                assert!(test.pace == Pace::Month || !test.sql.contains(OF_SOURCES), "{}", test.name);
            }
            let replicas = mart.sources.iter().map(|source| format!("{{{}}}", source.replica));
            for replica in replicas {
                assert!(mart.sources.iter().all(|source| source.groups.contains(&replica)), "{replica}");
            }
        }
    }

    #[test]
    fn rules_name_each_source_once_for_each_mart() {
        let rules = mark_rules();
        assert_eq!(rules.len(), 6);
        assert!(rules.iter().all(|rule| rule.table().is_ok()));
    }

    #[test]
    fn groups_become_parts_by_month() {
        let group = |parts: [&str; 3]| Group(parts.map(str::to_owned).to_vec());
        let groups = [
            group(["2026-01-01", "a", "x'"]),
            group(["2026-02-01", "a", "y"]),
            group(["2026-01-01", "b", "x'"]),
        ];
        let mart = find("product_sales").unwrap();
        let parts = mart.parts(&groups);
        let month = |text: &str| text.parse().unwrap();
        assert_eq!(
            parts,
            [
                Part::Narrow(month("2026-01"), vec!["x'".into()]),
                Part::Narrow(month("2026-02"), vec!["y".into()])
            ]
        );
        let (ids, bounds) = mart.lookups(&parts[0]).unwrap();
        assert!(ids.ends_with(r"WHERE 1 = 1 AND p.name IN ('x\'')"), "{ids}");
        assert!(bounds.ends_with("AND o.order_date < '2026-02-01'"), "{bounds}");
        let select = mart.select_narrow(&parts[0], &[3, 4], (5, 9));
        let condition =
            "AND o.order_date < '2026-02-01' AND d.product_id IN (3,4) AND d.order_id BETWEEN 5 AND 9";
        assert!(select.contains(condition) && select.contains("SELECT STRAIGHT_JOIN"), "{select}");
        assert_eq!(mart.select(&Part::Whole).matches("STRAIGHT_JOIN").count(), 0);
        assert_eq!(
            mart.own_condition(&parts[1], "m"),
            "m.`month` = '2026-02-01' AND m.`product_name` IN ('y')"
        );
    }

    #[test]
    fn only_null_bounds_are_of_an_empty_month() {
        let mart = find("product_sales").unwrap();
        let row =
            |values: &[Option<&str>]| vec![values.iter().map(|value| value.map(str::to_owned)).collect()];
        assert_eq!(mart.read_bounds(&row(&[Some("-5"), Some("9")])).unwrap(), Some((-5, 9)));
        assert_eq!(mart.read_bounds(&row(&[None, None])).unwrap(), None);
        assert_eq!(mart.read_bounds(&[]).unwrap(), None);
        for wrong in [
            &[Some("a1"), Some("b7")][..],
            &[Some("5.0"), Some("9.0")],
            &[Some("5"), Some("18446744073709551615")],
            &[Some("5"), None],
            &[Some("5")],
        ] {
            let error = mart.read_bounds(&row(wrong)).unwrap_err();
            let told = error.to_string();
            assert_eq!(error.kind(), tidemart_pipeline::Kind::Fatal);
            assert!(told.contains("marts/product_sales/mart.toml") && told.contains("d.order_id"), "{told}");
        }
    }

    #[test]
    fn other_rows_take_the_place_of_the_sources_with_units() {
        let sql = find("user_sales").unwrap().select_from(|source| format!("SELECT {}", source.replica));
        assert!(sql.contains("FROM (SELECT orders) o\n    JOIN (SELECT users) u ON"), "{sql}");
        let sql = find("product_sales").unwrap().select_from(|_| "x".to_owned());
        assert!(sql.contains("FROM (x) d\n    JOIN (x) o ON") && sql.contains("JOIN products p ON"), "{sql}");
    }

    #[test]
    fn an_unknown_mart_is_named_with_those_there_are() {
        let error = find("sales").unwrap_err().to_string();
        assert!(error.contains("no mart sales") && error.contains("user_sales"), "{error}");
    }
}
