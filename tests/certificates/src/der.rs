//! DER (X.690) to be written.

/// A value with its tag and length.
pub(crate) fn with_tag(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut value = vec![tag];
    match content.len() {
        short @ 0..=0x7f => value.push(short as u8),
        // In DER a length is as short as it can be.
        length @ 0x80..=0xff => value.extend([0x81, length as u8]),
        length => value.extend([&[0x82], &(length as u16).to_be_bytes()[..]].concat()),
    }
    value.extend_from_slice(content);
    value
}

pub(crate) fn sequence(parts: &[Vec<u8>]) -> Vec<u8> {
    with_tag(0x30, &parts.concat())
}

pub(crate) fn set(part: &[u8]) -> Vec<u8> {
    with_tag(0x31, part)
}

pub(crate) fn context(number: u8, content: &[u8]) -> Vec<u8> {
    with_tag(0xa0 | number, content)
}

pub(crate) fn oid(octets: &[u8]) -> Vec<u8> {
    with_tag(0x06, octets)
}

pub(crate) fn octets(content: &[u8]) -> Vec<u8> {
    with_tag(0x04, content)
}

pub(crate) fn text(content: &str) -> Vec<u8> {
    with_tag(0x0c, content.as_bytes())
}

pub(crate) fn boolean(value: bool) -> Vec<u8> {
    with_tag(0x01, &[if value { 0xff } else { 0 }])
}

pub(crate) fn bits(content: &[u8]) -> Vec<u8> {
    with_tag(0x03, &[&[0], content].concat())
}

pub(crate) fn integer(value: u64) -> Vec<u8> {
    // One octet of zero keeps it positive.
    let octets: Vec<u8> = std::iter::once(0).chain(value.to_be_bytes()).collect();
    let leading = octets.windows(2).take_while(|pair| pair[0] == 0 && pair[1] < 0x80).count();
    with_tag(0x02, &octets[leading..])
}

//= RFC 5280 §4.1.2.5: two digits of the year until 2049, four from then on.
pub(crate) fn time(seconds: u64) -> Vec<u8> {
    let (year, month, day) = civil(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
    let rest = format!("{month:02}{day:02}{hour:02}{minute:02}{second:02}Z");
    match year {
        ..2050 => with_tag(0x17, format!("{:02}{rest}", year % 100).as_bytes()),
        2050.. => with_tag(0x18, format!("{year:04}{rest}").as_bytes()),
    }
}

/// Year, month and day, counted one by one.
fn civil(mut days: u64) -> (u64, u64, u64) {
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let mut year = 1970;
    while days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let february = 28 + u64::from(leap(year));
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    (year, month, days + 1)
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

//= RFC 7468 §2: base64 in lines of 64 between two marks.
pub(crate) fn pem(label: &str, der: &[u8]) -> String {
    let mut text = String::new();
    for chunk in der.chunks(3) {
        let number = chunk.iter().fold(0_usize, |number, octet| number << 8 | usize::from(*octet));
        let number = number << (8 * (3 - chunk.len()));
        for position in 0..4 {
            let sextet = number >> (6 * (3 - position)) & 63;
            text.push(if position <= chunk.len() { char::from(ALPHABET[sextet]) } else { '=' });
        }
    }
    let lines: Vec<&str> = (0..text.len()).step_by(64).map(|at| &text[at..text.len().min(at + 64)]).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}
