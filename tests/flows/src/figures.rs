//! The draft's figures as data (`figures.txt`), and flows and ladders held against them.
//!
//! Not compared, as `docs/calls.md` §3 says: 100, responses to CANCEL, ACK to what is no 2xx, several PER or PLC where one is
//! drawn, the order of independent replies; and narrowing, which the draft does not know. In the flows of the figures A is
//! outside, so that a rule outward is for SDP_A; PID_A is the first rule and PID_B the second.

use crate::script::{Script, Step};

/// Before or behind what a figure draws.
const REST: &str = "...";

/// A figure: its lines, each with whether it may change places with its neighbours.
#[derive(Debug)]
pub struct Figure {
    lines: Vec<(String, bool)>,
    /// The figure begins, or ends, in the middle of a call.
    open: (bool, bool),
}

impl Figure {
    /// One of the figures in the data.
    #[must_use]
    pub fn find(data: &str, number: u8) -> Option<Self> {
        let title = format!("figure {number}");
        let after = data.lines().skip_while(|line| *line != title).skip(1);
        let lines = after.take_while(|line| !line.is_empty()).filter(|line| !line.starts_with('#'));
        let all: Vec<&str> = lines.collect();
        let open = (*all.first()? == REST, *all.last()? == REST);
        let of = |line: &&str| match line.strip_prefix("& ") {
            Some(line) => (line.to_owned(), true),
            None => ((*line).to_owned(), false),
        };
        Some(Self { lines: all.iter().filter(|line| **line != REST).map(of).collect(), open })
    }

    /// Holds what was drawn against the figure.
    ///
    /// # Errors
    /// Both, where they differ.
    pub fn compare(&self, drawn: &[String]) -> Result<(), String> {
        let length = self.lines.len();
        let part = match self.open {
            (true, _) => drawn.get(drawn.len().saturating_sub(length)..),
            (_, true) => drawn.get(..length),
            (false, false) => Some(drawn),
        };
        let wanted: Vec<String> = self.lines.iter().map(|(line, _)| line.clone()).collect();
        let part = part.unwrap_or(drawn);
        if part.len() == length && self.in_order(&wanted) == self.in_order(part) {
            return Ok(());
        }
        Err(format!("the figure draws\n  {}\nand here is\n  {}", wanted.join("\n  "), part.join("\n  ")))
    }

    /// Lines that may change places, sorted.
    fn in_order(&self, lines: &[String]) -> Vec<String> {
        let mut all = lines.to_vec();
        let loose: Vec<usize> = (0..self.lines.len()).filter(|at| self.lines[*at].1).collect();
        if let (Some(first), Some(last)) = (loose.first(), loose.last())
            && *last < all.len()
        {
            all[*first..=*last].sort_unstable();
        }
        all
    }
}

/// A flow as a figure would draw it.
///
/// # Errors
/// The flow cannot be read.
pub fn of_flow(text: &str) -> Result<Vec<String>, String> {
    let script = Script::parse(text)?;
    let mut drawn = Drawn::default();
    for step in script.lines.iter().flat_map(|line| &line.steps) {
        match step {
            Step::Sent { who: 'M', words } => drawn.middlebox(words),
            Step::Sent { who: who @ ('A' | 'B'), words } => drawn.sip(&format!("{who} >"), words),
            Step::Received(text) if text.starts_with("M < ") => {
                let words: Vec<&str> = text.split(' ').skip(2).collect();
                let of = match words.as_slice() {
                    ["PER", rest @ ..] => {
                        if rest.contains(&"->") {
                            "SDP_A"
                        } else {
                            "SDP_B"
                        }
                    }
                    [_, rule, ..] => pid(rule),
                    _ => "",
                };
                drawn.lines.push(format!("M < {} {of}", words.first().unwrap_or(&"")));
                drawn.asked += 1;
            }
            Step::Received(text) => {
                let (who, words) = text.split_at_checked(3).unwrap_or((text, ""));
                drawn.sip(who, words.trim());
            }
            Step::Sent { .. } | Step::Passes(_) | Step::Holds(_) => {}
        }
    }
    Ok(once(drawn.lines))
}

