//! What the phone writes about itself, and what it insists to understand.

use sip::message::{Builder, Message, Name};
use sip::transport::Protocol;

use crate::call::Call;
use crate::phone::Phone;
use crate::{MOVED, Reliable};

impl Phone {
    /// Contact, Allow and Supported, as dialogs are made and refreshed with them.
    pub(crate) fn introduce(&self, builder: Builder) -> Builder {
        let builder = builder.header(Name::Contact, self.contact()).header(Name::Allow, self.allow());
        let builder = match self.config.named.route {
            Some(route) => builder.header(Name::RecordRoute, format!("<sip:{route};lr>")),
            None => builder,
        };
        match self.options().as_slice() {
            [] => builder,
            options => builder.header(Name::Supported, options.join(", ")),
        }
    }

    pub(crate) fn contact(&self) -> String {
        self.contact_of(&self.config.user)
    }

    /// Where a 3xx sends.
    pub(crate) fn elsewhere(&self) -> String {
        self.contact_of(MOVED)
    }

    fn contact_of(&self, user: &str) -> String {
        let transport = match self.config.protocol {
            Protocol::Udp => "",
            Protocol::Tcp => ";transport=tcp",
            Protocol::Tls => ";transport=tls",
            Protocol::Ws => ";transport=ws",
            Protocol::Wss => ";transport=wss",
        };
        format!("<sip:{user}@{}{transport}>", self.config.named.contact.unwrap_or(self.config.address))
    }

    pub(crate) fn allow(&self) -> String {
        let mut allow = "INVITE, ACK, CANCEL, BYE, OPTIONS".to_owned();
        let refers = self.config.extensions.refers;
        let further =
            [("PRACK", self.is_reliable()), ("UPDATE", self.is_updating()), ("REFER, NOTIFY", refers)];
        for (method, is_allowed) in further {
            if is_allowed {
                allow.push_str(", ");
                allow.push_str(method);
            }
        }
        allow
    }

    /// Require, for an offer that the peer must not misunderstand.
    pub(crate) fn insist(&self, call: &Call, offer: Builder) -> Builder {
        if self.requires_precondition(call) { offer.header(Name::Require, "precondition") } else { offer }
    }

    pub(crate) fn is_reliable(&self) -> bool {
        let extensions = &self.config.extensions;
        extensions.reliable != Reliable::Unknown || extensions.precondition.is_some()
    }

    pub(crate) fn is_updating(&self) -> bool {
        self.config.extensions.update || self.config.extensions.precondition.is_some()
    }

    /// The option tags we support.
    fn options(&self) -> Vec<&'static str> {
        let all = [
            ("100rel", self.is_reliable() && !self.config.oddities.hides_reliable),
            ("timer", self.config.extensions.session.is_some()),
            ("precondition", self.config.extensions.precondition.is_some()),
        ];
        all.into_iter().filter(|(_, supported)| *supported).map(|(option, _)| option).collect()
    }

    //= RFC 3261 §8.2.2.3: what is required and not supported is listed in the 420.
    pub(crate) fn unsupported(&self, request: &Message) -> Option<String> {
        let known = self.options();
        let is_known = |option: &str| known.iter().any(|known| known.eq_ignore_ascii_case(option));
        let unknown: Vec<_> = request.require().filter(|option| !is_known(option)).collect();
        (!unknown.is_empty()).then(|| unknown.join(", "))
    }
}
