//! Subscription-State: RFC 6665 §8.2.3.

use std::time::Duration;

use crate::message::syntax::Cursor;
use crate::message::{Defect, Message, Name, Params};

/// How it stands with a subscription, as its notifier says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubscriptionState {
    /// It goes on: `active`, `pending`, and whatever later documents call it.
    Lives {
        /// For so long, if the notifier says.
        expires: Option<Duration>,
    },
    /// It is over.
    Terminated,
}

impl Message {
    /// Subscription-State.
    ///
    /// # Errors
    /// [`Defect::Malformed`].
    pub fn subscription_state(&self) -> Result<Option<SubscriptionState>, Defect> {
        let read = |value| read(value).ok_or(Defect::Malformed(Name::SubscriptionState));
        self.header(Name::SubscriptionState).map(read).transpose()
    }
}

fn read(value: &[u8]) -> Option<SubscriptionState> {
    let mut cursor = Cursor::new(value);
    let state = cursor.token_bytes()?;
    let params = Params::parse(cursor)?;
    if state.eq_ignore_ascii_case(b"terminated") {
        return Some(SubscriptionState::Terminated);
    }
    let seconds = params.text("expires").and_then(|text| text.parse::<u32>().ok());
    Some(SubscriptionState::Lives { expires: seconds.map(|seconds| Duration::from_secs(seconds.into())) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_read_with_its_time() {
        let lives = |seconds: Option<u64>| {
            Some(SubscriptionState::Lives { expires: seconds.map(Duration::from_secs) })
        };
        assert_eq!(read(b"active;expires=600"), lives(Some(600)));
        assert_eq!(read(b"Pending ; EXPIRES=7"), lives(Some(7)));
        assert_eq!(read(b"active"), lives(None));
        assert_eq!(read(b"active;expires=x"), lives(None));
        assert_eq!(read(b"Terminated;reason=noresource"), Some(SubscriptionState::Terminated));
        for broken in [&b""[..], b";expires=6", b"active expires"] {
            assert_eq!(read(broken), None, "{broken:?}");
        }
    }
}
