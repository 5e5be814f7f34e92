//! As much JSON as the envelope needs: strings escaped into a buffer, values found in a text without copying them.

pub(crate) mod scan;
pub(crate) mod write;
