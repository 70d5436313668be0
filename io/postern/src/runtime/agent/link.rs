//! The agent half's session with one middlebox: connects, connects again, and writes a turn's requests together.

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use machine::{Instant, Outbox, Rng};
use midcom::{AgentEvent, DownReason, MiddleboxId, Request, RequestId};
use nix::unistd::Uid;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};
use simco::agent::{Config, Output, Proof, Session};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::Sleep;

use crate::config::{Connect, Middlebox, Peer};
use crate::runtime::channel::{Channel, Read};
use crate::tls::Credentials;
use crate::{log, secret};

/// First wait after a connection broke or could not be made.
const WAIT_MIN: Duration = Duration::from_millis(20);
/// Longest wait for a middlebox on this machine.
const WAIT_MAX_LOCAL: Duration = Duration::from_millis(500);
/// Longest wait for one on another machine.
const WAIT_MAX_REMOTE: Duration = Duration::from_secs(5);
/// How long a connection may take to come about.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// Reads of one turn.
const READS_MAX: usize = 16;

type Dial = Pin<Box<dyn Future<Output = std::io::Result<Channel>>>>;

enum State {
    Waiting(Pin<Box<Sleep>>),
    Dialling(Dial),
    /// The dial came to an end in `poll_ready`; the next turn takes it.
    Dialled(std::io::Result<Channel>),
    Connected(Channel),
}

/// One middlebox.
pub(crate) struct Link {
    pub id: MiddleboxId,
    /// As the configuration calls it.
    pub name: String,
    connect: Connect,
    credentials: Option<Credentials<Arc<ClientConfig>>>,
    /// The file of the secret that we have with it.
    secret: Option<PathBuf>,
    rng: Rng,
    session: Session,
    state: State,
    wait: Duration,
    out: Outbox<Output>,
    /// What the machine was last told; `None` before the first session or attempt.
    up: Option<bool>,
    trouble: Option<String>,
}

impl Link {
    /// A link that connects with the first turn.
    pub(crate) fn new(id: MiddleboxId, middlebox: &Middlebox, rng: Rng) -> Self {
        let connect = middlebox.connect.clone();
        let credentials = middlebox.connect_tls.clone().map(Credentials::new);
        Self {
            id,
            name: middlebox.name.clone(),
            state: State::Dialling(dial(&connect, credentials.as_ref())),
            connect,
            credentials,
            secret: middlebox.secret.as_ref().map(|(path, _)| path.clone()),
            rng,
            session: Session::new(Config::default()),
            wait: WAIT_MIN,
            out: Outbox::new(),
            up: None,
            trouble: None,
        }
    }

    /// True while requests can be answered.
    pub(crate) fn is_up(&self) -> bool {
        self.up == Some(true)
    }

    /// Why it is down.
    pub(crate) fn why_down(&self) -> Option<&str> {
        self.trouble.as_deref().filter(|_| !self.is_up())
    }

    /// Keeps what is wrong, and says it once.
    fn complain(&mut self, why: &str) {
        if self.trouble.as_deref() != Some(why) {
            log::warn(format_args!("{}: {why}", self.name));
            self.trouble = Some(why.to_owned());
        }
    }

    /// True if it leads to the middlebox half of this machine.
    pub(crate) fn is_local(&self) -> bool {
        match self.connect {
            Connect::Unix(_) => true,
            Connect::Tcp(_) | Connect::Tls(_) => false,
        }
    }

    /// Where it leads.
    pub(crate) fn address(&self) -> String {
        self.connect.to_string()
    }

    /// What is to be known of the certificate that is shown there.
    pub(crate) fn certificate(&self) -> Option<String> {
        self.credentials.as_ref().map(Credentials::state)
    }

