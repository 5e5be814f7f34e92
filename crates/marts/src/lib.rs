//! The marts: folders of SQL, kept fresh from the replica in MySQL or MariaDB.
//!
//! A mart is a folder below `marts/`: its table, one SELECT, its data tests, and for each source table the columns
//! that the SELECT reads and how a changed row maps to groups. The folders are compiled in; [`use_folder`] adds others.
//!
//! The consumer marks, in the transaction of the rows, what it changes ([`mark_rules`]). A [`refresh`] reads the
//! marks and computes in one snapshot by how much they change the mart, then adds that and deletes exactly these marks
//! in one transaction: after it the mart is what the SELECT says of that snapshot, all groups included. Where a
//! difference does not follow from the marks, the groups that they map to are computed anew.
//! A [`rebuild`] computes everything, or a month, beside the mart and swaps it in while refreshes go on; by the database
//! itself or on a Spark cluster ([`rebuild_by`]).

mod add;
mod catalog;
mod changes;
mod check;
mod cluster;
mod definition;
mod deltas;
mod exact;
mod folder;
mod groups;
mod measures;
mod month;
mod rebuild;
mod refresh;
mod rounds;
mod session;
mod sources;
mod stage;
mod state;
mod tests_of_data;
mod texts;
mod watch;

pub use catalog::{MartInfo, list, mark_rules};
pub use check::{Difference, Kind, Report, check};
pub use folder::{Finding, FolderReport, check_folder, copy_folder, use_folder};
pub use month::{Month, MonthError};
pub use rebuild::{Engine, Rebuilt, Scope, rebuild, rebuild_by, rebuild_until};
pub use refresh::{Refreshed, refresh};
pub use rounds::{run_tests, test_month};
pub use state::{MartStatus, status};
pub use tests_of_data::TestResult;
pub use watch::refresh_loop;
