//! Who has registered, over a restart: `registrations` of the configuration.
//!
//! A line of JSON for each contact that a registrar has taken or taken again, and for each that is gone; the last about a
//! contact counts. A line that was cut off by a crash is passed over. What has piled up is written anew now and then.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Read, Seek, Write};
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use b2bua::config::{Config, RealmId};
use b2bua::{Event, RegistrationInfo};
use machine::Instant;
use nix::fcntl::OFlag;
use serde::{Deserialize, Serialize};
use sip::transport::{Hop, ListenerId};

use crate::log;

/// So many lines more than contacts, and the file is written anew.
const SURPLUS_MAX: usize = 10_000;

/// No contact lives longer without being registered again, whatever the clock says that was right when it was written.
const LEFT_MAX: Duration = Duration::from_secs(604_800);

/// The file.
#[derive(Debug)]
pub(super) struct Book {
    file: File,
    lines: usize,
    /// What has changed since it was written last.
    changed: Vec<Box<str>>,
    /// It could not be written last time, which was said.
    failed: bool,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Entry {
    Is(Box<Contact>),
    Gone(String),
}

#[derive(Debug, Serialize, Deserialize)]
struct Contact {
    name: String,
    realm: String,
    registrar: String,
    aor: String,
    contact: String,
    phone: String,
    /// The address that it was heard on.
    listener: SocketAddr,
    transport: String,
    at: SocketAddr,
    path: Vec<String>,
    /// Seconds since 1970.
    expires: u64,
}

impl Book {
    /// Opens it for the agent half's user, and reads what is in it.
    ///
    /// # Errors
    /// What the file system says.
    pub(super) fn open(
        path: &Path,
        uid: u32,
        config: &Config,
        now: Instant,
    ) -> io::Result<(Self, Vec<RegistrationInfo>)> {
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(true).mode(0o600);
        // What it gives away is a file of its own: no link that somebody has put in its place, and no pipe to wait at.
        options.custom_flags((OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits());
        let mut file = options.open(path)?;
        let found = file.metadata()?;
        if !found.is_file() || found.nlink() != 1 {
            return Err(io::Error::other("not a file with one name"));
        }
        file.set_permissions(Permissions::from_mode(0o600))?;
        if nix::unistd::Uid::effective().is_root() {
            fchown(&file, Some(uid), None)?;
        }
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        let mut known = BTreeMap::new();
        let mut lines = 0;
        for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            lines += 1;
            match serde_json::from_slice(line) {
                Ok(Entry::Is(contact)) => drop(known.insert(contact.name.clone(), contact)),
                Ok(Entry::Gone(name)) => drop(known.remove(&name)),
                Err(error) => log::warn(format_args!("{}: line {lines}: {error}", path.display())),
            }
        }
        let contacts = known.into_values().filter_map(|contact| contact.read(config, now)).collect();
        if !text.ends_with(b"\n") && !text.is_empty() {
            file.write_all(b"\n")?;
        }
        Ok((Self { file, lines, changed: Vec::new(), failed: false }, contacts))
    }

    /// Takes note of what happened.
    pub(super) fn observe(&mut self, event: &Event) {
        if let Event::Registered { name, .. } | Event::Unregistered { name, .. } = event {
            self.changed.push(name.clone());
        }
    }

    /// Writes down what has changed.
    pub(super) fn write(&mut self, config: &Config, machine: &b2bua::B2bua, now: Instant) {
        if self.changed.is_empty() {
            return;
        }
        let changed = std::mem::take(&mut self.changed);
        let done = match self.lines > machine.registrations_len().saturating_add(SURPLUS_MAX) {
            true => self.write_anew(config, machine, now),
            false => self.append(changed.iter().map(|name| match machine.registration(name) {
                Some(info) => Entry::Is(Contact::write(config, &info, now).into()),
                None => Entry::Gone(name.to_string()),
            })),
        };
        if let Err(error) = &done
            && !self.failed
        {
            log::warn(format_args!("registrations cannot be written down: {error}"));
        }
        self.failed = done.is_err();
        if self.failed {
            // Written anew next time: what could not be written is not known any more.
            self.lines = usize::MAX;
        }
    }

    fn write_anew(&mut self, config: &Config, machine: &b2bua::B2bua, now: Instant) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.rewind()?;
        self.lines = 0;
        self.append(machine.registrations().map(|info| Entry::Is(Contact::write(config, &info, now).into())))
    }

    fn append(&mut self, entries: impl Iterator<Item = Entry>) -> io::Result<()> {
        let mut text = Vec::new();
        for entry in entries {
            serde_json::to_writer(&mut text, &entry)?;
            text.push(b'\n');
            self.lines = self.lines.saturating_add(1);
        }
        self.file.write_all(&text)
    }
}

