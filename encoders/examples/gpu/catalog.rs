//! The texts and picture files of a JSON Lines catalog with `title`, `description` and `image`. Owns reading its first
//! rows; what is missing in a row is left out.

use std::error::Error;
use std::path::Path;

/// What is encoded.
pub(crate) struct Catalog {
    pub(crate) titles: Vec<String>,
    pub(crate) descriptions: Vec<String>,
    /// Contents of picture files.
    pub(crate) pictures: Vec<Vec<u8>>,
}

impl Catalog {
    /// Reads up to `limit` rows. Image paths are below the catalog's folder.
    pub(crate) fn read(file: &Path, limit: usize) -> Result<Catalog, Box<dyn Error>> {
        let text = fs_err::read_to_string(file)?;
        let folder = file.parent().unwrap_or(Path::new("."));
        let mut catalog = Catalog { titles: Vec::new(), descriptions: Vec::new(), pictures: Vec::new() };
        for line in text.lines().take(limit) {
            let row: serde_json::Value = serde_json::from_str(line)?;
            let column = |name: &str| row.get(name).and_then(|value| value.as_str()).map(str::to_owned);
            catalog.titles.extend(column("title"));
            catalog.descriptions.extend(column("description"));
            if let Some(image) = column("image")
                && let Ok(file) = fs_err::read(folder.join(image))
            {
                catalog.pictures.push(file);
            }
        }
        Ok(catalog)
    }
}
