//! How much of everything a message may have, and the answer when it has more.

/// Bytes of start line and header section together. More: 513; on a stream the connection is closed.
pub const HEAD_LEN_MAX: usize = 65_535;

/// Bytes of a body. More: 513; on a stream the connection is closed.
pub const BODY_LEN_MAX: usize = 262_144;

/// Header lines, unknown ones included. More: 513.
pub const LINE_COUNT_MAX: usize = 256;

/// Bytes of one header line with its continuation lines. More: 513.
pub const LINE_LEN_MAX: usize = 16_384;

/// Bytes of a Request-URI. More: 414.
pub const REQUEST_URI_LEN_MAX: usize = 4_096;

/// Bytes of any other URI that is taken apart. More: [`super::Defect::Uri`], a 400 for whoever asked.
pub const URI_LEN_MAX: usize = 4_096;

/// Bytes of a method. More: 400.
pub const METHOD_LEN_MAX: usize = 64;
