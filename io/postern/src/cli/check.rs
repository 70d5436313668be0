//! `postern check`

mod around;
mod host;
mod line;
mod plan;
mod pool;
mod routes;
mod tls;

use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use super::{Common, OK, Outcome, PROBLEM, print};
use crate::config::{Config, Engine, keys};

/// Say what is wrong with a configuration and with this host, and print the firewall line
#[derive(Debug, Args)]
#[command(
    after_help = "Looks at the file, the certificates, the users, the sockets, the names, the kernel, and at what the firewall does with a packet \
            that the gate has marked: one of our own, that never leaves this host. While no middlebox half runs, our table \
            is made for that moment.

Examples:
  postern check
  postern check ./postern.toml
  postern check --keys | less    what every key means
  sudo postern check             the kernel and the firewall can only be asked with CAP_NET_ADMIN

Exit codes: 0 all is well; 1 a problem, or something could not be proven; 2 the configuration is wrong."
)]
pub(super) struct Check {
    /// The configuration file; instead of --config
    file: Option<PathBuf>,
    /// Print every key of the configuration with type, range, default and meaning, and leave
    #[arg(long)]
    keys: bool,
}

/// How one finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Grade {
    Ok,
    /// Works, but look at it.
    Warning,
    /// Could not be found out.
    NotProven,
    /// Will not work.
    Problem,
}

/// One thing looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Finding {
    grade: Grade,
    text: String,
    /// What to do, or the exact text to use.
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<String>,
}

impl Finding {
    fn new(grade: Grade, text: impl Into<String>) -> Self {
        Self { grade, text: text.into(), advice: None }
    }

    fn advise(self, advice: impl Into<String>) -> Self {
        Self { advice: Some(advice.into()), ..self }
    }
}

impl Check {
    pub(super) fn run(self, common: &Common) -> Outcome {
        if self.keys {
            return print::say(&keys());
        }
        let common = common.with(self.file);
        let config = common.load()?;
        let file = common.config.display();
        let mut findings = vec![Finding::new(Grade::Ok, format!("{file} is a good configuration"))];
        look(&config, &common.config, &mut findings);
        let said = if common.json {
            print::json(&findings)
        } else {
            print::say(&findings.iter().map(text).collect::<String>())
        }?;
        let bad = findings.iter().any(|finding| matches!(finding.grade, Grade::NotProven | Grade::Problem));
        Ok(if said == OK && bad { PROBLEM } else { said })
    }
}

fn look(config: &Config, file: &Path, findings: &mut Vec<Finding>) {
    plan::look(config, findings);
    routes::look(config, findings);
    host::look(config, findings);
    tls::look(config, file, findings);
    pool::look(config, findings);
    if config.middleboxes.iter().any(|middlebox| middlebox.engine == Engine::Nftables) {
        return line::look(config, findings);
    }
    findings.push(Finding::new(Grade::Warning, "no firewall is asked (`engine = \"none\"`)"));
}

fn text(finding: &Finding) -> String {
    let word = match finding.grade {
        Grade::Ok => "ok         ",
        Grade::Warning => "warning    ",
        Grade::NotProven => "not proven ",
        Grade::Problem => "PROBLEM    ",
    };
    let mut text = format!("{word} {}\n", finding.text);
    for line in finding.advice.iter().flat_map(|advice| advice.lines()) {
        text.push_str(&format!("             {line}\n"));
    }
    text
}
