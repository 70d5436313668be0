//! The administrator's firewall of the demo and the tests: an ordinary default-drop ruleset, as a careful person would
//! write it, with the one line for Postern. Postern itself never touches such tables.

use std::fmt;

use crate::Error;
use crate::config::Mark;
use crate::netlink::{Socket, uapi};
use crate::ruleset::{Chain, End, Hook, Statement, Table, Verdict};

const TABLE: &str = "filter";
/// Priority "filter" in nft's words.
const FILTER: i32 = 0;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP: [u8; 2] = [1, 58];

/// What the administrator wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Firewall {
    /// Everything that comes in here may go out.
    pub inside: String,
    /// The gate's mark; `None` forgets the line.
    pub mark: Option<Mark>,
    /// The port on which the firewall itself is reachable with UDP and TCP: SIP.
    pub sip: u16,
}

impl Firewall {
    /// SIP on its usual port, and the line for this mark.
    #[must_use]
    pub fn new(inside: impl Into<String>, mark: Mark) -> Self {
        Self { inside: inside.into(), mark: Some(mark), sip: 5060 }
    }

    /// Makes the table in this thread's network namespace.
    ///
    /// # Errors
    /// If there is such a table already, or the kernel refuses.
    pub fn install(&self) -> Result<(), Error> {
        let failed = "cannot install the administrator's firewall";
        let mut socket = Socket::netfilter(0).map_err(Error::kernel(failed))?;
        let mut batch = socket.batch();
        let flags = uapi::NLM_F_CREATE | uapi::NLM_F_EXCL;
        batch.message(uapi::NEWTABLE, flags, uapi::INET, |writer| writer.text(uapi::TABLE_NAME, TABLE));
        self.table().create(&mut batch, |_| false);
        socket.commit(batch).map_err(Error::kernel(failed))
    }

    fn table(&self) -> Table {
        let accept = || Statement::Then(Verdict::Accept);
        let tracked = || vec![Statement::TrackedAs(uapi::CT_ESTABLISHED | uapi::CT_RELATED), accept()];
        let base = |name: &str, number, rules| Chain {
            name: name.into(),
            hook: Some(Hook { number, priority: FILTER, drop: true }),
            rules,
        };
        let mut input = vec![vec![Statement::InputInterface("lo".into()), accept()], tracked()];
        input.extend(ICMP.map(|protocol| vec![Statement::Protocol(protocol), accept()]));
        input.extend([UDP, TCP].map(|protocol| {
            let port = Statement::Ports(End::Destination, self.sip..=self.sip);
            vec![Statement::Protocol(protocol), port, accept()]
        }));
        let mut forward: Vec<Vec<Statement>> = self.mark.map(line).into_iter().collect();
        forward.push(tracked());
        forward.push(vec![Statement::InputInterface(self.inside.clone()), accept()]);
        let chains = vec![base("input", uapi::LOCAL_IN, input), base("forward", uapi::FORWARD, forward)];
        Table { name: TABLE.into(), sets: Vec::new(), chains }
    }
}

/// The one line: what the gate let in may pass. "untracked" because other software sets marks too.
pub(crate) fn line(mark: Mark) -> Vec<Statement> {
    vec![Statement::TrackedAs(uapi::CT_UNTRACKED), Statement::Marked(mark), Statement::Then(Verdict::Accept)]
}

/// In nft's language.
impl fmt::Display for Firewall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.table().fmt(f)
    }
}
