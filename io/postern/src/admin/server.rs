//! The answering side: reads lines from those who may ask and hands them to the half's loop.

use std::os::unix::net::UnixListener as StdListener;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc};

use super::protocol::{Answer, LINE_BYTES_MAX, Request};

/// Conversations at a time; one more waits.
const CONVERSATIONS_MAX: usize = 16;
/// Lines on their way to one who watches; one who is slower is dropped.
const LINES_MAX: usize = 4_096;
/// How long an asker may take to ask, or to read its answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// A question for the half's loop.
#[derive(Debug)]
pub(crate) struct Question {
    pub request: Request,
    /// Takes the answer; kept open for a watcher.
    pub reply: mpsc::Sender<Answer>,
}

/// Serves the socket; users of `allowed` and root may ask.
pub(crate) fn serve(listener: StdListener, allowed: Vec<u32>) -> std::io::Result<mpsc::Receiver<Question>> {
    let listener = UnixListener::from_std(listener)?;
    let (questions, receiver) = mpsc::channel(CONVERSATIONS_MAX);
    let allowed: Arc<[u32]> = allowed.into();
    tokio::spawn(async move {
        let places = Arc::new(Semaphore::new(CONVERSATIONS_MAX));
        while let Ok(place) = places.clone().acquire_owned().await {
            let Ok((stream, _)) = listener.accept().await else {
                // Out of descriptors: the next attempt may find some.
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            let (questions, allowed) = (questions.clone(), allowed.clone());
            tokio::spawn(async move {
                let _ = converse(stream, &allowed, questions).await;
                drop(place);
            });
        }
    });
    Ok(receiver)
}

async fn converse(
    mut stream: UnixStream,
    allowed: &[u32],
    questions: mpsc::Sender<Question>,
) -> std::io::Result<()> {
    let uid = stream.peer_cred()?.uid();
    if uid != 0 && !allowed.contains(&uid) {
        let refusal = Answer::Error("only root and Postern's own user may ask".into());
        return stream.write_all(refusal.line().as_bytes()).await;
    }
    let (reader, mut writer) = stream.split();
    let mut reader = BufReader::new(reader);
    let mut line = String::new();
    loop {
        line.clear();
        let limit = u64::try_from(LINE_BYTES_MAX).unwrap_or(u64::MAX);
        let mut limited = (&mut reader).take(limit);
        let read = tokio::time::timeout(PATIENCE, limited.read_line(&mut line));
        if !matches!(read.await, Ok(Ok(count)) if count > 0) {
            return Ok(());
        }
        let request = match serde_json::from_str(&line) {
            Ok(request) => request,
            Err(error) => {
                writer.write_all(Answer::Error(format!("not a request: {error}")).line().as_bytes()).await?;
                return Ok(());
            }
        };
        let (reply, mut answers) = mpsc::channel(LINES_MAX);
        if questions.send(Question { request, reply }).await.is_err() {
            return Ok(());
        }
        while let Some(answer) = answers.recv().await {
            let line = answer.line();
            let write = tokio::time::timeout(PATIENCE, writer.write_all(line.as_bytes()));
            if !matches!(write.await, Ok(Ok(()))) {
                return Ok(());
            }
        }
    }
}
