//! The file of users: who has a password with us. One user a line; `#` begins a comment.
//!
//! ```text
//! alice password open sesame
//! bob   md5 939e7578ed9e3c518a452acee763bce9 sha-256 6a6c... callers +49301234,+4930123*
//! ```

use std::fmt::Display;

use b2bua::config::{User, UserPattern, Users};
use sip::digest::{Ha1, Hash, Secret};

use super::Failure;
use crate::config::Config;
use crate::secret;

/// Users of one file.
const USERS_MAX: usize = 100_000;

/// Everybody in the file that the configuration names; `reader` is the user that the half becomes.
pub(crate) fn read(config: &Config, reader: u32) -> Result<Users, Failure> {
    let Some(path) = &config.users else { return Ok(Users::default()) };
    let text = secret::file(path, reader).map_err(Failure::Start)?;
    parse(&text).map_err(|why| Failure::Start(format!("{}: {why}", path.display())))
}

fn parse(text: &str) -> Result<Users, String> {
    let mut users: Vec<(Box<str>, User)> = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let at = |why: &dyn Display| format!("line {number}: {why}");
        let (name, user) = user(line).map_err(|why| at(&why))?;
        if users.len() == USERS_MAX {
            return Err(at(&format!("more than {USERS_MAX} users")));
        }
        users.push((name, user));
    }
    let count = users.len();
    users.sort_by(|(one, _), (other, _)| one.cmp(other));
    users.dedup_by(|(one, _), (other, _)| one == other);
    if users.len() < count {
        return Err("a user stands there twice".into());
    }
    let users = Users::new(users);
    if !users.is_empty() && !users.has_common_hash() {
        return Err(
            "some users have only an MD5 hash and some only a SHA-256 hash: all need one of the two".into()
        );
    }
    Ok(users)
}

fn user(line: &str) -> Result<(Box<str>, User), String> {
    let (name, rest) =
        line.split_once(char::is_whitespace).ok_or("a name, and then `password`, `md5` or `sha-256`")?;
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.!~'()&=+$,/".contains(&byte);
    if !name.bytes().all(fits) || name.len() > 64 {
        return Err(format!("`{name}` is no user part of a SIP URI of 64 octets at most"));
    }
    let rest = rest.trim_start();
    if let Some(password) = rest.strip_prefix("password ") {
        let secret = Secret::password(password).ok_or("a password has 1 to 256 octets")?;
        return Ok((name.into(), User { secret, callers: Vec::new() }));
    }
    let (mut hashes, mut callers) = (Vec::new(), Vec::new());
    let mut words = rest.split_whitespace();
    while let Some(word) = words.next() {
        let value = words.next().ok_or_else(|| format!("`{word}` of what?"))?;
        match word {
            "md5" => hashes.push(ha1(value, Hash::Md5)?),
            "sha-256" => hashes.push(ha1(value, Hash::Sha256)?),
            "callers" => {
                for caller in value.split(',') {
                    callers.push(
                        UserPattern::parse(caller)
                            .ok_or_else(|| format!("`{caller}`: a `*` only at its end"))?,
                    );
                }
            }
            "password" => {
                return Err("a password stands right behind the name and takes the rest of the line".into());
            }
            other => return Err(format!("`{other}` is not `password`, `md5`, `sha-256` or `callers`")),
        }
    }
    if hashes.is_empty() {
        return Err(format!("{name} has no password"));
    }
    Ok((name.into(), User { secret: Secret::Ha1(hashes), callers }))
}

fn ha1(text: &str, hash: Hash) -> Result<Ha1, String> {
    let wrong = || format!("{} hash: {} hexadecimal digits", hash.token(), hash.hex_len());
    Ha1::parse(text).filter(|ha1| ha1.hash() == hash).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_have_passwords_or_hashes() {
        let md5 = "939e7578ed9e3c518a452acee763bce9";
        let text = format!("# who\n\nalice password open sesame \nbob\tmd5 {md5}  callers +4930*,100\n");
        assert!(parse(&text).is_ok());
        let (name, bob) = user(&format!("bob md5 {md5} callers +4930*,100")).unwrap();
        assert_eq!((&*name, bob.callers.len()), ("bob", 2));
        assert!(bob.secret.knows(Hash::Md5) && !bob.secret.knows(Hash::Sha256));
        let (_, alice) = user("alice password a b").unwrap();
        assert_eq!(alice.secret, Secret::password("a b").unwrap());
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        let long = "0".repeat(64);
        for (text, why) in [
            ("alice", "line 1: a name"),
            ("\nalice secret", "line 2: `secret` of what?"),
            ("alice md5 12", "line 1: MD5 hash: 32"),
            ("a@b password x", "line 1: `a@b` is no user part"),
            ("alice callers 1", "line 1: alice has no password"),
            ("alice password x\nalice password y", "twice"),
            (&format!("a md5 {}\nb sha-256 {long}", &long[..32]), "all need one of the two"),
        ] {
            let said = parse(text).unwrap_err();
            assert!(said.contains(why), "{text:?}: {said}");
        }
    }
}
