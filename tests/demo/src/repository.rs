//! Where are the files that the demo shows: CRDs, examples, the chart's rules?

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The documents of a YAML file, given by its path from the root of the repository.
pub fn documents(path: &str) -> Result<Vec<Value>> {
    let text = fs::read_to_string(root().join(path)).with_context(|| format!("cannot read {path}"))?;
    let documents: Vec<Option<Value>> =
        serde_yaml::from_multiple(&text).with_context(|| format!("{path} is not YAML"))?;
    Ok(documents.into_iter().flatten().collect())
}

/// The CRDs, in the order of their files' names.
pub fn crds() -> Result<Vec<Value>> {
    let mut names: Vec<String> = fs::read_dir(root().join("crds"))
        .context("cannot read crds/")?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<Result<_>>()?;
    names.sort();
    names.iter().map(|name| documents(&format!("crds/{name}"))).collect::<Result<Vec<_>>>().map(|all| all.concat())
}
