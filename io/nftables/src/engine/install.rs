//! Making the table, and taking over one that is there: `docs/pinholes.md` §4, "owner and persist", "adoption".

use std::collections::BTreeMap;

use crate::Error;
use crate::config::GateConfig;
use crate::netlink::{Attributes, Batch, CommitError, Message, Socket, be32, be64, text, uapi};
use crate::ruleset::{Generation, HELD_MAX, SECOND, Set, SetKind, Table};

use super::Features;

/// Our table's name.
pub(crate) const TABLE: &str = "postern";

/// How often adoption is tried again when somebody changes the table between our reading and our writing.
const ATTEMPTS: usize = 3;

/// The shape of a set in the kernel: flags, key length, key type, size, cap.
type Shape = (u32, u32, u32, u32, u64);

/// Puts the whole gate in place, all rules in one commit, whatever was there before. Base chains stay, and so do sets of entries
/// of the right shape, with all their elements; every rule and other set is made anew.
pub(super) fn install(
    socket: &mut Socket,
    config: &GateConfig,
    features: Features,
    generation: Generation,
) -> Result<(), Error> {
    let table = generation.gate(config, TABLE);
    let mut last = None;
    for attempt in 0..ATTEMPTS {
        // Chains that stand at another hook or priority than ours cannot stay.
        let way = if attempt == 0 { change_rules } else { make_anew };
        let Err(error) = adopt(socket, &table, features, way)? else { return Ok(()) };
        if error.error().raw_os_error() == Some(libc::EPERM) && owner(socket)? {
            return Err(Error::Owned(TABLE));
        }
        last = Some(error);
    }
    // Not to be taken over (somebody made it with other flags, or keeps changing it): replaced, entries and all.
    let there = exists(socket)?;
    let mut batch = socket.batch();
    if there {
        named(&mut batch, uapi::DELTABLE);
    }
    new_table(&mut batch, features.table_flags());
    table.create(&mut batch, |_| false);
    match socket.commit(batch) {
        Ok(()) => Ok(()),
        Err(error) => Err(Error::kernel("cannot install the nftables table")(last.unwrap_or(error))),
    }
}

/// Which names the table in the kernel uses; the first if there is none.
pub(super) fn generation(socket: &mut Socket) -> Result<Generation, Error> {
    let chains = names(socket, uapi::GETCHAIN, uapi::CHAIN_TABLE, uapi::CHAIN_NAME)?;
    let second = chains.iter().any(|chain| chain == SECOND);
    Ok(if second { Generation::Second } else { Generation::First })
}

/// Makes the sets of entries of a generation that is not in force, empty. No rule looks into them.
pub(super) fn begin_beside(
    socket: &mut Socket,
    config: &GateConfig,
    generation: Generation,
) -> Result<(), Error> {
    let mut table = generation.gate(config, TABLE);
    table.chains.clear();
    table.sets.retain(|set| matches!(set.kind, SetKind::Entries(_)));
    // What somebody left there who did not come to an end.
    let found = shapes(socket)?;
    let mut batch = socket.batch();
    for set in table.sets.iter().filter(|set| found.contains_key(&set.name)) {
        delete(&mut batch, uapi::DELSET, uapi::SET_TABLE, uapi::SET_NAME, &set.name);
    }
    table.create(&mut batch, |_| false);
    socket.commit(batch).map_err(Error::kernel("cannot make new sets beside the old ones"))
}

/// Puts the sets of another generation into force, and ends those that were. Nothing changes if it fails. Chains stay,
/// only their rules change: no packet can come between an old chain and a new one.
pub(super) fn take_over(
    socket: &mut Socket,
    config: &GateConfig,
    generation: Generation,
) -> Result<(), Error> {
    let found = shapes(socket)?;
    let table = as_installed(generation.gate(config, TABLE), |set| found.contains_key(&set.name));
    let mut batch = socket.batch();
    named(&mut batch, uapi::DELRULE);
    for name in found.keys().filter(|name| !table.sets.iter().any(|set| set.name == **name)) {
        delete(&mut batch, uapi::DELSET, uapi::SET_TABLE, uapi::SET_NAME, name);
    }
    if generation == Generation::First {
        delete(&mut batch, uapi::DELCHAIN, uapi::CHAIN_TABLE, uapi::CHAIN_NAME, SECOND);
    }
    table.create(&mut batch, |set| found.contains_key(&set.name));
    socket.commit(batch).map_err(Error::kernel("cannot put new sets into force"))
}

/// The table with those names for the sets that never change which they have in the kernel.
fn as_installed(first: Table, found: impl Fn(&Set) -> bool) -> Table {
    let second = first.clone().with_second_names();
    let there = second.sets.iter().any(|set| set.kind.is_fixed() && found(set));
    if there { second } else { first }
}

