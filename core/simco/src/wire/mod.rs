//! The octets of RFC 4540 §4 and §5: every message and attribute, in both directions.
//!
//! Decoding borrows from the input; encoding appends to a vector. All integers are big endian, and nothing is ever
//! padded.

mod header;

pub use header::{BasicType, HEADER_LEN, Header};
