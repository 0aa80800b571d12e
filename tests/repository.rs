//! Is the repository in order: generated files, the rooms of the house and who may import whom?

use std::fs;
use std::path::{Path, PathBuf};

use password_reset_operator::generate::{COMMAND, generated_files, generated_sections};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn generated_files_are_up_to_date() {
    for (path, expected) in generated_files() {
        let committed = fs::read_to_string(root().join(&path)).unwrap_or_default();
        assert!(committed == expected, "{path} is stale: run `{COMMAND}` and commit the result");
    }
}

#[test]
fn generated_parts_of_pages_are_up_to_date() {
    for section in generated_sections() {
        let committed = fs::read_to_string(root().join(section.page)).expect("the page");
        let renewed = section.renewed(&committed).expect("the page has the marks");
        assert!(committed == renewed, "{} ({}) is stale: run `{COMMAND}`", section.page, section.name);
    }
}

#[test]
fn no_crd_is_left_over() {
    let generated: Vec<String> = generated_files().into_iter().map(|(path, _)| path).collect();
    for entry in fs::read_dir(root().join("crds")).expect("crds/") {
        let path = format!("crds/{}", entry.expect("an entry").file_name().to_string_lossy());
        assert!(generated.contains(&path), "{path} is written by nothing: delete it");
    }
}

/// Every Rust file below `folder`, with its code but without comments and tests.
fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            let is_test = path.file_name().is_some_and(|name| name == "tests.rs" || name == "tests");
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") && !is_test {
                let text = fs::read_to_string(&path).expect("a source file");
                let code = text.split("#[cfg(test)]").next().unwrap_or_default();
                let code = code.lines().filter(|line| !line.trim_start().starts_with("//"));
                found.push((path, code.collect::<Vec<_>>().join("\n")));
            }
        }
    }
    assert!(!found.is_empty(), "{folder} has no source files");
    found
}

fn assert_without(folder: &str, words: &[&str], why: &str) {
    for (path, code) in sources(folder) {
        for word in words {
            assert!(!code.contains(word), "{} says `{word}`: {why}", path.display());
        }
    }
}

#[test]
fn decisions_and_reports_know_no_clock_no_client_and_no_chance() {
    let impure = [
        "async ",
        ".await",
        "Timestamp::now",
        "Instant::now",
        "SystemTime::now",
        "rand::",
        "tokio::",
        "reqwest::",
        "std::fs",
        "std::net",
    ];
    for folder in ["src/plan", "src/status", "src/api"] {
        assert_without(folder, &impure, "what is decided and said depends on its arguments only");
    }
    for folder in ["src/plan", "src/status"] {
        assert_without(folder, &["kube::"], "decisions are made over plain data");
    }
}

#[test]
fn each_room_imports_only_what_it_may() {
    let rooms = ["api", "plan", "status", "provider", "controller", "telemetry"];
    let may = [
        ("api", vec![]),
        ("telemetry", vec![]),
        ("plan", vec!["api"]),
        ("status", vec!["plan", "api"]),
        ("provider", vec!["plan", "api", "telemetry"]),
    ];
    for (room, allowed) in may {
        let forbidden: Vec<String> = rooms
            .iter()
            .filter(|other| **other != room && !allowed.contains(*other))
            .map(|other| format!("crate::{other}"))
            .collect();
        let forbidden: Vec<&str> = forbidden.iter().map(String::as_str).collect();
        assert_without(&format!("src/{room}"), &forbidden, "see the table in src/lib.rs");
    }
}

#[test]
fn only_providers_look_at_an_http_status() {
    for folder in ["src/api", "src/plan", "src/status", "src/controller"] {
        assert_without(folder, &["StatusCode", ".as_u16()"], "a provider classifies its own errors");
    }
}

#[test]
fn only_reports_name_conditions() {
    for folder in ["src/plan", "src/provider", "src/controller", "src/telemetry"] {
        assert_without(folder, &["ConditionType"], "conditions are made in one place, src/status");
    }
}

#[test]
fn every_example_is_listed() {
    let index = fs::read_to_string(root().join("examples/README.md")).expect("the index of the examples");
    for entry in fs::read_dir(root().join("examples")).expect("examples/") {
        let name = entry.expect("an entry").file_name().to_string_lossy().into_owned();
        assert!(name == "README.md" || index.contains(&format!("({name})")), "examples/README.md does not list {name}");
    }
}

