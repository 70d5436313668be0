//! `postern explain`

mod question;

use std::fmt::Write as _;
use std::path::PathBuf;

use b2bua::config as to;
use b2bua::explain::{Explanation, explain};
use clap::Args;
use midcom::{Capabilities, Direction, IpVersions, Lifetime, Request, Tuple};
use serde::Serialize;
use toml::de::DeTable;

use self::question::Question;
use super::{Common, OK, Outcome, PROBLEM, print};
use crate::config::Config;
use crate::runtime::agent::settings;

/// Say what would become of a call: its route, its line of the call policy, its next hops, its pinholes
///
/// The answer is that of the program itself: the part that decides is given the INVITE, with every middlebox there and with
/// nobody registered. Nothing is sent, nothing is opened, and no Postern has to run.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  postern explain --from 201 --to +4930123 --source 10.0.40.7
  postern explain --from sip:carol@example.org --to sip:201@203.0.113.1 --realm outside --at \"Sun 09:30\"
  postern explain --from 201 --to 202 --source 10.0.40.7 --sdp offer.sdp -j -c ./postern.toml

Exit codes: 0 the call would go on; 1 it would be refused; 2 the question or the configuration is wrong.")]
pub(super) struct Explain {
    /// Who calls: a SIP URI, or a user or number at our address
    #[arg(long, value_name = "URI")]
    from: String,
    /// Who is called: a SIP URI, or a user or number at our address
    #[arg(long, value_name = "URI")]
    to: String,
    /// The file with the SDP offer of the INVITE [default: an INVITE without offer]
    #[arg(long, value_name = "FILE")]
    sdp: Option<PathBuf>,
    /// The address that the INVITE comes from [default: that of --from if it names one, else 0.0.0.0]
    #[arg(long, value_name = "ADDR")]
    source: Option<std::net::IpAddr>,
    /// The realm that it arrives in [default: the one whose `media` has the source closest around it]
    #[arg(long, value_name = "NAME")]
    realm: Option<String>,
    /// When: "Mon 18:30", or a date and time such as 2026-12-24T18:30 [default: now]
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
}

impl Explain {
    pub(super) fn run(self, common: &Common) -> Outcome {
        let config = common.load()?;
        let question = Question::of(&self, &config)?;
        let explanation = explain(settings::b2bua(&config), &question.hypothesis(), CAPABILITIES)?;
        let report = Report::new(&config, &question, &explanation);
        let said = if common.json { print::json(&report) } else { print::say(&report.text()) }?;
        Ok(if said == OK && report.refused.is_some() { PROBLEM } else { said })
    }
}

/// What our own middlebox can.
const CAPABILITIES: Capabilities = Capabilities {
    firewall: true,
    nat: false,
    port_translation: false,
    protocol_translation: false,
    twice_nat: false,
    disable_rules: true,
    internal_wildcards: true,
    external_wildcards: true,
    port_wildcards: true,
    persistent: false,
    inside: IpVersions::Both,
    outside: IpVersions::Both,
    lifetime_max: Lifetime(3600),
};

/// A section of the file.
#[derive(Debug, Serialize)]
struct Place {
    /// Among its like, counted from 1.
    number: usize,
    /// The line of the file it begins in.
    line: usize,
}

#[derive(Debug, Serialize)]
struct Pinhole {
    middlebox: String,
    /// What is asked for.
    asked: String,
}

#[derive(Debug, Serialize)]
struct Refused {
    status: u16,
    why: String,
}

/// The answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Report {
    from: String,
    to: String,
    source: String,
    realm: String,
    at: String,
    route: Option<Place>,
    to_realm: Option<String>,
    next_hops: Vec<String>,
    /// The line that decides.
    call_policy: Option<Place>,
    /// Those whose limits are the call's.
    limits: Vec<Place>,
    middleboxes: Vec<String>,
    pinholes: Vec<Pinhole>,
    /// Nothing if the call would go on.
    refused: Option<Refused>,
}

