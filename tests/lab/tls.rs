//! SIMCO over mutual TLS between the hosts of a row: who is let in, and what a certificate's end does.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use certificates::{Ca, Leaf, Signed, now};

use crate::raw::{Noise, connect_to, read_to_close};
use crate::row::{CORE, EDGE, Half, Row, Talk, try_to_call};
use crate::witness::expect;
use crate::world::{Named, Outcome, signal};

pub(crate) fn trials() -> Vec<Named> {
    vec![
        ("tls::a_certificate_expires_and_is_replaced_while_calls_go_on", expires),
        ("tls::the_middlebox_gets_a_new_certificate_and_no_session_ends", replaced),
        ("tls::a_foreign_certificate_is_refused", foreign),
        ("tls::a_certificate_of_no_agent_is_refused", nobody),
        ("tls::a_middlebox_with_another_name_is_not_spoken_to", other_name),
        ("tls::what_is_not_tls_harms_nobody", noise),
        ("tls::files_that_do_not_belong_together_are_not_taken", mismatch),
    ]
}

/// The names in the certificates of the agent half and of the two middleboxes.
const AGENT: &str = "border.example.net";

/// Certificates of one site: files `NAME.pem` and `NAME.key` beside `ca.pem`.
pub(crate) struct Site {
    ca: Ca,
    folder: String,
}

impl Site {
    pub(crate) fn new(row: &Row) -> io::Result<Self> {
        let site = Self { ca: Ca::new("site"), folder: row.world.folder.display().to_string() };
        fs::write(row.world.folder.join("ca.pem"), &site.ca.certificate)?;
        site.issue("agent", &Leaf { names: &[AGENT], ..Leaf::valid() })?;
        site.issue("edge", &Leaf { names: &[EDGE], ..Leaf::valid() })?;
        site.issue("core", &Leaf { names: &[CORE], ..Leaf::valid() })?;
        Ok(site)
    }

    /// Puts a new certificate in the place of an old one.
    pub(crate) fn issue(&self, name: &str, leaf: &Leaf<'_>) -> io::Result<()> {
        self.put(name, &self.ca.sign(leaf))
    }

    fn put(&self, name: &str, signed: &Signed) -> io::Result<()> {
        for (ending, content) in [("key", &signed.key), ("pem", &signed.certificate)] {
            // As an administrator does it: whoever reads sees the old file or the new one.
            let new = format!("{}/{name}.new", self.folder);
            fs::write(&new, content)?;
            fs::rename(new, format!("{}/{name}.{ending}", self.folder))?;
        }
        Ok(())
    }

    fn files(&self, name: &str, ca: &str) -> String {
        let folder = &self.folder;
        format!(
            "certificate = \"{folder}/{name}.pem\"\nkey = \"{folder}/{name}.key\"\n{ca} = \"{folder}/ca.pem\"\n"
        )
    }

    /// The keys of a middlebox that serves the agent half.
    pub(crate) fn middlebox(&self, name: &str, address: &str) -> String {
        let files = self.files(name, "client-ca");
        format!(
            "listen = [\"tls:{address}\"]\n{files}[middlebox.agent.border]\ncertificates = [\"{AGENT}\"]\n"
        )
    }

    /// The sections of the agent half.
    pub(crate) fn agent(&self) -> String {
        self.agent_of(&["edge", "core"])
    }

    /// Those for some of the middleboxes.
    pub(crate) fn agent_of(&self, names: &[&str]) -> String {
        let address = |name: &str| if name == "edge" { EDGE } else { CORE };
        let section = |name: &&str| {
            let (files, to) = (self.files("agent", "ca"), address(name));
            format!("[[middlebox]]\nname = \"{name}\"\nconnect = \"tls:{to}\"\n{files}")
        };
        names.iter().map(section).collect::<Vec<_>>().join("\n")
    }
}

/// Both middleboxes and the agent half.
type Halves<'r> = (Half<'r>, Half<'r>, Half<'r>);

