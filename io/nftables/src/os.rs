//! The three system calls for which no safe wrapper exists: this is the only file of the crate with `unsafe` in it.
#![allow(
    unsafe_code,
    reason = "two socket options and one ioctl, each with a plain C structure and checked result"
)]

use std::ffi::c_int;
use std::fs::File;
use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd};

const NETLINK_CAP_ACK: c_int = 10;
const TUNSETIFF: libc::Ioctl = 0x4004_54ca;

/// Asks the kernel not to send our own bytes back with every error.
pub(crate) fn short_errors(socket: BorrowedFd<'_>) -> io::Result<()> {
    option(socket, libc::SOL_NETLINK, NETLINK_CAP_ACK, &(1 as c_int))
}

/// Makes the kernel drop what a netlink socket would receive about changes made by the socket with port `port`.
pub(crate) fn ignore_writer(socket: BorrowedFd<'_>, port: u32) -> io::Result<()> {
    // Classic BPF: load the header's port number (it reads as network order), compare, keep nothing or everything.
    let code = |code: u32, jt, jf, k| libc::sock_filter { code: u16::try_from(code).unwrap_or(0), jt, jf, k };
    let mut program = [
        code(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 12),
        code(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, u32::from_be(port)),
        code(libc::BPF_RET | libc::BPF_K, 0, 0, 0),
        code(libc::BPF_RET | libc::BPF_K, 0, 0, u32::MAX),
    ];
    let program = libc::sock_fprog { len: 4, filter: program.as_mut_ptr() };
    option(socket, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &program)
}

fn option<T>(socket: BorrowedFd<'_>, level: c_int, name: c_int, value: &T) -> io::Result<()> {
    let length = libc::socklen_t::try_from(size_of::<T>()).unwrap_or(0);
    // SAFETY: `value` is a live reference to `length` bytes, which the kernel only reads (and, for a filter, follows
    // one pointer to four instructions that outlive the call).
    let done = unsafe {
        libc::setsockopt(socket.as_raw_fd(), level, name, std::ptr::from_ref(value).cast(), length)
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Turns an open `/dev/net/tun` into a TAP interface called `name` that lives as long as the file.
pub(crate) fn tap(file: &File, name: &str) -> io::Result<()> {
    #[repr(C)]
    struct Request {
        name: [u8; libc::IFNAMSIZ],
        flags: u16,
        unused: [u8; 22],
    }
    let flags = u16::try_from(libc::IFF_TAP | libc::IFF_NO_PI).unwrap_or(0);
    let mut request = Request { name: [0; libc::IFNAMSIZ], flags, unused: [0; 22] };
    if name.len() >= libc::IFNAMSIZ {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    request.name[..name.len()].copy_from_slice(name.as_bytes());
    // SAFETY: the structure has the size and layout of `struct ifreq` (40 bytes) and outlives the call.
    let done = unsafe { libc::ioctl(file.as_raw_fd(), TUNSETIFF, &raw mut request) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
