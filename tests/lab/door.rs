//! Where a [`crate::gatekeeper::Gatekeeper`] serves agents: a Unix socket, or TCP as a middlebox on another host does.

use std::fs;
use std::io::{self, Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::path::Path;

use netns::Host;

/// A connection with an agent.
pub(crate) trait Wire: Read + Write {}
impl<T: Read + Write> Wire for T {}

/// See the module.
pub(crate) enum Door {
    Unix(UnixListener),
    Tcp(TcpListener),
}

impl Door {
    pub(crate) fn unix(path: &Path) -> io::Result<Self> {
        let listener = UnixListener::bind(path)?;
        // The agent is another user.
        fs::set_permissions(path, fs::Permissions::from_mode(0o777))?;
        listener.set_nonblocking(true)?;
        Ok(Self::Unix(listener))
    }

    pub(crate) fn tcp(host: &Host, address: &str) -> io::Result<Self> {
        let listener = host.run(|| TcpListener::bind(address))?;
        listener.set_nonblocking(true)?;
        Ok(Self::Tcp(listener))
    }

    /// The next agent, or `WouldBlock`.
    pub(crate) fn accept(&self) -> io::Result<Box<dyn Wire>> {
        match self {
            Self::Unix(listener) => {
                let (stream, _) = listener.accept()?;
                stream.set_nonblocking(true)?;
                Ok(Box::new(stream))
            }
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept()?;
                stream.set_nonblocking(true)?;
                stream.set_nodelay(true)?;
                Ok(Box::new(stream))
            }
        }
    }
}
