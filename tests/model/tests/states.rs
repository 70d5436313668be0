//! `docs/states.md` is what the tables say and what the flows show; `UPDATE_DOCS=1` writes it.

use std::path::{Path, PathBuf};

use model::picture::{Observer, page, tables};

#[test]
fn the_pictures_show_what_happens() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    find(&root.join("../flows"), &mut files);
    files.sort();
    let mut observer = Observer::default();
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        observer.play(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    }
    let tables = tables();
    let drawn = tables.iter().map(|(title, about, picture)| (*title, *about, picture));
    let pictures: Vec<_> = drawn.chain(observer.pictures()).collect();
    let page = page(&pictures);
    let file = root.join("../../docs/states.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(file, page).unwrap();
        return;
    }
    let written = std::fs::read_to_string(file).unwrap();
    assert!(written == page, "docs/states.md is not what happens: UPDATE_DOCS=1 writes it");
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
