//! What `check` is told: the administrator's line, and the proof that it works.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use engine_contract::{AGENT, Bench, authority};
use libtest_mimic::Failed;
use midcom::{Direction, Protocol, Tuple};
use middlebox::Opening;
use nftables::line::{self, MarkUse, Note, Surroundings};
use nftables::proof::{Probe, Proof, prove};
use nftables::{Features, Mark};

use crate::firewall::Kernel;

fn survey(kernel: &Kernel) -> Result<Surroundings, Failed> {
    Ok(kernel.network.firewall.run(|| line::survey(Mark::default()).map_err(io::Error::other))?)
}

/// Chains that would drop are found with and without the line, and the printed command is the missing line.
pub(crate) fn finds_the_line() -> Result<(), Failed> {
    let kernel = Kernel::new(Features::ALL)?;
    kernel.nft(
        "table ip extra { chain forward { type filter hook forward priority 10; policy drop; }; }
         table bridge other { chain pre { type filter hook prerouting priority 0; }; }",
    )?;
    let found = survey(&kernel)?;
    let short = |around: &Surroundings| -> Vec<String> {
        let one =
            |c: &line::BaseChain| format!("{} {} {} {} {}", c.family, c.table, c.hook, c.drops, c.has_line);
        around.chains.iter().map(one).collect()
    };
    assert_eq!(
        short(&found),
        ["inet filter forward true true", "ip extra forward true false", "inet filter input true false"]
    );
    assert_eq!((&found.mark_uses, &found.legacy), (&vec![], &vec![]));
    let missing = found.chains.iter().find(|chain| chain.table == "extra").expect("listed above");
    let command = missing.command(Mark::default());
    let quoted = command.strip_prefix("nft '").and_then(|rest| rest.strip_suffix('\''));
    kernel.nft(quoted.ok_or("not an nft command")?)?;
    assert!(survey(&kernel)?.chains.iter().all(|chain| chain.has_line == (chain.hook == "forward")));
    Ok(())
}

/// What bypasses or rewrites is named.
pub(crate) fn finds_other_things() -> Result<(), Failed> {
    let kernel = Kernel::new(Features::ALL)?;
    assert_eq!(survey(&kernel)?.notes, []);
    kernel.nft("table inet helpers { ct helper phones { type \"sip\" protocol udp; }; }")?;
    assert_eq!(survey(&kernel)?.notes, [Note::SipHelper("inet helpers phones".into())]);
    Ok(())
}

/// Whoever else uses our bit is named; whoever uses another is not.
pub(crate) fn finds_mark_users() -> Result<(), Failed> {
    let kernel = Kernel::new(Features::ALL)?;
    kernel.nft(
        "table inet good { chain c { type filter hook prerouting priority -150;
           meta mark & 0xff == 0x1 accept; meta mark set meta mark | 0x1; }; }
         table inet writer { chain c { type filter hook prerouting priority -150; meta mark set 0x1; }; }
         table ip reader { chain c { type filter hook prerouting priority -150; meta mark 0x01000000 accept; }; }",
    )?;
    let uses = survey(&kernel)?.mark_uses;
    let names: Vec<_> = uses.iter().map(ToString::to_string).collect();
    assert_eq!(
        names,
        ["table inet writer, chain c writes the mark", "table ip reader, chain c asks for the mark"],
        "{uses:?}"
    );
    assert!(matches!(uses[0], MarkUse::Writes(_)));
    Ok(())
}

fn probe(v4: bool, inward: bool) -> Probe {
    let (inside, outside): (IpAddr, IpAddr) = match v4 {
        true => (Ipv4Addr::new(10, 0, 40, 99).into(), Ipv4Addr::new(198, 51, 100, 99).into()),
        false => (
            Ipv6Addr::new(0xfd00, 0x40, 0, 0, 0, 0, 0, 0x99).into(),
            Ipv6Addr::new(0x2001, 0xdb8, 0x51, 0, 0, 0, 0, 0x99).into(),
        ),
    };
    let tuple = |address, port| Tuple::host(SocketAddr::new(address, port), Protocol::Udp, 1);
    let (direction, internal, external) = match inward {
        true => (Direction::Inbound, tuple(inside, 20000), tuple(outside, 0)),
        false => (Direction::Outbound, tuple(inside, 0), tuple(outside, 20000)),
    };
    let opening = Opening { direction, internal, external };
    let permit = authority().permit(AGENT, &opening).expect("everything is allowed").remove(0);
    let (near, far) = (SocketAddr::new(inside, 20000), SocketAddr::new(outside, 20000));
    let (source, destination) = if inward { (far, near) } else { (near, far) };
    let interface = if inward { "outside0" } else { "inside0" };
    Probe { permit, source, destination, interface: interface.into() }
}

/// With the line a packet gets through, in every direction and version; without it, it does not; and nothing of the
/// attempt is left.
pub(crate) fn proves_the_line() -> Result<(), Failed> {
    let mut kernel = Kernel::new(Features::ALL)?;
    // Who may not open it gets "not proven", which is another test's business.
    if std::fs::File::options().read(true).write(true).open("/dev/net/tun").is_err() {
        return Ok(());
    }
    let probes =
        [(true, true), (true, false), (false, true), (false, false)].map(|(v4, inward)| probe(v4, inward));
    let try_all = |kernel: &mut Kernel| {
        let host = kernel.network.firewall.clone();
        host.run(|| Ok(probes.each_ref().map(|probe| prove(kernel.gate(), probe))))
    };
    let proven = [const { Proof::Proven }; 4];
    assert_eq!(try_all(&mut kernel)?, proven);
    kernel.nft("flush chain inet filter forward")?;
    let by_policy = Proof::Blocked(Some("the policy of table inet filter, chain forward".into()));
    assert_eq!(try_all(&mut kernel)?.to_vec(), vec![by_policy; 4]);
    kernel.nft("add rule inet filter forward drop")?;
    let by_rule = try_all(&mut kernel)?;
    assert!(
        matches!(&by_rule[0], Proof::Blocked(Some(rule)) if rule.starts_with("the rule with handle")),
        "{by_rule:?}"
    );
    let elsewhere = Probe { interface: "third0".into(), ..probe(true, true) };
    let host = kernel.network.firewall.clone();
    let unproven = host.run(|| Ok(prove(kernel.gate(), &elsewhere)))?;
    assert!(matches!(unproven, Proof::NotProven(_)), "{unproven:?}");
    assert_eq!(kernel.engine().entries().map(|entries| entries.len()), Ok(0));
    assert!(!kernel.nft("list table inet postern")?.contains("proof"));
    Ok(())
}
