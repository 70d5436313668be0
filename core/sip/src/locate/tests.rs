use std::net::Ipv4Addr;

use super::*;

const BOTH: [Protocol; 2] = [Protocol::Udp, Protocol::Tcp];

fn wish(host: &str, port: Option<u16>, transport: Option<Protocol>) -> Wish {
    Wish { host: host.into(), port, transport, speaks: BOTH.to_vec() }
}

fn pointer(order: u16, preference: u16, services: &str, replacement: &str) -> Pointer {
    let (services, replacement) = (services.into(), replacement.into());
    Pointer { order, preference, flags: "s".into(), services, rewrites: false, replacement }
}

fn service(priority: u16, weight: u16, port: u16, target: &str) -> Service {
    Service { priority, weight, port, target: target.into() }
}

/// A zone: what each question is answered with.
struct Zone {
    pointers: Vec<Pointer>,
    services: Vec<(&'static str, Vec<Service>)>,
    hosts: Vec<(&'static str, u8)>,
}

impl Zone {
    fn answer(&self, question: &Question) -> Records {
        match question {
            Question::Pointers(_) => Records::Pointers(self.pointers.clone()),
            Question::Services(name) => {
                let found = self.services.iter().find(|(known, _)| known == name);
                Records::Services(found.map(|(_, services)| services.clone()).unwrap_or_default())
            }
            Question::Addresses(name) => {
                let found = self.hosts.iter().filter(|(known, _)| known == name);
                Records::Addresses(found.map(|(_, last)| address(*last)).collect())
            }
        }
    }

    /// All questions and the places, as text.
    fn search(&self, wish: Wish, seed: u64) -> (Vec<String>, Vec<String>) {
        let mut rng = Rng::from_number(seed);
        let (mut search, mut step) = Search::new(wish);
        let mut asked = Vec::new();
        loop {
            let questions = match step {
                Step::Ask(questions) => questions,
                Step::Found(places) => {
                    let places =
                        places.iter().map(|place| format!("{} {}", place.protocol, place.address)).collect();
                    return (asked, places);
                }
            };
            let mut next = None;
            for question in questions {
                assert_eq!(next, None, "a step before all answers were there");
                next = search.answered(&mut rng, &question, self.answer(&question));
                asked.push(match question {
                    Question::Pointers(name) => format!("NAPTR {name}"),
                    Question::Services(name) => format!("SRV {name}"),
                    Question::Addresses(name) => format!("A {name}"),
                });
            }
            step = next.expect("a step after the last answer");
        }
    }
}

fn address(last: u8) -> IpAddr {
    Ipv4Addr::new(192, 0, 2, last).into()
}

/// RFC 3263 §4.1's example domain.
fn example() -> Zone {
    Zone {
        pointers: vec![
            pointer(100, 50, "SIP+D2U", "_sip._udp.example.com."),
            pointer(50, 50, "SIPS+D2T", "_sips._tcp.example.com."),
            pointer(90, 50, "SIP+D2T", "_sip._tcp.example.com"),
        ],
        services: vec![
            ("_sips._tcp.example.com", vec![service(0, 1, 5061, "server4.example.com")]),
            ("_sip._tcp.example.com", vec![service(0, 1, 5060, "server1.example.com")]),
            (
                "_sip._udp.example.com",
                vec![service(1, 0, 5070, "server2.example.com."), service(0, 0, 5080, "server3.example.com")],
            ),
        ],
        hosts: vec![
            ("server1.example.com", 1),
            ("server2.example.com", 2),
            ("server3.example.com", 3),
            ("server4.example.com", 4),
            ("example.com", 9),
        ],
    }
}

#[test]
fn the_domain_chooses_the_transport() {
    //= test RFC 3263 §4.1: the example, for a client that has UDP and TCP.
    let (asked, places) = example().search(wish("example.com", None, None), 1);
    assert_eq!(asked[..3], ["NAPTR example.com", "SRV _sip._tcp.example.com", "SRV _sip._udp.example.com"]);
    assert_eq!(places, ["TCP 192.0.2.1:5060", "UDP 192.0.2.3:5080", "UDP 192.0.2.2:5070"]);
}

#[test]
fn what_cannot_be_spoken_is_not_found() {
    //= test RFC 3263 §4.1: services for transports that the client has not are discarded.
    let only_udp = Wish { speaks: vec![Protocol::Udp], ..wish("example.com", None, None) };
    let (_, places) = example().search(only_udp, 1);
    assert_eq!(places, ["UDP 192.0.2.3:5080", "UDP 192.0.2.2:5070"]);
}

#[test]
fn a_domain_that_prefers_tls_gets_it_where_it_is_spoken() {
    //= test RFC 3263 §4.1: SIPS+D2T, for a SIP URI as for a SIPS URI.
    let all = Wish { speaks: vec![Protocol::Udp, Protocol::Tls], ..wish("example.com", None, None) };
    let (asked, places) = example().search(all, 1);
    assert_eq!(asked[1], "SRV _sips._tcp.example.com");
    assert_eq!(places, ["TLS 192.0.2.4:5061", "UDP 192.0.2.3:5080", "UDP 192.0.2.2:5070"]);
}

#[test]
fn a_sips_uri_leads_to_tls_only() {
    //= test RFC 3263 §4.1: for a SIPS URI all but SIPS records are discarded; without any, _sips._tcp, then port 5061.
    let sips = || Wish { speaks: vec![Protocol::Tls], ..wish("example.com", None, None) };
    let (_, places) = example().search(sips(), 1);
    assert_eq!(places, ["TLS 192.0.2.4:5061"]);
    let plain = Zone { pointers: Vec::new(), ..example() };
    assert_eq!(plain.search(sips(), 1).0[..2], ["NAPTR example.com", "SRV _sips._tcp.example.com"]);
    let bare = Zone { pointers: Vec::new(), services: Vec::new(), ..example() };
    assert_eq!(bare.search(sips(), 1).1, ["TLS 192.0.2.9:5061"]);
    let with_port = Wish { port: Some(5071), ..sips() };
    assert_eq!(bare.search(with_port, 1).1, ["TLS 192.0.2.9:5071"]);
}

#[test]
fn a_port_means_addresses_only() {
    //= test RFC 3263 §4.2: with a port, even 5060, neither NAPTR nor SRV.
    let (asked, places) = example().search(wish("example.com", Some(5060), None), 1);
    assert_eq!((asked, places), (vec!["A example.com".to_owned()], vec!["UDP 192.0.2.9:5060".to_owned()]));
}

#[test]
fn a_transport_means_its_service() {
    //= test RFC 3263 §4.2: with a transport SRV for that one.
    let (asked, places) = example().search(wish("example.com", None, Some(Protocol::Tcp)), 1);
    assert_eq!(asked, ["SRV _sip._tcp.example.com", "A server1.example.com"]);
    assert_eq!(places, ["TCP 192.0.2.1:5060"]);
}

#[test]
fn without_pointers_every_service_is_asked_for() {
    //= test RFC 3263 §4.1: no NAPTR records.
    let zone = Zone { pointers: Vec::new(), ..example() };
    let (asked, places) = zone.search(wish("example.com", None, None), 1);
    assert_eq!(asked[..3], ["NAPTR example.com", "SRV _sip._udp.example.com", "SRV _sip._tcp.example.com"]);
    assert_eq!(places, ["UDP 192.0.2.3:5080", "UDP 192.0.2.2:5070", "TCP 192.0.2.1:5060"]);
}

#[test]
fn without_services_the_name_itself_at_the_default_port() {
    //= test RFC 3263 §4.2: no SRV records.
    let zone = Zone { pointers: Vec::new(), services: Vec::new(), ..example() };
    let (_, places) = zone.search(wish("example.com", None, None), 1);
    assert_eq!(places, ["UDP 192.0.2.9:5060"]);
    let (_, places) = zone.search(wish("example.com", None, Some(Protocol::Tcp)), 1);
    assert_eq!(places, ["TCP 192.0.2.9:5060"]);
}

#[test]
fn a_dot_says_that_there_is_no_service() {
    //= test RFC 2782: target ".".
    let services = vec![("_sip._udp.example.com", vec![service(0, 0, 0, ".")])];
    let zone = Zone { pointers: Vec::new(), services, ..example() };
    let (_, places) = zone.search(wish("example.com", None, Some(Protocol::Udp)), 1);
    assert!(places.is_empty(), "{places:?}");
}

#[test]
fn nothing_at_all_is_an_end_too() {
    let zone = Zone { pointers: Vec::new(), services: Vec::new(), hosts: Vec::new() };
    assert!(zone.search(wish("example.com", None, None), 1).1.is_empty());
}

#[test]
fn pointers_that_are_not_for_us_are_as_good_as_none() {
    let mut strange = vec![
        Pointer { flags: "u".into(), ..pointer(1, 1, "SIP+D2U", "_sip._udp.elsewhere.example") },
        Pointer { rewrites: true, ..pointer(1, 1, "SIP+D2U", "_sip._udp.elsewhere.example") },
        pointer(1, 1, "SIP+D2U", "."),
        pointer(1, 1, "E2U+sip", "_sip._udp.elsewhere.example"),
    ];
    strange.push(pointer(1, 1, "SIP+D2S", "_sip._sctp.example.com"));
    let zone = Zone { pointers: strange, ..example() };
    let (asked, _) = zone.search(wish("example.com", None, None), 1);
    assert!(
        !asked.iter().any(|question| question.contains("elsewhere") || question.contains("sctp")),
        "{asked:?}"
    );
}

#[test]
fn heavier_servers_are_first_more_often_and_each_is_tried() {
    //= test RFC 2782: order by weight.
    let services =
        vec![service(0, 1, 1, "a"), service(0, 3, 2, "b"), service(0, 0, 3, "c"), service(1, 60, 4, "d")];
    let mut first = BTreeMap::new();
    for seed in 0..4_000 {
        let ordered = service::in_order(services.clone(), &mut Rng::from_number(seed));
        assert_eq!(ordered.len(), 4);
        assert_eq!(ordered[3].target, "d", "a higher priority value comes after all lower ones");
        *first.entry(ordered[0].target.clone()).or_insert(0) += 1;
    }
    // 0 to 4 inclusive: c for 0, a for 1, b for 2 to 4.
    let near = |name: &str, share: u32| {
        let count = first.get(name).copied().unwrap_or(0);
        assert!((share * 8 / 10..=share * 12 / 10).contains(&count), "{name}: {count} of 4000");
    };
    near("c", 800);
    near("a", 800);
    near("b", 2_400);
}

#[test]
fn no_answer_makes_it_grow_without_bound() {
    let many = (0..200).map(|number| service(0, 0, number, "server1.example.com")).collect();
    let zone = Zone { pointers: Vec::new(), services: vec![("_sip._udp.example.com", many)], ..example() };
    let (asked, places) = zone.search(wish("example.com", None, Some(Protocol::Udp)), 1);
    assert_eq!(asked.len(), 2);
    assert_eq!(places.len(), HOSTS_MAX);
}
