//! The folder for the data of a test process. It goes when the process does, however that ends.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use tokio::sync::OnceCell;

use crate::account::{Account, DEFAULT_ACCOUNT};
use crate::error::{Result, at};
use crate::folder::DataFolder;
use crate::random;

/// Waits until the pipe on its standard input is closed, which the kernel does when we end, and
/// removes the folder; the servers, which were killed too, may still be writing for a moment.
const REMOVE: &str = r#"
read -r _
for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
    sleep 0.2
    rm -rf "$1" && [ ! -e "$1" ] && sleep 0.2 && [ ! -e "$1" ] && exit 0
done
"#;

/// The folder that the shared servers use together.
pub(super) async fn shared_folder() -> Result<&'static DataFolder> {
    static FOLDER: OnceCell<DataFolder> = OnceCell::const_new();
    FOLDER.get_or_try_init(|| open("shared")).await
}

/// A folder for one private server.
pub(super) async fn private_folder() -> Result<DataFolder> {
    open(&format!("private-{}", random::hex::<4>()?)).await
}

/// A copy of a folder whose servers are stopped, to be opened as a folder of its own.
pub(super) fn private_copy(folder: &Path) -> Result<PathBuf> {
    let copy = root()?.join(format!("private-{}", random::hex::<4>()?));
    let copied = Command::new("cp").arg("-a").arg(folder).arg(&copy).status();
    let copied = copied.map_err(at("run cp for", folder))?;
    assert!(copied.success(), "cp {} {} failed", folder.display(), copy.display());
    Ok(copy)
}

/// The account of test servers.
pub(super) fn account() -> Result<Account> {
    Account::choose(DEFAULT_ACCOUNT)
}

async fn open(name: &str) -> Result<DataFolder> {
    DataFolder::open(root()?.join(name), account()?).await
}

fn root() -> Result<PathBuf> {
    static ROOT: OnceLock<(PathBuf, Child)> = OnceLock::new();
    if let Some((root, _)) = ROOT.get() {
        return Ok(root.clone());
    }
    let made = tempfile::Builder::new().prefix("tidemart-test-").tempdir();
    let root = made.map_err(at("create a folder in", &std::env::temp_dir()))?.keep();
    let open_to_all = Permissions::from_mode(0o755);
    fs::set_permissions(&root, open_to_all).map_err(at("set the mode of", &root))?;
    let remover = remover(&root)?;
    // Where two tests were here at the same time, the one that loses closes its remover's pipe.
    Ok(ROOT.get_or_init(|| (root, remover)).0.clone())
}

fn remover(folder: &Path) -> Result<Child> {
    let mut shell = Command::new("sh");
    shell.args(["-c", REMOVE, "sh"]).arg(folder).process_group(0);
    shell.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    shell.spawn().map_err(at("run sh for", folder))
}