fn started<'r>(row: &'r Row, site: &Site) -> io::Result<Halves<'r>> {
    let edge = row.edge(&site.middlebox("edge", EDGE))?;
    let core = row.core(&site.middlebox("core", CORE))?;
    Ok((edge, core, row.agent(&site.agent())?))
}

pub(crate) fn wait_log(half: &Half<'_>, text: &str) -> io::Result<()> {
    half.wait_for(&format!("the log says: {text}"), || Ok(half.log().contains(text)))
}

/// What the agent half says is wrong with a middlebox.
pub(crate) fn wait_trouble(agent: &Half<'_>, name: &str, text: &str) -> io::Result<()> {
    agent.wait_for(&format!("{name} is down: {text}"), || {
        let status = agent.json(&["status"])?;
        let all = status["middleboxes"].as_array().cloned().unwrap_or_default();
        let found = all.iter().find(|one| one["name"] == name);
        Ok(found.is_some_and(|one| one["up"] == false && one["trouble"].to_string().contains(text)))
    })
}

fn expires() -> Outcome {
    let row = Row::new()?;
    let site = Site::new(&row)?;
    let border = Leaf { names: &[AGENT], ..Leaf::valid() };
    site.issue("agent", &Leaf { not_after: now() + 4, ..border.clone() })?;
    let (edge, core, agent) = started(&row, &site)?;
    agent.wait_up(&["edge", "core"])?;
    let talk = Talk::start(&row)?;
    agent.wait_for("the certificate has expired", || {
        Ok(agent.json(&["status"])?["middleboxes"].to_string().contains("EXPIRED"))
    })?;
    // Sessions that exist go on, calls and all.
    agent.wait_up(&["edge", "core"])?;
    talk.goes_on(&agent)?;
    edge.wait_rules(2)?;
    // A new session is refused, and both sides say why.
    signal(core.program.id(), "KILL")?;
    drop(core);
    let core = row.core(&site.middlebox("core", CORE))?;
    wait_log(&core, "the certificate of the peer expired on")?;
    wait_trouble(&agent, "core", "refuses our certificate: expired")?;
    expect(try_to_call(&row)?.0, 504, "a call without the core")?;
    // The new file is enough.
    site.issue("agent", &border)?;
    agent.wait_up(&["edge", "core"])?;
    core.wait_rules(2)?;
    talk.goes_on(&agent)?;
    talk.hang_up()?;
    edge.wait_rules(0)?;
    core.wait_rules(0)?;
    expect(talk.media.tally().lost, Vec::new(), "packets lost")?;
    Ok(())
}

fn replaced() -> Outcome {
    let row = Row::new()?;
    let site = Site::new(&row)?;
    site.issue("core", &Leaf { names: &[CORE], ..Leaf::expired() })?;
    let (_edge, core, agent) = started(&row, &site)?;
    expect(core.log().contains("expired on"), true, "the core says that its own certificate is over")?;
    wait_trouble(&agent, "core", "the certificate of the peer expired on")?;
    wait_log(&core, "refuses our certificate: expired")?;
    site.issue("core", &Leaf { names: &[CORE], ..Leaf::valid() })?;
    agent.wait_up(&["edge", "core"])?;
    // Another one, while the session lives: it is noticed without anybody connecting, and nothing ends.
    let talk = Talk::start(&row)?;
    let before = core.json(&["status"])?["middlebox"]["certificate"].clone();
    site.issue("core", &Leaf { names: &[CORE], not_after: now() + 900 * 86_400, ..Leaf::valid() })?;
    core.wait_for("the new certificate is in use", || {
        Ok(core.json(&["status"])?["middlebox"]["certificate"] != before)
    })?;
    talk.goes_on(&agent)?;
    expect(agent.log().matches("core: session is up").count(), 1, "sessions with the core")?;
    talk.hang_up()?;
    core.wait_rules(0)?;
    Ok(())
}