/// The printed ladder of a call as a figure would draw it.
#[must_use]
pub fn of_ladder(text: &str) -> Vec<String> {
    let mut arrows: Vec<(String, String)> = text.lines().filter_map(arrow).collect();
    // Narrowing: PID_A is made again for one address, and the wide one closed.
    if let Some(narrowed) = arrows.iter().position(|(_, text)| text == "PER PR(PID_A2)") {
        let before = arrows[..narrowed].iter().rposition(|(_, text)| text.starts_with("PER("));
        arrows.remove(narrowed);
        if let Some(before) = before {
            arrows.remove(before);
        }
        arrows.retain(|(_, text)| text != "PLC(PID_A,LT=0)" && text != "PLC PR(PID_A)");
    }
    let mut drawn = Drawn::default();
    for (way, text) in arrows {
        match way.as_str() {
            "M <" => drawn.lines.push(format!("M < {}", named(&text))),
            "M >" if text.starts_with("ARE") => drawn.lines.push(format!("M > {}", named(&text))),
            "M >" => drawn.lines.push(format!("M > {}", if text.contains(" NR") { "NR" } else { "PR" })),
            _ => {
                drawn.sip(&way, &text.replace("+SDP", " m=audio 1").replace("Reason ", "{Reason: SIP;cause="))
            }
        }
    }
    once(drawn.lines)
}

/// `PLC(PID_A,LT=0)` as `PLC PID_A`, and so what is left of PID_A when it has been narrowed.
fn named(text: &str) -> String {
    let (kind, rest) = text.split_once('(').unwrap_or((text, ""));
    format!("{kind} {}", rest.split([',', ')']).next().unwrap_or_default().trim_end_matches('2'))
}

fn pid(number: &str) -> &'static str {
    match number {
        "1" => "PID_A",
        "2" => "PID_B",
        _ => "another rule",
    }
}

/// Who says what to whom in a row of a ladder; nothing if it has no arrow, or one for media.
fn arrow(row: &str) -> Option<(String, String)> {
    // Where the lifelines of caller, agent, middlebox and callee stand.
    const LANES: [(usize, char); 4] = [(10, 'A'), (33, '-'), (58, 'M'), (73, 'B')];
    let octets = row.as_bytes();
    let standing: Vec<&(usize, char)> =
        LANES.iter().filter(|(column, _)| octets.get(*column) == Some(&b'|')).collect();
    for pair in standing.windows(2) {
        let stroke = row.get(pair[0].0 + 1..pair[1].0)?;
        if stroke.trim().is_empty() || stroke.contains("RTP") {
            continue;
        }
        let (phone, to_the_right) = (pair.iter().find(|(_, who)| *who != '-')?.1, stroke.ends_with('>'));
        let sends = to_the_right == (phone == 'A');
        let text = stroke.trim_matches(['-', '+', '<', '>']).trim();
        return Some((format!("{phone} {}", if sends { '>' } else { '<' }), text.to_owned()));
    }
    None
}

#[derive(Default)]
struct Drawn {
    lines: Vec<String>,
    /// Questions that the middlebox has not answered.
    asked: usize,
    /// B has refused, and gets an ACK for that.
    refused: bool,
    /// The code that the first who is cut off was told.
    code: Option<String>,
}

impl Drawn {
    fn middlebox(&mut self, words: &str) {
        let answers = if words == "ok all" { self.asked } else { 1 };
        match words.split(' ').next() {
            Some("ok") => self.lines.extend(std::iter::repeat_n("M > PR".to_owned(), answers)),
            Some("refuse") => self.lines.push("M > NR".into()),
            Some("event") => {
                self.lines.push(format!("M > ARE {}", pid(words.split(' ').nth(1).unwrap_or_default())));
            }
            _ => {}
        }
        self.asked = self.asked.saturating_sub(answers);
    }

    fn sip(&mut self, way: &str, words: &str) {
        let first = words.split(' ').next().unwrap_or_default();
        let port = words.split(" m=").nth(1).and_then(|media| media.split(' ').nth(1)).unwrap_or("0");
        let sdp = if port == "0" { "" } else { "+SDP" };
        let cause = words.split("{Reason: SIP;cause=").nth(1).map(|cause| cause.chars().take(3).collect());
        let reason = match cause {
            Some(cause) if cause == *self.code.get_or_insert_with(|| String::clone(&cause)) => " Reason",
            Some(_) => " Reason of another code",
            None => "",
        };
        let what = match first.parse::<u16>() {
            Ok(100) => return,
            Ok(200) if words.contains("CANCEL") => return,
            // What B says to the INVITE that was cancelled.
            Ok(487) if way == "B >" => {
                self.refused = true;
                first.to_owned()
            }
            Ok(300..) => {
                self.code = Some(first.to_owned());
                "failure".to_owned()
            }
            Ok(status) => format!("{status}{sdp}"),
            Err(_) if first == "ACK" && way == "B <" && std::mem::take(&mut self.refused) => return,
            Err(_) => format!("{first}{sdp}{reason}"),
        };
        self.lines.push(format!("{way} {what}"));
    }
}

