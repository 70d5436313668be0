//! The limits of this crate; each is answered by an error that names it.

/// The longest description read, in bytes. Longer ones are [`crate::What::TooLong`].
pub const BYTES_MAX: usize = 64 * 1024;
/// Most lines in a description, m-lines included. More are [`crate::What::TooManyLines`].
pub const LINES_MAX: usize = 2000;
/// Most m-lines in a description. One more is [`crate::What::TooManyStreams`], found while reading, so that ten
/// thousand m-lines cost no more than this many.
pub const STREAMS_MAX: usize = 64;
/// Most ICE candidates of one stream, unusable ones included. More are refused by [`crate::flows()`].
pub const CANDIDATES_MAX: u16 = 32;
/// Most port pairs in one m-line (`m=audio 4000/2`). More are refused by [`crate::flows()`].
pub const PORT_PAIRS_MAX: u16 = 4;
