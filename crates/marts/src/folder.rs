//! Folders of marts that are not compiled in: read from the disk, and checked against a server without changing it.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use mysql_async::{Conn, Error as Driver, prelude::Queryable};
use serde::Serialize;
use tidemart_mysql::{Config, quote_identifier};
use tidemart_pipeline::{Error, Result};

use crate::{
    catalog,
    definition::{Folder, Mart, Part, Toml},
    month::Month,
    session::{fault, of_mart},
};

/// MySQL's and MariaDB's number of: this account may not do that with a table. A statement gets there once it is parsed.
const DENIED: u16 = 1142;
/// Of: there is such a table.
const EXISTS: u16 = 1050;
/// What the names of our own tables begin with.
const OURS: &str = "tidemart_";
/// Files that are no mart's are larger.
const LARGEST: u64 = 1024 * 1024;

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FolderReport {
    /// The mart: the folder's name.
    pub mart: String,
    /// Its columns, in order.
    pub columns: Vec<String>,
    /// The tables that it is computed from, as the replica calls them.
    pub sources: Vec<String>,
    /// Its data tests.
    pub tests: Vec<String>,
    /// What is wrong.
    pub findings: Vec<Finding>,
}

/// Something that is wrong in a folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The file.
    pub file: PathBuf,
    /// Where in it, from 1; 0 where no line can be named.
    pub line: usize,
    /// What, as the server says it where it is the server's finding.
    pub reason: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, reason } = self;
        match line {
            0 => write!(f, "{}: {reason}", file.display()),
            line => write!(f, "{}:{line}: {reason}", file.display()),
        }
    }
}

impl fmt::Display for FolderReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { mart, columns, sources, tests, findings } = self;
        if findings.is_empty() {
            let (columns, sources, tests) = (columns.join(", "), sources.join(", "), tests.join(", "));
            return write!(
                f,
                "mart {mart}: can be used\n  columns {columns}\n  from    {sources}\n  tests   {tests}"
            );
        }
        write!(f, "mart {mart}: cannot be used")?;
        findings.iter().try_for_each(|finding| write!(f, "\n  {finding}"))
    }
}

/// Reads every folder below `path` as a mart, besides those compiled in. Messages name files as if they were below `named`.
/// Asked again for the same path it does nothing.
///
/// # Errors
/// A folder that is no mart, with file and line; one of a name that there is already, or of a table's that it must not have.
pub fn use_folder(path: &Path, named: Option<&Path>) -> Result<()> {
    static USED: OnceLock<PathBuf> = OnceLock::new();
    if USED.get().is_some_and(|used| used == path) {
        return Ok(());
    }
    catalog::add(read(path, named.unwrap_or(path))?)?;
    USED.get_or_init(|| path.to_owned());
    Ok(())
}

/// Copies the marts of a folder of marts, as they were read and found to be right: whoever uses the copy meets no
/// folder that somebody is about to write. What was in the place of the copy is removed.
///
/// # Errors
/// As [`use_folder`]; a copy that cannot be written.
pub fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    // All are read before anything is written.
    let marts = catalog::joined(read(from, from)?)?;
    let failed = |error| Error::fatal(format!("cannot write {}", to.display())).because(error);
    match fs::remove_dir_all(to) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => fs::create_dir_all(to).map_err(failed)?,
    }
    for mart in marts.iter().filter(|mart| mart.path.is_some()) {
        for (file, text) in mart.files {
            let file = to.join(&mart.name).join(file);
            file.parent().map_or(Ok(()), fs::create_dir_all).map_err(failed)?;
            fs::write(&file, text).map_err(failed)?;
        }
    }
    Ok(())
}

/// The folders below a path as marts.
fn read(path: &Path, named: &Path) -> Result<Vec<Mart>> {
    let mut marts = Vec::new();
    for folder in below(path).map_err(|error| unreadable(path, &error))? {
        if folder.is_dir() {
            let mut on_disk = OnDisk::open(&folder)?;
            on_disk.path = folder.file_name().map_or_else(|| named.to_owned(), |name| named.join(name));
            let mut mart = on_disk.mart().map_err(|finding| Error::fatal(finding.to_string()))?;
            mart.path = Some(on_disk.path);
            marts.push(mart);
        }
    }
    Ok(marts)
}

/// Names the mart in an error. What the server says against a mart of the user's own stands in the place of an error that
/// does not name a file; the error itself where it has nothing against it or cannot be asked.
pub(crate) async fn explained<T>(config: &Config, mart: &'static Mart, result: Result<T>) -> Result<T> {
    let Err(error) = result else { return result };
    let findings = match OnDisk::of(mart) {
        Some(folder) => findings(config, &folder, mart).await.unwrap_or_default(),
        None => Vec::new(),
    };
    let error = if findings.is_empty() {
        error
    } else {
        let findings: Vec<_> = findings.iter().map(ToString::to_string).collect();
        Error::fatal(findings.join("; "))
    };
    Err(of_mart(&mart.name)(error))
}

