//! REGISTER: RFC 3261 §10, as it goes on to the registrar and as its answer comes back.

use std::time::Duration;

use machine::{Instant, Outbox};
use sip::message::{Builder, Message, Name, NameAddr, Uri};
use sip::transport::Hop;

use super::Passing;
use super::registrations::{Binding, Reach, Whose};
use crate::b2bua::B2bua;
use crate::config::RealmId;
use crate::context::Context;
use crate::event::Event;
use crate::failure::Verdict;
use crate::io::Output;
use crate::limits::{CONTACTS_MAX, PATH_MAX, REGISTERED_MAX_S};
use crate::route;
use crate::tag::Tag;

/// A contact that a REGISTER names, and the name that the registrar gets for it.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    name: Tag,
    whose: Whose,
    uri: Box<str>,
    /// Everything behind the URI, as it came: `expires`, `q`, features.
    params: Box<[u8]>,
    /// How long, in seconds; `None`: as the registrar pleases.
    expires_s: Option<u32>,
}

//= RFC 3261 §10.3 step 5, §20.10: the parameter, else the header field.
fn expires(contact: &NameAddr<'_>, message: &Message) -> Option<u32> {
    let own = contact.params().text("expires").and_then(|text| text.parse().ok());
    own.or_else(|| message.expires().ok().flatten())
}

fn is_star(message: &Message) -> bool {
    message.header(Name::Contact).is_some_and(|value| value.trim_ascii() == b"*")
}

fn aor(message: &Message) -> Box<str> {
    message.to().map_or("", |to| to.uri()).into()
}

impl B2bua {
    /// The phone that a request is for, if its Request-URI is a name of ours from this realm.
    pub(crate) fn registered(&self, request: &Message, from: RealmId) -> Option<Reach> {
        let uri =
            Uri::parse(request.request_uri()).ok().filter(|uri| route::is_us_in(&self.config, from, uri))?;
        let binding = self.shared.alone.registrations.get(Tag::parse(uri.user()?)?)?;
        (binding.registrar == from).then(|| binding.reach.clone())
    }

    /// What a REGISTER asks for.
    pub(super) fn ask_for_bindings(&mut self, passing: &Passing) -> Result<Vec<Asked>, Verdict> {
        let message = &passing.request.message;
        if is_star(message) {
            //= RFC 3261 §10.3 step 6: only to remove everything.
            let removes = message.expires().ok().flatten() == Some(0);
            return if removes {
                Ok(Vec::new())
            } else {
                Err(Verdict::plain(400, "Contact * without Expires 0"))
            };
        }
        if message.values(Name::Path).nth(PATH_MAX).is_some() {
            return Err(Verdict::plain(403, "too many proxies in Path"));
        }
        let mut asked = Vec::new();
        for contact in message.contacts() {
            let contact = contact.map_err(|defect| Verdict::plain(defect.status(), defect.to_string()))?;
            if asked.len() == CONTACTS_MAX {
                return Err(Verdict::plain(403, "too many contacts"));
            }
            let params = contact.params();
            let instance = params.find("+sip.instance").map(|id| String::from_utf8_lossy(id).into_owned());
            let reg_id = params.text("reg-id").unwrap_or_default();
            let phone = instance.map_or_else(|| contact.uri().to_owned(), |id| format!("{id} {reg_id}"));
            let whose = Whose { realm: passing.from, aor: aor(message), phone: phone.into() };
            let known = self.shared.alone.registrations.name_of(&whose);
            let expires_s = expires(&contact, message);
            let room = self.shared.alone.registrations.len() + asked.len() < self.config.limits.registrations;
            if known.is_none() && expires_s != Some(0) && !room {
                return Err(Verdict::plain(503, "no more registrations are taken").later());
            }
            let name = known.unwrap_or_else(|| Tag::mint(self.config.shard, &mut self.shared.rng));
            let (uri, params) = (contact.uri().into(), params.as_bytes().into());
            asked.push(Asked { name, whose, uri, params, expires_s });
        }
        Ok(asked)
    }

    /// Everybody whose time is over.
    pub(crate) fn end_registrations(&mut self, now: Instant, out: &mut Outbox<Output>) {
        while let Some((name, binding)) = self.shared.alone.registrations.pop_expired(now) {
            self.context(now, out).unregistered(name, binding);
        }
    }
}

