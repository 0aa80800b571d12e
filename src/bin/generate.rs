//! Writes the generated files of the repository: CRDs and reference pages.

use std::path::Path;

fn main() -> anyhow::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (path, content) in password_reset_operator::generate::generated_files() {
        let target = root.join(&path);
        if let Some(folder) = target.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(&target, content)?;
        println!("wrote {path}");
    }
    Ok(())
}
