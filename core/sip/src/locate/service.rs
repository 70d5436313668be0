//! SRV records and their order: RFC 2782.

use machine::Rng;

use super::without_root;

/// An SRV record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// The lowest is tried first.
    pub priority: u16,
    /// How often it is first among those of one priority.
    pub weight: u16,
    /// Where the service listens.
    pub port: u16,
    /// The host; "." if the service is not offered.
    pub target: String,
}

impl Service {
    /// False if the record only says that there is no such service.
    pub(super) fn is_offered(&self) -> bool {
        !without_root(&self.target).is_empty()
    }
}

/// The records in the order in which they are tried: by priority, and drawn by weight where that is the same.
pub(super) fn in_order(mut services: Vec<Service>, rng: &mut Rng) -> Vec<Service> {
    // Records arrive in any order; the draw shall depend on them and the generator alone.
    services.sort_by(|one, other| {
        let key = |service: &Service| (service.priority, service.weight, service.port);
        key(one).cmp(&key(other)).then_with(|| one.target.cmp(&other.target))
    });
    let mut ordered = Vec::with_capacity(services.len());
    while let Some(priority) = services.first().map(|service| service.priority) {
        let alike = services.iter().take_while(|service| service.priority == priority).count();
        let next = draw(&services[..alike], rng);
        ordered.push(services.remove(next));
    }
    ordered
}

/// One of records of the same priority, those of weight 0 first.
//= RFC 2782: the first whose running sum of weights reaches a number drawn from 0 to the sum of all.
fn draw(alike: &[Service], rng: &mut Rng) -> usize {
    let sum: u64 = alike.iter().map(|service| u64::from(service.weight)).sum();
    let drawn = rng.below(sum + 1);
    let mut running = 0;
    let reaches = |service: &Service| {
        running += u64::from(service.weight);
        running >= drawn
    };
    alike.iter().position(reaches).unwrap_or_default()
}
