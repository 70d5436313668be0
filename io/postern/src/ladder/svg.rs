//! Rows as a picture: the ladder of `draw.rs` in SVG 1.1, for a browser.

use std::fmt::Write;

use super::{Lane, Row, Style};

/// Where the lines stand, and the names above them.
const LANES: [(Lane, u32, &str); 4] = [
    (Lane::Caller, 90, "Calling phone"),
    (Lane::Agent, 330, "SIP B2BUA (agent)"),
    (Lane::Middlebox, 570, "Middlebox (firewall)"),
    (Lane::Callee, 760, "Called phone"),
];
/// Where times end, notes begin, and everything ends.
const TIMES: u32 = 60;
const NOTES: u32 = 775;
const WIDTH: u32 = 1120;
/// Of the head, and of each row.
const HEAD: u32 = 62;
const ROW: u32 = 22;

const STYLE: &str = "text{font:12px monospace}.title{font-weight:bold}.lane{stroke:#888}.sip,.midcom,.early-media,.media{stroke:#000}\
                     .midcom{stroke:#06c;stroke-dasharray:5 3}.early-media{stroke-width:4;stroke-dasharray:9 4}.media{stroke-width:4}";

/// A whole ladder below its title.
pub(crate) fn ladder(title: &str, rows: &[Row]) -> String {
    let height = HEAD + ROW * u32::try_from(rows.len() + 1).unwrap_or(u32::MAX / (2 * ROW));
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\">\n<style>{STYLE}</style>\n\
         <marker id=\"head\" orient=\"auto-start-reverse\" markerUnits=\"userSpaceOnUse\" markerWidth=\"10\" \
         markerHeight=\"10\" refX=\"10\" refY=\"5\"><path d=\"M0,0L10,5L0,10z\"/></marker>\n"
    );
    text(&mut svg, (10, 20), "start", title, " class=\"title\"");
    for (_, x, name) in LANES {
        text(&mut svg, (x, 44), "middle", name, "");
        // Writing into a String cannot fail.
        let _ =
            writeln!(svg, "<line class=\"lane\" x1=\"{x}\" y1=\"50\" x2=\"{x}\" y2=\"{}\"/>", height - 10);
    }
    for (number, row) in (1..).zip(rows) {
        one(&mut svg, HEAD + ROW * number, row);
    }
    svg + "</svg>\n"
}

fn one(svg: &mut String, y: u32, row: &Row) {
    let time = format!("{}.{:03}", row.at_ms / 1000, row.at_ms % 1000);
    text(svg, (TIMES, y + 4), "end", &time, "");
    if let Some(arrow) = row.arrow {
        let (from, to) = (place(arrow.from), place(arrow.to));
        let class = match arrow.style {
            Style::Sip => "sip",
            Style::Midcom => "midcom",
            Style::EarlyMedia => "early-media",
            Style::Media => "media",
        };
        let tail = if arrow.both { " marker-start=\"url(#head)\"" } else { "" };
        let _ = writeln!(
            svg,
            "<line class=\"{class}\" x1=\"{from}\" y1=\"{y}\" x2=\"{to}\" y2=\"{y}\" marker-end=\"url(#head)\"{tail}/>"
        );
        // As in the figures: at the left of the arrow, also of a long one.
        text(svg, (from.min(to) + 14, y - 5), "start", row.text.trim(), "");
    }
    let note = if row.arrow.is_none() && row.note.is_empty() { &row.text } else { &row.note };
    text(svg, (NOTES, y + 4), "start", note, "");
}

fn place(lane: Lane) -> u32 {
    LANES.iter().find(|(known, ..)| *known == lane).map_or(0, |(_, x, _)| *x)
}

fn text(svg: &mut String, (x, y): (u32, u32), anchor: &str, words: &str, more: &str) {
    if words.is_empty() {
        return;
    }
    let _ = write!(svg, "<text x=\"{x}\" y=\"{y}\" text-anchor=\"{anchor}\"{more}>");
    for letter in words.chars() {
        match letter {
            '&' => svg.push_str("&amp;"),
            '<' => svg.push_str("&lt;"),
            '>' => svg.push_str("&gt;"),
            // No control character may stand in XML.
            letter => svg.push(if letter.is_control() { '?' } else { letter }),
        }
    }
    svg.push_str("</text>\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ladder::Arrow;

    #[test]
    fn each_row_is_an_arrow_from_lane_to_lane_and_words_are_no_markup() {
        let arrow = Arrow { both: true, ..Arrow::new(Lane::Callee, Lane::Caller, Style::Media) };
        let row = Row { at_ms: 1_012, arrow: Some(arrow), text: " 3 > < 4 ".into(), note: "a&b\u{7}".into() };
        let svg = ladder("Figure 3", &[row]);
        let line = "<line class=\"media\" x1=\"760\" y1=\"84\" x2=\"90\" y2=\"84\" marker-end=\"url(#head)\" \
                    marker-start=\"url(#head)\"/>";
        for wanted in [line, ">3 &gt; &lt; 4</text>", ">a&amp;b?</text>", ">1.012</text>", ">Figure 3</text>"]
        {
            assert!(svg.contains(wanted), "{svg}");
        }
        assert_eq!(svg.matches("<line").count(), 5);
    }
}
