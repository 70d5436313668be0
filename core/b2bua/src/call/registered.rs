//! A user that is registered with us at several places: they are called one after the other. RFC 3261 §16.6, "sequential".

use super::Call;
use super::invite::Client;
use super::redirect::Failure;
use crate::context::Context;

impl Call {
    /// The contact that was called will not answer: true if the user's next one is being called.
    //= RFC 3261 §16.7 step 5: 6xx says that nobody else shall be tried.
    pub(super) fn try_next_contact(&mut self, ctx: &mut Context<'_>, failure: &Failure) -> bool {
        let is_final = matches!(failure, Failure::Heard(message) if message.status() >= 600);
        let Some(invite) = self.invite.as_deref_mut().filter(|_| !is_final) else { return false };
        let Some(setup) = invite.setup.as_deref_mut().filter(|setup| !setup.has_agreed()) else {
            return false;
        };
        let Some(next) = setup.contacts.pop_front() else { return false };
        let hop = next.hop;
        setup.target = Some(Box::new(next));
        // Another phone, perhaps behind other proxies.
        setup.uac = None;
        invite.client = Client::Idle;
        self.forget_early(ctx, failure.status());
        self.offer_anew();
        self.call_again(ctx, hop);
        true
    }
}