    /// Ready when there is something to do.
    pub(crate) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.state {
            State::Waiting(sleep) => sleep.as_mut().poll(cx),
            State::Dialling(dial) => match dial.as_mut().poll(cx) {
                Poll::Ready(result) => {
                    self.state = State::Dialled(result);
                    Poll::Ready(())
                }
                Poll::Pending => Poll::Pending,
            },
            State::Dialled(_) => Poll::Ready(()),
            State::Connected(channel) => channel.poll_ready(cx),
        }
    }

    /// Does what is due and reads what is there; events for the machine go to `events`.
    pub(crate) fn turn(
        &mut self,
        now: Instant,
        buffer: &mut [u8],
        events: &mut Vec<(MiddleboxId, AgentEvent)>,
    ) {
        let state = std::mem::replace(&mut self.state, State::Dialled(Err(std::io::ErrorKind::Other.into())));
        self.state = match state {
            State::Waiting(sleep) if sleep.is_elapsed() => self.dial(),
            State::Dialled(Ok(channel)) => self.establish(now, channel),
            State::Dialled(Err(error)) => {
                self.session.disconnected(now, &error.to_string(), &mut self.out);
                self.complain(&error.to_string());
                self.back_off()
            }
            other @ (State::Waiting(_) | State::Dialling(_) | State::Connected(_)) => other,
        };
        self.read(now, buffer);
        if self.session.next_timeout().is_some_and(|(at, _)| at <= now) {
            self.session.handle_timeout(now, &mut self.out);
        }
        self.carry_out(now, events);
    }

    /// Asks; an answer that is known at once goes to `events`.
    pub(crate) fn request(
        &mut self,
        now: Instant,
        id: RequestId,
        request: Request,
        events: &mut Vec<(MiddleboxId, AgentEvent)>,
    ) {
        self.session.request(now, id, request, &mut self.out);
        self.carry_out(now, events);
    }

    /// Writes what a turn has asked.
    pub(crate) fn flush(&mut self, now: Instant, events: &mut Vec<(MiddleboxId, AgentEvent)>) {
        let State::Connected(channel) = &mut self.state else { return };
        if let Err(why) = channel.flush() {
            self.lost(now, &why);
            self.carry_out(now, events);
        }
    }

    /// When [`Link::turn`] is next due.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        self.session.next_timeout().map(|(at, _)| at)
    }

    /// Ends the session in order.
    pub(crate) fn close(&mut self, now: Instant, events: &mut Vec<(MiddleboxId, AgentEvent)>) {
        self.session.close(now, &mut self.out);
        self.carry_out(now, events);
        self.flush(now, events);
    }

    /// Opens the session; not without the proof that is wanted.
    fn establish(&mut self, now: Instant, channel: Channel) -> State {
        match self.proof() {
            Ok(proof) => {
                self.session.connected_with(now, proof, &mut self.out);
                State::Connected(channel)
            }
            Err(why) => {
                self.complain(&why);
                self.back_off()
            }
        }
    }

    /// What both have to prove, with the file as it is now.
    fn proof(&mut self) -> Result<Option<Proof>, String> {
        let Some(path) = &self.secret else { return Ok(None) };
        let secret = secret::read(path, Uid::effective().as_raw())?;
        Ok(Some(Proof { secret, nonce: secret::nonce(&mut self.rng) }))
    }

    fn read(&mut self, now: Instant, buffer: &mut [u8]) {
        for _ in 0..READS_MAX {
            let State::Connected(channel) = &mut self.state else { return };
            match channel.read(buffer) {
                Read::Bytes(count) => {
                    self.session.receive(now, buffer.get(..count).unwrap_or_default(), &mut self.out);
                }
                Read::Empty => return,
                Read::Ended(why) => return self.lost(now, &why),
            }
        }
    }

    fn lost(&mut self, now: Instant, why: &str) {
        self.complain(why);
        self.session.disconnected(now, why, &mut self.out);
        self.state = self.back_off();
    }

    fn carry_out(&mut self, now: Instant, events: &mut Vec<(MiddleboxId, AgentEvent)>) {
        let mut out = std::mem::take(&mut self.out);
        for output in out.drain() {
            match output {
                Output::Send(bytes) => {
                    if let State::Connected(channel) = &mut self.state {
                        channel.queue(&bytes);
                    }
                }
                Output::Event(event) => {
                    if self.note(&event) {
                        events.push((self.id, event));
                    }
                }
                Output::Close => {
                    if let State::Connected(channel) = &mut self.state {
                        let _ = channel.flush();
                    }
                    self.session.disconnected(now, "closed", &mut self.out);
                    self.state = self.back_off();
                }
            }
        }
        // What the end of a session adds is carried out with the next turn, which is due at once.
        let late = std::mem::replace(&mut self.out, out);
        self.out.extend(late);
    }

    /// Remembers what an event says; false if it says nothing new: every vain attempt ends with another Down.
    fn note(&mut self, event: &AgentEvent) -> bool {
        match event {
            AgentEvent::Up(_) => {
                (self.up, self.trouble, self.wait) = (Some(true), None, WAIT_MIN);
            }
            AgentEvent::Down(why) => {
                match why {
                    DownReason::Connection(_) | DownReason::Closed => {}
                    DownReason::Terminated => self.complain("it ended the session"),
                    DownReason::Refused(failure) => {
                        self.complain(&format!("it refuses the session: {failure}"))
                    }
                    DownReason::PeerMisbehaved(how) => self.complain(&format!("it misbehaved: {how}")),
                    DownReason::Unproven => self.complain("it has not proven who it is (key `secret`)"),
                }
                return self.up.replace(false) != Some(false);
            }
            AgentEvent::Reply(..) | AgentEvent::Notification(_) => {}
        }
        true
    }

    /// With the files as they are now: whoever replaces a certificate need not start anything again.
    fn dial(&mut self) -> State {
        if let Some(credentials) = &mut self.credentials {
            credentials.refresh();
        }
        State::Dialling(dial(&self.connect, self.credentials.as_ref()))
    }

    fn back_off(&mut self) -> State {
        // Agents that have lost the same middlebox do not come back to it all at once.
        let wait = jittered(self.wait, &mut self.rng);
        let longest = match self.connect {
            Connect::Unix(_) => WAIT_MAX_LOCAL,
            Connect::Tcp(_) | Connect::Tls(_) => WAIT_MAX_REMOTE,
        };
        self.wait = (self.wait * 2).min(longest);
        State::Waiting(Box::pin(tokio::time::sleep(wait)))
    }
}

