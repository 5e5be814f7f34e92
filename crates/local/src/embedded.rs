//! The folders of files that parts are started with, as they were compiled in: path and text of each file.

include!(concat!(env!("OUT_DIR"), "/embedded.rs"));
