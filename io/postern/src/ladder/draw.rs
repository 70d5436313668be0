//! Rows as text in fixed columns, so that they can be printed as they happen.

use super::{Arrow, Lane, Row, Style};

/// Where the lines stand, behind the column of times.
const COLUMNS: [(Lane, usize); 4] =
    [(Lane::Caller, 10), (Lane::Agent, 33), (Lane::Middlebox, 58), (Lane::Callee, 73)];
/// Where notes begin.
const NOTES: usize = 76;

/// The names above the lines, and the first empty piece of each line.
pub(crate) fn header() -> String {
    let titles = [
        [(10, "Calling"), (33, "SIP B2BUA"), (58, "Middlebox"), (73, "Called")],
        [(10, "phone"), (33, "(agent)"), (58, "(firewall)"), (73, "phone")],
    ];
    let line = |names: [(usize, &str); 4]| {
        names.into_iter().fold(String::new(), |line, (column, name)| {
            let start = (column + 1).saturating_sub(name.len().div_ceil(2));
            format!("{line:start$}{name}")
        })
    };
    format!("{}\n{}\n{}", line(titles[0]), line(titles[1]), spacer())
}

/// The lines without anything between them.
pub(crate) fn spacer() -> String {
    String::from_utf8_lossy(&lifelines()).trim_end().to_owned()
}

/// What the strokes mean.
pub(crate) fn legend() -> &'static str {
    "          ----  SIP     ++++  MIDCOM     =-=-  early media     ====  media"
}

/// One row as one line of text.
pub(crate) fn row(row: &Row) -> String {
    let mut line = lifelines();
    let time = format!("{:>4}.{:03}", row.at_ms / 1000, row.at_ms % 1000);
    put(&mut line, 0, time.as_bytes());
    if let Some(arrow) = row.arrow {
        draw_arrow(&mut line, arrow, &row.text);
    }
    let text = String::from_utf8_lossy(&line);
    let note = if row.arrow.is_none() && row.note.is_empty() { &row.text } else { &row.note };
    if note.is_empty() { text.trim_end().to_owned() } else { format!("{:NOTES$}{note}", text.trim_end()) }
}

/// A whole ladder.
pub(crate) fn ladder(rows: &[Row]) -> String {
    let mut text = format!("{}\n", header());
    for (position, this) in rows.iter().enumerate() {
        let before = position.checked_sub(1).and_then(|before| rows.get(before));
        if before.is_some_and(|before| is_turn(before, this)) {
            text.push_str(&spacer());
            text.push('\n');
        }
        text.push_str(&row(this));
        text.push('\n');
    }
    text
}

/// True where the figures leave a line free: SIP turns to MIDCOM or back, media begins.
pub(crate) fn is_turn(before: &Row, this: &Row) -> bool {
    before.arrow.map(|arrow| arrow.style) != this.arrow.map(|arrow| arrow.style)
}

fn lifelines() -> Vec<u8> {
    let mut line = vec![b' '; NOTES];
    for (_, column) in COLUMNS {
        put(&mut line, column, b"|");
    }
    line
}

fn column(lane: Lane) -> usize {
    COLUMNS.iter().find(|(known, _)| *known == lane).map_or(0, |(_, column)| *column)
}

fn draw_arrow(line: &mut [u8], arrow: Arrow, text: &str) {
    let (from, to) = (column(arrow.from), column(arrow.to));
    let (left, right) = (from.min(to) + 1, from.max(to).saturating_sub(1));
    for (position, place) in line.iter_mut().enumerate() {
        if (left..=right).contains(&position) {
            *place = match arrow.style {
                Style::Sip => b'-',
                Style::Midcom => b'+',
                Style::Media => b'=',
                Style::EarlyMedia if position % 2 == 0 => b'=',
                Style::EarlyMedia => b'-',
            };
        }
    }
    if to > from || arrow.both {
        put(line, right, b">");
    }
    if to < from || arrow.both {
        put(line, left, b"<");
    }
    // As in the figures: on a long arrow the text stands where a short one would have it.
    let room = (right + 1).saturating_sub(left + 4);
    let label: String = if text.chars().count() > room {
        text.chars().take(room.saturating_sub(1)).chain(['~']).collect()
    } else {
        text.to_owned()
    };
    let start = match arrow.style {
        Style::Sip | Style::Midcom => left + 3,
        Style::EarlyMedia | Style::Media => left + (right - left).saturating_sub(label.len()) / 2,
    };
    put(line, start.min((right).saturating_sub(label.len() + 1)).max(left + 1), ascii(&label).as_bytes());
}

/// Columns are bytes, so what is drawn is ASCII.
fn ascii(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' }).collect()
}

fn put(line: &mut [u8], at: usize, bytes: &[u8]) {
    for (place, byte) in line.iter_mut().skip(at).zip(bytes) {
        *place = *byte;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrow(from: Lane, to: Lane, style: Style, text: &str) -> Row {
        Row { at_ms: 12, arrow: Some(Arrow::new(from, to, style)), text: text.into(), note: String::new() }
    }

    #[test]
    fn arrows_look_like_those_of_the_draft() {
        let rows = [
            arrow(Lane::Caller, Lane::Agent, Style::Sip, "INVITE+SDP_A"),
            arrow(Lane::Agent, Lane::Middlebox, Style::Midcom, "PER(SDP_A)"),
            arrow(Lane::Middlebox, Lane::Agent, Style::Midcom, "PER PR(PID_A)"),
            arrow(Lane::Agent, Lane::Callee, Style::Sip, "INVITE+SDP_A"),
        ];
        let text = ladder(&rows);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[3], "   0.012  |---INVITE+SDP_A------>|                        |              |");
        assert_eq!(lines[4], "          |                      |                        |              |");
        assert_eq!(lines[5], "   0.012  |                      |+++PER(SDP_A)++++++++++>|              |");
        assert_eq!(lines[6], "   0.012  |                      |<++PER PR(PID_A)++++++++|              |");
        assert_eq!(lines[8], "   0.012  |                      |---INVITE+SDP_A----------------------->|");
    }

    #[test]
    fn nothing_leaves_its_column() {
        let long = "x".repeat(200);
        for (from, to) in
            [(Lane::Caller, Lane::Agent), (Lane::Callee, Lane::Agent), (Lane::Caller, Lane::Callee)]
        {
            for style in [Style::Sip, Style::Media] {
                let line = row(&arrow(from, to, style, &long));
                assert_eq!(line.len(), 74, "{line}");
                assert!(line.as_bytes()[10] == b'|' && line.as_bytes()[73] == b'|', "{line}");
            }
        }
    }

    #[test]
    fn remarks_stand_at_the_side() {
        let remark = Row { at_ms: 0, arrow: None, text: "phone rings".into(), note: String::new() };
        assert!(row(&remark).ends_with("|  phone rings"));
    }
}
