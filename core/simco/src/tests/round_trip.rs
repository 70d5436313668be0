//! What is written is read back the same, and what is read back is written the same.

use proptest::prelude::*;

use super::random;
use crate::wire::{AgentMessage, HEADER_LEN, Header, MiddleboxMessage, Opaque, Version};

fn split(bytes: &[u8]) -> (Header, &[u8]) {
    let (header, payload) = Header::split(bytes).unwrap();
    assert_eq!(usize::from(header.length), payload.len());
    (header, payload)
}

fn agent_message_survives(message: &AgentMessage<'_>, tid: u32) {
    let mut bytes = vec![0xee; 3];
    message.encode(tid, &mut bytes);
    let (header, payload) = split(&bytes[3..]);
    assert_eq!(header.tid, tid);
    assert_eq!(AgentMessage::decode(header, payload).as_ref(), Ok(message));
}

fn middlebox_message_survives(message: &MiddleboxMessage<'_>, tid: u32) {
    let mut bytes = Vec::new();
    message.encode(tid, &mut bytes);
    let (header, payload) = split(&bytes);
    assert_eq!(header.tid, tid);
    assert_eq!(MiddleboxMessage::decode(header, payload).as_ref(), Ok(message));
}

proptest! {
    #[test]
    fn requests_survive(request in random::requests(), tid: u32) {
        agent_message_survives(&AgentMessage::Rule(request), tid);
    }

    #[test]
    fn session_requests_survive(major: u8, minor: u8, octets: Vec<u8>, with: bool, tid: u32) {
        let opaque = with.then(|| Opaque::new(&octets).unwrap());
        let version = Version { major, minor };
        agent_message_survives(&AgentMessage::Establish { version, challenge: opaque }, tid);
        agent_message_survives(&AgentMessage::Authenticate { token: opaque }, tid);
        agent_message_survives(&AgentMessage::Terminate, tid);
    }

    #[test]
    fn replies_survive(reply in random::replies(), tid: u32) {
        middlebox_message_survives(&MiddleboxMessage::Positive(reply), tid);
    }

    #[test]
    fn other_middlebox_messages_survive(
        failure in random::failures(),
        notification in random::notifications(),
        capabilities in random::capabilities(),
        octets: Vec<u8>,
        tid: u32,
    ) {
        let opaque = Opaque::new(&octets);
        middlebox_message_survives(&MiddleboxMessage::Negative(failure), tid);
        middlebox_message_survives(&MiddleboxMessage::Notification(notification), tid);
        middlebox_message_survives(&MiddleboxMessage::Established(capabilities), tid);
        middlebox_message_survives(&MiddleboxMessage::VersionMismatch(Version { major: 3, minor: 1 }), tid);
        middlebox_message_survives(&MiddleboxMessage::BadlyFormedMessage, tid);
        middlebox_message_survives(&MiddleboxMessage::Terminated, tid);
        for (challenge, token) in [(opaque, None), (None, opaque), (opaque, opaque)] {
            middlebox_message_survives(&MiddleboxMessage::Authentication { challenge, token }, tid);
        }
    }

    #[test]
    fn attributes_of_requests_may_come_in_any_order(request in random::requests(), turn in 0..6usize) {
        // The reply to PRC follows the order of its PIDs.
        prop_assume!(!matches!(request, midcom::Request::Count { .. }));
        let message = AgentMessage::Rule(request);
        let mut bytes = Vec::new();
        message.encode(1, &mut bytes);
        let (header, payload) = split(&bytes);
        let mut attributes = split_attributes(payload);
        // Address tuples keep their order, as turning moves only what stands in front of them or behind.
        let tuple = |attribute: &&[u8]| attribute[1] == 0x09;
        let places = attributes.iter().filter(|attribute| tuple(attribute)).count();
        if places == 0 && !attributes.is_empty() {
            let len = attributes.len();
            attributes.rotate_left(turn % len);
        } else if places > 0 && attributes.len() > 2 {
            attributes.sort_by_key(tuple);
        }
        let turned = attributes.concat();
        prop_assert_eq!(AgentMessage::decode(header, &turned), Ok(message));
    }

    #[test]
    fn changing_one_octet_never_panics(request in random::requests(), at: usize, to: u8) {
        let mut bytes = Vec::new();
        AgentMessage::Rule(request).encode(7, &mut bytes);
        let place = at % bytes.len();
        bytes[place] = to;
        let (header, payload) = Header::split(&bytes).unwrap();
        // Whatever is understood is written so that it is understood again.
        if let Ok(message) = AgentMessage::decode(header, payload) {
            agent_message_survives(&message, header.tid);
        }
    }

    #[test]
    fn random_payloads_never_panic(header: [u8; HEADER_LEN], payload: Vec<u8>) {
        let (header, _) = Header::split(&header).unwrap();
        let _ = AgentMessage::decode(header, &payload);
        let _ = MiddleboxMessage::decode(header, &payload);
        for sub_type in [1, 2, 3, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x21, 0x22, 0x23, 0x24] {
            let _ = AgentMessage::decode(Header { basic_type: 1, sub_type, ..header }, &payload);
            let _ = MiddleboxMessage::decode(Header { basic_type: 2, sub_type, ..header }, &payload);
        }
    }
}

fn split_attributes(mut payload: &[u8]) -> Vec<&[u8]> {
    let mut found = Vec::new();
    while !payload.is_empty() {
        let len = 4 + usize::from(u16::from_be_bytes([payload[2], payload[3]]));
        let (attribute, rest) = payload.split_at(len);
        found.push(attribute);
        payload = rest;
    }
    found
}

//= test RFC 4540 §4.3.7: an owner has at most 255 octets.
#[test]
fn a_long_owner_is_cut_at_a_whole_character() {
    let owner = "ä".repeat(200);
    let tuple: midcom::Tuple =
        midcom::Tuple::network("10.0.0.0/8".parse().unwrap(), midcom::Protocol::Udp, 1);
    let status = midcom::RuleStatus::Disabled {
        prid: midcom::Prid(1),
        internal: tuple,
        external: tuple,
        lifetime: midcom::Lifetime(1),
        owner,
    };
    let mut bytes = Vec::new();
    MiddleboxMessage::Positive(midcom::Reply::Status(status)).encode(1, &mut bytes);
    let (header, payload) = split(&bytes);
    let Ok(MiddleboxMessage::Positive(midcom::Reply::Status(midcom::RuleStatus::Disabled { owner, .. }))) =
        MiddleboxMessage::decode(header, payload)
    else {
        panic!("no PDS");
    };
    assert_eq!(owner, "ä".repeat(127));
}

//= test RFC 4540 §4.3.2: challenges and tokens have at most 4,096 octets.
#[test]
fn challenges_are_limited() {
    assert!(Opaque::new(&[0; 4096]).is_some());
    assert!(Opaque::new(&[0; 4097]).is_none());
    let mut payload = vec![0, 1, 0, 4, 3, 0, 0, 0, 0, 2, 0x10, 0];
    payload.extend([7; 4096]);
    let header = Header { basic_type: 1, sub_type: 1, length: 0, tid: 1 };
    assert!(AgentMessage::decode(header, &payload).is_ok());
    payload[11] = 1;
    payload.push(7);
    assert_eq!(AgentMessage::decode(header, &payload), Err(midcom::Failure::BadlyFormed));
}
