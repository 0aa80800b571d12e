//! Where do built programs live between runs?
//!
//! `${XDG_CACHE_HOME:-~/.cache}/password-reset-operator/`, outside any checkout, so that a fresh clone finds them.
//! Names carry versions. Something is built under a temporary name and renamed when it is complete, by one process at a time.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::progress;

/// The cache folder; created when it is missing. Errors when neither `XDG_CACHE_HOME` nor `HOME` is set.
pub fn folder() -> Result<PathBuf> {
    let base = std::env::var_os("XDG_CACHE_HOME")
        .filter(|value| Path::new(value).is_absolute())
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache")))
        .context("neither XDG_CACHE_HOME nor HOME is set: set one, built programs are kept there")?;
    create(&base.join("password-reset-operator"))
}

/// The path `<cache>/<name>`, made by `make` when it is missing. `make` gets a temporary path in the same folder
/// and must leave a file or a folder there.
pub(crate) fn ensure(name: &str, make: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let cache = folder()?;
    let wanted = cache.join(name);
    if wanted.exists() {
        return Ok(wanted);
    }
    let parent = create(wanted.parent().unwrap_or(&cache))?;
    let file_name = wanted.file_name().unwrap_or_default().to_string_lossy();
    let _lock = lock(&parent.join(format!(".{file_name}.lock")), &file_name)?;
    if wanted.exists() {
        return Ok(wanted);
    }
    let partial = parent.join(format!(".{file_name}.partial"));
    remove(&partial)?;
    make(&partial)?;
    fs::rename(&partial, &wanted).with_context(|| format!("cannot rename {} to {name}", partial.display()))?;
    Ok(wanted)
}

/// Creates `<cache>/<name>` as a folder.
pub(crate) fn subfolder(name: &str) -> Result<PathBuf> {
    create(&folder()?.join(name))
}

fn create(path: &Path) -> Result<PathBuf> {
    fs::create_dir_all(path).with_context(|| format!("cannot create the folder {}", path.display()))?;
    Ok(path.to_owned())
}

/// Held until the file is closed, at the latest by the end of the process.
fn lock(path: &Path, what: &str) -> Result<File> {
    let file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            progress::say(&format!("another process is building {what}, waiting for it"));
            file.lock()?;
        }
        Err(TryLockError::Error(error)) => return Err(error.into()),
    }
    Ok(file)
}

fn remove(path: &Path) -> Result<()> {
    let result = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match result {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove the half-made {}", path.display()))
        }
        _ => Ok(()),
    }
}