/// Several questions of one kind to the middlebox, and their answers, as one of each.
fn once(lines: Vec<String>) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for line in lines {
        let answers = |line: &str| line == "M > PR" || line == "M > NR";
        let run = all.iter().rev().take_while(|line| answers(line) || line.starts_with("M < ")).count();
        if all[all.len() - run..].contains(&line) && line.starts_with("M ") {
            continue;
        }
        all.push(line);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATA: &str =
        "figure 8\n...\nM > ARE\n& B < BYE Reason\n& A < BYE Reason\nM < PLC\nM > PR\n\nfigure 9\nA > BYE\n";

    fn lines(text: &str) -> Vec<String> {
        text.split('/').map(|line| line.trim().to_owned()).collect()
    }

    #[test]
    fn what_leaves_together_may_change_places_and_nothing_else_may() {
        let figure = Figure::find(DATA, 8).unwrap();
        let holds = |text: &str| figure.compare(&lines(text)).is_ok();
        assert!(holds("A > INVITE / M > ARE / A < BYE Reason / B < BYE Reason / M < PLC / M > PR"));
        assert!(!holds("M > ARE / A < BYE / B < BYE Reason / M < PLC / M > PR"));
        assert!(!holds("M > ARE / M < PLC / M > PR / A < BYE Reason / B < BYE Reason"));
        assert!(!holds("M > ARE / A < BYE Reason / B < BYE Reason / M < PLC"));
        assert!(Figure::find(DATA, 9).unwrap().compare(&lines("A > BYE / A < 200")).is_err());
    }

    #[test]
    fn a_ladder_and_a_flow_of_the_same_call_draw_the_same() {
        let ladder = "   0.000  |---INVITE+SDP_A------>|                        |              |\n\
                      \x20  0.000  |<--100 Trying---------|                        |              |\n\
                      \x20  0.000  |                      |+++PER(SDP_A)++++++++++>|              |\n\
                      \x20  0.000  |                      |<++PER NR+++++++++++++++|              |  not authorized\n\
                      \x20  0.000  |<--403 Forbidden------|                        |              |\n";
        let flow = "A > INVITE c=192.0.2.10 m=audio 20000\nA < 100\nM < PER x\nM < PER y\nM > ok\nM > refuse resources\nA < 500\n";
        let drawn = of_flow(flow).unwrap();
        assert_eq!(of_ladder(ladder), ["A > INVITE+SDP", "M < PER SDP_A", "M > NR", "A < failure"]);
        assert_eq!(drawn, ["A > INVITE+SDP", "M < PER SDP_B", "M > PR", "M > NR", "A < failure"]);
    }

    #[test]
    fn a_reason_has_the_code_of_the_failure_and_rules_have_names() {
        let text = |cause: u16| {
            let reason = format!("{{Reason: SIP;cause={cause};text=\"x\"}}");
            of_flow(&format!(
                "M > event 2 0\nA < 403\nB < CANCEL {reason}\nB > 487\nB < ACK\nM < PLC 1 0\nM > ok\n"
            ))
            .unwrap()
        };
        let drawn = |reason: &str| {
            lines(&format!(
                "M > ARE PID_B / A < failure / B < CANCEL {reason} / B > 487 / M < PLC PID_A / M > PR"
            ))
        };
        assert_eq!(text(403), drawn("Reason"));
        assert_eq!(text(500), drawn("Reason of another code"));
        let ladder = "   0.000  |                      |<++ARE(PID_B,LT=0)++++++|              |\n\
                      \x20  0.000  |                      |---BYE Reason 403--------------------->|\n\
                      \x20  0.000  |                      |+++PLC(PID_A,LT=0)+++++>|              |\n";
        assert_eq!(of_ladder(ladder), ["M > ARE PID_B", "B < BYE Reason", "M < PLC PID_A"]);
    }
}