/// Between a half and the whole of a time.
fn jittered(time: Duration, rng: &mut Rng) -> Duration {
    let half = time / 2;
    let extra = rng.below(u64::try_from(half.as_micros()).unwrap_or(u64::MAX));
    half + Duration::from_micros(extra)
}

fn dial(connect: &Connect, credentials: Option<&Credentials<Arc<ClientConfig>>>) -> Dial {
    match connect.clone() {
        Connect::Unix(path) => Box::pin(within(unix(path))),
        Connect::Tcp(peer) => Box::pin(within(tcp(peer))),
        Connect::Tls(peer) => {
            let config = credentials.map_or_else(|| Err("no certificate".to_owned()), Credentials::get);
            Box::pin(within(tls(peer, config)))
        }
    }
}

async fn within(dial: impl Future<Output = std::io::Result<Channel>>) -> std::io::Result<Channel> {
    tokio::time::timeout(CONNECT_MAX, dial).await.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))
}

async fn unix(path: PathBuf) -> std::io::Result<Channel> {
    UnixStream::connect(path).await.and_then(Channel::unix)
}

async fn tcp(peer: Peer) -> std::io::Result<Channel> {
    TcpStream::connect((peer.host(), peer.port)).await.and_then(Channel::tcp)
}

async fn tls(peer: Peer, config: Result<Arc<ClientConfig>, String>) -> std::io::Result<Channel> {
    let config = config.map_err(std::io::Error::other)?;
    let name = ServerName::try_from(peer.host()).map_err(std::io::Error::other)?;
    let stream = TcpStream::connect((peer.host(), peer.port)).await?;
    let connection = ClientConnection::new(config, name).map_err(std::io::Error::other)?;
    Channel::tls(stream, connection.into())
}
