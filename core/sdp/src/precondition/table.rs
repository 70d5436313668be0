//! The status table of one m-line and one type: RFC 3312 §5, with the tables of RFC 4032 §4.1.
//!
//! ```text
//!   transaction  local    known here     not known here
//!       no        no        no/no            no/no
//!       yes       yes       yes/yes          yes/yes
//!       yes       no        no/no            yes/yes
//!       no        yes       yes/yes          no/no
//! ```
//!
//! So an answerer follows what it knows by itself, and the offer where it knows nothing; the offerer then takes over
//! the answer. Both tables are the same afterwards, each seen from its side.

use std::collections::BTreeMap;

use super::{Attribute, Directions, Kind, StatusType, Strength, Type, attributes};
use crate::Session;

/// A row of a status table, seen by its owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The whole path, from us.
    E2eSend,
    /// The whole path, to us.
    E2eRecv,
    /// Our access network, from us.
    LocalSend,
    /// Our access network, to us.
    LocalRecv,
    /// The peer's access network, from us.
    RemoteSend,
    /// The peer's access network, to us.
    RemoteRecv,
}

/// What a row says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Row {
    /// It is there.
    pub current: bool,
    /// How much it is wanted; `None` if the row is not part of the table.
    pub desired: Option<Strength>,
    /// Whoever reads this shall say when it is there (§7).
    pub confirm: bool,
}

/// The preconditions of one type for one m-line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Table {
    /// In the order of [`Place`].
    rows: [Row; 6],
}

/// Pairs of rows with their status type: send, then recv.
const PAIRS: [(StatusType, Place, Place); 3] = [
    (StatusType::E2e, Place::E2eSend, Place::E2eRecv),
    (StatusType::Local, Place::LocalSend, Place::LocalRecv),
    (StatusType::Remote, Place::RemoteSend, Place::RemoteRecv),
];

impl Place {
    const ALL: [Self; 6] =
        [Self::E2eSend, Self::E2eRecv, Self::LocalSend, Self::LocalRecv, Self::RemoteSend, Self::RemoteRecv];

    /// The same row, seen by the peer.
    //= RFC 3312 §5.2 table 4: send and recv, local and remote change their places between offer and answer.
    #[must_use]
    pub fn inverted(self) -> Self {
        match self {
            Self::E2eSend => Self::E2eRecv,
            Self::E2eRecv => Self::E2eSend,
            Self::LocalSend => Self::RemoteRecv,
            Self::LocalRecv => Self::RemoteSend,
            Self::RemoteSend => Self::LocalRecv,
            Self::RemoteRecv => Self::LocalSend,
        }
    }
}

impl Table {
    /// What the offer of a user agent says that wants both directions of the whole path: nothing is there yet.
    #[must_use]
    pub fn e2e(strength: Strength) -> Self {
        let mut table = Self::default();
        for place in [Place::E2eSend, Place::E2eRecv] {
            table.row_mut(place).desired = Some(strength);
        }
        table
    }

    /// The table that a description has for a stream, seen by its writer; `None` if it says nothing of this type there.
    #[must_use]
    pub fn of(session: &Session<'_>, stream: u16, of: Type<'_>) -> Option<Self> {
        let mut lines = attributes(session, stream).filter(|line| line.of == of).peekable();
        lines.peek()?;
        let mut table = Self::default();
        for line in lines {
            table.read(line);
        }
        Some(table)
    }

    /// The tables of all types that a description speaks of in a stream, each seen by its writer.
    #[must_use]
    pub fn all<'s>(session: &'s Session<'_>, stream: u16) -> BTreeMap<Type<'s>, Self> {
        let mut tables: BTreeMap<Type<'s>, Self> = BTreeMap::new();
        for line in attributes(session, stream) {
            tables.entry(line.of).or_default().read(line);
        }
        tables
    }

    fn read(&mut self, line: Attribute<'_>) {
        for (status, send, recv) in PAIRS {
            for (place, is_said) in [(send, line.directions.send), (recv, line.directions.recv)] {
                if status == line.status && is_said {
                    let row = self.row_mut(place);
                    match line.kind {
                        Kind::Current => row.current = true,
                        // Of two lines about one row the stronger counts.
                        Kind::Desired(strength) => row.desired = row.desired.max(Some(strength)),
                        Kind::Confirm => row.confirm = true,
                    }
                }
            }
        }
    }

