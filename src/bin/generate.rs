//! Writes the generated files of the repository: CRDs, reference pages, and tables within pages.

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
    for section in password_reset_operator::generate::generated_sections() {
        let page = root.join(section.page);
        let text = std::fs::read_to_string(&page)?;
        let renewed = section.renewed(&text);
        let renewed = renewed.ok_or_else(|| anyhow::anyhow!("{} has no marks for {}", section.page, section.name))?;
        std::fs::write(&page, renewed)?;
        println!("wrote {} ({})", section.page, section.name);
    }
    Ok(())
}