fn foreign() -> Outcome {
    let row = Row::new()?;
    let site = Site::new(&row)?;
    site.put("agent", &Ca::new("somebody else's").sign(&Leaf { names: &[AGENT], ..Leaf::valid() }))?;
    let (edge, _core, agent) = started(&row, &site)?;
    wait_log(&edge, "the certificate of the peer was signed by nobody we trust")?;
    wait_trouble(&agent, "edge", "refuses our certificate")?;
    expect(try_to_call(&row)?.0, 504, "a call")?;
    expect(edge.json(&["status"])?["middlebox"]["sessions"].as_u64(), Some(0), "sessions at the edge")?;
    Ok(())
}

fn nobody() -> Outcome {
    let row = Row::new()?;
    let site = Site::new(&row)?;
    site.issue("agent", &Leaf { common_name: AGENT, names: &["stranger.example.net"], ..Leaf::valid() })?;
    let (edge, _core, agent) = started(&row, &site)?;
    wait_log(&edge, "with a certificate of stranger.example.net may not open a session")?;
    wait_trouble(&agent, "edge", "it refuses the session: no authorization")?;
    // Without other names the common name is the one that counts.
    site.issue("agent", &Leaf { common_name: AGENT, ..Leaf::valid() })?;
    agent.wait_up(&["edge", "core"])?;
    Ok(())
}

fn other_name() -> Outcome {
    let row = Row::new()?;
    let site = Site::new(&row)?;
    site.issue("core", &Leaf { names: &["core.example.net"], ..Leaf::valid() })?;
    let (_edge, core, agent) = started(&row, &site)?;
    wait_trouble(&agent, "core", &format!("is not for {CORE}"))?;
    agent.wait_up(&["edge"])?;
    expect(core.json(&["status"])?["middlebox"]["sessions"].as_u64(), Some(0), "sessions at the core")?;
    Ok(())
}

fn noise() -> Outcome {
    let row = Row::new()?;
    let site = Site::new(&row)?;
    let (edge, _core, agent) = started(&row, &site)?;
    agent.wait_up(&["edge", "core"])?;
    let talk = Talk::start(&row)?;
    let door = format!("{EDGE}:7626");
    let mut silent = Vec::new();
    for seed in 0..100 {
        let mut stream = connect_to(&row.world.third, &door)?.0;
        match seed % 4 {
            // SE, as if it were plain TCP.
            0 => stream.write_all(&[1, 1, 0, 8, 0, 0, 0, 1, 0, 1, 0, 4, 3, 0, 0, 0])?,
            1 => drop(stream.write_all(&Noise::new(seed).bytes(5_000))),
            // The first octets of a record of TLS.
            2 => stream.write_all(&[0x16, 3, 1, 2, 0, 1, 0])?,
            _ => {}
        }
        if seed % 4 < 2 {
            drop(read_to_close(&mut stream));
        } else {
            silent.push(stream);
        }
    }
    talk.goes_on(&agent)?;
    // Whoever says nothing keeps nobody out.
    signal(agent.program.id(), "KILL")?;
    drop(agent);
    let agent = row.agent(&site.agent())?;
    agent.wait_up(&["edge", "core"])?;
    expect(edge.log().contains("does not speak TLS"), true, "a line in the log")?;
    expect(edge.log().len() < 20_000, true, "the log stays short")?;
    Ok(())
}

fn mismatch() -> Outcome {
    let row = Row::new()?;
    let site = Site::new(&row)?;
    let (_edge, core, agent) = started(&row, &site)?;
    agent.wait_up(&["edge", "core"])?;
    let folder = Path::new(&site.folder);
    let key = fs::read(folder.join("core.key"))?;
    fs::write(folder.join("core.key"), fs::read(folder.join("edge.key"))?)?;
    wait_log(&core, "this key is not that of the certificate")?;
    wait_log(&core, "the certificate read before stays in use")?;
    // It is: a new session is possible.
    signal(agent.program.id(), "KILL")?;
    drop(agent);
    let agent = row.agent(&site.agent())?;
    agent.wait_up(&["edge", "core"])?;
    fs::write(folder.join("core.key"), key)?;
    core.wait_for("the files belong together again", || {
        Ok(core.log().matches("is valid until").count() == 2)
    })?;
    Ok(())
}
