//! One connection at work: a queue in each direction, limits on everything.
//!
//! ```text
//!  handshake --done--> messages both ways --the loop lets go, or the stream cannot be read on--> draining --> closed
//! ```

use std::io;

use bytes::Bytes;
use sip::message::stream::{Broken, Frame};
use sip::transport::ConnectionId;
use tokio::sync::mpsc;
use tokio::time::{Duration, Instant};

use super::framing::{Framing, Trouble};
use super::wire::Wire;
use super::{Limits, StreamEvent};

/// Bytes taken from the queue before the peer has read those before.
const PENDING_BYTES_MAX: usize = 256 << 10;
/// Read at once.
const READ_BYTES: usize = 16 << 10;

/// What a connection has to do with the loop.
pub(super) struct Ends {
    pub id: ConnectionId,
    pub receiver: mpsc::Receiver<Bytes>,
    pub events: mpsc::Sender<StreamEvent>,
    pub limits: Limits,
}

impl Ends {
    /// Says that the connection is over.
    pub(super) async fn tell(&self, why: String) {
        let _ = self.events.send(StreamEvent::Closed { id: self.id, why }).await;
    }
}

/// Carries one connection until it ends.
pub(super) async fn serve(wire: Wire, framing: Framing, ends: Ends) {
    let now = Instant::now();
    let shaking = (!wire.is_open() || !framing.is_open()).then_some(now);
    let mut task = Task {
        wire,
        ends,
        framing,
        pending: Vec::new(),
        heard: now,
        shaking,
        begun: None,
        blocked: None,
        draining: false,
    };
    let why = task.run().await;
    task.framing.close(&mut task.pending);
    // Whether the peer hears it changes nothing.
    let _ = task.wire.write(&mut task.pending);
    task.wire.close();
    task.ends.tell(why).await;
}

struct Task {
    wire: Wire,
    ends: Ends,
    framing: Framing,
    pending: Vec<u8>,
    /// When something last went either way.
    heard: Instant,
    /// Since when the handshake is under way.
    shaking: Option<Instant>,
    /// Since when a message is unfinished.
    begun: Option<Instant>,
    /// Since when the peer has not taken what it is sent.
    blocked: Option<Instant>,
    /// The loop has let go of the connection, or its stream cannot be read on: what waits is written, then it closes.
    draining: bool,
}

impl Task {
    /// Until the end; why it ended.
    async fn run(&mut self) -> String {
        let mut buffer = vec![0; READ_BYTES];
        // A client of TLS speaks first.
        if let Err(why) = self.write() {
            return why;
        }
        loop {
            if let Err(why) = self.open().await {
                return why;
            }
            if self.draining && (self.pending.is_empty() || !self.wire.is_open()) {
                return "closed".into();
            }
            let deadline = self.deadline();
            tokio::select! {
                ready = self.wire.readable(), if !self.draining => {
                    let step = match ready {
                        Ok(()) => self.read(&mut buffer).await,
                        Err(error) => Err(error.to_string()),
                    };
                    if let Err(why) = step { return why; }
                }
                ready = self.wire.writable(), if self.wire.wants_to_write(&self.pending) => {
                    let step = ready.map_err(|error| error.to_string()).and_then(|()| self.write());
                    if let Err(why) = step { return why; }
                }
                message = self.ends.receiver.recv(), if self.wants_more() => match message {
                    Some(bytes) => {
                        self.framing.wrap(&bytes, &mut self.pending);
                        if let Err(why) = self.write() { return why; }
                    }
                    None => self.draining = true,
                },
                () = tokio::time::sleep_until(deadline) => return self.overdue().into(),
            }
        }
    }

    fn wants_more(&self) -> bool {
        !self.draining && self.pending.len() < PENDING_BYTES_MAX
    }

    /// Says, once, that the handshake is over.
    async fn open(&mut self) -> Result<(), String> {
        if self.shaking.is_none() || !self.wire.is_open() || !self.framing.is_open() {
            return Ok(());
        }
        self.shaking = None;
        self.tell(StreamEvent::Open { id: self.ends.id, domains: self.wire.domains() }).await
    }

    async fn tell(&self, event: StreamEvent) -> Result<(), String> {
        self.ends.events.send(event).await.map_err(|_| "shutting down".to_owned())
    }

    async fn read(&mut self, buffer: &mut [u8]) -> Result<(), String> {
        let mut whole = false;
        while let Some(count) = self.wire.read(buffer)? {
            self.framing.push(buffer.get(..count).unwrap_or_default());
            self.heard = Instant::now();
            loop {
                match self.framing.next(&mut self.pending) {
                    Ok(Some(Frame::Message(bytes))) => {
                        whole = true;
                        self.deliver(bytes).await?;
                    }
                    //= RFC 5626 §3.5.1: a double CRLF is answered by a single one.
                    Ok(Some(Frame::Ping)) => self.framing.pong(&mut self.pending),
                    Ok(Some(Frame::Pong)) => {}
                    Ok(None) => break,
                    Err(Trouble::Broken(broken)) => return self.broken(broken).await,
                    Err(Trouble::Over(why)) => return self.over(why),
                }
            }
            if self.pending.len() > PENDING_BYTES_MAX {
                break;
            }
        }
        // Bytes that trickle in do not prolong the time a message may take.
        self.begun = self.framing.is_amid().then(|| self.begun.filter(|_| !whole).unwrap_or(self.heard));
        self.write()
    }

    async fn deliver(&mut self, bytes: Bytes) -> Result<(), String> {
        // The first message may come together with the end of the handshake.
        self.open().await?;
        self.tell(StreamEvent::Message { id: self.ends.id, bytes }).await
    }

    /// Nobody knows where the next message begins. If there was enough to be answered, the answer still goes out.
    async fn broken(&mut self, broken: Broken) -> Result<(), String> {
        let Some(head) = broken.head else { return Err(format!("unreadable: {:?}", broken.what)) };
        self.deliver(head).await?;
        let answer = tokio::time::timeout(Duration::from_secs(1), self.ends.receiver.recv()).await;
        if let Ok(Some(bytes)) = answer {
            self.framing.wrap(&bytes, &mut self.pending);
        }
        self.draining = true;
        self.write()
    }

    /// Nothing more can be read; what is to be said about that is written, as far as the peer takes it at once.
    fn over(&mut self, why: String) -> Result<(), String> {
        self.write().and(Err(why))
    }

    fn write(&mut self) -> Result<(), String> {
        let written = self.wire.write(&mut self.pending).map_err(|error: io::Error| error.to_string())?;
        if written > 0 {
            self.heard = Instant::now();
        }
        self.blocked = self
            .wire
            .wants_to_write(&self.pending)
            .then(|| self.blocked.filter(|_| written == 0).unwrap_or_else(Instant::now));
        Ok(())
    }

    fn deadline(&self) -> Instant {
        let Limits { message, handshake, idle, .. } = self.ends.limits;
        if let Some(since) = self.shaking {
            return since + handshake;
        }
        let stuck = [self.begun, self.blocked].into_iter().flatten().min().map(|since| since + message);
        let idle = self.heard + idle;
        stuck.map_or(idle, |stuck| stuck.min(idle))
    }

    fn overdue(&self) -> &'static str {
        match (self.shaking, self.blocked, self.begun) {
            (Some(_), _, _) => "the handshake was never finished",
            (None, Some(_), _) => "the peer does not read",
            (None, None, Some(_)) => "a message was never finished",
            (None, None, None) => "idle",
        }
    }
}
