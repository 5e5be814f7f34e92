//! Shops to begin with, and what happens in them.

use tidemart_change::Op;

use crate::{
    model::{Model, ORDERS, USERS},
    support::{Feed, Target},
};

/// A shop in which something has happened so often, replicated, with both marts.
pub(crate) async fn filled(target: &Target, seed: u64, times: usize) -> (Feed, Model) {
    let mut model = Model::new(seed);
    let mut feed = Feed::complete(target).await;
    for _ in 0..times {
        feed.apply_all(model.events(8)).await;
    }
    target.refresh_all().await;
    (feed, model)
}

/// An order of a user that there is, so that user_sales changes.
pub(crate) async fn order(feed: &mut Feed, model: &mut Model, key: i64) {
    let user = model.row(USERS, 1);
    let mut order = model.row(ORDERS, key);
    order[1] = Some("1".to_owned());
    let events = vec![model.put(USERS, Op::Create, user), model.put(ORDERS, Op::Create, order)];
    feed.apply_all(events).await;
}
