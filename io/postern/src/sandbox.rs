//! Giving up privilege, once everything that needs it is open.

use caps::{CapSet, Capability, CapsHashSet};
use nix::errno::Errno;
use nix::sys::prctl;
use nix::unistd::{Gid, Group, Uid, User, setgroups, setresgid, setresuid};

/// What a process may still do afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    /// Nothing beyond its user's rights.
    Nothing,
    /// CAP_NET_ADMIN.
    NetAdmin,
}

/// The user and group the agent half runs as.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub name: String,
    pub uid: Uid,
    pub gid: Gid,
}

impl Identity {
    /// The user of the configuration; without one `postern` if it exists, else `nobody`.
    pub(crate) fn find(configured: Option<&str>) -> Result<Self, String> {
        match configured {
            Some(name) => Self::of(name).ok_or_else(|| {
                format!("there is no user `{name}` (key `user`); `useradd --system {name}` makes one")
            }),
            None => Ok(Self::of("postern").or_else(|| Self::of("nobody")).unwrap_or_else(Self::overflow)),
        }
    }

    /// A user by name or number.
    pub(crate) fn of(name: &str) -> Option<Self> {
        let by_number = || User::from_uid(Uid::from_raw(name.parse().ok()?)).ok().flatten();
        let user = User::from_name(name).ok().flatten().or_else(by_number)?;
        Some(Self { name: user.name, uid: user.uid, gid: user.gid })
    }

    /// Numbers that belong to nobody, on a system without any user list.
    fn overflow() -> Self {
        let gid = Group::from_name("nogroup").ok().flatten().map_or(65_534, |group| group.gid.as_raw());
        Self { name: "nobody".into(), uid: Uid::from_raw(65_534), gid: Gid::from_raw(gid) }
    }
}

/// True if this process may change firewall rules.
pub(crate) fn has_net_admin() -> bool {
    caps::has_cap(None, CapSet::Effective, Capability::CAP_NET_ADMIN).unwrap_or(false)
}

/// Gives up everything but `keep`, and the user for `identity` where that is possible. Says what came of it.
///
/// It must be called before any thread is started: capabilities belong to threads.
pub(crate) fn enter(keep: Keep, identity: Option<&Identity>) -> Result<String, String> {
    prctl::set_no_new_privs().map_err(|errno| format!("cannot set no-new-privileges: {errno}"))?;
    let kept: CapsHashSet = match keep {
        Keep::Nothing => CapsHashSet::new(),
        Keep::NetAdmin => [Capability::CAP_NET_ADMIN].into_iter().collect(),
    };
    drop_bounding(&kept);
    let user = identity.map(become_user).transpose()?;
    for set in [CapSet::Ambient, CapSet::Inheritable] {
        // A kernel without ambient capabilities has none to clear.
        let _ = caps::clear(None, set);
    }
    for set in [CapSet::Effective, CapSet::Permitted] {
        caps::set(None, set, &kept).map_err(|error| format!("cannot give up capabilities: {error}"))?;
    }
    let rights = match keep {
        Keep::Nothing => "no capabilities",
        Keep::NetAdmin => "CAP_NET_ADMIN only",
    };
    Ok(user.map_or_else(|| rights.to_owned(), |user| format!("{user}, {rights}")))
}

/// What is not in the bounding set can never be gained again. Without CAP_SETPCAP it stays: no-new-privileges closes
/// the same door.
fn drop_bounding(kept: &CapsHashSet) {
    for capability in caps::runtime::thread_all_supported() {
        if !kept.contains(&capability) {
            let _ = caps::drop(None, CapSet::Bounding, capability);
        }
    }
}

/// Becomes another user, or says why this one stays. In a user namespace other users do not exist.
fn become_user(identity: &Identity) -> Result<String, String> {
    if !Uid::effective().is_root() {
        return Ok(format!("user {}", Uid::effective()));
    }
    let switch = || -> Result<(), Errno> {
        setgroups(&[])?;
        setresgid(identity.gid, identity.gid, identity.gid)?;
        setresuid(identity.uid, identity.uid, identity.uid)
    };
    match switch() {
        Ok(()) => Ok(format!("user {}", identity.name)),
        Err(Errno::EPERM | Errno::EINVAL) => Ok("user unchanged (no other user in this namespace)".into()),
        Err(errno) => Err(format!("cannot become user {}: {errno}", identity.name)),
    }
}
