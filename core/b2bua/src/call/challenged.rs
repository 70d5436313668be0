//! A request of ours is sent again because a trunk has asked who we are: RFC 3261 §22.2. All else of it goes on as if nobody had.

use sip::endpoint::ClientKey;

use super::Call;
use super::early::Pair;
use super::invite::Client;

impl Call {
    /// The number that a request has when it is sent again; `None` if it need not be any more.
    pub(crate) fn next_cseq(&mut self, key: ClientKey) -> Option<u32> {
        if let Some(invite) = self.invite.as_deref_mut().filter(|invite| invite.client.key() == Some(key)) {
            if !matches!(invite.client, Client::Calling { .. } | Client::Proceeding { .. }) {
                return None;
            }
            let to = invite.from.other();
            return match invite.setup.as_deref_mut() {
                // Somebody has been heard of behind the trunk: what is agreed on with him would be lost.
                Some(setup) if !setup.early.is_empty() => None,
                Some(setup) => Some(setup.uac.as_mut()?.next_cseq()),
                None => Some(self.legs[to].dialog.as_mut()?.next_cseq()),
            };
        }
        let bye = self.bye_side(key).map(|side| (side, Pair::Call));
        let (side, pair) = bye.or_else(|| self.own_pair(key)).or_else(|| self.exchange_pair(key))?;
        Some(self.dialog_mut(side, pair)?.next_cseq())
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
