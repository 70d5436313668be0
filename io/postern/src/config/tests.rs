use std::fs;
use std::path::{Path, PathBuf};

use super::{Config, SECTIONS, docs};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "{} has cases", folder.display());
    files
}

/// Compares with the file, or writes it if `variable` is set.
fn compare(path: &Path, now: &str, variable: &str) {
    if std::env::var_os(variable).is_some() {
        fs::write(path, now).unwrap();
        return;
    }
    let then = fs::read_to_string(path).unwrap_or_default();
    assert!(
        then == now,
        "{} is stale (set {variable}=1 to rewrite it); now it would be:\n{now}",
        path.display()
    );
}

#[test]
fn cases_are_refused_with_the_text_beside_them() {
    for path in files(&root().join("tests/config")) {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let text = match Config::parse(&name, &fs::read_to_string(&path).unwrap()) {
            Ok(_) => "ok\n".to_owned(),
            Err(refused) => refused.text,
        };
        compare(&path.with_extension("txt"), &text, "UPDATE_CASES");
    }
}

#[test]
fn examples_are_accepted() {
    for path in files(&root().join("docs/examples")) {
        if let Err(refused) = Config::load(&path) {
            panic!("{}", refused.text);
        }
    }
}

#[test]
fn the_page_about_configuration_says_what_the_code_does() {
    let smallest = fs::read_to_string(root().join("docs/examples/smallest.toml")).unwrap();
    compare(&root().join("docs/configuration.md"), &docs::page(&smallest), "UPDATE_DOCS");
}

#[test]
fn every_default_is_valid() {
    for key in SECTIONS.iter().flat_map(|section| section.keys) {
        assert!(key.default_is_valid(), "{}", key.name());
    }
}

#[test]
fn files_that_cannot_be_read_are_named() {
    let refused = Config::load(Path::new("/nonexistent/postern.toml")).unwrap_err();
    assert!(refused.text.starts_with("/nonexistent/postern.toml: no such file"), "{}", refused.text);
    let refused = Config::load(Path::new("/")).unwrap_err();
    assert!(refused.text.contains("is a directory"), "{}", refused.text);
}