/// Deletes our table; not being there is no error.
pub(super) fn remove(socket: &mut Socket) -> Result<(), Error> {
    if !exists(socket)? {
        return Ok(());
    }
    let mut batch = socket.batch();
    named(&mut batch, uapi::DELTABLE);
    socket.commit(batch).map_err(Error::kernel("cannot delete the nftables table"))
}

/// What is there: sets with their shapes, and chains.
struct Found {
    sets: BTreeMap<String, Shape>,
    chains: Vec<String>,
}

impl Found {
    /// Whether a set can stay as it is.
    fn keeps(&self, set: &Set) -> bool {
        !set.kind.is_fixed() && self.sets.get(&set.name) == shape_of(set).as_ref()
    }

    fn has(&self, set: &Set) -> bool {
        self.sets.contains_key(&set.name)
    }
}

type Way = fn(&mut Socket, &Table, &Found) -> Result<(), CommitError>;

fn adopt(
    socket: &mut Socket,
    table: &Table,
    features: Features,
    way: Way,
) -> Result<Result<(), CommitError>, Error> {
    // Claimed in a commit of its own: the kernel refuses new base chains in the one that changes a table's flags. From
    // then on nobody else can change what we read next.
    let mut batch = socket.batch();
    new_table(&mut batch, features.table_flags());
    if let Err(error) = socket.commit(batch) {
        return Ok(Err(error));
    }
    let sets = shapes(socket)?;
    let chains = names(socket, uapi::GETCHAIN, uapi::CHAIN_TABLE, uapi::CHAIN_NAME)?;
    Ok(way(socket, table, &Found { sets, chains }))
}

/// Base chains stay, and what the new rules look into is there before them and what the old ones look into until after
/// them. A packet that is on its way meanwhile would find nothing in a base chain that has just been taken away, nor in a
/// map made in the commit that makes its rule (kernels publish intervals after rules), and would not be marked.
fn change_rules(socket: &mut Socket, table: &Table, found: &Found) -> Result<(), CommitError> {
    let in_use = table.sets.iter().any(|set| set.kind.is_fixed() && found.has(set));
    let table = if in_use { table.clone().with_second_names() } else { table.clone() };
    let mut batch = socket.batch();
    table.create_chains(&mut batch, |chain| chain.hook.is_none());
    table.create_sets(&mut batch, |set| !found.has(set));
    socket.commit(batch)?;
    let mut batch = socket.batch();
    named(&mut batch, uapi::DELRULE);
    let unfit = |set: &Set| found.has(set) && !found.keeps(set);
    for set in table.sets.iter().filter(|set| unfit(set)) {
        delete(&mut batch, uapi::DELSET, uapi::SET_TABLE, uapi::SET_NAME, &set.name);
    }
    table.create_chains(&mut batch, |chain| chain.hook.is_some());
    table.create_sets(&mut batch, unfit);
    table.create_rules(&mut batch);
    socket.commit(batch)?;
    let mut batch = socket.batch();
    for name in found.sets.keys().filter(|name| !table.sets.iter().any(|set| set.name == **name)) {
        delete(&mut batch, uapi::DELSET, uapi::SET_TABLE, uapi::SET_NAME, name);
    }
    for name in found.chains.iter().filter(|name| !table.chains.iter().any(|chain| chain.name == **name)) {
        delete(&mut batch, uapi::DELCHAIN, uapi::CHAIN_TABLE, uapi::CHAIN_NAME, name);
    }
    socket.commit(batch)
}

/// Every chain, rule and set but those of entries is made anew, in one commit.
fn make_anew(socket: &mut Socket, table: &Table, found: &Found) -> Result<(), CommitError> {
    let mut batch = socket.batch();
    // All rules first: they hold chains and sets in place.
    named(&mut batch, uapi::DELRULE);
    let kept: Vec<&String> = table.sets.iter().filter(|set| found.keeps(set)).map(|set| &set.name).collect();
    for name in found.sets.keys().filter(|name| !kept.contains(name)) {
        delete(&mut batch, uapi::DELSET, uapi::SET_TABLE, uapi::SET_NAME, name);
    }
    for name in &found.chains {
        delete(&mut batch, uapi::DELCHAIN, uapi::CHAIN_TABLE, uapi::CHAIN_NAME, name);
    }
    table.create(&mut batch, |set| found.keeps(set));
    socket.commit(batch)
}

fn new_table(batch: &mut Batch, flags: u32) {
    batch.message(uapi::NEWTABLE, uapi::NLM_F_CREATE, uapi::INET, |writer| {
        writer.text(uapi::TABLE_NAME, TABLE);
        writer.be32(uapi::TABLE_FLAGS, flags);
    });
}

/// A message that names only the table: the first attribute of every kind of message.
fn named(batch: &mut Batch, kind: u8) {
    batch.message(kind, 0, uapi::INET, |writer| writer.text(uapi::TABLE_NAME, TABLE));
}

