//! What becomes of each table at a start: what the catalog says now against what Kafka knows.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use tidemart_change::{SnapshotProgress, TableName, TableState};
use tracing::{error, info, warn};

use crate::{
    catalog::{Catalog, CatalogTable},
    snapshot::{SnapshotTable, Work},
    stream::{Table, difference, grown, is_silent, same_key},
};

/// The tables of a session.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// All of them.
    pub(super) tables: Vec<Table>,
    /// Those whose state Kafka must learn before anything else: indexes.
    pub(super) declared: Vec<usize>,
    /// Those that are to be read.
    pub(super) snapshot: Vec<SnapshotTable>,
    /// What the publication must hold.
    pub(super) published: BTreeSet<TableName>,
    /// Whether another plan is to follow as soon as Kafka knows this one.
    pub(super) is_first_step: bool,
}

impl Plan {
    /// `members` are the publication's tables, where a position exists that relies on them.
    pub(super) fn make(
        catalog: &Catalog,
        known: &BTreeMap<TableName, TableState>,
        members: Option<&BTreeSet<TableName>>,
    ) -> Self {
        let mut plan = Self::default();
        for table in &catalog.tables {
            match known.get(&table.schema.table) {
                None => plan.add_new(table),
                Some(state) => {
                    let member = members.is_none_or(|members| members.contains(&table.schema.table));
                    plan.add_known(table, state, member);
                }
            }
        }
        for refusal in &catalog.refused {
            warn!(table = %refusal.table, reason = refusal.reason, "table is not captured");
            if let Some(state) = known.get(&refusal.table) {
                plan.add_lost(state, format!("it {}", refusal.reason));
            }
        }
        let present: BTreeSet<_> = plan.tables.iter().map(|table| table.state.schema.table.clone()).collect();
        for (_, state) in known.iter().filter(|(name, _)| !present.contains(*name)) {
            let gone = "it was dropped or renamed, or is no longer named by postgres.tables";
            plan.add_lost(state, gone.to_owned());
        }
        plan
    }

    /// Every table is emptied and read, whatever is known of it.
    pub(super) fn make_anew(catalog: &Catalog, known: &BTreeMap<TableName, TableState>) -> Self {
        let mut plan = Self::default();
        for table in &catalog.tables {
            let schema = known.get(&table.schema.table).map_or(&table.schema, |state| &state.schema);
            plan.add(table, TableState::new(Arc::clone(schema), SnapshotProgress::Pending), true);
        }
        for refusal in &catalog.refused {
            warn!(table = %refusal.table, reason = refusal.reason, "table is not captured");
        }
        plan
    }

    fn add_new(&mut self, table: &CatalogTable) {
        let state = TableState::new(Arc::clone(&table.schema), SnapshotProgress::Pending);
        self.add(table, TableState { origin: Some(table.origin), ..state }, true);
    }

    fn add_known(&mut self, table: &CatalogTable, state: &TableState, member: bool) {
        let name = &state.schema.table;
        match fate(table, state, member) {
            Fate::Same => self.add_same(table, state),
            Fate::Refresh(why) => {
                info!(table = %name, why, "table is read again");
                let begun = state.progress != SnapshotProgress::Pending;
                let state =
                    TableState { progress: SnapshotProgress::Pending, repairs: Vec::new(), ..state.clone() };
                self.add(table, state, begun);
            }
            Fate::Resync(why) => {
                warn!(table = %name, why, "table is emptied and filled anew");
                let schema = Arc::clone(&state.schema);
                self.add(table, TableState::new(schema, SnapshotProgress::Pending), true);
                if !member {
                    // Only when Kafka knows may the publication look as if nothing had happened.
                    self.withhold(name);
                }
            }
        }
    }

    fn add_same(&mut self, table: &CatalogTable, state: &TableState) {
        let mut state = state.clone();
        let mut changed = false;
        if let Some(grown) = grown(&state.schema, &table.schema).filter(|_| !is_silent(&state)) {
            (state.schema, changed) = (Arc::new(grown), true);
        }
        if state.origin.is_none() && !is_silent(&state) {
            (state.origin, changed) = (Some(table.origin), true);
        }
        self.add(table, state, changed);
    }

    fn add(&mut self, table: &CatalogTable, state: TableState, declare: bool) {
        let index = self.tables.len();
        let after = match &state.progress {
            SnapshotProgress::Stopped(reason) => {
                error!(table = %state.schema.table, reason, "table is not replicated");
                return self.push(state, Some(table), declare);
            }
            SnapshotProgress::Done => None,
            SnapshotProgress::Pending => Some(None),
            SnapshotProgress::After(key) => Some(Some(key.clone())),
        };
        self.published.insert(state.schema.table.clone());
        if let Some(after) = after {
            self.snapshot.push(SnapshotTable { index, catalog: table.clone(), work: Work::After(after) });
        }
        self.push(state, Some(table), declare);
    }

    /// Takes the table added last out of the publication's plan and of what is read, for a session.
    fn withhold(&mut self, name: &TableName) {
        self.published.remove(name);
        self.snapshot.pop();
        self.is_first_step = true;
    }

    /// A table that was captured and cannot be any more. Without an origin it goes on as soon as it can.
    fn add_lost(&mut self, state: &TableState, reason: String) {
        let name = &state.schema.table;
        if self.tables.iter().any(|table| table.state.schema.table == *name) {
            return;
        }
        let stopped = SnapshotProgress::Stopped(reason.clone());
        let declare = state.progress != stopped || state.origin.is_some();
        if declare {
            error!(table = %name, reason, "table is replicated no further");
        }
        self.push(TableState::new(Arc::clone(&state.schema), stopped), None, declare);
    }

    fn push(&mut self, state: TableState, found: Option<&CatalogTable>, declare: bool) {
        if declare {
            self.declared.push(self.tables.len());
        }
        self.tables.push(Table::new(state, found.cloned()));
    }
}

/// What a table that is known and there needs.
enum Fate {
    Same,
    /// Its rows are read again over the replica.
    Refresh(String),
    /// Its replica is emptied first.
    Resync(&'static str),
}

fn fate(table: &CatalogTable, state: &TableState, member: bool) -> Fate {
    let other_table = state.origin.is_some_and(|origin| origin.oid != table.origin.oid);
    match &state.progress {
        SnapshotProgress::Stopped(_) if state.origin.is_none() => {
            return Fate::Resync("it can be captured again");
        }
        SnapshotProgress::Stopped(_) if !other_table => return Fate::Same,
        SnapshotProgress::Pending if is_silent(state) => return Fate::Same,
        _ if other_table => return Fate::Resync("another table has its name now"),
        _ if !member => {
            return Fate::Resync("it was out of the publication, so changes of it may be missing");
        }
        _ if !same_key(&state.schema, &table.schema) => {
            return Fate::Resync("its key has other columns or types");
        }
        _ => {}
    }
    if let Some(what) = difference(&state.schema, &table.schema) {
        return Fate::Refresh(format!("its shape changed: {what}"));
    }
    let moved = state.origin.is_some_and(|origin| origin != table.origin);
    if moved { Fate::Refresh("its rows were rewritten".to_owned()) } else { Fate::Same }
}
