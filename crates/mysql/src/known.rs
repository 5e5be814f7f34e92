//! The replicas as an applier knows them; what changes them meanwhile is found out by its next transaction.

use std::{collections::HashMap, sync::Arc};

use tidemart_change::{TableName, TableSchema};

use crate::replica::Replica;

/// Replicas by their source's tables.
#[derive(Debug, Default)]
pub(crate) struct Known(HashMap<TableName, Arc<Replica>>);

impl Known {
    /// The replica of this table, unless its shape is older than this schema.
    pub(crate) fn find(&self, schema: &TableSchema, generation: u32) -> Option<&Arc<Replica>> {
        self.of(&schema.table)
            .filter(|replica| (replica.generation, replica.schema.version) >= (generation, schema.version))
    }

    /// The replica of this table, in whatever shape.
    pub(crate) fn of(&self, table: &TableName) -> Option<&Arc<Replica>> {
        self.0.get(table)
    }

    /// Takes the place of what was known of the table.
    pub(crate) fn put(&mut self, replica: Replica) {
        self.0.insert(replica.schema.table.clone(), Arc::new(replica));
    }

    /// What is known of the table is void.
    pub(crate) fn forget(&mut self, table: &TableName) {
        self.0.remove(table);
    }

    /// Forgets all.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}
