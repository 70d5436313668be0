//! The machines that are tables.

use std::fmt::Debug;

use sip::transaction::{Step, invite_client, invite_server, non_invite_client, non_invite_server};

use super::Picture;

/// Title, where it comes from, and the picture.
#[must_use]
pub fn tables() -> Vec<(&'static str, &'static str, Picture)> {
    let mut all = transactions();
    all.push(("SIMCO session", "RFC 4540 §7.1, figure 41; `core/simco/src/state.rs`.", sessions()));
    all
}

fn transactions() -> Vec<(&'static str, &'static str, Picture)> {
    vec![
        (
            "INVITE client transaction",
            "RFC 3261 §17.1.1 as corrected by RFC 6026 §8.4; `core/sip/src/transaction/invite_client.rs`.",
            draw(invite_client::State::Calling, &invite_client::Input::ALL, invite_client::step),
        ),
        (
            "INVITE server transaction",
            "RFC 3261 §17.2.1 as corrected by RFC 6026 §8.6; `core/sip/src/transaction/invite_server.rs`.",
            draw(invite_server::State::Proceeding, &invite_server::Input::ALL, invite_server::step),
        ),
        (
            "Non-INVITE client transaction",
            "RFC 3261 §17.1.2; `core/sip/src/transaction/non_invite_client.rs`.",
            draw(non_invite_client::State::Trying, &non_invite_client::Input::ALL, non_invite_client::step),
        ),
        (
            "Non-INVITE server transaction",
            "RFC 3261 §17.2.2 with RFC 4320; `core/sip/src/transaction/non_invite_server.rs`.",
            draw(non_invite_server::State::Trying, &non_invite_server::Input::ALL, non_invite_server::step),
        ),
    ]
}

/// Follows a table from its first state: every state that can be reached is drawn.
fn draw<S, I, A>(start: S, inputs: &[I], step: fn(S, I) -> Step<S, A>) -> Picture
where
    S: Copy + Debug + PartialEq,
    I: Copy + Debug,
{
    let mut picture = Picture::default();
    let mut states = vec![start];
    let mut next = 0;
    picture.add("[*]", &format!("{start:?}"), "begins");
    while let Some(&state) = states.get(next) {
        next += 1;
        for &input in inputs {
            let Step { to, actions } = step(state, input);
            if to == state && actions.is_empty() {
                continue;
            }
            picture.add(&format!("{state:?}"), &format!("{to:?}"), &format!("{input:?}"));
            if !states.contains(&to) {
                states.push(to);
            }
        }
    }
    picture
}

fn sessions() -> Picture {
    use simco::{Exchange, State};
    let mut picture = Picture::default();
    picture.add("[*]", "Closed", "begins");
    for state in [State::Closed, State::NoAuth, State::Open] {
        for exchange in Exchange::ALL {
            if let Some(to) = state.after(exchange) {
                picture.add(&format!("{state:?}"), &format!("{to:?}"), &format!("{exchange:?}"));
            }
        }
    }
    picture
}
