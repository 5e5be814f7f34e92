//! On a real Postgres: the load of the history, what it leaves behind, and the live shop.

#[cfg(test)]
mod crashes;
#[cfg(test)]
mod fill;
#[cfg(test)]
mod live;
#[cfg(test)]
mod marts;
#[cfg(test)]
mod schema;
#[cfg(test)]
mod support;
