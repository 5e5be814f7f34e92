//! A mart of the user's own: its folder is checked on the server, with file and line of what is wrong.

use std::{fs, path::Path};

use tidemart_marts::check_folder;

use crate::support::{Feed, on_both};

/// A copy of user_sales under another name, changed by `change` in one file.
fn copy(root: &Path, file: &str, change: (&str, &str)) -> std::path::PathBuf {
    let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("marts/user_sales");
    let folder = root.join("loyal_sales");
    if folder.exists() {
        fs::remove_dir_all(&folder).unwrap();
    }
    for below in ["", "groups", "tests"] {
        fs::create_dir_all(folder.join(below)).unwrap();
        for entry in fs::read_dir(ours.join(below)).unwrap().map(Result::unwrap) {
            if entry.path().is_file() {
                let text = fs::read_to_string(entry.path()).unwrap().replace("user_sales", "loyal_sales");
                fs::write(folder.join(below).join(entry.file_name()), text).unwrap();
            }
        }
    }
    let text = fs::read_to_string(folder.join(file)).unwrap();
    assert!(text.contains(change.0), "{file} has no {}", change.0);
    fs::write(folder.join(file), text.replacen(change.0, change.1, 1)).unwrap();
    folder
}

#[tokio::test]
async fn a_folder_is_accepted_or_told_where_it_is_wrong() {
    on_both(async |target| {
        Feed::complete(&target).await;
        let root = std::env::temp_dir().join(format!("tidemart-folders-{}", std::process::id()));
        let good = copy(&root, "select.sql", ("SELECT", "SELECT"));
        let report = check_folder(&target.config, &good).await.unwrap();
        assert!(report.findings.is_empty(), "{report}");
        assert_eq!((report.mart.as_str(), report.tests.len()), ("loyal_sales", 4));
        for (file, change, expected) in [
            ("select.sql", ("FROM (", "FORM ("), "select.sql:13: "),
            ("select.sql", ("o.total_amount", "o.total_amout"), "select.sql:20: "),
            (
                "select.sql",
                ("AS order_cnt,\n    g", "AS orders,\n    g"),
                "its columns are month, loyalty_status, orders",
            ),
            ("table.sql", ("DATE NOT NULL", "DATUM NOT NULL"), "table.sql:3: "),
            ("tests/unique_key.sql", ("HAVING", "HAVE"), "tests/unique_key.sql:5: "),
            ("tests/not_null.sql", ("order_cnt", "order_count"), "tests/not_null.sql:3: "),
            ("groups/orders.sql", ("u.user_id", "u.userid"), "groups/orders.sql:3: "),
            ("mart.toml", ("\"public.users\"", "\"public.user\""), "groups/user.sql is missing"),
            ("mart.toml", ("key =", "keys ="), "mart.toml:"),
            ("mart.toml", ("SELECT MIN", "SELECT MAXI"), "mart.toml:7: "),
        ] {
            let folder = copy(&root, file, change);
            let report = check_folder(&target.config, &folder).await.unwrap().to_string();
            assert!(report.contains(expected), "{file} {change:?}: {report}");
        }
        // Names that tables have which are no mart's.
        let (good, orders) = (copy(&root, "select.sql", ("SELECT", "SELECT")), root.join("orders"));
        fs::rename(&good, &orders).unwrap();
        let report = check_folder(&target.config, &orders).await.unwrap().to_string();
        assert!(report.contains("orders is that of the replica of public.orders"), "{report}");
        let ours = root.join("tidemart_checkpoints");
        fs::rename(&orders, &ours).unwrap();
        let error = check_folder(&target.config, &ours).await.unwrap_err().to_string();
        assert!(error.contains("a table of Tidemart's own"), "{error}");
        fs::remove_dir_all(&root).unwrap();
    })
    .await;
}
