//! A request of ours is sent again because a trunk has asked who we are: RFC 3261 §22.2. All else of it goes on as if nobody had.

use sip::endpoint::ClientKey;

use super::Call;
use super::early::Pair;
use super::invite::Client;

impl Call {
    /// The number that a request has when it is sent again.
    ///
    /// # Errors
    /// Why it cannot be sent again; `None`: it need not be any more.
    pub(crate) fn next_cseq(&mut self, key: ClientKey) -> Result<u32, Option<&'static str>> {
        const TOO_LATE: &str = "the trunk asks for credentials after phones behind it have been heard of";
        if let Some(invite) = self.invite.as_deref_mut().filter(|invite| invite.client.key() == Some(key)) {
            if !matches!(invite.client, Client::Calling { .. } | Client::Proceeding { .. }) {
                return Err(None);
            }
            let to = invite.from.other();
            let number = match invite.setup.as_deref_mut() {
                // Somebody has been heard of behind the trunk: what is agreed on with him would be lost.
                Some(setup) if !setup.early.is_empty() => return Err(Some(TOO_LATE)),
                Some(setup) => setup.uac.as_mut().map(|uac| uac.next_cseq()),
                None => self.legs[to].dialog.as_mut().map(|dialog| dialog.next_cseq()),
            };
            return number.ok_or(None);
        }
        let bye = self.bye_side(key).map(|side| (side, Pair::Call));
        let pair = bye.or_else(|| self.own_pair(key)).or_else(|| self.exchange_pair(key));
        let (side, pair) = pair.ok_or(None)?;
        self.dialog_mut(side, pair).map(|dialog| dialog.next_cseq()).ok_or(None)
    }

    /// It was sent again, by another transaction.
    pub(crate) fn rename(&mut self, key: ClientKey, new: ClientKey) {
        if let Some(invite) = self.invite.as_deref_mut() {
            match &mut invite.client {
                Client::Calling { key: own } | Client::Proceeding { key: own } if *own == key => *own = new,
                Client::Idle
                | Client::Calling { .. }
                | Client::Proceeding { .. }
                | Client::Cancelling { .. }
                | Client::Accepted { .. }
                | Client::Done => {}
            }
        }
        self.rename_bye(key, new);
        self.rename_own(key, new);
        self.rename_exchange(key, new);
    }
}
