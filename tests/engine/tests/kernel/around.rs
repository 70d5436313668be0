//! What `check` is told: the administrator's line, and the proof that it works.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use engine_contract::{AGENT, Bench, authority};
use libtest_mimic::Failed;
use midcom::{Direction, Protocol, Tuple};
use middlebox::Opening;
use nftables::line::{self, Expected, Keeper, MarkUse, Note, Passage, Surroundings};
use nftables::proof::{Probe, Proof, prove};
use nftables::{Features, Mark};

use crate::firewall::Kernel;

fn survey(kernel: &Kernel) -> Result<Surroundings, Failed> {
    let expected = Expected { mark: Mark::default(), ports: 16384..=32767, v4: true, v6: true };
    Ok(kernel.network.firewall.run(|| line::survey(&expected).map_err(io::Error::other))?)
}

/// Family, table and hook of each chain that decides, what it does with what the gate let in, and whether it has the line.
fn short(around: &Surroundings) -> Vec<String> {
    let passage = |passage: &Passage| match passage {
        Passage::Open(None) => "open".to_owned(),
        Passage::Open(Some(spot)) => format!("open but {spot}"),
        Passage::Shut(spot, false) => format!("shut by {spot}"),
        Passage::Shut(spot, true) => format!("perhaps shut by {spot}"),
    };
    let one = |c: &line::BaseChain| {
        let line = if c.has_line { "line" } else { "no line" };
        format!("{} {} {}: {}, {line}", c.place.family, c.place.table, c.hook, passage(&c.passage))
    };
    around.chains.iter().map(one).map(|text| without_handle(&text)).collect()
}

fn without_handle(text: &str) -> String {
    let words: Vec<_> =
        text.split(' ').map(|word| if word.parse::<u64>().is_ok() { "N" } else { word }).collect();
    words.join(" ")
}

/// Chains that would drop are found with and without the line, and the printed command is the missing line.
pub(crate) fn finds_the_line() -> Result<(), Failed> {
    let kernel = Kernel::new(Features::ALL)?;
    kernel.nft(
        "table ip extra { chain forward { type filter hook forward priority 10; policy drop; }; }
         table bridge other { chain pre { type filter hook prerouting priority 0; }; }",
    )?;
    let found = survey(&kernel)?;
    assert_eq!(
        short(&found),
        [
            "inet filter forward: open, line",
            "ip extra forward: shut by the policy of table ip extra, chain forward, no line",
            "inet filter input: perhaps shut by the policy of table inet filter, chain input, no line"
        ]
    );
    assert_eq!((&found.mark_uses, &found.legacy), (&vec![], &vec![]));
    let missing = found.chains.iter().find(|chain| chain.place.table == "extra").expect("listed above");
    let command = found.remedy(missing, Mark::default(), &[]);
    let quoted = command.lines().next().and_then(|line| line.strip_prefix("nft '")?.strip_suffix('\''));
    kernel.nft(quoted.ok_or("not an nft command")?)?;
    assert!(survey(&kernel)?.chains.iter().all(|chain| chain.has_line == (chain.hook == "forward")));
    Ok(())
}

/// Each keeper of rules gets its own words; `tests/lab/neighbours.rs` follows those whose tools can run here.
pub(crate) fn names_the_keeper() -> Result<(), Failed> {
    let base = "{ type filter hook forward priority 0; policy drop; };";
    for (table, keeper, words) in [
        (
            format!("table inet fw4 {{ chain forward {base} }}"),
            Keeper::Fw4,
            "uci set firewall.@include[-1].chain='forward'",
        ),
        (
            format!("table inet firewalld {{ chain filter_FORWARD {base} }}"),
            Keeper::Firewalld,
            "rule family=\"ipv6\" destination address=\"fd00:40::/64\" port port=\"16384-32767\" protocol=\"udp\" accept",
        ),
        (
            format!("table ip6 filter {{ chain FORWARD {base} }}"),
            Keeper::Iptables,
            "ip6tables -I FORWARD -m conntrack",
        ),
        (
            format!("table ip6 filter {{ chain ufw6-before-forward {{}}; chain FORWARD {base} }}"),
            Keeper::Ufw,
            "-A ufw6-before-forward -m conntrack",
        ),
        (
            format!("table ip6 filter {{ chain DOCKER-USER {{}}; chain FORWARD {base} }}"),
            Keeper::Docker,
            "ip6tables -I DOCKER-USER -m conntrack",
        ),
        (
            format!("table inet home {{ chain f {base} }}"),
            Keeper::Nftables,
            "nft 'insert rule inet home f ct state",
        ),
    ] {
        let kernel = Kernel::new(Features::ALL)?;
        kernel.nft(&table)?;
        let around = survey(&kernel)?;
        let chain = around.chains.iter().find(|chain| !chain.has_line && chain.hook == "forward");
        let chain = chain.ok_or_else(|| format!("{table}: {around:?}"))?;
        assert_eq!(chain.keeper, keeper, "{table}");
        let managed = ("fd00:40::/64".parse()?, 16384..=32767);
        let remedy = around.remedy(chain, Mark::default(), &[managed]);
        assert!(remedy.contains(words), "{remedy}");
    }
    Ok(())
}

