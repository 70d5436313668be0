//! Unix sockets with a name in the file system: left-over files, rights, who is already there.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, lchown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use nix::sys::stat::{Mode, fchmod};
use nix::unistd::Uid;
use socket2::{Domain, SockAddr, Socket, Type};

/// Connections that wait to be accepted.
const BACKLOG: i32 = 128;

/// Listens at `path`. A file left behind by a process that is gone is replaced; a living one is not disturbed.
/// The socket is for `owner` and root only.
pub(crate) fn listen(path: &Path, owner: Option<Uid>) -> Result<UnixListener, String> {
    let shown = path.display();
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(|error| cannot_make(folder, &error))?;
    }
    let listener = match bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            remove_stale(path)?;
            bind(path)
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

/// Makes the socket for its owner alone from the first moment on. By name nothing is changed afterwards that another
/// file could have taken the place of: whoever may write in the folder could have put a link there.
fn bind(path: &Path) -> io::Result<UnixListener> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // The kernel makes the file with the rights of the socket.
    fchmod(&socket, Mode::S_IRUSR | Mode::S_IWUSR)?;
    socket.bind(&SockAddr::unix(path)?)?;
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
        drop(listen(&path, None).unwrap());
        assert!(path.exists(), "the file is left over");
        listen(&path, None).unwrap();
    }

    #[test]
    fn living_sockets_are_not_disturbed() {
        let path = folder("alive").join("s.sock");
        let _first = listen(&path, None).unwrap();
        assert!(listen(&path, None).unwrap_err().contains("another postern is running"));
    }

    #[test]
    fn only_the_owner_may_connect() {
        let path = folder("mode").join("s.sock");
        let _listener = listen(&path, None).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn other_files_are_not_removed() {
        let path = folder("file").join("s.sock");
        fs::write(&path, "precious").unwrap();
        assert!(listen(&path, None).unwrap_err().contains("no socket"));
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }
}
