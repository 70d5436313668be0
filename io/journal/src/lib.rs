//! The rules of a middlebox on disk. `docs/decisions/0020-journal.md`.
//!
//! ```text
//! file:   "postern rules 1\n", then frames
//! frame:  | length of payload (2) | its complement (2) | CRC-32 of payload (4) | payload |
//! ```
//!
//! Changes are appended and forced to disk before anything is done about them; the file is written anew, beside the old
//! one and then in its place, when it has grown far beyond what it says. A frame that a crash has cut off was never
//! confirmed to anybody and is left out. Anything else that cannot be read makes the whole file worthless: what it says
//! after that place may be that a rule is gone.

mod clock;
mod frame;

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use middlebox::{Change, StoredRule};

pub use clock::Wall;
use frame::{Frame, Next};

const HEADER: &[u8] = b"postern rules 1\n";
/// A file of this size is no journal of ours: a rule has about 100 bytes, and there are at most some 100,000.
const BYTES_MAX: u64 = 1 << 30;
/// The file may grow by this, and to twice what its rules need, before it is written anew.
const SLACK: u64 = 4 << 20;

/// The open file.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    /// How much of the file is good; what a failed write has left behind is cut off.
    bytes: u64,
    /// How large it was when it was last written anew.
    fresh: u64,
}

/// What was found on disk.
#[derive(Debug)]
pub enum Found {
    /// No file: the first start.
    Nothing,
    /// Rules, with deadlines in the time of now. Those whose lifetime is over are left out.
    Rules(Vec<StoredRule>),
    /// A file that cannot be read; it was put aside.
    Unreadable {
        /// Where it is now.
        aside: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

impl Journal {
    /// Opens the file, making it if need be, and reads it.
    ///
    /// # Errors
    /// If it cannot be opened, read, put aside or written.
    pub fn open(path: &Path, wall: &Wall) -> io::Result<(Self, Found)> {
        let found = match read(path)? {
            Text::Missing => Found::Nothing,
            Text::Rules(frames) => Found::Rules(frames.iter().filter_map(|frame| frame.rule(wall)).collect()),
            Text::Unreadable(why) => {
                let aside = Self::put_aside(path, wall)?.ok_or(io::ErrorKind::NotFound)?;
                Found::Unreadable { aside, why }
            }
        };
        let rules = match &found {
            Found::Rules(rules) => rules.as_slice(),
            Found::Nothing | Found::Unreadable { .. } => &[],
        };
        let (file, bytes) = write_anew(path, rules.iter().copied(), wall)?;
        Ok((Self { path: path.to_owned(), file, bytes, fresh: bytes }, found))
    }

    /// Writes changes down and returns when they are on disk: all of them, or none.
    ///
    /// # Errors
    /// If they are not on disk, for example because it is full. What was there before still is.
    pub fn append(&mut self, changes: &[Change], wall: &Wall) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(changes.len() * 96);
        for change in changes {
            Frame::of(change, wall).write(&mut bytes);
        }
        let done = self.file.write_all(&bytes).and_then(|()| self.file.sync_data());
        if let Err(error) = done {
            // A half-written frame at the end would hide those that come behind it.
            self.file.set_len(self.bytes)?;
            self.file.seek(SeekFrom::Start(self.bytes))?;
            return Err(error);
        }
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    /// Makes the file worthless, so that a start does not read what is no longer so: it is emptied and taken away.
    /// Possible on a full disk too; [`Journal::rewrite`] makes it again.
    ///
    /// # Errors
    /// If neither can be done, as on a file system that is read-only by now: then the file still says what it said.
    pub fn discard(&self) -> io::Result<()> {
        let emptied = self.file.set_len(0).and_then(|()| self.file.sync_data());
        let _ = fs::remove_file(self.path.with_extension("new"));
        match fs::remove_file(&self.path) {
            Ok(()) => emptied.or_else(|_| sync_folder(&self.path)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => sync_folder(&self.path),
            Err(_) => emptied,
        }
    }

    /// Puts a file aside that is known not to say what is so, and says where it is then, if there was one. To be called
    /// before [`Journal::open`].
    ///
    /// # Errors
    /// If it cannot be renamed.
    pub fn put_aside(path: &Path, wall: &Wall) -> io::Result<Option<PathBuf>> {
        let aside = path.with_extension(format!("unreadable-{}", wall.now_ms()));
        match fs::rename(path, &aside) {
            Ok(()) => Ok(Some(aside)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// True if most of the file is about rules that are no more.
    #[must_use]
    pub fn is_long(&self) -> bool {
        self.bytes > self.fresh.saturating_mul(2) + SLACK
    }

    /// Writes the file anew with nothing but these rules.
    ///
    /// # Errors
    /// If it cannot be done; the old file stays.
    pub fn rewrite(&mut self, rules: impl Iterator<Item = StoredRule>, wall: &Wall) -> io::Result<()> {
        let (file, bytes) = write_anew(&self.path, rules, wall)?;
        (self.file, self.bytes, self.fresh) = (file, bytes, bytes);
        Ok(())
    }
}

enum Text {
    Missing,
    Rules(Vec<Frame>),
    Unreadable(String),
}

fn read(path: &Path) -> io::Result<Text> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Text::Missing),
        Err(error) => return Err(error),
    };
    let length = file.metadata()?.len();
    if length > BYTES_MAX {
        return Ok(Text::Unreadable(format!("it has {length} bytes")));
    }
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    // A file that was made and never written to.
    if bytes.is_empty() {
        return Ok(Text::Missing);
    }
    let Some(mut rest) = bytes.strip_prefix(HEADER) else {
        return Ok(Text::Unreadable("it does not begin as one of ours".into()));
    };
    let mut rules: BTreeMap<u32, Frame> = BTreeMap::new();
    loop {
        match Frame::read(rest) {
            Next::End => return Ok(Text::Rules(rules.into_values().collect())),
            Next::Frame(frame, behind) => {
                match frame.is_there() {
                    true => rules.insert(frame.prid(), frame),
                    false => rules.remove(&frame.prid()),
                };
                rest = behind;
            }
            Next::Wrong(what) => {
                let place = bytes.len() - rest.len();
                return Ok(Text::Unreadable(format!("byte {place}: {what}")));
            }
        }
    }
}

/// A new file in the place of the old one, which stays until the new one is on disk.
fn write_anew(path: &Path, rules: impl Iterator<Item = StoredRule>, wall: &Wall) -> io::Result<(File, u64)> {
    let beside = path.with_extension("new");
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    let mut writer = BufWriter::with_capacity(1 << 20, file);
    writer.write_all(HEADER)?;
    let mut bytes = Vec::new();
    for rule in rules {
        bytes.clear();
        Frame::of(&Change::Put(rule), wall).write(&mut bytes);
        writer.write_all(&bytes)?;
    }
    let mut file = writer.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    sync_folder(path)?;
    let end = file.stream_position()?;
    Ok((file, end))
}

/// Names come and go with their folder.
fn sync_folder(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

#[cfg(test)]
mod tests;
