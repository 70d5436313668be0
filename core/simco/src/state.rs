//! The session state machine of RFC 4540 §7.1, figure 41, shared by both ends.
//!
//! ```text
//!                SE/BFM, SE/0x031X, SE/0x032X
//!                  +-------+
//!                  |       v
//!                 +----------+
//!                 |  CLOSED  |----------------+
//!                 +----------+                |
//!                  |   ^   ^                  | SE/SA
//!            SE/SE |   |   | SA/BFM           |
//!                  |   |   | SA/0x031X        v
//!                  |   |   | SA/0x032X   +----------+
//!                  |   |   +-------------|  NOAUTH  |
//!                  |   | ST/ST     ST/ST +----------+
//!                  v   | AST       AST        |
//!                 +----------+                | SA/SE
//!                 |   OPEN   |<---------------+
//!                 +----------+
//! ```

/// Where a session stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// Nothing is agreed: only SE makes sense.
    Closed,
    /// SE was answered with SA; the agent has yet to send its SA.
    NoAuth,
    /// Established. Rules may be asked for.
    Open,
}

/// One whole exchange: a request and the kind of its answer, or something unasked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Exchange {
    /// SE answered with SE: SE/SE.
    Established,
    /// SE answered with SA: SE/SA.
    Challenged,
    /// SE answered with BFM or a negative reply: SE/BFM, SE/0x031X, SE/0x032X.
    EstablishmentFailed,
    /// SA answered with SE: SA/SE.
    Authenticated,
    /// SA answered with BFM or a negative reply: SA/BFM, SA/0x031X, SA/0x032X.
    AuthenticationFailed,
    /// ST answered with ST: ST/ST.
    Terminated,
    /// The middlebox ended the session: AST.
    Ended,
    /// The connection broke (RFC 4540 §7.6).
    ConnectionLost,
}

impl Exchange {
    /// Every one, for those who draw or check the whole table.
    pub const ALL: [Self; 8] = [
        Self::Established,
        Self::Challenged,
        Self::EstablishmentFailed,
        Self::Authenticated,
        Self::AuthenticationFailed,
        Self::Terminated,
        Self::Ended,
        Self::ConnectionLost,
    ];
}

impl State {
    /// The state after `exchange`; `None` where figure 41 has no arrow, and the state stays.
    #[must_use]
    pub fn after(self, exchange: Exchange) -> Option<Self> {
        //= RFC 4540 §7.1: figure 41, arrow by arrow.
        match (self, exchange) {
            (Self::Closed, Exchange::Established) | (Self::NoAuth, Exchange::Authenticated) => {
                Some(Self::Open)
            }
            (Self::Closed, Exchange::Challenged) => Some(Self::NoAuth),
            (Self::Closed, Exchange::EstablishmentFailed | Exchange::ConnectionLost)
            | (
                Self::NoAuth,
                Exchange::AuthenticationFailed
                | Exchange::Terminated
                | Exchange::Ended
                | Exchange::ConnectionLost,
            )
            | (Self::Open, Exchange::Terminated | Exchange::Ended | Exchange::ConnectionLost) => {
                Some(Self::Closed)
            }
            (Self::Closed, Exchange::Authenticated | Exchange::AuthenticationFailed)
            | (Self::Closed, Exchange::Terminated | Exchange::Ended)
            | (Self::NoAuth, Exchange::Established | Exchange::Challenged | Exchange::EstablishmentFailed)
            | (
                Self::Open,
                Exchange::Established
                | Exchange::Challenged
                | Exchange::EstablishmentFailed
                | Exchange::Authenticated
                | Exchange::AuthenticationFailed,
            ) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    /// Every arrow of figure 41, and that of a broken connection (§7.6).
    //= test RFC 4540 §7.1: no other transition exists.
    const TRANSITIONS: &str = "\
Closed Established -> Open
Closed Challenged -> NoAuth
Closed EstablishmentFailed -> Closed
Closed ConnectionLost -> Closed
NoAuth Authenticated -> Open
NoAuth AuthenticationFailed -> Closed
NoAuth Terminated -> Closed
NoAuth Ended -> Closed
NoAuth ConnectionLost -> Closed
Open Terminated -> Closed
Open Ended -> Closed
Open ConnectionLost -> Closed
";

    #[test]
    fn transitions_are_those_of_the_figure() {
        let mut table = String::new();
        for state in [State::Closed, State::NoAuth, State::Open] {
            for exchange in Exchange::ALL {
                if let Some(next) = state.after(exchange) {
                    writeln!(table, "{state:?} {exchange:?} -> {next:?}").unwrap();
                }
            }
        }
        assert_eq!(table, TRANSITIONS);
    }
}
