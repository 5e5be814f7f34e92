//! What becomes of each table at a start: what the catalog says now against what Kafka knows.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use tidemart_change::{SnapshotProgress, TableName, TableSchema, TableState};
use tracing::{error, warn};

use crate::{
    catalog::{Catalog, CatalogTable},
    snapshot::SnapshotTable,
    stream::{Table, difference, grown},
};

/// The tables of a session.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// All of them.
    pub(super) tables: Vec<Table>,
    /// Those whose state Kafka must learn before anything else: indexes.
    pub(super) declared: Vec<usize>,
    /// Those whose snapshot is not complete.
    pub(super) snapshot: Vec<SnapshotTable>,
    /// What the publication must hold.
    pub(super) published: BTreeSet<TableName>,
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
            let name = &table.schema.table;
            let present = members.is_none_or(|members| members.contains(name));
            match known.get(name) {
                None => plan.add(table, &table.schema, SnapshotProgress::Pending, true),
                Some(state) => plan.add_known(table, state, present),
            }
        }
        for refusal in &catalog.refused {
            warn!(table = %refusal.table, reason = refusal.reason, "table is not captured");
            if let Some(state) = known.get(&refusal.table) {
                plan.add_lost(state, format!("it {}", refusal.reason));
            }
        }
        let present = plan.tables.iter().map(|table| table.schema.table.clone()).collect::<BTreeSet<_>>();
        for (_, state) in known.iter().filter(|(name, _)| !present.contains(*name)) {
            plan.add_lost(
                state,
                "it is gone, was renamed, or is no longer named by postgres.tables".to_owned(),
            );
        }
        plan
    }

    fn add_known(&mut self, table: &CatalogTable, state: &TableState, present: bool) {
        let TableState { schema, progress, .. } = state;
        if matches!(progress, SnapshotProgress::Stopped(_)) {
            return self.add(table, schema, progress.clone(), false);
        }
        let flaw = match difference(schema, &table.schema) {
            Some(what) => Some(format!("its shape changed: {what}")),
            None if !present => {
                Some("it was out of the publication, so changes of it may be missing".to_owned())
            }
            None => None,
        };
        match (flaw, grown(schema, &table.schema)) {
            (Some(reason), _) => self.add(table, schema, SnapshotProgress::Stopped(reason), true),
            (None, Some(grown)) => self.add(table, &Arc::new(grown), progress.clone(), true),
            (None, None) => self.add(table, schema, progress.clone(), false),
        }
    }

    fn add(
        &mut self,
        table: &CatalogTable,
        schema: &Arc<TableSchema>,
        progress: SnapshotProgress,
        declare: bool,
    ) {
        let index = self.tables.len();
        let after = match &progress {
            SnapshotProgress::Stopped(reason) => {
                error!(table = %schema.table, reason, "table is not replicated");
                return self.push(Some(table.oid), schema, progress, declare);
            }
            SnapshotProgress::Done => None,
            SnapshotProgress::Pending => Some(None),
            SnapshotProgress::After(key) => Some(Some(key.clone())),
        };
        self.published.insert(schema.table.clone());
        if let Some(after) = after {
            self.snapshot.push(SnapshotTable { index, catalog: table.clone(), after });
        }
        self.push(Some(table.oid), schema, progress, declare);
    }

    /// A table that was captured and cannot be any more.
    fn add_lost(&mut self, state: &TableState, reason: String) {
        match &state.progress {
            SnapshotProgress::Stopped(_) => self.push(None, &state.schema, state.progress.clone(), false),
            _ => {
                error!(table = %state.schema.table, reason, "table is replicated no further");
                self.push(None, &state.schema, SnapshotProgress::Stopped(reason), true);
            }
        }
    }

    fn push(
        &mut self,
        oid: Option<u32>,
        schema: &Arc<TableSchema>,
        progress: SnapshotProgress,
        declare: bool,
    ) {
        if declare {
            self.declared.push(self.tables.len());
        }
        self.tables.push(Table { oid, schema: Arc::clone(schema), progress });
    }
}
