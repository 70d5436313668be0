//! REGISTER: RFC 3261 §10, as it goes on to the registrar and as its answer comes back.

use std::time::Duration;

use machine::{Instant, Outbox};
use sip::message::{Builder, Message, Name, NameAddr, Uri};
use sip::transport::Hop;

use super::Passing;
use super::contact;
use super::registrar::{Kept, Q_MOST, user_of};
use super::registrations::{Binding, Whose, name_of, text_of};
use super::{refresh, service_route};
use crate::b2bua::B2bua;
use crate::config::RealmId;
use crate::context::Context;
use crate::event::Event;
use crate::failure::Verdict;
use crate::io::Output;
use crate::limits::{CONTACT_LEN_MAX, CONTACTS_MAX, CONTACTS_OF_ONE_MAX, PATH_MAX, REGISTERED_MAX_S};
use crate::named::Target;
use crate::route;
use crate::tag::Tag;

/// A contact that a REGISTER names, and the name that the registrar gets for it.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    name: Tag,
    whose: Whose,
    uri: Box<str>,
    /// What travels of what stands behind the URI: `expires`, `q`, features.
    params: Box<[u8]>,
    /// The same without `expires`.
    said: Box<[u8]>,
    /// How long, in seconds; `None`: as the registrar pleases.
    pub(super) expires_s: Option<u32>,
}

impl Asked {
    /// How much it is preferred, in thousandths.
    pub(super) fn q(&self) -> u16 {
        let text = String::from_utf8_lossy(&self.params).into_owned();
        let q = text.split(';').find_map(|param| param.strip_prefix("q="));
        let q = q.and_then(|q| q.parse::<f32>().ok()).filter(|q| (0.0..=1.0).contains(q));
        // Between 0 and 1000.
        q.map_or(Q_MOST, |q| (q * 1000.0).round() as u16)
    }

    pub(super) fn name(&self) -> Tag {
        self.name
    }

    pub(super) fn whose(&self) -> &Whose {
        &self.whose
    }

    pub(super) fn uri(&self) -> &str {
        &self.uri
    }

    pub(super) fn said(&self) -> &[u8] {
        &self.said
    }

    /// True if the contact is taken back.
    pub(super) fn ends(&self) -> bool {
        self.expires_s == Some(0)
    }
}

//= RFC 3261 §10.3 step 5, §20.10: the parameter, else the header field.
fn expires(contact: &NameAddr<'_>, message: &Message) -> Option<u32> {
    let own = contact.params().text("expires").and_then(|text| text.parse().ok());
    own.or_else(|| message.expires().ok().flatten())
}

pub(super) fn is_star(message: &Message) -> bool {
    let mut contacts = message.values(Name::Contact);
    contacts.next().is_some_and(|value| value.trim_ascii() == b"*") && contacts.next().is_none()
}

fn aor(message: &Message) -> Box<str> {
    message.to().map_or("", |to| to.uri()).into()
}

impl B2bua {
    /// The phone that a request is for, if its Request-URI is a name of ours from this realm.
    pub(crate) fn registered(&self, request: &Message, from: RealmId) -> Option<Target> {
        let binding = self.shared.alone.registrations.get(self.name_in(request, from)?)?;
        (binding.registrar == from).then(|| binding.reach.clone())
    }

    /// True if a request is for such a name, whether or not anybody has it any more: nobody else is meant.
    pub(crate) fn is_for_name(&self, request: &Message, from: RealmId) -> bool {
        self.name_in(request, from).is_some()
    }

    fn name_in(&self, request: &Message, from: RealmId) -> Option<Tag> {
        let uri = Uri::parse(request.request_uri()).ok();
        name_of(uri.filter(|uri| route::is_us_in(&self.config, from, uri))?.user()?)
    }

    /// Whom a phone registers for: with us the user alone, whatever host stands behind it.
    fn aor_of(&self, message: &Message, realm: RealmId) -> Box<str> {
        match self.config.realm(realm).is_some_and(|realm| realm.registrar.is_some()) {
            true => user_of(message),
            false => aor(message),
        }
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
        let path: usize = message.values(Name::Path).map(<[u8]>::len).sum();
        let mut asked: Vec<Asked> = Vec::new();
        for contact in message.contacts() {
            let contact = contact.map_err(|defect| Verdict::plain(defect.status(), defect.to_string()))?;
            let uri = contact::uri(&contact).ok_or_else(|| Verdict::plain(400, "Contact is no SIP URI"))?;
            if asked.len() == CONTACTS_MAX {
                return Err(Verdict::plain(403, "too many contacts"));
            }
            let params = contact.params();
            let instance = params.find("+sip.instance").map(|id| String::from_utf8_lossy(id).into_owned());
            let reg_id = params.text("reg-id").unwrap_or_default();
            let phone = instance.map_or_else(|| uri.to_owned(), |id| format!("{id} {reg_id}"));
            let aor = self.aor_of(message, passing.from);
            let whose = Whose { realm: passing.from, aor, phone: phone.into() };
            let said: Box<[u8]> = contact::features(params).into();
            let len = whose.aor.len() + whose.phone.len() + uri.len() + path + said.len();
            if len > CONTACT_LEN_MAX {
                return Err(Verdict::plain(403, "contact too long"));
            }
            let expires_s = expires(&contact, message);
            let (uri, params) = (uri.into(), contact::params(params).into());
            // A phone that moves names its old place beside the new one: to us both are the phone.
            if let Some(same) = asked.iter_mut().find(|same| same.whose == whose) {
                if same.expires_s == Some(0) {
                    *same = Asked { name: same.name, whose, uri, params, said, expires_s };
                }
                continue;
            }
            let known = self.shared.alone.registrations.name_of(&whose);
            if known.is_none() && expires_s != Some(0) {
                self.has_room(&whose, asked.len())?;
            }
            let name = known.unwrap_or_else(|| Tag::mint(self.config.shard, &mut self.shared.rng));
            asked.push(Asked { name, whose, uri, params, said, expires_s });
        }
        Ok(asked)
    }