/// Whether a folder is a mart: all its statements are prepared by the server, and none is run.
///
/// # Errors
/// A folder that cannot be read, a server that cannot be asked. What is wrong in the folder is in the report.
pub async fn check_folder(config: &Config, path: &Path) -> Result<FolderReport> {
    let folder = OnDisk::open(path)?;
    let name = folder.inner.name.to_owned();
    let mart = match folder.mart() {
        Ok(mart) => mart,
        Err(finding) => {
            let (columns, sources, tests) = (Vec::new(), Vec::new(), Vec::new());
            return Ok(FolderReport { mart: name, columns, sources, tests, findings: vec![finding] });
        }
    };
    let mut findings = findings(config, &folder, &mart).await?;
    let called = mart.is_called_like_a_replica_of(catalog::all());
    findings.extend(called.map(|reason| folder.finding("", 0, reason)));
    Ok(FolderReport {
        mart: name,
        columns: mart.columns.clone(),
        sources: mart.sources.iter().map(|source| source.replica.clone()).collect(),
        tests: mart.tests.iter().map(|test| test.name.clone()).collect(),
        findings,
    })
}

/// What the server says against a folder's statements.
async fn findings(config: &Config, folder: &OnDisk, mart: &Mart) -> Result<Vec<Finding>> {
    let (mut conn, server) = tidemart_mysql::open(config).await?;
    let mut findings = Vec::new();
    for statement in statements(folder, mart, server.dialect) {
        // A wrong SELECT, which stands for the table there, is not to be told twice.
        if statement.lines_before > 0 && !findings.is_empty() {
            break;
        }
        findings.extend(folder.prepare(&mut conn, mart, &statement).await?);
    }
    drop(conn.disconnect().await);
    Ok(findings)
}

/// A statement, and where it stands.
struct Statement {
    file: String,
    sql: String,
    /// Where all of it stands in one line: that line.
    line: Option<usize>,
    /// Lines before the file's that are ours.
    lines_before: usize,
    /// Whether its columns are the mart's.
    is_select: bool,
}

fn statements(folder: &OnDisk, mart: &Mart, dialect: tidemart_mysql::Dialect) -> Vec<Statement> {
    let month = Month::of_date("2000-01-01").map_or(Part::Whole, Part::Month);
    let whole = |file: &str, sql: String| Statement {
        file: file.to_owned(),
        sql,
        line: None,
        lines_before: 0,
        is_select: false,
    };
    let in_toml = |sql: String, text: &str| Statement {
        line: Some(folder.line_of("mart.toml", text)),
        ..whole("mart.toml", sql)
    };
    let mut all = Vec::new();
    for source in &mart.sources {
        let columns: Vec<_> = source.rule.columns.iter().map(|column| quote_identifier(column)).collect();
        let sql = format!("SELECT {} FROM {}", columns.join(", "), quote_identifier(&source.replica));
        all.push(in_toml(sql, &format!("\"{}\"", source.rule.source)));
    }
    all.extend(mart.written_in_toml().into_iter().map(|(key, sql)| in_toml(sql, &format!("{key} ="))));
    let select = mart.select(&month);
    all.push(Statement { is_select: true, ..whole("select.sql", select.clone()) });
    all.push(whole("table.sql", mart.ddl(dialect)));
    for source in &mart.sources {
        let replicas = mart.sources.iter().map(|source| &source.replica);
        let sql = replicas.fold(source.groups.to_owned(), |sql, name| {
            sql.replace(&format!("{{{name}}}"), &quote_identifier(name))
        });
        all.push(whole(&format!("groups/{}.sql", source.replica), sql));
    }
    for test in &mart.tests {
        // The mart's table may not be there yet: its SELECT stands for it.
        let before = format!("WITH {} AS (\n{select}\n)\n", mart.table());
        let lines_before = before.matches('\n').count();
        let sql = format!("{before}{}", test.sql(mart, std::slice::from_ref(&month)));
        all.push(Statement { lines_before, ..whole(&format!("tests/{}.sql", test.name), sql) });
    }
    all
}

/// A folder that was read. Its texts stay as long as the process: a mart's are the program's own otherwise.
struct OnDisk {
    path: PathBuf,
    inner: Folder,
}

impl OnDisk {
    fn open(path: &Path) -> Result<Self> {
        let absolute = path.canonicalize().map_err(|error| unreadable(path, &error))?;
        let name = absolute.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if name.is_empty() || !name.chars().all(fits) {
            return Err(Error::fatal(format!(
                "the folder {} is called like no table: use small letters, digits and _",
                path.display()
            )));
        }
        if name.starts_with(OURS) {
            return Err(Error::fatal(format!(
                "the folder {} is called like a table of Tidemart's own, {OURS}…; rename it",
                path.display()
            )));
        }
        let mut files = Vec::new();
        read_files(path, path, &mut files).map_err(|error| unreadable(path, &error))?;
        Ok(Self { path: path.to_owned(), inner: Folder { name: leak(name.to_owned()), files: files.leak() } })
    }

    /// The folder that a mart was read from.
    fn of(mart: &'static Mart) -> Option<Self> {
        let path = mart.path.clone()?;
        Some(Self { path, inner: Folder { name: &mart.name, files: mart.files } })
    }

