//! The consumer as a query on a Spark cluster: whatever is killed or put back, nothing is lost, doubled or misordered.

mod cluster;
mod faults;
mod lacking;
mod shown;
mod switch;
