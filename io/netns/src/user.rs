//! Being root in a user namespace of one's own, where the kernel allows it (`user_namespaces(7)`).

use std::fs;
use std::io;

use nix::sched::{CloneFlags, unshare};
use nix::unistd::{getegid, geteuid};

/// True if this process may make network namespaces as it is.
#[must_use]
pub fn is_root() -> bool {
    geteuid().is_root()
}

/// Makes this process root in a user namespace of its own, unless it is root already.
///
/// Must be called before any thread is started: the kernel refuses it to a process with threads.
///
/// # Errors
/// The kernel's refusal, e.g. where unprivileged user namespaces are switched off.
pub fn become_root() -> io::Result<()> {
    if is_root() {
        return Ok(());
    }
    let (user, group) = (geteuid(), getegid());
    unshare(CloneFlags::CLONE_NEWUSER)?;
    // user_namespaces(7): without privilege, setgroups must be denied before a group map is accepted.
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("0 {user} 1"))?;
    fs::write("/proc/self/gid_map", format!("0 {group} 1"))
}
