//! Reading a flow.

use std::time::Duration;

/// A flow, read.
#[derive(Debug)]
pub struct Script {
    /// `name = value` lines before the first step.
    pub settings: Vec<(String, String)>,
    /// Lines with steps.
    pub lines: Vec<Line>,
    text: Vec<String>,
}

/// A line with its steps.
#[derive(Debug)]
pub struct Line {
    /// Counted from 1.
    pub number: usize,
    /// In order.
    pub steps: Vec<Step>,
}

/// One thing that happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// `A > …`: someone sends.
    Sent {
        /// A, B, M or R.
        who: char,
        /// The rest.
        words: String,
    },
    /// `A < …`: someone receives exactly this.
    Received(String),
    /// `+2s`: time passes.
    Passes(Duration),
    /// `= calls 0`: must be true.
    Holds(String),
}

impl Script {
    /// Reads a flow.
    ///
    /// # Errors
    /// The first line that is none of the things a flow consists of.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut script =
            Self { settings: Vec::new(), lines: Vec::new(), text: text.lines().map(str::to_owned).collect() };
        for (index, line) in text.lines().enumerate() {
            let number = index + 1;
            let content = strip_comment(line);
            if content.is_empty() {
                continue;
            }
            match content.split_once(" = ") {
                Some((name, value)) if script.lines.is_empty() && !name.contains(' ') => {
                    script.settings.push((name.trim().to_owned(), value.trim().to_owned()));
                }
                Some(_) | None => {
                    let steps = split_steps(content).into_iter().map(step).collect::<Result<_, _>>();
                    let steps = steps.map_err(|error| format!("line {number}: {error}"))?;
                    script.lines.push(Line { number, steps });
                }
            }
        }
        Ok(script)
    }

    /// The text with other receptions: for each input's line what left before it.
    #[must_use]
    pub fn rewritten(&self, received: &[(usize, Vec<String>)]) -> String {
        let mut out = Vec::new();
        let mut pending: Vec<(usize, Vec<String>)> = received.to_vec();
        for (index, line) in self.text.iter().enumerate() {
            let number = index + 1;
            let Some(steps) = self.lines.iter().find(|line| line.number == number) else {
                out.push(line.clone());
                continue;
            };
            let before: Vec<String> = take_for(&mut pending, number);
            out.extend(before);
            let inputs: Vec<String> = steps.steps.iter().filter_map(written).collect();
            if !inputs.is_empty() {
                let comment = comment(line).map(|comment| format!("  {comment}")).unwrap_or_default();
                out.push(inputs.join("   ") + &comment);
            }
        }
        out.extend(pending.into_iter().flat_map(|(_, lines)| lines));
        out.join("\n") + "\n"
    }
}

fn take_for(pending: &mut Vec<(usize, Vec<String>)>, number: usize) -> Vec<String> {
    let (now, later) = std::mem::take(pending).into_iter().partition(|(line, _)| *line == number);
    *pending = later;
    let now: Vec<(usize, Vec<String>)> = now;
    now.into_iter().flat_map(|(_, lines)| lines).collect()
}

fn written(step: &Step) -> Option<String> {
    match step {
        Step::Sent { who, words } => Some(format!("{who} > {words}")),
        Step::Received(_) => None,
        Step::Passes(time) => Some(format!("+{}ms", time.as_millis())),
        Step::Holds(what) => Some(format!("= {what}")),
    }
}

/// Comments begin the line or stand behind two spaces.
fn strip_comment(line: &str) -> &str {
    if line.trim_start().starts_with('#') { "" } else { line.split("  #").next().unwrap_or_default().trim() }
}

fn comment(line: &str) -> Option<&str> {
    line.find("  #").map(|at| line[at..].trim())
}

fn split_steps(line: &str) -> Vec<&str> {
    let is_start = |text: &str| {
        let mut chars = text.chars();
        match (chars.next(), chars.next(), chars.next()) {
            (Some('A' | 'B' | 'C' | 'D' | 'M' | 'R'), Some(' '), Some('<' | '>')) => true,
            (Some('+'), Some(digit), _) => digit.is_ascii_digit(),
            (Some('='), Some(' '), _) => true,
            _ => false,
        }
    };
    let mut starts = vec![0];
    for (at, _) in line.match_indices("  ") {
        let rest = line[at..].trim_start();
        let start = line.len() - rest.len();
        if is_start(rest) && starts.last() != Some(&start) {
            starts.push(start);
        }
    }
    starts.push(line.len());
    starts.windows(2).map(|pair| line[pair[0]..pair[1]].trim()).collect()
}

fn step(text: &str) -> Result<Step, String> {
    if let Some(what) = text.strip_prefix("= ") {
        return Ok(Step::Holds(what.to_owned()));
    }
    if let Some(time) = text.strip_prefix('+') {
        return duration(time).map(Step::Passes);
    }
    let words = || text[3..].split_whitespace().collect::<Vec<_>>().join(" ");
    match (text.chars().next(), text.get(1..3)) {
        (Some(who @ ('A' | 'B' | 'C' | 'D' | 'M' | 'R')), Some(" >")) => {
            Ok(Step::Sent { who, words: words() })
        }
        (Some(who @ ('A' | 'B' | 'C' | 'D' | 'M' | 'R')), Some(" <")) => {
            Ok(Step::Received(format!("{who} < {}", words())))
        }
        _ => Err(format!("neither `A > …`, `A < …`, `+2s` nor `= …`: {text}")),
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let number: u64 = digits.parse().map_err(|_| format!("no time: +{text}"))?;
    match &text[digits.len()..] {
        "ms" => Ok(Duration::from_millis(number)),
        "s" => Ok(Duration::from_secs(number)),
        other => Err(format!("no unit of time: {other}")),
    }
}
