//! Unix sockets with a name in the file system: left-over files, rights, who is already there.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, lchown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use nix::sys::stat::{Mode, fchmod, umask};
use nix::unistd::Uid;
use socket2::{Domain, SockAddr, Socket, Type};

/// Who may connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whose {
    /// The owner of the socket, and root.
    Owners,
    /// Everybody: each connection is judged by its user.
    Callers,
}

/// Connections that wait to be accepted.
const BACKLOG: i32 = 128;

/// Listens at `path`. A file left behind by a process that is gone is replaced; a living one is not disturbed.
/// The socket is for `owner` and root only, or for whoever is known by the credentials of the connection.
pub(crate) fn listen(path: &Path, owner: Option<Uid>, whose: Whose) -> Result<UnixListener, String> {
    let shown = path.display();
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(|error| cannot_make(folder, &error))?;
    }
    let listener = match bind(path, whose) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            remove_stale(path)?;
            bind(path, whose)
        }
        other => other,
    };
    let listener = listener.map_err(|error| match error.kind() {
        io::ErrorKind::PermissionDenied => {
            format!("{shown}: permission denied; may this user write in its folder?")
        }
        io::ErrorKind::StorageFull => format!("{shown}: the disk is full"),
        io::ErrorKind::InvalidInput => format!("{shown}: the path is too long for a socket (107 bytes)"),
        _other => format!("{shown}: {error}"),
    })?;
    if let Some(owner) = owner.filter(|owner| *owner != Uid::effective()) {
        // In a user namespace the owner does not exist; the agent half then runs as the same user as this one.
        let _ = lchown(path, Some(owner.as_raw()), None);
    }
    listener.set_nonblocking(true).map_err(|error| format!("{shown}: {error}"))?;
    Ok(listener)
}

/// Makes the socket with its rights from the first moment on. By name nothing is changed afterwards that another
/// file could have taken the place of: whoever may write in the folder could have put a link there.
fn bind(path: &Path, whose: Whose) -> io::Result<UnixListener> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // The kernel makes the file with the rights of the socket.
    let owner = Mode::S_IRUSR | Mode::S_IWUSR;
    let everybody = Mode::S_IRGRP | Mode::S_IWGRP | Mode::S_IROTH | Mode::S_IWOTH;
    fchmod(&socket, if whose == Whose::Owners { owner } else { owner | everybody })?;
    // The mask of the process would take rights away that the callers need.
    let mask = (whose == Whose::Callers).then(|| umask(Mode::empty()));
    let bound = socket.bind(&SockAddr::unix(path)?);
    if let Some(mask) = mask {
        umask(mask);
    }
    bound?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn cannot_make(folder: &Path, error: &io::Error) -> String {
    let advice = match error.kind() {
        io::ErrorKind::PermissionDenied => "; run as root or name another one with `run-dir`",
        io::ErrorKind::StorageFull => "; the disk is full",
        _other => "; name another one with `run-dir`",
    };
    format!("cannot make {}: {error}{advice}", folder.display())
}

fn remove_stale(path: &Path) -> Result<(), String> {
    let shown = path.display();
    let is_socket = fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket());
    if !is_socket {
        return Err(format!("{shown} exists and is no socket; remove it or name another path"));
    }
    if UnixStream::connect(path).is_ok() {
        return Err(format!("{shown}: another postern is running here (`postern status` asks it)"));
    }
    fs::remove_file(path).map_err(|error| format!("cannot remove the left-over {shown}: {error}"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn folder(name: &str) -> std::path::PathBuf {
        let folder = std::env::temp_dir().join(format!("postern-unix-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    #[test]
    fn left_over_sockets_are_replaced() {
        let path = folder("stale").join("s.sock");
        drop(listen(&path, None, Whose::Owners).unwrap());
        assert!(path.exists(), "the file is left over");
        listen(&path, None, Whose::Owners).unwrap();
    }

    #[test]
    fn living_sockets_are_not_disturbed() {
        let path = folder("alive").join("s.sock");
        let _first = listen(&path, None, Whose::Owners).unwrap();
        assert!(listen(&path, None, Whose::Owners).unwrap_err().contains("another postern is running"));
    }

    #[test]
    fn only_the_owner_may_connect() {
        let path = folder("mode").join("s.sock");
        let _listener = listen(&path, None, Whose::Owners).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let path = folder("open").join("s.sock");
        let _listener = listen(&path, None, Whose::Callers).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o666);
    }

    #[test]
    fn other_files_are_not_removed() {
        let path = folder("file").join("s.sock");
        fs::write(&path, "precious").unwrap();
        assert!(listen(&path, None, Whose::Owners).unwrap_err().contains("no socket"));
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }
}
