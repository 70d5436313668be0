//! One middlebox per network namespace: an abstract Unix socket, which the kernel keeps per namespace and takes away
//! when its process dies.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};

use crate::Error;

const NAME: &str = "postern/middlebox";

/// Held as long as it lives.
#[derive(Debug)]
pub(super) struct Lock {
    _listener: UnixListener,
}

impl Lock {
    pub(super) fn take() -> Result<Self, Error> {
        let address = SocketAddr::from_abstract_name(NAME).map_err(failed)?;
        match UnixListener::bind_addr(&address) {
            Ok(listener) => Ok(Self { _listener: listener }),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => Err(Error::Held(holder(&address))),
            Err(error) => Err(failed(error)),
        }
    }
}

fn failed(error: io::Error) -> Error {
    Error::kernel("cannot take the middlebox lock of this network namespace")(error)
}

/// The process that holds the lock; 0 if it lives where its number means nothing to us.
fn holder(address: &SocketAddr) -> i32 {
    let stream = UnixStream::connect_addr(address);
    let peer = stream.and_then(|stream| Ok(getsockopt(&stream, PeerCredentials)?));
    peer.map_or(0, |peer| peer.pid())
}