impl Contact {
    fn write(config: &Config, info: &RegistrationInfo, now: Instant) -> Self {
        let realm = |realm| config.realm(realm).map_or_else(String::new, |realm| realm.name.clone());
        let listener = config.listener(info.hop.listener).map_or(info.hop.remote, |own| own.address);
        Self {
            name: info.name.clone(),
            realm: realm(info.realm),
            registrar: realm(info.registrar),
            aor: info.aor.clone(),
            contact: info.contact.clone(),
            phone: info.phone.clone(),
            listener,
            transport: info.hop.protocol.to_string(),
            at: info.hop.remote,
            path: info.path.iter().map(|value| String::from_utf8_lossy(value).into_owned()).collect(),
            expires: since_1970().saturating_add(info.expires.since(now)).as_secs(),
        }
    }

    /// `None` if its time is over, or if the realm or the listener is no more.
    fn read(self, config: &Config, now: Instant) -> Option<RegistrationInfo> {
        let realm = |name: &str| {
            let position = config.realms.iter().position(|realm| realm.name == name)?;
            Some(RealmId(u16::try_from(position).ok()?))
        };
        let is_it = |own: &b2bua::config::Listener| {
            let of_realm = config.realm(own.realm).is_some_and(|realm| realm.name == self.realm);
            of_realm && own.address == self.listener && own.protocol.to_string() == self.transport
        };
        let position = config.listeners.iter().position(is_it)?;
        let (listener, protocol) =
            (ListenerId(u16::try_from(position).ok()?), config.listeners[position].protocol);
        let left = Duration::from_secs(self.expires).checked_sub(since_1970())?.min(LEFT_MAX);
        Some(RegistrationInfo {
            realm: realm(&self.realm)?,
            registrar: realm(&self.registrar)?,
            name: self.name,
            aor: self.aor,
            contact: self.contact,
            phone: self.phone,
            hop: Hop { listener, protocol, remote: self.at, connection: None, name: None },
            path: self.path.into_iter().map(String::into_bytes).collect(),
            expires: now + left,
        })
    }
}

fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::agent::settings;

    const CONFIG: &str = "[realm.outside]\nlisten = [\"udp:127.0.0.1:5060\"]\n[realm.inside]\nlisten = [\"udp:127.0.0.2:5060\"]\n\
                          media = [\"127.0.0.0/8\"]\n[[route]]\nto = \"inside\"\nnext-hop = \"sip:127.0.0.3\"\n";

    /// A folder of this test, and what a book in it finds.
    fn found(name: &str, prepare: impl FnOnce(&Path)) -> io::Result<Vec<RegistrationInfo>> {
        let folder = std::env::temp_dir().join(format!("postern-book-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        let path = folder.join("registrations");
        prepare(&path);
        let config =
            crate::config::Config::parse("x", CONFIG).map_err(|refused| io::Error::other(refused.text))?;
        let config = settings::b2bua(&config);
        let uid = nix::unistd::Uid::effective().as_raw();
        let opened = Book::open(&path, uid, &config, Instant::ZERO);
        std::fs::remove_dir_all(folder)?;
        opened.map(|(_, known)| known)
    }

    fn line(name: &str, expires: u64) -> String {
        format!(
            "{{\"is\":{{\"name\":\"{name}\",\"realm\":\"outside\",\"registrar\":\"inside\",\"aor\":\"sip:a@x\",\"contact\":\"sip:a@h\",\
             \"phone\":\"sip:a@h\",\"listener\":\"127.0.0.1:5060\",\"transport\":\"UDP\",\"at\":\"127.0.0.9:5060\",\"path\":[],\
             \"expires\":{expires}}}}}\n"
        )
    }

    #[test]
    fn what_counts_is_the_last_whole_line_about_a_contact() {
        let later = since_1970().as_secs() + 600;
        let [one, gone, over, torn] = ["p-01", "p-02", "p-03", "p-04"].map(|name| line(name, later));
        let over = over.replace(&later.to_string(), "1");
        let text = format!("{one}{gone}{{\"gone\":\"p-02\"}}\n{over}{}", &torn[..40]);
        let known = found("lines", |path| std::fs::write(path, text).unwrap()).unwrap();
        assert_eq!(known.iter().map(|info| info.name.as_str()).collect::<Vec<_>>(), ["p-01"]);
        assert_eq!(known[0].hop.remote.to_string(), "127.0.0.9:5060");
    }

    #[test]
    fn a_clock_that_was_wrong_lets_no_contact_live_for_ever() {
        let known =
            found("clock", |path| std::fs::write(path, line("p-01", 4_102_444_800)).unwrap()).unwrap();
        assert_eq!(known[0].expires, Instant::ZERO + LEFT_MAX);
    }

    #[test]
    fn nothing_else_is_given_away_in_its_place() {
        let link = |path: &Path| std::os::unix::fs::symlink("/etc/passwd", path).unwrap();
        assert!(found("link", link).is_err());
        let second = |path: &Path| {
            std::fs::write(path.with_extension("other"), "").unwrap();
            std::fs::hard_link(path.with_extension("other"), path).unwrap();
        };
        assert!(found("second", second).is_err());
        assert!(found("folder", |path| std::fs::create_dir(path).unwrap()).is_err());
        assert_eq!(found("new", |_| {}).unwrap(), []);
    }
}
