//! Descriptions with other precondition lines; every other byte stays.

use super::{Attribute, Directions, Kind, StatusType, Strength, Table, Type, attributes};
use crate::Patch;

impl<'s, 'a> Patch<'s, 'a> {
    /// Says how far a precondition is: rewrites the `curr` line of this type and status, or adds one where the stream
    /// has a `des` line without it. A stream that does not have the precondition, or is turned off, stays as it is.
    #[must_use]
    pub fn current(mut self, stream: u16, of: Type<'_>, status: StatusType, directions: Directions) -> Self {
        let is_ours = |line: &Attribute<'_>| line.of == of && line.status == status;
        let found = |wanted: fn(Kind) -> bool| {
            let lines = self.positions(stream).filter(move |(_, line)| is_ours(line) && wanted(line.kind));
            lines.map(|(position, _)| position).collect::<Vec<_>>()
        };
        let current = found(|kind| kind == Kind::Current);
        let text = format!("a={}", Attribute { kind: Kind::Current, of, status, directions });
        match (current.as_slice(), found(|kind| matches!(kind, Kind::Desired(_))).first()) {
            ([], None) => self,
            ([], Some(desired)) => self.insert(*desired, &text),
            (lines, _) => {
                for position in lines {
                    self = self.replace(*position, text.clone().into_bytes());
                }
                self
            }
        }
    }

    /// Adds the lines of a table at the end of a stream; one that is turned off stays as it is.
    #[must_use]
    pub fn precondition(mut self, stream: u16, of: Type<'_>, table: &Table) -> Self {
        let Some(begin) = self.session().stream_position(stream).filter(|_| self.session().is_in_use(stream))
        else {
            return self;
        };
        let end = begin + self.session().stream_lines(stream).count();
        for line in table.lines(of) {
            self = self.insert(end, &format!("a={line}"));
        }
        self
    }

    /// Removes every line of a type, those of streams that are turned off as well.
    #[must_use]
    pub fn without_precondition(mut self, of: Type<'_>) -> Self {
        let lines = self.session().lines().enumerate();
        let ours = lines.filter(|(_, line)| Attribute::parse(*line).is_some_and(|found| found.of == of));
        let positions: Vec<_> = ours.map(|(position, _)| position).collect();
        for position in positions {
            self = self.remove(position);
        }
        self
    }

    /// What a refusal carries (RFC 3312 §8): every stream with port 0, and the wishes of this type marked `failure`,
    /// or `unknown` if nobody here knows the type (§9). Lines about other types go.
    #[must_use]
    pub fn failed(mut self, of: Type<'_>, strength: Strength) -> Self {
        for stream in 0..self.session().streams() {
            let lines: Vec<_> = self.positions(stream).collect();
            for (position, line) in lines {
                self = match line.kind {
                    Kind::Desired(_) if line.of == of => {
                        let failed = Attribute { kind: Kind::Desired(strength), ..line };
                        self.replace(position, format!("a={failed}").into_bytes())
                    }
                    Kind::Desired(_) | Kind::Current | Kind::Confirm => self.remove(position),
                };
            }
            //= RFC 3312 §8: as many m-lines as came, each with port 0.
            self = self.port(stream, 0);
        }
        self
    }

    /// The precondition lines of a stream in use, with their positions among all lines.
    fn positions(&self, stream: u16) -> impl Iterator<Item = (usize, Attribute<'s>)> + use<'s, 'a> {
        let session = self.session();
        let begin = session.stream_position(stream).unwrap_or_default();
        let in_use = attributes(session, stream).next().is_some();
        let lines = session.stream_lines(stream).enumerate().filter(move |_| in_use);
        lines.filter_map(move |(offset, line)| Some((begin + offset, Attribute::parse(line)?)))
    }
}