    fn mart(&self) -> std::result::Result<Mart, Finding> {
        let Ok(text) = self.inner.file("mart.toml") else {
            return Err(self.finding("mart.toml", 0, "is missing; a mart's folder has one".to_owned()));
        };
        if let Err(error) = toml::from_str::<Toml>(text) {
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            let line = before.matches('\n').count() + 1;
            return Err(self.finding("mart.toml", line, error.message().to_owned()));
        }
        // Each step of the reading names the mart.
        let named = format!("mart {}: ", self.inner.name);
        Mart::read(&self.inner).map_err(|reason| self.finding("", 0, reason.replace(&named, "")))
    }

    fn finding(&self, file: &str, line: usize, reason: String) -> Finding {
        Finding { file: self.path.join(file), line, reason }
    }

    /// The line of a file in which a text stands first; 0 where it does not.
    fn line_of(&self, file: &str, text: &str) -> usize {
        let lines = self.inner.file(file).unwrap_or_default().lines();
        lines.zip(1..).find(|(line, _)| line.contains(text)).map_or(0, |(_, number)| number)
    }

    /// What the server says against a statement.
    async fn prepare(&self, conn: &mut Conn, mart: &Mart, statement: &Statement) -> Result<Option<Finding>> {
        let prepared = match conn.prep(statement.sql.as_str()).await {
            Ok(prepared) => prepared,
            Err(Driver::Server(error))
                if [DENIED, EXISTS].contains(&error.code) && statement.file == "table.sql" =>
            {
                return Ok(None);
            }
            Err(Driver::Server(error)) => {
                let line = self.line(statement, &error.message);
                return Ok(Some(self.finding(&statement.file, line, error.message)));
            }
            Err(error) => return Err(fault(error)),
        };
        let columns: Vec<_> =
            prepared.columns().iter().map(|column| column.name_str().into_owned()).collect();
        drop(conn.close(prepared).await);
        if !statement.is_select || columns == mart.columns {
            return Ok(None);
        }
        let reason = format!(
            "its columns are {}, those of table.sql {}; both must have the same, in the same order",
            columns.join(", "),
            mart.columns.join(", ")
        );
        Ok(Some(self.finding(&statement.file, 0, reason)))
    }

    /// The line of the file that an error of the server is about.
    fn line(&self, statement: &Statement, message: &str) -> usize {
        if let Some(line) = statement.line {
            return line;
        }
        if let Some(line) = said_line(message) {
            return line.saturating_sub(statement.lines_before).max(1);
        }
        // 'o.order_dat' in ...: without the table's alias where it does not stand so.
        let name = message.split('\'').nth(1).unwrap_or_default();
        let names = [name, name.rsplit('.').next().unwrap_or_default()];
        let found =
            names.iter().filter(|name| !name.is_empty()).map(|name| self.line_of(&statement.file, name));
        found.into_iter().find(|line| *line > 0).unwrap_or_default()
    }
}

/// The number in `… near '…' at line 7`.
fn said_line(message: &str) -> Option<usize> {
    let (_, after) = message.rsplit_once(" at line ")?;
    after.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

fn leak(text: String) -> &'static str {
    text.leak()
}

fn below(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path()));
    let mut paths = entries.collect::<io::Result<Vec<_>>>()?;
    let hidden =
        |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
    paths.retain(|path| !hidden(path));
    paths.sort();
    Ok(paths)
}

fn read_files(root: &Path, folder: &Path, files: &mut Vec<(&'static str, &'static str)>) -> io::Result<()> {
    for path in below(folder)? {
        if path.is_dir() {
            read_files(root, &path, files)?;
        } else if path.extension().is_some_and(|end| end == "sql" || end == "toml")
            && path.metadata()?.len() <= LARGEST
        {
            let inside = path.strip_prefix(root).unwrap_or(&path).display().to_string();
            files.push((leak(inside), leak(fs::read_to_string(&path)?)));
        }
    }
    Ok(())
}

fn unreadable(path: &Path, error: &io::Error) -> Error {
    Error::fatal(format!("cannot read {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_is_read_from_what_the_server_says() {
        assert_eq!(said_line("You have an error in your SQL syntax near 'FORM orders' at line 17"), Some(17));
        assert_eq!(said_line("Unknown column 'o.x' in 'SELECT'"), None);
    }

    #[test]
    fn a_folder_of_ours_is_read_from_the_disk_and_a_wrong_key_is_found() {
        let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("marts/user_sales");
        let mart = OnDisk::open(&ours).unwrap().mart().unwrap();
        assert_eq!((mart.name.as_str(), mart.tests.len()), ("user_sales", 4));
        let folder = std::env::temp_dir().join(format!("own_marts_{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("mart.toml"), "description = 'x'\nkeys = []\n").unwrap();
        let finding = OnDisk::open(&folder).unwrap().mart().unwrap_err();
        fs::remove_dir_all(&folder).unwrap();
        let text = finding.to_string();
        assert!(text.contains("mart.toml:2: unknown field `keys`"), "{text}");
    }
}
