//! The terms on which a call was let in: its media types, in the call as at its start, and how long it may last.
//! `docs/policy.md`.

use sip::message::{Message, Method};

use super::ending::Cut;
use super::{Call, Request};
use crate::admission::{Filtered, name};
use crate::context::{Context, Wake};
use crate::event::Cause;
use crate::failure::Verdict;
use crate::side::Side;

impl Call {
    /// A request without the streams that the call may not have; `None` if it asked for nothing else and is refused.
    pub(super) fn admit_request(
        &mut self,
        ctx: &mut Context<'_>,
        from: Side,
        request: Request,
    ) -> Option<Request> {
        match self.terms.filter(&request.message) {
            Filtered::AsItCame => Some(request),
            Filtered::Other(message) => Some(Request { message, ..request }),
            Filtered::Nothing(verdict, _) if can_be_refused(request.message.method()) => {
                self.refuse_with(ctx, from, &request, &verdict);
                None
            }
            Filtered::Nothing(_, message) => Some(Request { message, ..request }),
        }
    }

    /// What answers without the streams that the call may not have. Of an answer, or of an offer in a response, nobody can be
    /// told that it is refused: what is left is nothing.
    pub(super) fn admitted(&self, message: Message) -> Message {
        match self.terms.filter(&message) {
            Filtered::AsItCame => message,
            Filtered::Other(message) | Filtered::Nothing(_, message) => message,
        }
    }

    /// The call is established: from now on it lasts.
    pub(super) fn time_longest(&mut self, ctx: &mut Context<'_>) {
        if let Some((_, duration)) = self.terms.duration.filter(|_| self.ending.is_none()) {
            self.longest = Some(ctx.wake(self.id, duration, Wake::Longest));
        }
    }

    /// It has lasted as long as it may.
    pub(super) fn on_longest(&mut self, ctx: &mut Context<'_>) {
        self.longest = None;
        let Some((line, duration)) = self.terms.duration else { return };
        let what = format!("{} ends calls after {} s", name(line), duration.as_secs());
        let verdict = Verdict::new(LONGEST, "longest duration reached", what);
        self.cut(ctx, Cut { cause: Cause::Cut(LONGEST), verdict });
    }

    /// Other lines have come into force: where those are now that have counted the call.
    pub(crate) fn renumber_terms(&mut self, places: &[Option<u16>]) {
        let place = |position: u16| places.get(usize::from(position)).copied().flatten();
        self.terms.limiting = self.terms.limiting.iter().filter_map(|position| place(*position)).collect();
    }
}

/// The cause that Reason names when a call has lasted as long as it may.
const LONGEST: u16 = 403;

/// True for a request whose description is an offer, so that it can be refused.
fn can_be_refused(method: &Method) -> bool {
    matches!(method, Method::Invite | Method::Update)
}
