//! Several early dialogs, each with an exchange of its own.

use std::collections::BTreeMap;

use machine::Rng;

use super::*;

/// The second callee.
const C: &str = "10.0.0.8";

impl Bench {
    fn forked(&mut self) {
        let offer = description(A, "20000");
        self.ledger.forked(Some(&session(&offer)));
    }

    fn turn_to(&mut self, dialog: usize) {
        self.ledger.turn_to(dialog);
    }

    fn decided(&mut self, dialog: usize) {
        self.ledger.decided(dialog);
    }

    fn completed_in(&mut self, dialog: usize) {
        self.ledger.completed(self.now, Some(dialog), &mut self.ids, &mut self.out);
    }

    fn ended(&mut self, dialog: usize) {
        self.ledger.ended(self.now, dialog, &mut self.ids, &mut self.out);
    }

    fn abandoned_in(&mut self, dialog: usize) {
        self.ledger.abandoned(self.now, Some(dialog), &mut self.ids, &mut self.out);
    }

    /// The destination of each rule that is open and wanted, at the middlebox.
    fn leads_to(&self, address: &str, port: u16) -> bool {
        self.toy.rules.values().filter_map(|rule| rule.enabled).any(|(internal, external)| {
            let destination = if address == A { external } else { internal };
            destination.network.addr().to_string() == address
                && (destination.port..=destination.last_port()).contains(&port)
        })
    }

    /// Two early dialogs that have answered reliably.
    fn two_answered() -> Self {
        let mut bench = Self::new(SourcePolicy::Address);
        bench.offered(Side::A, A, "20000").unwrap();
        bench.settle();
        bench.forked();
        for (dialog, address) in [(0, B), (1, C)] {
            bench.turn_to(dialog);
            bench.answered(Side::B, address, "30000").unwrap();
            bench.settle();
            bench.completed_in(dialog);
            bench.settle();
        }
        bench
    }
}

#[test]
fn an_exchange_in_one_leaves_the_other_open() {
    let mut bench = Bench::two_answered();
    bench.turn_to(0);
    bench.offered(Side::A, A, "20200").unwrap();
    bench.settle();
    bench.answered(Side::B, B, "30200").unwrap();
    bench.settle();
    bench.completed_in(0);
    bench.settle();
    for (address, port) in [(A, 20000), (A, 20200), (B, 30200), (C, 30000)] {
        assert!(bench.leads_to(address, port), "{address}:{port}");
    }
    assert!(!bench.leads_to(B, 30000), "nobody uses it any more");
}

#[test]
fn what_only_the_losers_need_closes_when_one_has_won() {
    let mut bench = Bench::two_answered();
    bench.decided(0);
    bench.completed_in(0);
    bench.settle();
    assert!(bench.leads_to(A, 20000) && bench.leads_to(B, 30000) && !bench.leads_to(C, 30000));
    assert_eq!(bench.ledger.open_rules(), 2);
    assert!(bench.ledger.forks.is_none(), "a call has nothing of it");
}

#[test]
fn a_refusal_in_one_closes_only_its_own() {
    let mut bench = Bench::two_answered();
    bench.turn_to(1);
    bench.offered(Side::A, A, "20200").unwrap();
    assert_eq!(
        bench.refuse(Failure::NotAuthorizedForTransaction),
        failed(Failure::NotAuthorizedForTransaction)
    );
    bench.abandoned_in(1);
    bench.settle();
    assert!(bench.leads_to(A, 20000) && bench.leads_to(B, 30000) && bench.leads_to(C, 30000));
    assert_eq!(bench.ledger.open_rules(), 3);
}

#[test]
fn what_only_one_needs_ends_that_one() {
    let mut bench = Bench::two_answered();
    let lost = |dialogs| EventEffect::Lost(Loss { stream: 0, crucial: true, failure: None, dialogs });
    assert_eq!(bench.event(2, 0), lost(Some(Dialogs::one(0))), "B's");
    bench.ended(0);
    bench.settle();
    assert!(bench.leads_to(A, 20000) && bench.leads_to(C, 30000));
    assert_eq!(bench.event(3, 0), lost(Some(Dialogs::one(1))), "C's");
    assert_eq!(bench.event(1, 0), lost(None), "A's, which each of them needs");
}