fn delete(batch: &mut Batch, kind: u8, table: u16, attribute: u16, name: &str) {
    batch.message(kind, 0, uapi::INET, |writer| {
        writer.text(table, TABLE);
        writer.text(attribute, name);
    });
}

fn shape_of(set: &Set) -> Option<Shape> {
    match &set.kind {
        SetKind::Entries(entries) | SetKind::Banned(entries) => {
            let cap = entries.cap.map_or(0, u64::from);
            Some((set.flags(), set.key_len(), set.key_type(), entries.size, cap))
        }
        SetKind::Held(_) => Some((set.flags(), set.key_len(), set.key_type(), HELD_MAX, 0)),
        SetKind::Interfaces(_) | SetKind::Networks(..) | SetKind::Verdicts(..) => None,
    }
}

/// The named sets of our table, if there is one.
fn shapes(socket: &mut Socket) -> Result<BTreeMap<String, Shape>, Error> {
    let mut shapes = BTreeMap::new();
    dump(socket, uapi::GETSET, |attributes| {
        let number = |kind| attributes.find(kind).and_then(be32).unwrap_or(0);
        let size = attributes.nested(uapi::SET_DESC).find(uapi::SET_DESC_SIZE).and_then(be32);
        let (Some(name), flags) = (attributes.find(uapi::SET_NAME), number(uapi::SET_FLAGS)) else { return };
        // Anonymous sets go with their rules.
        if flags & uapi::SET_F_ANONYMOUS == 0 {
            // Since 5.x the kernel adds a flag of its own to sets whose elements carry expressions.
            let flags = flags & !uapi::SET_F_EXPR;
            let cap = cap_of(attributes);
            let shape =
                (flags, number(uapi::SET_KEY_LEN), number(uapi::SET_KEY_TYPE), size.unwrap_or(0), cap);
            shapes.insert(text(name), shape);
        }
    })?;
    Ok(shapes)
}

/// The octets a second that each element of a set lets pass; 0 without a cap.
fn cap_of(set: &Attributes<'_>) -> u64 {
    let expressions = set.nested(uapi::SET_EXPRESSIONS).map(|one| one.nested());
    let mut limits = expressions.filter(|one| one.find(uapi::EXPR_NAME) == Some(b"limit\0"));
    let rate = limits.next().and_then(|limit| limit.nested(uapi::EXPR_DATA).find(uapi::LIMIT_RATE));
    rate.and_then(be64).unwrap_or(0)
}

fn names(socket: &mut Socket, kind: u8, table: u16, attribute: u16) -> Result<Vec<String>, Error> {
    let mut names = Vec::new();
    dump(socket, kind, |attributes| {
        let of_ours = attributes.find(table).is_some_and(|name| text(name) == TABLE);
        if let (true, Some(name)) = (of_ours, attributes.find(attribute)) {
            names.push(text(name));
        }
    })?;
    Ok(names)
}

/// Dumps what is in our table. No table: nothing.
fn dump(socket: &mut Socket, kind: u8, mut each: impl FnMut(&Attributes<'_>)) -> Result<(), Error> {
    let mut question = Message::nftables(kind, uapi::NLM_F_DUMP, uapi::INET, socket.next_sequence());
    question.attributes().text(uapi::TABLE_NAME, TABLE);
    match socket.ask(question, |message| each(&message.attributes())) {
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
        // Torn by a foreign change: the commit that follows fails if that matters, and we look again.
        Err(error) if error.kind() == std::io::ErrorKind::Interrupted => Ok(()),
        result => result.map_err(Error::kernel("cannot read the nftables table")),
    }
}

/// True if the table is there.
pub(super) fn exists(socket: &mut Socket) -> Result<bool, Error> {
    Ok(ask_table(socket)?.is_some())
}

/// True if the table is there and belongs to this socket: then it is as we left it, since nobody else may change it.
pub(super) fn is_ours(socket: &mut Socket) -> Result<bool, Error> {
    Ok(ask_table(socket)?.flatten() == Some(socket.port()))
}

/// True if the table is there and belongs to a running program other than us.
fn owner(socket: &mut Socket) -> Result<bool, Error> {
    Ok(ask_table(socket)?.flatten().is_some_and(|port| port != socket.port()))
}

fn ask_table(socket: &mut Socket) -> Result<Option<Option<u32>>, Error> {
    let mut question = Message::nftables(uapi::GETTABLE, uapi::NLM_F_ACK, uapi::INET, socket.next_sequence());
    question.attributes().text(uapi::TABLE_NAME, TABLE);
    let mut owner = None;
    let answer = socket.ask(question, |message| {
        owner = message.attributes().find(uapi::TABLE_OWNER).and_then(be32);
    });
    match answer {
        Ok(()) => Ok(Some(owner)),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
        Err(error) => Err(Error::kernel("cannot read the nftables table")(error)),
    }
}
