//! Asks the middlebox half of this machine to keep banned sources out in the kernel. Without one, or while it is away, this half
//! keeps them out by itself.

use std::path::PathBuf;
use std::time::Duration;

use admission::Source;
use ipnet::IpNet;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::sync::mpsc;

use crate::admin::protocol::{Answer, Ban, Bans, Request};
use crate::log;

/// Words on their way; further ones are lost until the next connection, and this half alone keeps those sources out.
const WORDS_MAX: usize = 4_096;
/// Between two attempts, and two looks at whether the other end is there.
const PAUSE: Duration = Duration::from_secs(5);
/// How long the other end may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the kernel has when the other end is there, for the first time or again.
pub(super) type Found = Vec<(IpNet, Duration)>;

/// The way to the middlebox half.
pub(super) struct Barrier {
    words: mpsc::Sender<Request>,
    found: mpsc::Receiver<Found>,
}

impl Barrier {
    /// Starts connecting.
    pub(super) fn new(socket: PathBuf) -> Self {
        let (words, of_ours) = mpsc::channel(WORDS_MAX);
        let (of_theirs, found) = mpsc::channel(1);
        tokio::spawn(keep(socket, of_ours, of_theirs));
        Self { words, found }
    }

    pub(super) fn ban(&self, source: Source, lasts: Duration) {
        let _lost = self
            .words
            .try_send(Request::Ban(Ban { source: source.network(), lasts_s: lasts.as_secs().max(1) }));
    }

    pub(super) fn unban(&self, source: Source) {
        let _lost = self.words.try_send(Request::Unban { source: source.network() });
    }

    /// The next time that the other end is there.
    pub(super) async fn found(&mut self) -> Option<Found> {
        self.found.recv().await
    }
}

async fn keep(socket: PathBuf, mut words: mpsc::Receiver<Request>, found: mpsc::Sender<Found>) {
    while !words.is_closed() {
        if let Ok(stream) = UnixStream::connect(&socket).await
            && let Err(error) = talk(stream, &mut words, &found).await
        {
            log::debug(format_args!("{}: {error}", socket.display()));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn talk(
    stream: UnixStream,
    words: &mut mpsc::Receiver<Request>,
    found: &mpsc::Sender<Found>,
) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    if let Answer::Ok(value) = ask(&mut stream, &Request::Bans).await? {
        let bans: Bans = serde_json::from_value(value)?;
        let lives = |remaining_s| Duration::from_secs(remaining_s);
        let list = bans.bans.into_iter().map(|ban| (ban.source, lives(ban.remaining_s))).collect();
        let _closed = found.send(list).await;
    }
    loop {
        let request = match tokio::time::timeout(PAUSE, words.recv()).await {
            Ok(Some(request)) => request,
            Ok(None) => return Ok(()),
            // Is it still there? It closes what is silent, too.
            Err(_) => Request::Bans,
        };
        if let Answer::Error(text) = ask(&mut stream, &request).await? {
            log::warn(format_args!("the kernel does not ban: {text}"));
        }
    }
}

async fn ask(stream: &mut BufReader<UnixStream>, request: &Request) -> std::io::Result<Answer> {
    let line = format!("{}\n", serde_json::to_string(request)?);
    stream.write_all(line.as_bytes()).await?;
    let mut answer = String::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_line(&mut answer)).await;
    match read {
        Ok(Ok(count)) if count > 0 => Ok(serde_json::from_str(&answer)?),
        Ok(Ok(_)) => Err(std::io::ErrorKind::UnexpectedEof.into()),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(std::io::ErrorKind::TimedOut.into()),
    }
}