    /// A row.
    #[must_use]
    pub fn row(&self, place: Place) -> Row {
        self.rows[place as usize]
    }

    /// A row, to be changed.
    pub fn row_mut(&mut self, place: Place) -> &mut Row {
        &mut self.rows[place as usize]
    }

    /// Sets how far the whole path is, both directions.
    #[must_use]
    pub fn with_e2e(mut self, current: bool) -> Self {
        for place in [Place::E2eSend, Place::E2eRecv] {
            self.row_mut(place).current = current;
        }
        self
    }

    //= RFC 3312 §6: met when every row that is mandatory is there.
    /// True if nobody has to wait for it any longer.
    #[must_use]
    pub fn is_met(&self) -> bool {
        self.rows.iter().all(|row| row.current || row.desired != Some(Strength::Mandatory))
    }

    /// True if a peer that has asked to be told must be told now (§7).
    #[must_use]
    pub fn is_to_be_confirmed(&self) -> bool {
        let mut asked = self.rows.iter().filter(|row| row.confirm).peekable();
        asked.peek().is_some() && asked.all(|row| row.current)
    }

    /// The strongest wish in it.
    #[must_use]
    pub fn strength(&self) -> Option<Strength> {
        self.rows.iter().filter_map(|row| row.desired).max()
    }

    /// The same table, seen by the peer: what an offerer has once the answer is there (RFC 4032 §4.1, last table).
    #[must_use]
    pub fn inverted(&self) -> Self {
        let mut other = Self::default();
        for place in Place::ALL {
            *other.row_mut(place.inverted()) = self.row(place);
        }
        other
    }

    /// What the owner of this table answers to an offer; it has local information about the `known` rows. Afterwards
    /// this table is what both sides share, with the rows marked about which the peer wants to be told.
    pub fn answer(&mut self, offer: &Self, known: &[Place]) -> Self {
        let offered = offer.inverted();
        let mut answer = Self::default();
        for place in Place::ALL {
            let (theirs, own, is_known) = (offered.row(place), self.row(place), known.contains(&place));
            //= RFC 3312 §5.2: a wish may be raised by the answerer, never lowered; RFC 4032 §4.2 keeps that.
            let desired = theirs.desired.max(own.desired.filter(|_| theirs.desired.is_some()));
            //= RFC 4032 §4.1: an answerer corrects what it knows better, upwards and downwards.
            let current = if is_known { own.current } else { theirs.current };
            //= RFC 3312 §6: whoever cannot meet a mandatory one alone asks to be told.
            let confirm = desired == Some(Strength::Mandatory) && !current && !is_known;
            *answer.row_mut(place) = Row { current, desired, confirm };
            *self.row_mut(place) = Row { current, desired, confirm: theirs.confirm };
        }
        answer
    }

    /// The lines that say it, in their order (§5.1.1), without `a=`.
    pub fn lines<'t>(&self, of: Type<'t>) -> impl Iterator<Item = Attribute<'t>> + use<'t> {
        let mut lines = Vec::with_capacity(4);
        for (status, send, recv) in PAIRS {
            let (send, recv) = (self.row(send), self.row(recv));
            let mut add = |kind, send, recv| {
                lines.push(Attribute { kind, of, status, directions: Directions { send, recv } });
            };
            if [send, recv].iter().all(|row| row.desired.is_none() && !row.current && !row.confirm) {
                continue;
            }
            add(Kind::Current, send.current, recv.current);
            //= RFC 3312 §5.1.1: one line where both directions are wanted alike, else one each.
            match (send.desired, recv.desired) {
                (Some(one), Some(other)) if one == other => add(Kind::Desired(one), true, true),
                (one, other) => {
                    if let Some(strength) = one {
                        add(Kind::Desired(strength), true, false);
                    }
                    if let Some(strength) = other {
                        add(Kind::Desired(strength), false, true);
                    }
                }
            }
            if send.confirm || recv.confirm {
                add(Kind::Confirm, send.confirm, recv.confirm);
            }
        }
        lines.into_iter()
    }
}