impl Report {
    fn new(config: &Config, question: &Question, explanation: &Explanation) -> Self {
        let (document, _) = DeTable::parse_recoverable(&config.text);
        let place = |section: &str, number: usize| {
            let list = document.get_ref().get(section).and_then(|value| value.get_ref().as_array());
            let start = list.and_then(|list| list.get(number - 1)).map_or(0, |entry| entry.span().start);
            let line = 1 + config.text.get(..start).map_or(0, |before| before.matches('\n').count());
            Place { number, line }
        };
        let middlebox = |id: midcom::MiddleboxId| {
            let name = settings::asked(config).nth(usize::from(id.0)).map(|middlebox| middlebox.name.clone());
            name.filter(|name| !name.is_empty()).unwrap_or_else(|| "the middlebox".to_owned())
        };
        let realm = |id: to::RealmId| config.realms.get(usize::from(id.0)).map(|realm| realm.name.clone());
        Self {
            from: question.from.clone(),
            to: question.to.clone(),
            source: question.source().to_string(),
            realm: realm(question.realm).unwrap_or_default(),
            at: question.at.clone(),
            route: explanation.route.map(|number| place("route", number)),
            to_realm: explanation.to.and_then(realm),
            next_hops: explanation.next_hops.iter().map(next_hop).collect(),
            call_policy: explanation.decided.map(|number| place("call-policy", number)),
            limits: explanation.limits.iter().map(|number| place("call-policy", *number)).collect(),
            middleboxes: explanation.middleboxes.iter().map(|id| middlebox(*id)).collect(),
            pinholes: {
                let asked = explanation.asked.iter();
                asked
                    .map(|(id, request)| Pinhole { middlebox: middlebox(*id), asked: text(request) })
                    .collect()
            },
            refused: explanation.refusal.clone().map(|(status, why)| Refused { status, why }),
        }
    }

    fn text(&self) -> String {
        let mut text = String::new();
        let mut line = |name: &str, said: String| {
            // Writing into a String cannot fail.
            let _ = writeln!(text, "{name:<13}{said}");
        };
        line("call", format!("{} -> {}", self.from, self.to));
        line("arrives", format!("from {} in realm {}, {}", self.source, self.realm, self.at));
        let place = |place: &Place| format!("{} (line {})", place.number, place.line);
        match (&self.route, &self.to_realm) {
            (Some(route), Some(realm)) => line("route", format!("{} into realm {realm}", place(route))),
            (Some(route), None) => line("route", place(route)),
            (None, _) => line("route", "none fits".into()),
        }
        if !self.next_hops.is_empty() {
            line("next hops", self.next_hops.join(", then "));
        }
        if self.to_realm.is_some() {
            line("call policy", self.call_policy.as_ref().map_or_else(|| "no line decides".into(), place));
        }
        if !self.limits.is_empty() {
            line("limits of", self.limits.iter().map(place).collect::<Vec<_>>().join(", "));
        }
        if !self.middleboxes.is_empty() {
            line("asks", self.middleboxes.join(", "));
        }
        for pinhole in &self.pinholes {
            line("pinhole", format!("{}: {}", pinhole.middlebox, pinhole.asked));
        }
        match &self.refused {
            Some(Refused { status, why }) => line("REFUSED", format!("{status} {why}")),
            None => line("goes on", "yes".into()),
        }
        text
    }
}

fn next_hop(hop: &to::NextHop) -> String {
    let host = match &hop.host {
        to::Host::Address(std::net::IpAddr::V6(address)) => format!("[{address}]"),
        to::Host::Address(address) => address.to_string(),
        to::Host::Name(name) => name.clone(),
    };
    let scheme = if hop.secure { "sips" } else { "sip" };
    let port = hop.port.map(|port| format!(":{port}")).unwrap_or_default();
    let transport = hop.transport.map(|transport| format!(" over {transport}")).unwrap_or_default();
    format!("{scheme}:{host}{port}{transport}")
}

/// What a middlebox is asked for.
fn text(request: &Request) -> String {
    let flow = |direction: Direction, internal: &Tuple, external: &Tuple| {
        let arrow = match direction {
            Direction::Inbound => "<-",
            Direction::Outbound => "->",
            Direction::Bidirectional => "<->",
        };
        format!("{internal} {arrow} {external}")
    };
    match request {
        Request::Enable { direction, internal, external, .. }
        | Request::EnableReserved { direction, internal, external, .. } => {
            flow(*direction, internal, external)
        }
        Request::Reserve { protocol, ports, .. } => {
            format!("room for {ports} ports of {protocol} is set aside")
        }
        Request::Disable { internal, external, .. } => flow(Direction::Bidirectional, internal, external),
        Request::Lifetime { .. } | Request::Status { .. } | Request::List | Request::Count { .. } => {
            String::new()
        }
    }
}

#[cfg(test)]
mod tests;
