//! The explorer: depth first, each state once.
//!
//! Depth first, because only the way to where it is must be kept in memory; a state that has been seen is remembered by
//! its fingerprint alone. Where only one thing can happen nothing is remembered and it happens.

use std::time::{Duration, Instant as Clock};

use hashbrown::HashMap;

use crate::canon::{Canon, Fingerprint};
use crate::scenario::Scenario;
use crate::world::{Move, Trace, World};

/// So many things one behind the other without a choice: it will never come to rest.
const CHAIN_MAX: usize = 2_000;
/// For how long a shorter way to a failure is looked for.
const SHORTEN: Duration = Duration::from_secs(20);

/// Where an exploration ends although there is more.
#[derive(Debug, Clone, Copy, Default)]
pub struct Bounds {
    /// Moves from the start.
    pub depth: Option<u32>,
    /// States.
    pub states: Option<usize>,
    /// Time.
    pub time: Option<Duration>,
}

/// What was explored.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Different states in which there was a choice, or where nothing could happen any more.
    pub states: usize,
    /// Moves made.
    pub moves: u64,
    /// Different states in which nothing could happen any more.
    pub ends: usize,
    /// The longest way, in moves.
    pub depth: u32,
    /// How long it took.
    pub time: Duration,
    /// False if a bound cut something off.
    pub is_complete: bool,
}

/// How something that must never be comes about.
#[derive(Debug, Clone)]
pub struct Failure {
    /// What must never be.
    pub why: String,
    /// The way there.
    pub path: Vec<Move>,
}

/// Explores everything within the bounds.
///
/// # Errors
/// Something that must never be, on the shortest way that was found.
pub fn explore(scenario: &Scenario, bounds: Bounds) -> Result<Report, Failure> {
    let mut failure = match Explorer::new(scenario, bounds).run() {
        Ok(report) => return Ok(report),
        Err(failure) => failure,
    };
    let start = Clock::now();
    while let Some(left) = SHORTEN.checked_sub(start.elapsed()) {
        let depth = Some((failure.path.len() as u32).saturating_sub(1));
        match Explorer::new(scenario, Bounds { depth, states: None, time: Some(left) }).run() {
            Ok(_) => break,
            Err(shorter) => failure = shorter,
        }
    }
    Err(failure)
}

/// A state on the way, and what was not tried there yet.
struct Frame {
    world: World,
    moves: Vec<Move>,
    /// How long the way was.
    depth: usize,
}

struct Explorer<'s> {
    scenario: &'s Scenario,
    bounds: Bounds,
    canon: Canon,
    /// At which depth each state was seen.
    seen: HashMap<Fingerprint, u32, foldhash::fast::FixedState>,
    path: Vec<Move>,
    report: Report,
    start: Clock,
}

impl<'s> Explorer<'s> {
    fn new(scenario: &'s Scenario, bounds: Bounds) -> Self {
        Self {
            scenario,
            bounds,
            canon: Canon::default(),
            seen: HashMap::default(),
            path: Vec::new(),
            report: Report { is_complete: true, ..Report::default() },
            start: Clock::now(),
        }
    }

    fn run(mut self) -> Result<Report, Failure> {
        let mut stack = Vec::new();
        let world = World::new(self.scenario).map_err(|why| self.failure(why))?;
        stack.extend(self.enter(world)?);
        while let Some(frame) = stack.last_mut() {
            self.path.truncate(frame.depth);
            let Some(step) = frame.moves.pop() else {
                stack.pop();
                continue;
            };
            let mut world = frame.world.clone();
            self.make(&mut world, step)?;
            stack.extend(self.enter(world)?);
            if self.is_out_of_bounds() {
                self.report.is_complete = false;
                break;
            }
        }
        self.report.states = self.seen.len();
        self.report.time = self.start.elapsed();
        Ok(self.report)
    }

    fn make(&mut self, world: &mut World, step: Move) -> Result<(), Failure> {
        self.path.push(step);
        self.report.moves += 1;
        world.apply(self.scenario, step, &mut Trace::default()).map_err(|why| self.failure(why))
    }

    /// Goes on until there is a choice; `None` if there is none any more or this has been seen.
    fn enter(&mut self, mut world: World) -> Result<Option<Frame>, Failure> {
        let mut moves = Vec::new();
        for _ in 0..CHAIN_MAX {
            world.moves(self.scenario, &mut moves);
            if self.bounds.depth.is_some_and(|depth| self.path.len() >= depth as usize) && !moves.is_empty() {
                self.report.is_complete = false;
                return Ok(None);
            }
            match moves.as_slice() {
                [only] => {
                    let only = *only;
                    self.make(&mut world, only)?;
                }
                [] | [_, _, ..] => return self.choose(world, moves),
            }
        }
        Err(self.failure("it never comes to rest".into()))
    }

    fn choose(&mut self, world: World, moves: Vec<Move>) -> Result<Option<Frame>, Failure> {
        let depth = self.path.len();
        self.report.depth = self.report.depth.max(depth as u32);
        let fingerprint = world.fingerprint(&mut self.canon);
        let seen = self.seen.entry(fingerprint).or_insert(u32::MAX);
        // With a bound, a state that is met again nearer to the start has more before it than the first time.
        let is_new = *seen == u32::MAX || self.bounds.depth.is_some() && depth < *seen as usize;
        let is_first = *seen == u32::MAX;
        if !is_new {
            return Ok(None);
        }
        *seen = depth as u32;
        if moves.is_empty() {
            self.report.ends += usize::from(is_first);
            world.check_rest().map_err(|why| self.failure(why))?;
            return Ok(None);
        }
        Ok(Some(Frame { world, moves, depth }))
    }

    fn is_out_of_bounds(&self) -> bool {
        self.bounds.states.is_some_and(|states| self.seen.len() >= states)
            || self.report.moves.is_multiple_of(256)
                && self.bounds.time.is_some_and(|time| self.start.elapsed() >= time)
    }

    fn failure(&self, why: String) -> Failure {
        Failure { why, path: self.path.clone() }
    }
}
