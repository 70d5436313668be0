//! Every limit of admission, and what is answered at it.

/// Sources whose rates are remembered, twice over; beyond it those that have been silent longest are forgotten and begin
/// anew. Whoever can send from more sources than that meets the rates of the realm.
pub const SOURCES_MAX: usize = 65_536;
/// Bans at a time; a further offender is not banned, which the log says, and stays under its rates.
pub const BANS_MAX: usize = 65_536;
/// Burst of each rate: what is allowed in so many seconds may come at once.
pub const BURST_S: u64 = 2;
/// Responses are allowed so many times the rate of requests: one call to a phone has several.
pub const RESPONSES_PER_REQUEST: u64 = 10;
/// New calls that wait for their turn at a time, of trusted sources and as many of others; one more is answered 503 with Retry-After.
pub const BACKLOG_MAX: usize = 8_192;
/// The octets of a message in which its header fields are looked for before it is parsed.
pub const GLANCE_BYTES: usize = 4_096;
/// Lines of rejected sources a second in the log, and as many of those that are proven; of further ones only the number is said.
pub const LINES_MAX: u64 = 50;
/// Emergency calls of one source a second for which no rate is asked; further ones are calls like others.
pub const EMERGENCIES_PER_SOURCE: u64 = 5;
/// The same of all sources together that are not trusted: whoever forges sources takes no more time than that from the others.
pub const EMERGENCIES: u64 = 50;
