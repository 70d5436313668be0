//! What is wrong with a configuration file, and how it is shown.

use std::fmt::Write as _;
use std::ops::Range;

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

/// One thing to correct, with its place in the text.
#[derive(Debug, Clone)]
pub(crate) struct Problem {
    /// The complaint in one line.
    pub title: String,
    /// Where, as bytes of the file.
    pub span: Range<usize>,
    /// What stands beside the caret.
    pub label: String,
    /// What to do about it.
    pub help: Option<String>,
}

/// Everything wrong with one file: all problems are collected before any is shown.
#[derive(Debug, Clone, Default)]
pub(crate) struct Problems {
    list: Vec<Problem>,
}

impl Problems {
    /// Adds a problem.
    pub(crate) fn push(&mut self, span: Range<usize>, title: impl Into<String>, label: impl Into<String>) {
        self.list.push(Problem { title: title.into(), span, label: label.into(), help: None });
    }

    /// Adds a problem with advice.
    pub(crate) fn push_with_help(
        &mut self,
        span: Range<usize>,
        title: impl Into<String>,
        label: impl Into<String>,
        help: impl Into<String>,
    ) {
        let help = Some(help.into());
        self.list.push(Problem { title: title.into(), span, label: label.into(), help });
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    /// True when nothing is wrong.
    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// All problems as text, in the order of the file, each with line, caret and advice.
    pub(crate) fn render(&self, path: &str, source: &str) -> String {
        let mut sorted: Vec<&Problem> = self.list.iter().collect();
        sorted.sort_by_key(|problem| problem.span.start);
        let renderer = Renderer::plain().decor_style(DecorStyle::Ascii);
        let mut text = String::new();
        for problem in sorted {
            let _ = writeln!(text, "{}\n", one(&renderer, problem, path, source));
        }
        text
    }
}

fn one(renderer: &Renderer, problem: &Problem, path: &str, source: &str) -> String {
    let end = problem.span.end.min(source.len());
    let span = problem.span.start.min(end)..end;
    let snippet = Snippet::source(source)
        .path(path)
        .annotation(AnnotationKind::Primary.span(span).label(problem.label.as_str()));
    let mut group = Level::ERROR.primary_title(problem.title.as_str()).element(snippet);
    if let Some(help) = &problem.help {
        group = group.element(Level::HELP.message(help.as_str()));
    }
    renderer.render(&[group])
}

/// The candidate that was probably meant, if one is close enough.
pub(crate) fn did_you_mean<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .into_iter()
        .map(|candidate| {
            // One slip of a finger in a short word is far away for a measure that counts letters in common.
            let slip = strsim::osa_distance(word, candidate) == 1;
            (if slip { 1.0 } else { strsim::jaro_winkler(word, candidate) }, candidate)
        })
        .filter(|(score, _)| *score > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}
