//! What is read back after starts, crashes, full disks and damage.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use machine::{Instant, Rng};
use midcom::{Direction, Gid, Parity, Prid, Protocol, Tuple};
use middlebox::{AgentId, Change, StoredAction, StoredLease, StoredOutside, StoredRule};

use crate::{Found, Journal, Wall};

static FOLDERS: AtomicU32 = AtomicU32::new(0);

struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let number = FOLDERS.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("postern-journal-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self) -> PathBuf {
        self.0.join("rules")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A quarter past one on the wall, ten seconds after the start.
const NOW: Instant = Instant::from_nanos(10_000_000_000);
const WALL_MS: u64 = 1_796_000_000_000;

fn wall() -> Wall {
    Wall::at(WALL_MS, NOW)
}

fn tuple(network: &str, port: u16, range: u16) -> Tuple {
    Tuple { network: network.parse().unwrap(), protocol: Protocol::Udp, port, range }
}

fn rule(number: u32, action: u32) -> StoredRule {
    let (internal, external) = (tuple("10.0.40.7/32", 20_000, 2), tuple("198.51.100.0/24", 0, 2));
    let (v6, any) = (tuple("fd00::7/128", 9, 1), tuple("::/0", 0, 1));
    let shared = StoredLease::Shared { port: 19_998, group: Gid(u32::MAX), range: 64 };
    let own = StoredLease::Own;
    let outside = |at: &str, lease| Some(StoredOutside { at: at.parse().unwrap(), lease });
    let protocol = Protocol::Udp;
    let action = match action % 6 {
        0 => StoredAction::Reserve { protocol, ports: u16::MAX, outside: None },
        1 => StoredAction::Enable {
            parity: Parity::Same,
            direction: Direction::Inbound,
            internal,
            external,
            outside: None,
        },
        2 => StoredAction::Enable {
            parity: Parity::Any,
            direction: Direction::Bidirectional,
            internal: v6,
            external: any,
            outside: outside("[2001:db8::1]:65535", own),
        },
        3 => StoredAction::Reserve { protocol, ports: 2, outside: outside("203.0.113.1:40000", own) },
        4 => StoredAction::Enable {
            parity: Parity::Any,
            direction: Direction::Outbound,
            internal,
            external,
            outside: outside("203.0.113.1:40002", shared),
        },
        _ => StoredAction::Disable { internal, external },
    };
    let deadline = NOW + Duration::from_secs(u64::from(number % 50) + 1);
    StoredRule {
        prid: Prid(number),
        group: Gid(number / 2),
        owner: AgentId(u32::MAX - number),
        action,
        deadline,
    }
}

fn open(folder: &Folder) -> (Journal, Vec<StoredRule>) {
    match Journal::open(&folder.file(), &wall()).unwrap() {
        (journal, Found::Rules(rules)) => (journal, rules),
        (journal, Found::Nothing) => (journal, Vec::new()),
        (_, found) => panic!("{found:?}"),
    }
}

#[test]
fn rules_come_back_as_they_were() {
    let folder = Folder::new();
    let (mut journal, found) = open(&folder);
    assert_eq!(found, []);
    let rules: Vec<_> = (0..40).map(|number| rule(number, number)).collect();
    journal.append(&rules.iter().copied().map(Change::Put).collect::<Vec<_>>(), &wall()).unwrap();
    journal
        .append(&[Change::Forget(Prid(3)), Change::Put(rule(4, 1)), Change::Forget(Prid(999))], &wall())
        .unwrap();
    drop(journal);
    let mut expected = rules;
    expected[4] = rule(4, 1);
    expected.remove(3);
    // Once from what was appended, once from what was written anew at that start.
    for _ in 0..2 {
        assert_eq!(open(&folder).1, expected);
    }
}

#[test]
fn deadlines_go_by_the_wall_and_no_rule_outlives_its_lifetime() {
    let folder = Folder::new();
    let (mut journal, _) = open(&folder);
    journal
        .append(&[Change::Put(StoredRule { deadline: NOW + Duration::from_secs(60), ..rule(1, 1) })], &wall())
        .unwrap();
    let text = fs::read(folder.file()).unwrap();
    let left = |now_ms: u64| {
        fs::write(folder.file(), &text).unwrap();
        // A new process: its own clock begins anew.
        let (_, found) = Journal::open(&folder.file(), &Wall::at(now_ms, Instant::ZERO)).unwrap();
        let Found::Rules(rules) = found else { panic!() };
        rules.first().map(|rule| rule.deadline.since(Instant::ZERO).as_secs())
    };
    assert_eq!(left(WALL_MS + 20_000), Some(40));
    assert_eq!(left(WALL_MS + 60_000), None);
    // The clock was put back by a year, or has lost its battery.
    assert_eq!(left(WALL_MS - 31_000_000_000), Some(60));
    assert_eq!(left(0), Some(60));
}

#[test]
fn a_crash_in_the_middle_of_a_write_loses_that_write_only() {
    let folder = Folder::new();
    let (mut journal, _) = open(&folder);
    journal.append(&[Change::Put(rule(1, 1)), Change::Put(rule(2, 2))], &wall()).unwrap();
    let before = fs::read(folder.file()).unwrap();
    journal.append(&[Change::Put(rule(3, 3))], &wall()).unwrap();
    drop(journal);
    let after = fs::read(folder.file()).unwrap();
    for end in before.len()..after.len() {
        for tail in [&[][..], &[0; 4096][..]] {
            // What was cut off may be zeros itself: then it is all there.
            if !tail.is_empty() && after[end..].iter().all(|byte| *byte == 0) {
                continue;
            }
            fs::write(folder.file(), [&after[..end], tail].concat()).unwrap();
            assert_eq!(open(&folder).1, [rule(1, 1), rule(2, 2)], "cut at {end}");
        }
    }
    fs::write(folder.file(), &after).unwrap();
    // What was left of it does not hide what comes next.
    let (mut journal, _) = open(&folder);
    journal.append(&[Change::Put(rule(4, 0))], &wall()).unwrap();
    drop(journal);
    assert_eq!(open(&folder).1.len(), 4);
}

/// Whatever octet is another one: nothing that was forgotten comes back, and nothing panics.
#[test]
fn a_damaged_file_brings_nothing_back_that_was_gone() {
    let folder = Folder::new();
    let (mut journal, _) = open(&folder);
    journal
        .append(&(0..6).map(|number| Change::Put(rule(number, number))).collect::<Vec<_>>(), &wall())
        .unwrap();
    journal.append(&(0..5).map(|number| Change::Forget(Prid(number))).collect::<Vec<_>>(), &wall()).unwrap();
    let last = fs::read(folder.file()).unwrap().len();
    journal.append(&[Change::Put(rule(7, 1))], &wall()).unwrap();
    drop(journal);
    let text = fs::read(folder.file()).unwrap();
    let mut rng = Rng::from_number(5);
    let mut put_aside = 0;
    for _ in 0..400 {
        let mut damaged = text.clone();
        let place = rng.below(damaged.len() as u64) as usize;
        damaged[place] ^= 1 + rng.below(255) as u8;
        fs::write(folder.file(), &damaged).unwrap();
        match Journal::open(&folder.file(), &wall()).unwrap().1 {
            Found::Unreadable { aside, .. } => {
                assert_eq!(fs::read(&aside).unwrap(), damaged);
                fs::remove_file(aside).unwrap();
                put_aside += 1;
            }
            // The last frame only: it is taken for what a crash has left of it.
            Found::Rules(rules) => {
                assert!(rules.iter().all(|rule| rule.prid.0 >= 5), "byte {place}: {rules:?}");
                assert!(place >= last, "byte {place}");
            }
            Found::Nothing => panic!("byte {place}"),
        }
    }
    assert!(put_aside > 200);
    // Something that was never ours.
    fs::write(folder.file(), "[realm.inside]\n").unwrap();
    assert!(matches!(Journal::open(&folder.file(), &wall()).unwrap().1, Found::Unreadable { .. }));
}

#[test]
fn a_file_that_grows_is_written_anew_with_what_there_is() {
    let folder = Folder::new();
    let (mut journal, _) = open(&folder);
    let changes: Vec<_> = (0..1_000).map(|number| Change::Put(rule(number, number))).collect();
    let gone: Vec<_> = (0..1_000).map(|number| Change::Forget(Prid(number))).collect();
    let mut rounds = 0;
    while !journal.is_long() {
        journal.append(&changes, &wall()).unwrap();
        journal.append(&gone, &wall()).unwrap();
        rounds += 1;
        assert!(rounds < 1_000);
    }
    journal.rewrite([rule(5, 5)].into_iter(), &wall()).unwrap();
    assert!(fs::metadata(folder.file()).unwrap().len() < 200);
    journal.append(&[Change::Put(rule(6, 6))], &wall()).unwrap();
    drop(journal);
    assert_eq!(open(&folder).1, [rule(5, 5), rule(6, 6)]);
}

#[test]
fn what_cannot_be_opened_is_an_error() {
    let folder = Folder::new();
    assert!(Journal::open(&folder.0.join("none/rules"), &wall()).is_err());
    assert!(Journal::open(&folder.0, &wall()).is_err());
}

#[test]
fn what_is_discarded_is_not_read_again() {
    let folder = Folder::new();
    let (mut journal, _) = open(&folder);
    journal.append(&[Change::Put(rule(1, 1))], &wall()).unwrap();
    journal.discard().unwrap();
    assert!(!folder.file().exists());
    // Once more, and with nothing there to be taken away.
    journal.discard().unwrap();
    journal.rewrite([rule(5, 5)].into_iter(), &wall()).unwrap();
    // The name cannot be taken away: another file is mounted there, or the folder is protected. Emptied it is.
    let held = folder.0.join("held");
    fs::hard_link(folder.file(), &held).unwrap();
    journal.discard().unwrap();
    fs::rename(&held, folder.file()).unwrap();
    assert_eq!(open(&folder).1, []);
}

#[test]
fn what_is_known_to_be_wrong_is_put_aside_before_it_is_read() {
    let folder = Folder::new();
    assert_eq!(Journal::put_aside(&folder.file(), &wall()).unwrap(), None);
    let (mut journal, _) = open(&folder);
    journal.append(&[Change::Put(rule(1, 1))], &wall()).unwrap();
    drop(journal);
    let aside = Journal::put_aside(&folder.file(), &wall()).unwrap().unwrap();
    assert!(aside.exists());
    assert!(matches!(Journal::open(&folder.file(), &wall()).unwrap().1, Found::Nothing));
}