#[test]
fn one_that_was_put_aside_may_fail_meanwhile() {
    let mut bench = Bench::two_answered();
    bench.turn_to(0);
    bench.offered(Side::A, A, "20200").unwrap();
    bench.settle();
    bench.turn_to(1);
    bench.offered(Side::B, C, "30400").unwrap();
    bench.abandoned_in(0);
    bench.settle();
    assert!(!bench.leads_to(A, 20200), "nobody needs it");
    assert!(bench.leads_to(C, 30400) && bench.leads_to(C, 30000) && bench.leads_to(A, 20000));
}

/// What one dialog needs as seen from outside: A's port and the callee's address and port, once they are agreed on.
type Needs = BTreeMap<usize, (u16, u16)>;

fn callee(dialog: usize) -> String {
    format!("10.0.0.{}", 10 + dialog)
}

/// What each has agreed on is open, and nothing leads to one that is over.
fn check(bench: &Bench, (agreed, dead): (&Needs, &[bool; 4]), seed: u64) {
    for (dialog, (a, b)) in agreed {
        assert!(bench.leads_to(A, *a), "{seed}: A:{a} of {dialog}");
        assert!(bench.leads_to(&callee(*dialog), *b), "{seed}: B:{b} of {dialog}");
    }
    let is_to = |rule: &RuleInfo, dialog: usize| {
        rule.toward == Side::B && rule.internal.network.addr().to_string() == callee(dialog)
    };
    let is_to_dead = |rule: &RuleInfo| (0..4).any(|dialog| dead[dialog] && is_to(rule, dialog));
    assert!(!bench.ledger.rules().any(|rule| is_to_dead(&rule)), "{seed}: one of {dead:?} is over");
}

/// In whatever order the dialogs offer, answer and fail: what each has agreed on is open until one has won, then only
/// that of the winner, and nothing after the call.
#[test]
fn random_forks() {
    for seed in 0..400 {
        let mut rng = Rng::from_number(seed);
        let sources = [SourcePolicy::Strict, SourcePolicy::Address, SourcePolicy::Realm];
        let mut bench = Bench::new(sources[rng.below(3) as usize]);
        bench.ledger.terms.reserve = rng.percent(50);
        bench.offered(Side::A, A, "20000").unwrap();
        bench.settle();
        bench.forked();
        let (mut agreed, mut dead) = (Needs::new(), [false; 4]);
        for _ in 0..30 {
            let dialog = rng.below(4) as usize;
            if dead[dialog] {
                continue;
            }
            let (a, b) = (20000 + 2 * rng.below(8) as u16, 30000 + 2 * rng.below(8) as u16);
            bench.turn_to(dialog);
            let known = agreed.contains_key(&dialog);
            let a = if known { a } else { 20000 };
            if known {
                bench.offered(Side::A, A, &a.to_string()).unwrap();
                bench.settle();
            }
            match rng.below(4) {
                0 if known => bench.abandoned_in(dialog),
                1 => {
                    bench.answered(Side::B, &callee(dialog), &b.to_string()).unwrap();
                    bench.asked();
                    let refused = !bench.open.is_empty();
                    if refused {
                        let progress = bench.refuse(Failure::NoResources);
                        assert_eq!(progress, failed(Failure::NoResources), "{seed}");
                        bench.settle();
                    }
                    if known || refused {
                        bench.abandoned_in(dialog);
                    }
                    // An early dialog that has not answered ends with the refusal.
                    if refused && !known {
                        bench.ended(dialog);
                        dead[dialog] = true;
                    }
                }
                2 if known && rng.percent(30) => {
                    bench.abandoned_in(dialog);
                    bench.ended(dialog);
                    dead[dialog] = true;
                    agreed.remove(&dialog);
                }
                _ => {
                    bench.answered(Side::B, &callee(dialog), &b.to_string()).unwrap();
                    bench.settle();
                    // Another may have been taken up before the answer has left.
                    if rng.percent(30) {
                        bench.turn_to((dialog + 1) % 4);
                    }
                    bench.completed_in(dialog);
                    agreed.insert(dialog, (a, b));
                }
            }
            bench.settle();
            check(&bench, (&agreed, &dead), seed);
        }
        let Some((winner, (a, b))) = agreed.first_key_value() else { continue };
        bench.decided(*winner);
        bench.completed_in(*winner);
        bench.settle();
        assert!(bench.leads_to(A, *a) && bench.leads_to(&callee(*winner), *b), "{seed}");
        assert_eq!(bench.ledger.open_rules(), 2, "{seed}");
        bench.close();
        bench.settle();
        assert!(bench.ledger.is_closed() && bench.toy.rules.is_empty(), "{seed}");
    }
}

fn failed(failure: Failure) -> Progress {
    Progress::Failed(failure, 0)
}
