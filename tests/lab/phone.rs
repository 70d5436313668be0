//! What the trials ask of a phone program, whichever it is.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// What a phone does when it is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    AtOnce,
    /// It rings until it is told to answer.
    WhenTold,
    /// As before, with sound from the first ring on: SDP in an unreliable 183.
    WithEarlyMedia,
}

/// A phone program that does as its user tells it. That it has done so is seen on the cable, not asked of the phone.
pub(crate) trait Phone {
    /// Calls this URI.
    fn call(&mut self, to: &str) -> io::Result<()>;
    fn answer(&mut self) -> io::Result<()>;
    /// Ends its call; ringing, gives up.
    fn hang_up(&mut self) -> io::Result<()>;
    fn hold(&mut self) -> io::Result<()>;
    fn resume(&mut self) -> io::Result<()>;
    /// Sends the other side to this URI (RFC 3515).
    fn transfer(&mut self, to: &str) -> io::Result<()>;
    /// The process, for those who kill it.
    fn process(&self) -> u32;
}

/// Writes something to play into a folder.
pub(crate) fn tone(folder: &Path) -> io::Result<PathBuf> {
    let file = folder.join("tone.wav");
    fs::write(&file, wave())?;
    Ok(file)
}

/// Two minutes of square wave: 8,000 samples a second, 16 bits, one channel.
fn wave() -> Vec<u8> {
    const SAMPLES: u32 = 8000 * 120;
    let mut wave = Vec::new();
    wave.extend_from_slice(b"RIFF");
    wave.extend_from_slice(&(36 + SAMPLES * 2).to_le_bytes());
    wave.extend_from_slice(b"WAVEfmt ");
    for field in [16, 0x0001_0001, 8000, 16000, 0x0010_0002] {
        wave.extend_from_slice(&u32::to_le_bytes(field));
    }
    wave.extend_from_slice(b"data");
    wave.extend_from_slice(&(SAMPLES * 2).to_le_bytes());
    for sample in 0..SAMPLES {
        wave.extend_from_slice(&(if sample / 10 % 2 == 0 { 4000_i16 } else { -4000 }).to_le_bytes());
    }
    wave
}