    /// Refuses one contact more than there is room for, beside so many that are asked for.
    fn has_room(&self, whose: &Whose, beside: usize) -> Result<(), Verdict> {
        let registrations = &self.shared.alone.registrations;
        if registrations.names_of(whose.realm, &whose.aor).len() + beside >= CONTACTS_OF_ONE_MAX {
            return Err(Verdict::plain(403, "too many contacts of one address-of-record"));
        }
        match registrations.len() + beside < self.config.limits.registrations {
            true => Ok(()),
            false => Err(Verdict::plain(503, "no more registrations are taken").later()),
        }
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
            let contact = own.contact(&text_of(asked.name), false).to_string();
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
            let params = contact.params();
            let shown = (contact::params(params), contact::features(params));
            Some((name_of(uri.user()?)?, expires(contact, answer), shown))
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
            self.register((passing, asked), granted.unwrap_or(REGISTERED_DEFAULT_S), (Some(answer), None));
        }
        //= RFC 3261 §10.3 step 8: all current bindings. Those that are not ours are none of the phone's business.
        for (name, _, (params, features)) in listed {
            let registrations = &self.shared.alone.registrations;
            let Some(binding) = registrations.get(name).filter(|binding| *binding.whose.aor == *aor) else {
                continue;
            };
            let uri = &binding.reach.uri;
            let value = match refresh::most(self.config, passing.from, &binding.reach) {
                None => contact::value(uri, &params, None),
                Some(_) => {
                    contact::value(uri, &features, Some(refresh::left_s(self.config, binding, self.now)))
                }
            };
            builder = builder.header(Name::Contact, value);
        }
        //= RFC 3327 §5.3: Path is told to who has sent it.
        message.values(Name::Path).fold(builder, |builder, path| builder.header(Name::Path, path))
    }

    /// The registrar whose answer it is, or we, have taken a contact.
    pub(super) fn register(
        &mut self,
        (passing, asked): (&Passing, &Asked),
        granted_s: u32,
        (answer, kept): (Option<&Message>, Option<Kept>),
    ) {
        if granted_s == 0 || asked.expires_s == Some(0) {
            return self.forget_registration(asked.name);
        }
        let message = &passing.request.message;
        let reach = Target {
            realm: passing.from,
            uri: asked.uri.clone(),
            // A connection that is gone by then would keep callers waiting; one that is there is found by the place.
            hop: Hop { connection: None, ..passing.request.hop },
            path: message.values(Name::Path).map(Into::into).collect(),
        };
        let granted = Duration::from_secs(granted_s.min(REGISTERED_MAX_S).into());
        let binding = Binding {
            whose: asked.whose.clone(),
            registrar: passing.to,
            reach,
            expires: self.now + granted,
            granted,
            said: asked.said.clone(),
            service_route: answer.map_or_else(Vec::new, service_route::said),
            kept,
        };
        let (aor, hop, realm) = (asked.whose.aor.clone(), passing.request.hop, passing.from);
        // Two requests of one phone at a time have got it two names: the registrar's last word counts.
        if let Some(other) =
            self.shared.alone.registrations.name_of(&asked.whose).filter(|it| *it != asked.name)
        {
            self.forget_registration(other);
        }
        let again = !self.shared.alone.registrations.put(asked.name, binding);
        self.event(Event::Registered { name: text_of(asked.name).into(), again, realm, aor, hop });
    }

    pub(super) fn forget_registration(&mut self, name: Tag) {
        if let Some(binding) = self.shared.alone.registrations.remove(name) {
            self.unregistered(name, binding);
        }
    }

    fn unregistered(&mut self, name: Tag, binding: Binding) {
        let Binding { whose, reach, .. } = binding;
        let name = text_of(name).into();
        self.event(Event::Unregistered { name, realm: whose.realm, aor: whose.aor, hop: reach.hop });
    }
}

/// What RFC 3261 §10.2.1.1 suggests, where neither says anything.
const REGISTERED_DEFAULT_S: u32 = 3600;
