//! Where do running parts keep their files, and who removes them?
//!
//! A [`WorkFolder`] is removed when it is dropped. Values in statics are never dropped, so a small shell that waits
//! for the end of this process removes it as well, in the same way as [`crate::process`] ends programs.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};
use tempfile::TempDir;

/// The programs are killed at the same moment and may still be writing, hence the repetition.
const REMOVE_AT_END: &str = r#"
read -r _
for attempt in 1 2 3 4 5; do rm -rf -- "$1" && exit; sleep 1; done
"#;

/// A temporary folder that does not outlive the process.
#[derive(Debug)]
pub struct WorkFolder {
    folder: TempDir,
    remover: Child,
}

impl WorkFolder {
    /// Creates `password-reset-<what>-<random>` in the system's folder for temporary files.
    pub fn create(what: &str) -> Result<Self> {
        let parent = std::env::temp_dir();
        let folder = tempfile::Builder::new()
            .prefix(&format!("password-reset-{what}-"))
            .tempdir_in(&parent)
            .with_context(|| format!("cannot create a folder in {}", parent.display()))?;
        let remover = Command::new("/bin/sh")
            .arg("-c")
            .arg(REMOVE_AT_END)
            .arg("remove-at-end")
            .arg(folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .context("cannot start /bin/sh")?;
        Ok(Self { folder, remover })
    }

    /// The folder's path.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for WorkFolder {
    fn drop(&mut self) {
        // Waiting closes the remover's standard input: it removes the folder and ends.
        let _ = self.remover.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_work_folder_is_gone() {
        let folder = WorkFolder::create("test").unwrap();
        let path = folder.path().to_owned();
        std::fs::write(path.join("file"), "content").unwrap();
        drop(folder);
        assert!(!path.exists());
    }
}
