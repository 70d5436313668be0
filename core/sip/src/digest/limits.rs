//! How much of everything a challenge and its answer may have, and what happens when it has more.

/// Octets of one challenge or one answer. More: it is not read, like one that is broken.
pub const VALUE_LEN_MAX: usize = 4_096;

/// Parameters of one challenge or one answer. More: it is not read.
pub const PARAMETERS_MAX: usize = 32;

/// Nonces whose use is counted. More: the oldest is forgotten, and it and all older ones are stale.
pub const COUNTED_MAX: usize = 20_000;

/// Octets of a password or a user's name. More is refused where it is configured.
pub const SECRET_LEN_MAX: usize = 256;
