//! Files with secrets (keys `secret`): what agent and middlebox prove themselves by (RFC 4540 §7.2, §7.3).

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use machine::Rng;
use simco::authentication::{NONCE_LEN, Nonce, Secret};
use sip::digest::limits::SECRET_LEN_MAX;

/// What nobody but the owner and the readers in its group may be able to do.
const FORBIDDEN: u32 = 0o027;

/// Octets of a file of users.
const FILE_LEN_MAX: usize = 16 << 20;

/// Reads a secret, for the user `reader`: all of a file but the white space at its end.
///
/// # Errors
/// Text: the file cannot be read, is not of the right length, or others could read or change it.
pub(crate) fn read(path: &Path, reader: u32) -> Result<Secret, String> {
    let octets = octets(path, reader, Secret::LEN_MAX)?;
    Secret::new(octets.trim_ascii_end()).ok_or_else(|| {
        let (least, most) = (Secret::LEN_MIN, Secret::LEN_MAX);
        let path = path.display();
        format!("{path}: a secret has {least} to {most} octets; `openssl rand -hex 32` makes one")
    })
}

/// Reads the password of a trunk, for the user `reader`: all of a file but the white space at its end.
///
/// # Errors
/// As [`read`].
pub(crate) fn password(path: &Path, reader: u32) -> Result<sip::digest::Secret, String> {
    let octets = octets(path, reader, SECRET_LEN_MAX)?;
    let text = std::str::from_utf8(octets.trim_ascii_end()).unwrap_or_default();
    sip::digest::Secret::password(text).ok_or_else(|| {
        format!("{}: a password is one line of 1 to {SECRET_LEN_MAX} octets of UTF-8", path.display())
    })
}

/// Reads a file of users with their passwords, for the user `reader`.
///
/// # Errors
/// As [`read`].
pub(crate) fn file(path: &Path, reader: u32) -> Result<String, String> {
    let octets = octets(path, reader, FILE_LEN_MAX)?;
    if octets.len() > FILE_LEN_MAX {
        return Err(format!("{}: longer than {FILE_LEN_MAX} octets", path.display()));
    }
    String::from_utf8(octets).map_err(|_| format!("{}: not UTF-8", path.display()))
}

/// What stands in a file that nobody else may read or change, and a little more than `most` octets of it at most.
fn octets(path: &Path, reader: u32, most: usize) -> Result<Vec<u8>, String> {
    let wrong = |what: String| format!("{}: {what}", path.display());
    let say = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => wrong("no such file".into()),
        io::ErrorKind::PermissionDenied => wrong("this process may not read it".into()),
        _other => wrong(error.to_string()),
    };
    let file = File::open(path).map_err(say)?;
    let found = file.metadata().map_err(say)?;
    if !found.is_file() {
        return Err(wrong("not a file".into()));
    }
    if found.mode() & FORBIDDEN != 0 {
        let mode = found.mode() & 0o777;
        return Err(wrong(format!(
            "others could read or change this secret (mode {mode:o}); `chmod 600` it"
        )));
    }
    if ![0, reader].contains(&found.uid()) {
        return Err(wrong(format!("it belongs to user {}, who could change it", found.uid())));
    }
    let mut octets = Vec::new();
    // One octet more than a secret and a line's end may have, so that a longer file is noticed.
    let most = u64::try_from(most + 3).unwrap_or(u64::MAX);
    file.take(most).read_to_end(&mut octets).map_err(say)?;
    Ok(octets)
}

/// Random octets that were never used before.
pub(crate) fn nonce(rng: &mut Rng) -> Nonce {
    let mut nonce = [0; NONCE_LEN];
    for piece in nonce.chunks_mut(8) {
        piece.copy_from_slice(&rng.bits().to_ne_bytes()[..piece.len()]);
    }
    nonce
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::PathBuf;

    use super::*;

    fn read(path: &Path) -> Result<Secret, String> {
        super::read(path, nix::unistd::geteuid().as_raw())
    }

    fn file(name: &str, content: &[u8], mode: u32) -> PathBuf {
        let path = std::env::temp_dir().join(format!("postern-secret-{}-{name}", std::process::id()));
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    #[test]
    fn a_secret_is_the_file_without_the_end_of_its_line() {
        let plain = read(&file("plain", &[b'k'; 32], 0o600)).unwrap();
        assert_eq!(read(&file("line", &[&[b'k'; 32][..], b"\r\n"].concat(), 0o640)).unwrap(), plain);
        assert_ne!(read(&file("other", &[b'l'; 32], 0o400)).unwrap(), plain);
    }

    #[test]
    fn what_others_can_read_or_change_is_no_secret() {
        for mode in [0o604, 0o620, 0o602, 0o666] {
            assert!(read(&file("open", &[b'k'; 32], mode)).unwrap_err().contains("others could"), "{mode:o}");
        }
    }

    #[test]
    fn short_long_and_missing_ones_are_refused() {
        for length in [0, 31, 1025, 5000] {
            let text = read(&file("length", &vec![b'k'; length], 0o600)).unwrap_err();
            assert!(text.contains("32 to 1024"), "{length}: {text}");
        }
        assert!(read(&file("longest", &[b'k'; 1024], 0o600)).is_ok());
        assert!(read(Path::new("/nowhere/secret")).unwrap_err().contains("no such file"));
        assert!(read(&std::env::temp_dir()).unwrap_err().contains("not a file"));
    }

    #[test]
    fn a_password_is_one_line() {
        let reader = nix::unistd::geteuid().as_raw();
        let read = |name: &str, content: &[u8], mode| password(&file(name, content, mode), reader);
        assert_eq!(read("one", b"open sesame\n", 0o600).ok(), sip::digest::Secret::password("open sesame"));
        for wrong in [&b""[..], b"\n", b"a\nb\n", b"\xff", &[b'x'; 257]] {
            assert!(read("wrong", wrong, 0o600).unwrap_err().contains("one line"), "{wrong:?}");
        }
        assert!(read("readable", b"x", 0o644).unwrap_err().contains("others could"));
    }

    #[test]
    fn no_two_nonces_are_alike() {
        let mut rng = Rng::from_number(1);
        assert_ne!(nonce(&mut rng), nonce(&mut rng));
    }
}
