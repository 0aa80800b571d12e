//! Is the repository in order?

use std::fs;
use std::path::Path;

use password_reset_operator::generate::{COMMAND, generated_files};

#[test]
fn generated_files_are_up_to_date() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (path, expected) in generated_files() {
        let committed = fs::read_to_string(root.join(&path)).unwrap_or_default();
        assert!(committed == expected, "{path} is stale: run `{COMMAND}` and commit the result");
    }
}

#[test]
fn no_crd_is_left_over() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let generated: Vec<String> = generated_files().into_iter().map(|(path, _)| path).collect();
    for entry in fs::read_dir(root.join("crds")).expect("crds/") {
        let path = format!("crds/{}", entry.expect("an entry").file_name().to_string_lossy());
        assert!(generated.contains(&path), "{path} is written by nothing: delete it");
    }
}