impl Context<'_> {
    /// Names of ours in place of the phone's contacts.
    pub(super) fn own_contacts(&self, mut builder: Builder, passing: &Passing, hop: Hop) -> Builder {
        if is_star(&passing.request.message) {
            return builder.header(Name::Contact, "*");
        }
        let Some(own) = self.config.listener(hop.listener) else { return builder };
        for asked in &passing.asked {
            let contact = own.contact(asked.name.text().as_str(), false).to_string();
            builder = builder.header(Name::Contact, [contact.as_bytes(), &asked.params].concat());
        }
        builder
    }

    /// The registrar has taken it: who is reached how from now on, and what the phone is told.
    pub(super) fn register_answered(
        &mut self,
        mut builder: Builder,
        passing: &Passing,
        answer: &Message,
    ) -> Builder {
        let message = &passing.request.message;
        let aor = aor(message);
        if is_star(message) {
            for name in self.shared.alone.registrations.names_of(passing.from, &aor) {
                self.forget_registration(name);
            }
            return builder;
        }
        let said = |contact: &NameAddr<'_>| {
            let uri =
                contact.parsed_uri().ok().filter(|uri| route::is_us_in(self.config, passing.to, uri))?;
            Some((Tag::parse(uri.user()?)?, expires(contact, answer), contact.params().as_bytes().to_vec()))
        };
        let listed: Vec<_> = answer.contacts().flatten().filter_map(|contact| said(&contact)).collect();
        for asked in &passing.asked {
            let granted =
                listed.iter().find(|(name, ..)| *name == asked.name).map(|(_, granted, _)| *granted);
            let granted = match granted {
                Some(granted) => granted.or(asked.expires_s),
                // A registrar that lists nobody at all has not said that it does not know this one.
                None if listed.is_empty() && asked.expires_s != Some(0) => {
                    answer.expires().ok().flatten().or(asked.expires_s)
                }
                None => Some(0),
            };
            self.register(passing, asked, granted.unwrap_or(REGISTERED_DEFAULT_S));
        }
        //= RFC 3261 §10.3 step 8: all current bindings. Those that are not ours are none of the phone's business.
        for (name, _, params) in listed {
            let registrations = &self.shared.alone.registrations;
            let Some(binding) = registrations.get(name).filter(|binding| *binding.whose.aor == *aor) else {
                continue;
            };
            let value = [b"<", binding.reach.uri.as_bytes(), b">", params.as_slice()].concat();
            builder = builder.header(Name::Contact, value);
        }
        //= RFC 3327 §5.3: Path is told to who has sent it.
        message.values(Name::Path).fold(builder, |builder, path| builder.header(Name::Path, path))
    }

    fn register(&mut self, passing: &Passing, asked: &Asked, granted_s: u32) {
        if granted_s == 0 {
            return self.forget_registration(asked.name);
        }
        let message = &passing.request.message;
        let reach = Reach {
            realm: passing.from,
            uri: asked.uri.clone(),
            hop: passing.request.hop,
            path: message.values(Name::Path).map(Into::into).collect(),
        };
        let lives = Duration::from_secs(granted_s.min(REGISTERED_MAX_S).into());
        let binding =
            Binding { whose: asked.whose.clone(), registrar: passing.to, reach, expires: self.now + lives };
        let (aor, hop, realm) = (asked.whose.aor.clone(), passing.request.hop, passing.from);
        let again = !self.shared.alone.registrations.put(asked.name, binding);
        self.event(Event::Registered { name: asked.name.to_string().into(), again, realm, aor, hop });
    }

    fn forget_registration(&mut self, name: Tag) {
        if let Some(binding) = self.shared.alone.registrations.remove(name) {
            self.unregistered(name, binding);
        }
    }

    fn unregistered(&mut self, name: Tag, binding: Binding) {
        let Binding { whose, reach, .. } = binding;
        let name = name.to_string().into();
        self.event(Event::Unregistered { name, realm: whose.realm, aor: whose.aor, hop: reach.hop });
    }
}

/// What RFC 3261 §10.2.1.1 suggests, where neither says anything.
const REGISTERED_DEFAULT_S: u32 = 3600;
