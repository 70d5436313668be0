//! Every `.flow` file beside this crate is a test; `UPDATE_FLOWS=1` rewrites what is received. `docs/flows.md` lists them;
//! `UPDATE_DOCS=1` writes it.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use flows::figures::Figure;
use flows::proof::Facts;
use flows::{Script, kernel, unanswered};
use libtest_mimic::{Arguments, Failed, Trial};

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    find(root, &mut files);
    files.sort();
    let name = |file: &Path| file.strip_prefix(root).unwrap_or(file).display().to_string();
    let named: Vec<(String, PathBuf)> = files.into_iter().map(|file| (name(&file), file)).collect();
    let listed = named.clone();
    let (proving, unanswering) = (named.clone(), named.clone());
    let mut trials = vec![
        Trial::test("docs/flows.md", move || check_index(&listed)),
        Trial::test("docs/calls-proof.md", move || check_proof(&proving)),
        Trial::test("the draft's figures", check_figures),
        Trial::test("no answer comes to the same with a real session", move || {
            check_unanswered(&unanswering)
        }),
    ];
    trials.extend(named.into_iter().map(|(name, file)| Trial::test(name, move || check(&file))));
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn check(file: &Path) -> Result<(), Failed> {
    let text = std::fs::read_to_string(file)?;
    if std::env::var_os("UPDATE_FLOWS").is_some() {
        std::fs::write(file, flows::rewrite(&text)?)?;
        return Ok(());
    }
    flows::play(&text).map_err(Failed::from)
}

fn check_index(flows: &[(String, PathBuf)]) -> Result<(), Failed> {
    let texts: Result<Vec<String>, _> = flows.iter().map(|(_, file)| std::fs::read_to_string(file)).collect();
    let texts = texts?;
    let page = flows::index::page(flows.iter().zip(&texts).map(|((name, _), text)| (&**name, &**text)));
    compare("flows.md", &page)
}

fn check_proof(flows: &[(String, PathBuf)]) -> Result<(), Failed> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let read = |path: &str| std::fs::read_to_string(root.join(path));
    let sources = |folders: &[&str]| {
        let mut text = String::new();
        for entry in
            folders.iter().flat_map(|folder| std::fs::read_dir(root.join(folder))).flatten().flatten()
        {
            text += &std::fs::read_to_string(entry.path()).unwrap_or_default();
        }
        text
    };
    let mut facts = Facts { lab: sources(&["tests/lab"]), ..Facts::default() };
    for (name, file) in flows {
        facts.flows.insert(name.trim_end_matches(".flow").to_owned(), std::fs::read_to_string(file)?);
    }
    let page = flows::proof::page(&read("docs/calls.md")?, &read("tests/flows/rows.txt")?, &facts)?;
    compare("calls-proof.md", &page)
}

/// Where a flow says that a request has no answer, the phones hear the same when a session finds that out.
fn check_unanswered(flows: &[(String, PathBuf)]) -> Result<(), Failed> {
    let mut other = 0;
    for (name, file) in flows {
        let script = Script::parse(&std::fs::read_to_string(file)?)?;
        if kernel::obstacle(name, &script).is_some() {
            continue;
        }
        let written: Vec<_> = script
            .lines
            .iter()
            .flat_map(|line| line.steps.iter().map(|step| (line.number, step.clone())))
            .collect();
        let steps = unanswered::steps(&script).map_err(|error| format!("{name}: {error}"))?;
        if steps == written {
            continue;
        }
        other += 1;
        let (wanted, got) = (unanswered::told(&script, &written)?, unanswered::told(&script, &steps)?);
        if wanted != got {
            return Err(format!("{name}\nwanted {wanted:#?}\ngot {got:#?}").into());
        }
    }
    if other < 16 {
        Err(format!("only {other} flows have a request without an answer").into())
    } else {
        Ok(())
    }
}

/// The golden flow of each figure says what the figure draws.
fn check_figures() -> Result<(), Failed> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let data = std::fs::read_to_string(root.join("figures.txt"))?;
    let golden = [
        (3, "3-good-case"),
        (4, "4-first-rule-refused"),
        (5, "5-second-rule-refused"),
        (6, "6-preconditions"),
        (7, "7-second-rule-refused"),
        (8, "8-revocation"),
    ];
    for (number, name) in golden {
        let text = std::fs::read_to_string(root.join(format!("figures/{name}.flow")))?;
        let figure = Figure::find(&data, number).ok_or_else(|| format!("no figure {number}"))?;
        figure
            .compare(&flows::figures::of_flow(&text)?)
            .map_err(|error| format!("figure {number}: {error}"))?;
    }
    Ok(())
}

/// A page of the docs is as it should be, or is made so if that is wanted.
fn compare(name: &str, page: &str) -> Result<(), Failed> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(name);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(file, page)?;
        return Ok(());
    }
    match std::fs::read_to_string(file)? == page {
        true => Ok(()),
        false => Err(format!("docs/{name} is not what it is made from: UPDATE_DOCS=1 writes it").into()),
    }
}

fn find(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            find(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "flow") {
            files.push(path);
        }
    }
}