/// How many faults each table has: of providers, of Kubernetes, of the process and its host, of input.
const FAULTS: [(char, usize); 4] = [('I', 40), ('K', 21), ('H', 12), ('C', 9)];

#[test]
fn every_fault_has_a_row_that_names_its_test_or_says_why_there_is_none() {
    let page = fs::read_to_string(root().join("tests/README.md")).expect("tests/README.md");
    for (table, count) in FAULTS {
        for number in 1..=count {
            let begin = format!("| {table}{number} |");
            let rows: Vec<&str> = page.lines().filter(|line| line.starts_with(&begin)).collect();
            let [row] = rows[..] else { panic!("tests/README.md has {} rows for {table}{number}", rows.len()) };
            let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
            let [_, fault, tests, outcome] = cells[..] else { panic!("{row}\nhas not four cells") };
            assert!(!fault.is_empty() && !outcome.is_empty(), "{row}\nlacks its fault or its outcome");
            let named: Vec<&str> = tests.split('`').skip(1).step_by(2).collect();
            if named.is_empty() {
                let why = tests.strip_prefix("not applicable: ").unwrap_or_default();
                assert!(why.len() > 10, "{row}\nnames no test and does not say \"not applicable: why\"");
            }
            named.iter().for_each(|test| assert_is_there(test, row));
        }
    }
}

/// Whether `file::name` is a test that runs: the file (below `tests/`, or `src/…`) has a function of this name, which is
/// marked as a test and not left out, or is a statement that the conformance tests make of each provider.
fn assert_is_there(test: &str, row: &str) {
    let (file, name) = test.rsplit_once("::").unwrap_or_else(|| panic!("{row}\nnames `{test}`, not file::name"));
    let path = if file.starts_with("src/") { root().join(file) } else { root().join("tests").join(file) };
    let text =
        fs::read_to_string(&path).unwrap_or_else(|_| panic!("{row}\nnames {}, which is not there", path.display()));
    let lines: Vec<&str> = text.lines().collect();
    let position = |function: String| lines.iter().position(|line| line.contains(&function));
    match (position(format!("fn {name}(")), position(format!("fn {name}<"))) {
        (Some(at), _) => {
            let head = lines[..at].iter().rev().map(|line| line.trim_start());
            let marks: Vec<&str> = head.take_while(|l| l.starts_with("#[") || l.starts_with("//")).collect();
            let is_test = marks.iter().any(|mark| mark.starts_with("#[test]") || mark.starts_with("#[tokio::test"));
            assert!(is_test && !marks.iter().any(|mark| mark.starts_with("#[ignore")), "{row}\n`{name}` does not run");
        }
        (None, Some(_)) => assert!(file.starts_with("conformance/"), "{row}\n`{name}` does not run"),
        (None, None) => panic!("{row}\nnames `{name}`, which {} does not have", path.display()),
    }
    let main = path.with_file_name("main.rs");
    if let Ok(main) = fs::read_to_string(main).as_deref()
        && let Some(module) = path.file_stem().and_then(|stem| stem.to_str()).filter(|stem| *stem != "main")
    {
        assert!(main.contains(&format!("mod {module};")), "{row}\nnames {file}, which is no module of its test");
    }
}

#[test]
fn every_planted_bug_still_fits_the_code() {
    let mut bugs = 0;
    for entry in fs::read_dir(root().join("tests/planted")).expect("tests/planted/") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|extension| extension != "patch") {
            continue;
        }
        bugs += 1;
        let patch = fs::read_to_string(&path).expect("a patch");
        for said in ["# bug: ", "# found by: "] {
            assert!(patch.lines().any(|line| line.starts_with(said)), "{} does not say `{said}`", path.display());
        }
        for file in patch.split("\ndiff --git ").skip(1) {
            let name = file.lines().find_map(|line| line.strip_prefix("--- a/")).expect("the name of a file");
            let code = fs::read_to_string(root().join(name)).expect("the file");
            for hunk in file.split("\n@@ ").skip(1) {
                let before = hunk.lines().skip(1).filter(|line| !line.starts_with('+'));
                let before: Vec<&str> = before.map(|line| line.get(1..).unwrap_or_default()).collect();
                assert!(code.contains(before.join("\n").trim_end()), "{} does not fit {name} any more", path.display());
            }
        }
    }
    assert!(bugs >= 20, "{bugs} bugs are planted");
}