const LINE: &str = "ct state untracked meta mark & 0x01000000 == 0x01000000 accept";

/// What stands before the line counts, wherever it stands; a line where no packet comes does not.
pub(crate) fn judges_the_line() -> Result<(), Failed> {
    for (rules, found) in [
        (format!("drop; {LINE}"), "shut by the rule with handle N of table inet extra, chain forward, line"),
        (format!("ct state invalid drop; {LINE}"), "open, line"),
        (format!("ct state vmap {{ established : accept, invalid : drop }}; {LINE}"), "open, line"),
        (
            format!("ct state {{ new, untracked }} drop; {LINE}"),
            "shut by the rule with handle N of table inet extra, chain forward, line",
        ),
        (format!("udp dport 53 drop; tcp dport 1-65535 drop; {LINE}"), "open, line"),
        (
            format!("udp dport 20000 drop; {LINE}"),
            "open but the rule with handle N of table inet extra, chain forward, line",
        ),
        (format!("meta l4proto {{ tcp, sctp }} drop; {LINE}"), "open, line"),
        (
            format!("meta l4proto {{ tcp, udp }} jump side; {LINE}"),
            "shut by the rule with handle N of table inet extra, chain side, line",
        ),
        (
            format!("iifname vmap {{ outside0 : jump side, inside0 : accept }}; {LINE}"),
            "open but the rule with handle N of table inet extra, chain side, line",
        ),
        ("jump good".to_owned(), "open, line"),
        (
            "iifname outside0 jump good".to_owned(),
            "perhaps shut by the policy of table inet extra, chain forward, line",
        ),
        (
            "iifname outside0 return; jump good".to_owned(),
            "perhaps shut by the policy of table inet extra, chain forward, line",
        ),
        (
            "meta nfproto ipv4 jump good".to_owned(),
            "shut by the policy of table inet extra, chain forward, line",
        ),
        ("reject".to_owned(), "shut by the rule with handle N of table inet extra, chain forward, no line"),
        (
            "ct state established accept".to_owned(),
            "shut by the policy of table inet extra, chain forward, no line",
        ),
        ("meta mark & 0x01000000 == 0x01000000 accept".to_owned(), "open, no line"),
        (
            format!("iifname outside0 {LINE}"),
            "perhaps shut by the policy of table inet extra, chain forward, no line",
        ),
    ] {
        let kernel = Kernel::new(Features::ALL)?;
        kernel.nft(&format!(
            "table inet extra {{ chain side {{ drop; }}; chain good {{ {LINE}; }};
             chain forward {{ type filter hook forward priority 10; policy drop; {rules}; }}; }}"
        ))?;
        let around = survey(&kernel)?;
        let judged = short(&around)
            .into_iter()
            .find_map(|text| Some(text.strip_prefix("inet extra forward: ")?.to_owned()));
        assert_eq!(judged.as_deref(), Some(found), "{rules}");
        let stray: Vec<_> = around.stray_lines.iter().map(|place| place.chain.as_str()).collect();
        assert_eq!(stray.is_empty(), rules.contains("jump good"), "{rules}: {stray:?}");
    }
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
         table inet keeper { chain c { type filter hook prerouting priority -150;
           ct mark set meta mark; ct mark & 0x01000000 == 0x01000000 accept; ct mark set ct mark | 0x1; }; }
         table ip reader { chain c { type filter hook prerouting priority -150; meta mark 0x01000000 accept; }; }",
    )?;
    let uses = survey(&kernel)?.mark_uses;
    let names: Vec<_> = uses.iter().map(ToString::to_string).collect();
    assert_eq!(
        names,
        [
            "table inet keeper, chain c keeps it in the mark of connections, or asks for it there",
            "table inet writer, chain c writes the mark",
            "table ip reader, chain c asks for the mark"
        ],
        "{uses:?}"
    );
    assert!(matches!(uses[1], MarkUse::Writes(_)));
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
