//! Somebody who writes all the time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tidemart_local::testing::TestDatabase;
use tokio::task::JoinHandle;

use crate::cycle::{connect, workload::Workload};

/// Between two transactions: enough for a batch in every moment, and little to read in the end.
const PAUSE: Duration = Duration::from_millis(40);
/// Between two attempts to come back to a server that was killed.
const AGAIN: Duration = Duration::from_millis(100);

/// A workload that goes on until it is stopped, whatever happens to its server.
pub struct Load {
    stopped: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Load {
    pub fn start(mut workload: Workload, source: TestDatabase) -> Self {
        let stopped = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stopped);
        let task = tokio::spawn(async move {
            while !told.load(Ordering::SeqCst) {
                if workload.transaction().await.is_err() {
                    workload.set_client(again(&source).await);
                }
                tokio::time::sleep(PAUSE).await;
            }
        });
        Self { stopped, task }
    }

    pub async fn stop(self) {
        self.stopped.store(true, Ordering::SeqCst);
        self.task.await.unwrap();
    }
}

/// A connection to a server that may be away for a while.
pub async fn again(source: &TestDatabase) -> tokio_postgres::Client {
    loop {
        if let Ok(client) = connect(source).await {
            return client;
        }
        tokio::time::sleep(AGAIN).await;
    }
}
