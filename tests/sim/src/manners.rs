//! What phones can, and how badly they behave: drawn, like everything else.

use std::time::Duration;

use machine::Rng;
use phone::{
    Chat, Extensions, Oddities, Precondition, Progress, Provision, Reliable, SessionTimer, Setup, Shape,
};
use sdp::precondition::{Strength, Type};
use sip::message::Refresher;

use crate::plan::{millis, pick};

/// Video ports lie above those of audio.
const VIDEO: u16 = 20_100;
/// Ports on which a chat over TCP waits lie above those.
const CHAT: u16 = 20_200;

/// What a phone can. Half of them are plain.
pub(crate) fn extensions(rng: &mut Rng) -> Extensions {
    if rng.percent(50) {
        return Extensions::default();
    }
    Extensions {
        reliable: pick(
            rng,
            &[Reliable::Unknown, Reliable::Supported, Reliable::Supported, Reliable::Required],
        ),
        update: rng.percent(60),
        precondition: rng.percent(30).then(|| precondition(rng)),
        session: rng.percent(50).then(|| session_timer(rng)),
        progress: pick(
            rng,
            &[Progress::Ringing, Progress::RingingWithSdp, Progress::Session, Progress::Silent],
        ),
        delayed_offer: rng.percent(15),
        offers_in_prack: rng.percent(10),
        video: rng.percent(30).then(|| VIDEO + 2 * rng.below(12) as u16),
        shape: shape(rng),
        retries: rng.percent(50),
        follows: rng.percent(50),
        refers: false,
    }
}

/// What its descriptions look like, but for ICE, which needs an address.
fn shape(rng: &mut Rng) -> Shape {
    let setups = [Setup::Active, Setup::Passive, Setup::ActPass];
    Shape {
        ice: None,
        bundle: rng.percent(20),
        chat: rng.percent(15).then(|| Chat {
            port: CHAT + rng.below(12) as u16,
            offers: pick(rng, &setups),
            opens: rng.percent(50),
        }),
        fax: rng.percent(25),
        ..Shape::default()
    }
}

fn precondition(rng: &mut Rng) -> Precondition {
    let later = Provision::After(millis(rng, 10, 2_000));
    Precondition {
        of: pick(rng, &[Type::Fw, Type::Fw, Type::Qos]),
        strength: pick(rng, &[Strength::Mandatory, Strength::Mandatory, Strength::None]),
        provision: pick(rng, &[Provision::ByNetwork, Provision::ByNetwork, later]),
    }
}

fn session_timer(rng: &mut Rng) -> SessionTimer {
    let minimum_s = pick(rng, &[90, 90, 120, 600]);
    let refresher = pick(rng, &[None, Some(Refresher::Uac), Some(Refresher::Uas)]);
    SessionTimer { interval_s: minimum_s * pick(rng, &[1, 2]), minimum_s, refresher }
}

/// What a phone does wrong: each kind in a few of a hundred.
pub(crate) fn oddities(rng: &mut Rng) -> Oddities {
    let mut odd = |percent| rng.percent(percent);
    let oddities = Oddities {
        never_acks: odd(3),
        answers_twice: odd(5),
        silent_after_cancel: odd(4),
        ignores_cancel: odd(3),
        ignores_bye: odd(5),
        never_pracks: odd(4),
        moves_in_answer: odd(6),
        repeats_old: odd(5),
        hangs_up_early: odd(3),
        odd_sdp: odd(10),
        refuses_update: odd(4),
        refuses_changes: odd(5),
        forgets_referral: false,
        hides_reliable: false,
        answers_reinvite_late: None,
        reboots_after: None,
    };
    Oddities {
        answers_reinvite_late: rng.percent(5).then(|| millis(rng, 100, 8_000)),
        reboots_after: rng.percent(3).then(|| millis(rng, 100, 60_000)),
        ..oddities
    }
}

/// True if nothing drawn here keeps a call from going as its script says.
pub(crate) fn is_usual(extensions: &Extensions, oddities: &Oddities) -> bool {
    let late = Oddities { odd_sdp: false, forgets_referral: false, answers_reinvite_late: None, ..*oddities }
        == Oddities::default();
    let soon = oddities.answers_reinvite_late.is_none_or(|late| late < Duration::from_secs(1));
    late && soon
        && extensions.reliable != Reliable::Required
        && !extensions.shape.names_host
        && extensions.session.is_none()
        && extensions.precondition.is_none()
}
